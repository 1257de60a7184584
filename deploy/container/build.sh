#!/bin/sh
# Builds the images, by docker, podman or buildah, whichever is there:
#   deploy/container/build.sh [gateway] [generation] [cuda]
# `gateway` (sealgate, also for engine, events and console) and `generation` (sealgate:generation)
# are built where none is named. From the environment:
#   BUILDER      docker, podman or buildah
#   BASE, CUDA_BASE, TORCH_INDEX, EXTRAS   as the container files have them
#   BUILD_FLAGS  more words for the builder, such as --isolation=chroot
set -eu
cd "$(dirname "$0")/../.."

builder=${BUILDER:-}
for name in docker podman buildah; do
    if [ -z "$builder" ] && command -v "$name" >/dev/null; then builder=$name; fi
done
[ -n "$builder" ] || { echo "there is no docker, podman or buildah" >&2; exit 1; }

# Without it, podman and buildah drop the image's healthcheck.
format=
if [ "${builder##*/}" != docker ]; then format="--format=docker"; fi

# build TAG FILE [NAME=VALUE...]: an empty value leaves the file's own.
build() {
    tag=$1 file=$2
    shift 2
    for argument do
        shift
        if [ -n "${argument#*=}" ]; then set -- "$@" --build-arg "$argument"; fi
    done
    echo "building $tag"
    # shellcheck disable=SC2086 # they are words
    "$builder" build $format ${BUILD_FLAGS:-} "$@" -f "deploy/container/$file" -t "$tag" .
}

[ $# -gt 0 ] || set -- gateway generation
for image do
    case $image in
    gateway) build sealgate:latest Containerfile "BASE=${BASE:-}" "EXTRAS=${EXTRAS:-}" ;;
    generation)
        build sealgate:generation Containerfile "BASE=${BASE:-}" "TORCH_INDEX=${TORCH_INDEX:-}" \
            "EXTRAS=generation,otel,pkcs11,s3"
        ;;
    cuda) build sealgate:cuda Containerfile.cuda "BASE=${CUDA_BASE:-}" "EXTRAS=${EXTRAS:-}" ;;
    *) echo "there is no image $image" >&2; exit 2 ;;
    esac
done
