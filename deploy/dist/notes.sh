#!/usr/bin/env bash
# Prints the section of a version in CHANGELOG.md, for the release notes. Fails if the section is missing or empty.
#
#   deploy/dist/notes.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:?which version?}
notes=$(awk -v title="## $version" '
  /^## / { inside = ($0 == title || index($0, title " ") == 1); next }
  inside { print }
' CHANGELOG.md)
[ -n "${notes//[[:space:]]/}" ] || { echo "error: CHANGELOG.md has no section \"## $version\"" >&2; exit 1; }
printf '%s\n' "$notes"
