#!/usr/bin/env bash
# Fails if a binary needs a shared library that a minimal Linux system may lack, or a C library newer than GLIBC_VERSION.
#
#   deploy/dist/check-binaries.sh GLIBC_VERSION BINARY...
set -euo pipefail
newest=$1
shift
failed=0
for binary in "$@"; do
  needed=$(readelf --dynamic --wide "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  foreign=$(grep -Ev '^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|ld-linux.*)$' <<<"$needed" || true)
  if [ -n "$foreign" ]; then
    echo "error: ${binary##*/} needs $(xargs <<<"$foreign") at run time: link it statically (deploy/native.sh --portable)" >&2
    failed=1
  fi
  asked=$(readelf --version-info --wide "$binary" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -1)
  if [ "$(printf '%s\n' "$asked" "$newest" | sort -V | tail -1)" != "$newest" ]; then
    echo "error: ${binary##*/} needs glibc $asked: build it where glibc is $newest or older, such as Debian 12" >&2
    failed=1
  fi
done
exit $failed
