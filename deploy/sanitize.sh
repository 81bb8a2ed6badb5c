#!/usr/bin/env bash
# Runs tests with AddressSanitizer, which reports reads and writes of memory that is freed or was never allocated: the unit tests of
# iris-kafka, and the suites in SANITIZE_SUITES on a real broker. librdkafka and all other C code that is compiled from source are
# instrumented, too. Fails at the first report, without the sanitizer, and if the sanitizer misses a mistake that is made on purpose.
#
# Needs gcc with its sanitizers. RUSTC_BOOTSTRAP lets the stable compiler use its sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."

read -ra suites <<<"${SANITIZE_SUITES:-group:: pipeline:: credentials:: topics_change::}"
host=$(rustc -vV | sed -n 's/^host: //p')
directory=$PWD/target/sanitize
reports=$directory/reports

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

rm -rf "$reports"
mkdir -p "$reports"
echo 'int main(void) { return 0; }' | gcc -x c -fsanitize=address -o "$reports/probe" - 2>/dev/null && "$reports/probe" ||
  fail "gcc cannot use its sanitizers (Debian and Ubuntu: libgcc-dev and libasan of the same version)"
rm "$reports/probe"

export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg sanitized"
export CFLAGS="-g1 -fsanitize=address -fno-omit-frame-pointer" LDFLAGS=-fsanitize=address
# librdkafka's simulated cluster leaks its client at the end of each unit test.
export ASAN_OPTIONS=detect_leaks=0:log_path=$reports/report
# Build scripts are not instrumented, because there is a target.
options=(--locked --target "$host" --target-dir "$directory")

has_reports() { compgen -G "$reports/report*" >/dev/null; }
check() {
  ! has_reports || { cat "$reports"/report*; fail "the sanitizer has reported a mistake; the reports are in $reports"; }
}

echo "==> Checking that a mistake is reported"
cargo test --no-run "${options[@]}" -p iris-kafka --lib
mistake=$(cargo test "${options[@]}" -p iris-kafka --lib -- --ignored a_read_of_freed_memory_is_reported 2>&1) &&
  fail "a test that reads freed memory has passed: $mistake"
grep -q heap-use-after-free "$reports"/report* 2>/dev/null || fail "a read of freed memory was not reported: $mistake"
rm "$reports"/report*

echo "==> Running the unit tests"
cargo test "${options[@]}" -p iris-kafka --lib || { check; exit 1; }
check

echo "==> Running ${suites[*]} on a real broker"
services=(iris-admin iris-producer iris-classifier iris-trainer iris-feedback-sink iris-dashboard)
cargo build "${options[@]}" -p iris-testkit "${services[@]/#/-p}" --bins
cargo test --no-run "${options[@]}" -p iris-testkit --test suites
output=$directory/suites.log
"$directory/$host/debug/with-broker" --directory target/with-broker-sanitize \
  cargo test "${options[@]}" -p iris-testkit --test suites -- "${suites[@]}" 2>&1 | tee "$output" || { check; exit 1; }
check
grep -Eq '^test result: ok\. [1-9]' "$output" || fail "no test was run"
echo "no report"
