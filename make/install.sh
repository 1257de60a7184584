#!/usr/bin/env bash
# Install packages into an environment, which is made by PYTHON where there is none:
# make/install.sh ENVIRONMENT ARGUMENT…, as `pip install` takes them. In CI uv does it, with a tenth of
# the processor's time, by what pip's configuration says of indexes and constraints; where uv is not to
# be had or fails, pip does.
set -euo pipefail

environment=$1 python=$1/bin/python uv=.venv-uv/bin/uv
shift

made() {
  [ -x "$python" ] && return
  local with
  with=$(command -v "${PYTHON:-python3}")
  [ -n "${CI:-}" ] && [ -x "$uv" ] \
    && "$uv" venv --quiet --seed --allow-existing --python "$with" "$environment" && return
  "$with" -m venv "$environment"
}

# What pip is told: by its variable, or else in its files.
pips() {
  printenv "PIP_${1^^}" || "$python" -m pip config list \
    | sed -n "s/^\(global\|install\)\.${1//_/-}='\(.*\)'\$/\2/p" | tail -n 1
}

by_uv() {
  [ -x "$uv" ] || return 1
  local -x UV_FIND_LINKS UV_CONSTRAINT UV_DEFAULT_INDEX UV_INDEX
  UV_FIND_LINKS=$(pips find_links) UV_CONSTRAINT=$(pips constraint)
  UV_DEFAULT_INDEX=$(pips index_url) UV_INDEX=$(pips extra_index_url)
  for name in UV_FIND_LINKS UV_CONSTRAINT UV_DEFAULT_INDEX UV_INDEX; do
    [ -n "${!name}" ] || unset "$name"
  done
  SSL_CERT_FILE=${SSL_CERT_FILE:-${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}} \
    "$uv" pip install --quiet --python "$python" "$@"
}

made
[ -n "${CI:-}" ] && by_uv "$@" && exit
# CI compiles only what is imported.
exec "$python" -m pip install --quiet --disable-pip-version-check ${CI:+--no-compile} "$@"
