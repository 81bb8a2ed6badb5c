#!/usr/bin/env bash
# Builds and publishes the images of a release, ghcr.io/OWNER/REPOSITORY/SERVICE:VERSION, for linux/amd64 and linux/arm64.
#
#   deploy/dist/images.sh build OWNER/REPOSITORY VERSION ARCH   pushes …:VERSION-ARCH; run it on a machine of that architecture
#   deploy/dist/images.sh join  OWNER/REPOSITORY VERSION        joins both as …:VERSION and, unless a pre-release, …:latest
#
# REVISION and CREATED are written to the images' labels. Needs docker buildx, logged in to ghcr.io.
set -euo pipefail
cd "$(dirname "$0")/../.."
command=${1:-} repository=${2:-} version=${3:-}
[ -n "$version" ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }

for service in iris-admin iris-producer iris-classifier iris-trainer iris-feedback-sink iris-dashboard; do
  image=ghcr.io/$repository/$service
  case $command in
    build)
      arch=${4:?which architecture?}
      docker buildx build --file deploy/docker/Dockerfile --target "$service" --platform "linux/$arch" --push --provenance=false \
        --build-arg VERSION="$version" --build-arg REVISION="${REVISION:?}" --build-arg CREATED="${CREATED:?}" \
        --label org.opencontainers.image.source="https://github.com/$repository" --tag "$image:$version-$arch" .
      ;;
    join)
      tags=(--tag "$image:$version")
      [[ $version == *-* ]] || tags+=(--tag "$image:latest")
      docker buildx imagetools create "${tags[@]}" "$image:$version-amd64" "$image:$version-arm64"
      ;;
    *) echo "error: build or join, not $command" >&2; exit 2 ;;
  esac
done
