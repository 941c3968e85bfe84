#!/usr/bin/env bash
# Installs what building and testing rowback needs and the machine lacks. Debian and Ubuntu: with apt-get (and sudo
# where we are not root). Elsewhere: says what is needed. Changes nothing when everything is there.
set -euo pipefail

say() { printf 'install: %s\n' "$*" >&2; }

has_server() {
  local bin
  for bin in "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
             /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    [[ -x $bin/initdb && -x $bin/postgres && -x $bin/psql && -x $bin/pg_dump && -x $bin/pg_restore ]] && return 0
  done
  return 1
}
has_openssl() { command -v pkg-config >/dev/null && pkg-config --exists openssl; }
has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

if ! command -v cargo >/dev/null; then
  say "Rust is missing. See https://rustup.rs (1.90 or newer), then run the same command again. Nothing was changed."
  exit 1
fi

missing=()
has_server || missing+=(postgresql)
has_openssl || missing+=(libssl-dev pkg-config)
command -v cc >/dev/null || missing+=(build-essential)
has_venv || missing+=(python3-venv)
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
  say "this is neither Debian nor Ubuntu. Please install: a PostgreSQL server with its client programs (13 or newer), the"
  say "headers of OpenSSL with pkg-config, a C compiler, Python 3 with venv. Missing here: ${missing[*]} (Debian's names)."
  say "Then run the same command again. Nothing was changed."
  exit 1
fi

root=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || { say "missing: ${missing[*]}. Neither root nor sudo: install them as root. Nothing was changed."; exit 1; }
  root=(sudo)
fi
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" >&2; }
add() { apt install --no-install-recommends "$@" || { apt update && apt install --no-install-recommends "$@"; }; }

say "installing ${missing[*]}"
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  # Only the programs are wanted: Debian would also make a cluster and start it at every boot.
  add postgresql-common
  settings=/etc/postgresql-common/createcluster.conf
  if [[ -f $settings ]] && ! grep -qE '^create_main_cluster' "$settings"; then
    "${root[@]}" sh -c "echo 'create_main_cluster = false' >>$settings"
    trap '"${root[@]}" sed -i "/^create_main_cluster = false$/d" "$settings"' EXIT
  fi
fi
add "${missing[@]}"
has_server || { say "no PostgreSQL server programs even after installing; is the package broken?"; exit 1; }
