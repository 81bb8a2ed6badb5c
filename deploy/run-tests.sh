#!/usr/bin/env bash
# Builds test executables and runs several of them at the same time, because most tests wait more than they compute: `cargo test`
# runs one after another. Takes the options of `cargo test` that choose targets. Prints each executable's result, and all of its
# output if it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# Runs an executable in its package's directory, as `cargo test` does.
run() {
  local directory=${1% *} executable=${1##* } output status=0
  output=$(cd "$directory" && "$executable" 2>&1) || status=$?
  [ "$status" != 0 ] || output=$(grep '^test result: ' <<<"$output")
  # One at a time prints.
  { flock 9; printf '     Running %s (%s)\n%s\n' "${directory#"$PWD/"}" "${executable##*/}" "$output"; } 9<deploy/run-tests.sh
  return "$status"
}

if [ "${1:-}" = --run ]; then
  run "$2"
  exit
fi

messages=$(cargo test --no-run --message-format=json-render-diagnostics "$@")
executables=$(sed -n 's|.*"manifest_path":"\([^"]*\)/Cargo.toml".*"test":true}.*"executable":"\([^"]*\)".*|\1 \2|p' <<<"$messages")
[ -n "$executables" ] || { echo "error: there is no test executable" >&2; exit 1; }
start=$SECONDS
xargs -d '\n' -n 1 -P $((2 * $(nproc))) deploy/run-tests.sh --run <<<"$executables" ||
  { echo "error: tests have failed; the output of their executables is above" >&2; exit 1; }
echo "$(wc -l <<<"$executables") test executables have passed in $((SECONDS - start)) s"
