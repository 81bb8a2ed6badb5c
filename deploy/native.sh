#!/usr/bin/env bash
# Decides where OpenSSL and zstd come from, says so in one line, and writes the decision to .cargo/native.toml, which
# .cargo/config.toml includes. Without that file, as in a bare `cargo build`, both are compiled from source, which always works.
#
# The system's OpenSSL saves minutes. With --portable nothing but the C library may be linked dynamically: what is shipped is
# built that way.
set -euo pipefail
cd "$(dirname "$0")/.."

portable=no
[ "${1:-}" != --portable ] || portable=yes

has() { command -v pkg-config >/dev/null && pkg-config --exists "$1" 2>/dev/null; }

settings=()
if [ "$portable" = no ] && has 'openssl >= 3'; then
  openssl="the system's, $(pkg-config --modversion openssl)"
  settings+=('OPENSSL_NO_VENDOR = "1"')
elif [ "$portable" = yes ] && has 'openssl >= 3' && [ -f "$(pkg-config --variable=libdir openssl)/libssl.a" ]; then
  openssl="the system's, $(pkg-config --modversion openssl), linked statically"
  settings+=('OPENSSL_NO_VENDOR = "1"' 'OPENSSL_STATIC = "1"')
  # The system's folders are named because a library that pkg-config finds in them is linked dynamically all the same.
  settings+=("OPENSSL_LIB_DIR = \"$(pkg-config --variable=libdir openssl)\"")
  settings+=("OPENSSL_INCLUDE_DIR = \"$(pkg-config --variable=includedir openssl)\"")
else
  openssl="compiled from source, which takes minutes: its headers were not found (Debian and Ubuntu: libssl-dev and pkg-config)"
fi
if [ "$portable" = no ] && has 'libzstd >= 1.4'; then
  zstd="the system's, $(pkg-config --modversion libzstd)"
  settings+=('ZSTD_SYS_USE_PKG_CONFIG = "1"')
else
  zstd="compiled from source"
fi
echo "OpenSSL: $openssl; zstd: $zstd" >&2

decision=$(printf '%s\n' '# Written by deploy/native.sh.' '[env]' "${settings[@]}")
# A file that is the same keeps its time.
if [ "$(cat .cargo/native.toml 2>/dev/null)" != "$decision" ]; then
  printf '%s\n' "$decision" > .cargo/native.toml
fi
