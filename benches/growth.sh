#!/usr/bin/env bash
# How the cost of one accident grows with the backup, in one run; see benches/README.md.
# usage: growth.sh [SCALE …]      default 0.1 0.5 2; RUNS=3, ROWBACK=target/release/rowback
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
source "$root/scripts/cluster.sh"
scales=("$@")
[[ ${#scales[@]} -gt 0 ]] || scales=(0.1 0.5 2)
runs=${RUNS:-3}
rowback=${ROWBACK:-$root/target/release/rowback}
[[ -x $rowback ]] || { echo "no binary at $rowback; run make bench-growth" >&2; exit 3; }

work=$(mktemp -d /tmp/rowback-growth-XXXXXX)
chmod 755 "$work"
export HOME=$work TMPDIR=$work
trap 'rm -rf "$work"' EXIT
cluster_start growth shared_buffers=512MB max_wal_size=8GB synchronous_commit=off autovacuum=off

measured() { # SCALE STAGE ARGUMENTS…: adds the seconds and the peak memory of one rowback command to the results
  local scale=$1 stage=$2
  shift 2
  figures=$(python3 "$here/measure.py" "$work/out" "$rowback" "$@" 2>"$work/err") || { cat "$work/err" >&2; exit 1; }
  echo "$scale $stage $figures" >>"$work/results"
}

for scale in "${scales[@]}"; do
  echo "making the shop at scale $scale …" >&2
  createdb -T template0 -E UTF8 shop
  psql -Xqd shop -v ON_ERROR_STOP=1 -v scale="$scale" -f "$here/shop.sql"
  pg_dump -Fc -f "$work/shop.dump" shop
  # Accident and recovery end in the state without the accident; what must come back is known from there.
  createdb -T shop damaged
  psql -Xqd damaged -v ON_ERROR_STOP=1 -f "$here/accident.sql"
  psql -Xqd shop -v ON_ERROR_STOP=1 -f <(sed '/^delete/d' "$here/accident.sql")
  database_sums shop >"$work/wanted"
  rows=$(psql -XqAtd shop -c "select sum(n) from (select count(*) as n from shoppers union all select count(*) from purchases
    union all select count(*) from purchase_lines union all select count(*) from settlements union all select count(*) from visits) as needed")
  echo "$scale facts $rows $(stat -c %s "$work/shop.dump")" >>"$work/results"
  dropdb shop
  for ((run = 1; run <= runs; run++)); do
    echo "scale $scale, run $run of $runs …" >&2
    createdb -T damaged live
    psql -Xqd live -c checkpoint
    sync
    url=$(cluster_url live)
    rm -rf "$work/case"
    measured "$scale" recover recover "$here/recipe.toml" --backup "$work/shop.dump" --live "$url" --case "$work/case" --json
    measured "$scale" apply apply "$work/case" --live "$url" --confirm live --json
    measured "$scale" verify verify "$work/case" --live "$url" --json
    [[ "$(database_sums live)" == "$(cat "$work/wanted")" ]] || { echo "scale $scale: rowback did not recover the database" >&2; exit 1; }
    dropdb live
  done
  dropdb damaged
done
python3 "$here/growth.py" "$work/results"
