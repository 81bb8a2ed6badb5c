#!/usr/bin/env bash
# Copies the manifests, and an empty source file for each target, to the given folder. Dependencies can be built from these. The
# copy changes only when a manifest or the list of targets changes, so its image layer stays cached while code changes.
set -euo pipefail
to=$1

mkdir -p "$to"
cp --parents Cargo.toml Cargo.lock .cargo/config.toml deploy/native.sh crates/*/Cargo.toml "$to"
for source in crates/*/src/{lib,main}.rs crates/*/src/bin/*.rs crates/*/{benches,tests}/*.rs crates/*/tests/*/main.rs; do
  [ -f "$source" ] || continue
  mkdir -p "$to/$(dirname "$source")"
  case $source in
    */src/lib.rs) : > "$to/$source" ;;
    *) echo 'fn main() {}' > "$to/$source" ;;
  esac
done
