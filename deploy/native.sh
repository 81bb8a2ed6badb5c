#!/usr/bin/env bash
# Decides whether to use the system's OpenSSL and zstd, prints the decision in one line, and writes it to .cargo/native.toml, which
# .cargo/config.toml includes. Without that file, as in a plain `cargo build`, both are compiled from source, which always works.
#
# The system's OpenSSL saves minutes. With --portable, which is used for release archives and images, only the C library may be
# linked dynamically.
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
  # The folders are set explicitly, because a library that pkg-config finds in the system's folders is linked dynamically.
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
# An unchanged file keeps its modification time.
if [ "$(cat .cargo/native.toml 2>/dev/null)" != "$decision" ]; then
  printf '%s\n' "$decision" > .cargo/native.toml
fi
