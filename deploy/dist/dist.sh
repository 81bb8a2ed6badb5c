#!/usr/bin/env bash
# Builds the release archive, target/dist/iris-on-kafka-VERSION-TARGET.tar.gz, with SHA256SUMS and the SBOM beside it.
#
#   deploy/dist/dist.sh
#
# The same sources, toolchain and machine give the same archive, byte for byte: names are sorted, owners are fixed, and every
# time is SOURCE_DATE_EPOCH, by default the time of the commit. cargo-cyclonedx is installed in target/tools.
set -euo pipefail
cd "$(dirname "$0")/../.."

cyclonedx_version=0.5.9
# The newest C library that the binaries may need: that of Debian 12.
glibc=2.36
services=(iris-admin iris-classifier iris-dashboard iris-feedback-sink iris-producer iris-trainer)
tools=$PWD/target/tools
dist=$PWD/target/dist

say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
for tool in cargo readelf strip tar gzip sha256sum; do
  command -v "$tool" >/dev/null || fail "$tool is not installed; it is needed for a release archive"
done

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} || fail "not a git checkout: set SOURCE_DATE_EPOCH"
export SOURCE_DATE_EPOCH LC_ALL=C
target=$(rustc -vV | sed -n 's/^host: //p')
version=$(cargo pkgid --locked -p iris-classifier | sed 's/.*[#@]//')
name=iris-on-kafka-$version-$target

say "Building the binaries of $name"
# Only the C library may be linked dynamically. On exit, the decision for development builds is restored.
trap 'deploy/native.sh 2>/dev/null' EXIT
deploy/native.sh --portable
packages=()
for service in "${services[@]}"; do packages+=(-p "$service" --bin "$service"); done
cargo build --release --locked "${packages[@]}"
# iris-dist depends on the packages that were just built, with the same features.
cargo build --release --locked -p iris-dist
iris_dist=$PWD/target/release/iris-dist
[ "$("$iris_dist" binaries | sort | xargs)" = "${services[*]}" ] || fail "iris-dist knows other binaries than ${services[*]}"

say "Collecting"
rm -rf "$dist"
stage=$dist/stage/$name
mkdir -p "$stage"/{bin,licences,man/man1,systemd}
for service in "${services[@]}"; do strip --strip-all -o "$stage/bin/$service" "target/release/$service"; done
deploy/dist/check-binaries.sh "$glibc" "$stage"/bin/*
"$iris_dist" completions "$stage/completions"
"$iris_dist" man "$stage/man/man1"
cp -r config data "$stage/"
cp deploy/systemd/*.service deploy/systemd/iris.conf deploy/systemd/README.md "$stage/systemd/"
cp -r LICENSE README.md CHANGELOG.md SECURITY.md docs "$stage/"

# The crate openssl-src is included only if OpenSSL was compiled from source.
if grep -q OPENSSL_NO_VENDOR .cargo/native.toml; then
  openssl=$(pkg-config --modversion openssl)
  terms=/usr/share/doc/libssl-dev/copyright
  [ -f "$terms" ] || fail "$terms, the licence of the OpenSSL that is linked, is missing: compile OpenSSL from source, without libssl-dev"
  linked=(--without openssl-src --also "OpenSSL $openssl=$terms")
else
  openssl=$(sed -n '/^name = "openssl-src"/{n;s/.*+\(.*\)"/\1/p}' Cargo.lock)
  linked=()
fi
"$iris_dist" licences --target "$target" "${linked[@]}" >"$stage/licences/THIRD-PARTY.txt"
library=$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html
[ -f "$library" ] || fail "$library, the licences of Rust's standard library, is missing"
cp "$library" "$stage/licences/rust-standard-library.html"

say "Writing the SBOM"
[ -x "$tools/bin/cargo-cyclonedx" ] ||
  cargo install cargo-cyclonedx --locked --version "$cyclonedx_version" --root "$tools" --target-dir "$tools/build"
# cargo-cyclonedx writes next to the manifests, so it works on copies.
sources=$dist/sources
mkdir "$sources"
cp -r Cargo.toml Cargo.lock crates "$sources/"
PATH="$tools/bin:$PATH" cargo cyclonedx -qq --manifest-path "$sources/Cargo.toml" --format json --spec-version 1.5 \
  --target "$target" --no-build-deps
documents=()
for service in "${services[@]}"; do documents+=("$sources/crates/$service/$service.cdx.json"); done
"$iris_dist" sbom --also "openssl@$openssl" "${documents[@]}" | sed "s|path+file://$sources/crates/||g" >"$dist/$name.cdx.json"
cp "$dist/$name.cdx.json" "$stage/licences/sbom.cdx.json"

say "Packing"
tar --create --directory "$dist/stage" --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r,go-w \
  --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip --best --no-name >"$dist/$name.tar.gz"
rm -rf "$dist/stage" "$sources"
(cd "$dist" && sha256sum "$name.tar.gz" "$name.cdx.json" >SHA256SUMS && cat SHA256SUMS)
say "$(du -h "$dist/$name.tar.gz" | cut -f1) in target/dist/$name.tar.gz"
