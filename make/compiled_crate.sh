#!/usr/bin/env bash
# compiled_crate.sh FRONT TARGET [done]: spares cargo to compile the crate in FRONT once more.
#
# Cargo compiles a crate whose files are younger than what TARGET has of it, as all are in a new
# checkout. With `done`, TARGET notes that it has been compiled from these files. Without, they get an
# old time if that is so; a note of other files goes.
set -euo pipefail
front=$1 note=$2/compiled

files() { find "$front" -path "$front/target" -prune -o -type f ! -name Cargo.lock "$@"; }
sums() { files -print0 | LC_ALL=C sort --zero-terminated | xargs --null sha256sum; }

if [ "${3:-}" = done ]; then
  mkdir -p "$2"
  sums > "$note"
elif [ "$(sums)" = "$(cat "$note" 2>/dev/null)" ]; then
  files -exec touch --date=2000-01-01 {} +
else
  rm -f "$note"
fi
