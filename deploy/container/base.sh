#!/bin/sh
# Makes a base for the container files from Debian's packages, where no registry of images can be
# reached; as root, by mmdebstrap and buildah:
#   deploy/container/base.sh [TAG]      # localhost/sealgate-base where none is named
#   BASE=localhost/sealgate-base deploy/container/build.sh
# From the environment:
#   RELEASE   of Debian, trixie where none is named
#   PYTHON    the folder of another installed Python, which is taken in the place of Debian's
set -eu
tag=${1:-localhost/sealgate-base}
packages=ca-certificates
if [ -z "${PYTHON:-}" ]; then
    packages=$packages,python3,python3-venv,python-is-python3
else
    # What a Python that was built elsewhere is linked to.
    packages=$packages,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8t64
    packages=$packages,libsqlite3-0,libssl3t64,libuuid1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --include="$packages" "${RELEASE:-trixie}" "$folder/root.tar"
container=$(buildah from scratch)
trap 'rm -rf "$folder"; buildah rm "$container" >/dev/null' EXIT
buildah add --quiet "$container" "$folder/root.tar" / >/dev/null
if [ -n "${PYTHON:-}" ]; then
    root=$(buildah mount "$container")
    tar --directory "$PYTHON" --exclude=__pycache__ --exclude=site-packages --exclude=test \
        --exclude='*.a' --create --file - bin lib | tar --directory "$root/usr/local" --extract --file -
    ln -sf python3 "$root/usr/local/bin/python"
    chroot "$root" ldconfig
fi
buildah commit --quiet "$container" "$tag" >/dev/null
echo "$tag"
