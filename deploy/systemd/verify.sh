#!/usr/bin/env bash
# Checks with systemd-analyze that the units are correct and hardened.
#
#   deploy/systemd/verify.sh
#
# Needs no running systemd. In a temporary root, empty files replace the binaries that the units start.
set -euo pipefail
cd "$(dirname "$0")"

# The maximum exposure of a unit, from 0 to 100, as `systemd-analyze security` computes it.
exposure=20

command -v systemd-analyze >/dev/null || { echo "error: systemd-analyze is not installed (Debian: systemd)" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/opt/iris-on-kafka/bin" "$root/etc/systemd/system" "$root/usr/lib" "$root/usr/share/man"
cp -r /usr/lib/systemd "$root/usr/lib/"
cp ./*.service "$root/etc/systemd/system/"
units=()
for unit in *.service; do
  units+=("${unit/@/@1}")
  binary=$(sed -n 's|^ExecStart=\([^ ]*\).*|\1|p' "$unit")
  install -m 755 /dev/null "$root$binary"
done

# Man pages are not checked, because they are installed separately.
found=$(systemd-analyze verify --man=no --recursive-errors=no --root="$root" "${units[@]}" 2>&1) || { echo "$found" >&2; exit 1; }
[ -z "$found" ] || { echo "$found" >&2; exit 1; }
systemd-analyze security --offline=yes --threshold=$((exposure)) --no-pager --root="$root" "${units[@]}" >"$root/security" ||
  { cat "$root/security" >&2; exit 1; }
echo "${#units[@]} units are correct, none with an exposure above $((exposure / 10)).$((exposure % 10)) of 10"
