#!/usr/bin/env bash
# Copies to the folder named what dependencies are built from: manifests, and for each target an empty source file. It changes
# only when a manifest does or a target comes or goes, and so the layer that is built from it is kept while code changes.
set -euo pipefail
to=$1

mkdir -p "$to"
cp --parents Cargo.toml Cargo.lock .cargo/config.toml deploy/native.sh crates/*/Cargo.toml "$to"
for source in crates/*/src/{lib,main}.rs crates/*/src/bin/*.rs crates/*/{benches,tests}/*.rs; do
  [ -f "$source" ] || continue
  mkdir -p "$to/$(dirname "$source")"
  case $source in
    */src/lib.rs) : > "$to/$source" ;;
    *) echo 'fn main() {}' > "$to/$source" ;;
  esac
done
