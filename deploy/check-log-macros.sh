#!/usr/bin/env bash
# Fails if the arguments of a log macro have side effects: they are not evaluated when the level is off. An argument may read and
# format; it must not wait, fail, or change anything.
set -euo pipefail
cd "$(dirname "$0")/.."

# The text between the macro's parentheses, over several lines. Strings are removed before the search.
macro='\b(?:trace|debug|info|warn|error|event|span|\w+_span)!(\((?:[^()]++|(?1))*+\))'
work='\.await|\?[,)\s]|\?$|;|&mut |\.(?:accept|advance|cancel|clear|drain|extend|fetch_\w+|insert|lock|next|poll|pop\w*|push\w*|recv\w*|remove|replace|send\w*|set\w*|store|swap|take|wait\w*|write\w*)\('
found=$(grep -rPzo --include='*.rs' "$macro" crates | sed -zE 's/"(\\.|[^"\\])*"/""/g' | tr '\0' '\n' | grep -P "$work" || true)
if [ -n "$found" ]; then
  printf 'error: the arguments of a log macro are not evaluated when its level is off; move side effects out of:\n%s\n' "$found" >&2
  exit 1
fi
