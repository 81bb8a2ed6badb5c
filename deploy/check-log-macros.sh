#!/usr/bin/env bash
# Fails if a log macro does work: its arguments are not evaluated when its level is off, so whatever they do is not done then.
# An argument may read and format; it must not wait, fail, or change anything.
set -euo pipefail
cd "$(dirname "$0")/.."

# Everything between the macro's parentheses, over several lines; then without its strings.
macro='\b(?:trace|debug|info|warn|error|event|span|\w+_span)!(\((?:[^()]++|(?1))*+\))'
work='\.await|\?[,)\s]|\?$|;|&mut |\.(?:accept|advance|cancel|clear|drain|extend|fetch_\w+|insert|lock|next|poll|pop\w*|push\w*|recv\w*|remove|replace|send\w*|set\w*|store|swap|take|wait\w*|write\w*)\('
found=$(grep -rPzo --include='*.rs' "$macro" crates | sed -zE 's/"(\\.|[^"\\])*"/""/g' | tr '\0' '\n' | grep -P "$work" || true)
if [ -n "$found" ]; then
  printf 'error: work inside a log macro is not done when its level is off; do it before:\n%s\n' "$found" >&2
  exit 1
fi
