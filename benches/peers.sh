#!/usr/bin/env bash
# Parts of the work, each against the tool that is best at it, in the same run; see benches/README.md.
# usage: peers.sh [SCALE] [WORK…]      RUNS=3, ROWBACK=target/release/rowback, FLOOR=target/release/examples/floor, PEERS=.venv-peers
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
source "$root/scripts/cluster.sh"
scale=${1:-0.1} runs=${RUNS:-3}
shift || true
works=("$@")
[[ ${#works[@]} -gt 0 ]] || works=(floor odd compare one extract damaged apply)
rowback=${ROWBACK:-$root/target/release/rowback} floor=${FLOOR:-$root/target/release/examples/floor}
python=${PEERS:-$root/.venv-peers}/bin
for program in "$rowback" "$floor" "$python/python"; do
  [[ -x $program ]] || { echo "$program is not there; run make bench" >&2; exit 3; }
done

work=$(mktemp -d /tmp/rowback-peers-XXXXXX)
chmod 755 "$work"
export HOME=$work TMPDIR=$work
trap 'rm -rf "$work"' EXIT
cluster_start peers listen_addresses=127.0.0.1 shared_buffers=512MB max_wal_size=8GB synchronous_commit=off autovacuum=off
echo "making the shop at scale $scale …" >&2
createdb -T template0 -E UTF8 shop
psql -Xqd shop -v ON_ERROR_STOP=1 -v scale="$scale" -f "$here/shop.sql"
pg_dump -Fc -f "$work/shop.dump" shop
share=$(awk -v s="$scale" 'BEGIN { printf "%d", 1000000 * s }') # a million rows at scale 1

fresh_live() { dropdb --if-exists -f live; createdb -T shop live; psql -Xqd live -v ON_ERROR_STOP=1 -c "$1" -c checkpoint; sync; }
url() { cluster_url "$1"; }
# timed WORK WHO COMMAND…: seconds and the process's own peak memory
timed() {
  local figures work_name=$1 who=$2
  shift 2
  figures=$(python3 "$here/measure.py" "$work/out" "$@" 2>"$work/err") || { cat "$work/err" >&2; exit 1; }
  echo "$work_name $who $figures" >>"$work/results"
}
recover() { # WORK ARGUMENTS…
  local name=$1
  shift
  rm -rf "$work/case"
  timed "$name" rowback "$rowback" recover --quiet --backup "$work/shop.dump" --live "$(url live)" --case "$work/case" --json "$@"
}

# What no tool can go below: decompressing the tables that matter, on all cores. Against it the whole rescue, verified.
floor() {
  timed floor decompress "$floor" "$work/shop.dump" public.shoppers public.purchases public.purchase_lines public.settlements public.visits
  fresh_live "$(cat "$here/accident.sql")"
  rm -rf "$work/case"
  timed floor rowback bash -c '
    "$0" recover "$1" --quiet --backup "$2" --live "$3" --case "$4" && "$0" apply --quiet "$4" --live "$3" --confirm live &&
      "$0" verify --quiet "$4" --live "$3"' "$rowback" "$here/recipe.toml" "$work/shop.dump" "$(url live)" "$work/case"
}

# A predicate that only PostgreSQL can decide.
odd() {
  local lost="delete from shoppers where md5(login) like '0%' and store_id < 21"
  fresh_live "$lost"
  timed odd by-hand env WANTED="md5(s.login) like '0%' and s.store_id < 21" "$here/by-hand.sh" "$work/shop.dump" live
  fresh_live "$lost"
  timed odd rowback bash -c '
    "$0" recover --quiet --table shoppers --where "md5(login) like '"'0%'"' and store_id < 21" --backup "$1" --live "$2" --case "$3" &&
      "$0" apply --quiet "$3" --live "$2" --confirm live && "$0" verify --quiet "$3" --live "$2"' "$rowback" "$work/shop.dump" "$(url live)" "$work/odd"
  rm -rf "$work/odd"
}

# 10,000 rows deleted and 2,000 changed among 2 million, at scale 1. reladiff compares two databases: its restore is not counted.
compare() {
  fresh_live "delete from settlements where purchase_id % 200 = 7; delete from purchase_lines where purchase_id % 200 = 7;
    delete from purchases where id % 200 = 7; update purchases set state = 'lost' where id % 1000 = 8"
  timed compare rowback "$rowback" compare --quiet --json --backup "$work/shop.dump" --live "$(url live)" --table purchases
  timed compare reladiff "$python/reladiff" "$(plain_url shop)" purchases "$(plain_url live)" purchases -k id -c % -s
}
plain_url() { echo "postgresql://postgres:none@127.0.0.1:$PGPORT/$1"; } # what every peer understands

# One row by its key: the whole way to a plan, against only finding it.
one() {
  local id=$((share + 17))
  fresh_live "delete from purchases where id = $id"
  recover one --table purchases --where "id = $id"
  if [[ -x ${PGDUMPX:-} ]]; then
    timed one pgdumpx "$PGDUMPX" find --unlimited "$work/shop.dump" public.purchases id "$id"
  fi
}

# Rows of a database into Parquet: rowback's stage "extract" alone, its rows are in scratch then.
extract() {
  fresh_live checkpoint
  cat >"$work/all.toml" <<'TOML'
[policy]
parents = "none"
max_rows = 100000000
[[recover]]
table = "purchases"
where = "true"
children = "none"
TOML
  rm -rf "$work/case"
  timed extract rowback-all "$rowback" extract --quiet --json "$work/all.toml" --backup "$work/shop.dump" --live "$(url live)" --case "$work/case"
  local memory
  memory=$(tail -1 "$work/results" | cut -d' ' -f4)
  echo "extract rowback $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["timings"]["extract"])' "$work/out") $memory" >>"$work/results"
  timed extract connectorx "$python/python" "$here/read_to_parquet.py" connectorx "$(plain_url live)" purchases "$work/rows.parquet"
  timed extract adbc "$python/python" "$here/read_to_parquet.py" adbc "$(plain_url live)" purchases "$work/rows.parquet"
}

# A damaged column in a million rows at scale 1: the diff, against reading the same rows by key with COPY.
damaged() {
  fresh_live "update purchases set amount = 0 where id <= $share"
  cat >"$work/damaged.toml" <<TOML
[policy]
max_rows = 100000000
[[recover]]
table = "purchases"
kind = "corrupted"
columns = ["amount"]
where = "id <= $share"
damaged = "live.amount = 0"
TOML
  rm -rf "$work/case"
  "$rowback" extract --quiet "$work/damaged.toml" --backup "$work/shop.dump" --live "$(url live)" --case "$work/case" >/dev/null
  timed damaged rowback "$rowback" diff --quiet --json "$work/case" --live "$(url live)"
  psql -XqAtd live -c "copy (select id from purchases where id <= $share order by md5(id::text)) to stdout" >"$work/keys"
  timed damaged copy psql -Xqd live -c 'create temporary table keys (id bigint)' -c "\\copy keys from '$work/keys'" \
    -c "\\copy (select p.* from purchases p join keys using (id)) to '$work/rows'"
}

# A million lost rows at scale 1: apply with guards, journal and undo, against COPY and one INSERT in one transaction.
apply() {
  local lost="delete from visits where id <= $share"
  fresh_live "$lost"
  cat >"$work/visits.toml" <<TOML
[policy]
max_rows = 100000000
[[recover]]
table = "visits"
where = "id <= $share"
TOML
  rm -rf "$work/case"
  "$rowback" recover --quiet "$work/visits.toml" --backup "$work/shop.dump" --live "$(url live)" --case "$work/case" >/dev/null
  psql -Xqd live -c checkpoint
  timed apply rowback "$rowback" apply --quiet --json "$work/case" --live "$(url live)" --confirm live
  psql -XqAtd shop -c "copy (select * from visits where id <= $share) to stdout" >"$work/rows"
  fresh_live "$lost"
  timed apply psql psql -Xqd live -v ON_ERROR_STOP=1 -1 -c 'create temporary table back (like visits)' -c "\\copy back from '$work/rows'" \
    -c 'insert into visits overriding system value select * from back on conflict do nothing'
}

for ((run = 1; run <= runs; run++)); do
  for name in "${works[@]}"; do
    echo "run $run of $runs: $name …" >&2
    "$name"
  done
done
[[ -z ${RESULTS:-} ]] || cp "$work/results" "$RESULTS"
python3 "$here/ratios.py" "$work/results"
