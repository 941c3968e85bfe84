#!/usr/bin/env bash
# Recovers real databases from real accidents, from the backup to the check.
# usage: run.sh DIR [name …]    DIR holds the datasets, names are dataset-number ("pagila-1"), with -plain behind it when
# the backup is to be a plain SQL dump of the restored database; without names: those that must pass. ROWBACK names the binary (default target/debug/rowback), KEEP=1 keeps the case directories.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
source "$root/scripts/cluster.sh"

# Named one by one: what is here is promised, and stays green.
must_pass=(northwind-1 northwind-2 pagila-1 pagila-2 pagila-3 pagila-4 billing-1 billing-2 billing-3 billing-4 billing-5 northwind-1-plain pagila-1-plain)
rowback=${ROWBACK:-$root/target/debug/rowback}

[[ $# -ge 1 && -d $1 ]] || { echo "run.sh: the folder of the datasets is not there: ${1:-(not named)}" >&2; exit 3; }
[[ -x $rowback ]] || { echo "run.sh: no binary at $rowback; run make test-datasets" >&2; exit 3; }
datasets=$(cd "$1" && pwd)
shift
names=("$@")
[[ ${#names[@]} -gt 0 ]] || names=("${must_pass[@]}")

# What undo cannot leave as it was, because live's own triggers write it whenever a row is put back or taken away.
stamped_columns() { case $1 in billing-*) echo '^updated_at$' ;; pagila-[23]) echo '^last_update$' ;; *) echo '^$' ;; esac; }
trigger_tables() { case $1 in billing-*) echo '^ledger\.audit\t' ;; *) echo '^$' ;; esac; }

work=$(mktemp -d /tmp/rowback-datasets-XXXXXX)
chmod 755 "$work"
export HOME=$work TMPDIR=$work
trap '[[ -n ${KEEP:-} ]] || rm -rf "$work"' EXIT
cluster_start datasets shared_buffers=128MB
export PGOPTIONS="-c client_min_messages=warning"

restore() { # DATASET: restored once, copied from then on
  psql -XAtd postgres -c "select 1 from pg_database where datname = '$1_backup'" | grep -q 1 && return
  createdb -T template0 -E UTF8 "$1_backup"
  pg_restore -O -x -d "$1_backup" "$datasets/$1/$1.dump"
  psql -Xqd "$1_backup" -c analyze
}

step() { # NAME ALLOWED_CODES COMMAND…: runs one rowback command, keeps what it said
  local name=$1 allowed=$2 code=0
  shift 2
  env -u PGOPTIONS "$rowback" "$@" >"$place/$name.out" 2>"$place/$name.err" || code=$?
  [[ " $allowed " == *" $code "* ]] && return
  problem="rowback $name ended with $code: $(grep -m1 -E '^error' "$place/$name.err" || tail -n1 "$place/$name.err")"
  return 1
}

same() { # WHAT EXPECTED FOUND [REGEX of lines to leave out]
  local differs
  differs=$(diff <(grep -vP "${4:-^$}" "$2") <(grep -vP "${4:-^$}" "$3") | grep '^[<>]' || true)
  [[ -z $differs ]] && return
  problem="$1: $(wc -l <<<"$differs") rows differ, first: $(head -n1 <<<"$differs" | cut -c1-160)"
  return 1
}

findings() { # CASE: checksums of all that a recovery found and planned, which are the same bytes for the same findings
  (cd "$1" && find diff batches undo plan.json staging -type f -print0 | sort -z | xargs -0 sha256sum)
}

recover() { # NAME
  local name=${1%-plain} dataset number url check backup
  dataset=${name%-*} number=${name##*-}
  place=$work/$1 problem=""
  mkdir -p "$place"
  restore "$dataset"
  backup=$datasets/$dataset/$dataset.dump
  if [[ $1 == *-plain ]]; then
    backup=$place/$dataset.sql
    pg_dump --create -f "$backup" "${dataset}_backup"
  fi
  dropdb --if-exists -f live && dropdb --if-exists -f before
  createdb -T "${dataset}_backup" live
  psql -Xqd live -v ON_ERROR_STOP=1 -f "$datasets/$dataset"/incident-"$number"-*.sql >/dev/null
  createdb -T live before
  url=$(cluster_url live)
  sed "s|@DATASET@|$datasets/$dataset|g" "$here/$name.toml" >"$place/recipe.toml"
  cd "$place"

  step recover "0 1" recover recipe.toml --backup "$backup" --live "$url" --case case --json || return
  step whole "0 1" recover recipe.toml --backup "$backup" --live "$url" --case whole --no-pushdown --json || return
  findings case >filtered.txt
  findings whole >whole.txt
  [[ -s whole.txt ]] || { problem="nothing was found to compare"; return 1; }
  same "leaving rows out while reading changed what was found" whole.txt filtered.txt || return

  if [[ $1 == *-plain ]]; then
    step archive "0 1" recover recipe.toml --backup "$datasets/$dataset/$dataset.dump" --live "$url" --case archive --json || return
    findings archive >archive.txt
    same "the plain dump gave other findings than the archive" archive.txt filtered.txt || return
  fi

  step apply "0 1" apply case --live "$url" --confirm live || return
  step verify "0 1" verify case --live "$url" || return
  check=$(psql -XqAt -d live -f "$datasets/$dataset"/check-"$number"-*.sql 2>&1)
  [[ -z $check ]] || { problem="check: $(wc -l <<<"$check") problems, first: $(head -n1 <<<"$check" | cut -c1-200)"; echo "$check" >"$place/check.out"; return 1; }

  database_digest live >applied.txt
  step apply-again "0 1" apply case --live "$url" --confirm live || return
  database_digest live >again.txt
  same "the second apply changed something" applied.txt again.txt || return

  step undo "0 1" undo case --live "$url" --confirm live || return
  database_digest live "$(stamped_columns "$name")" >undone.txt
  database_digest before "$(stamped_columns "$name")" >before.txt
  same "undo did not restore the state before apply" before.txt undone.txt "$(trigger_tables "$name")"
}

failed=0
for name in "${names[@]}"; do
  recipe=${name%-plain}.toml
  [[ -f $here/$recipe ]] || { printf '%-17s FAIL  no recipe tests/datasets/%s\n' "$name" "$recipe"; failed=1; continue; }
  start=$EPOCHREALTIME
  if recover "$name"; then result=ok; else result=FAIL failed=1; fi
  seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  counts=$(python3 "$here/counts.py" "$place/recover.out" 2>/dev/null || true)
  printf '%-17s %-5s %6s s  %s\n' "$name" "$result" "$seconds" "$counts"
  [[ -z $problem ]] || printf '                  %s\n' "$problem"
done
exit $failed
