#!/usr/bin/env bash
# A recovery by hand and by rowback on the same machine in the same run; see benches/README.md.
# usage: run.sh [SCALE]      RUNS=3, ROWBACK=target/release/rowback, FULL=1: also by hand with the whole backup restored
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
source "$root/scripts/cluster.sh"
scale=${1:-0.1} runs=${RUNS:-3}
rowback=${ROWBACK:-$root/target/release/rowback}
[[ -x $rowback ]] || { echo "no binary at $rowback; run make bench" >&2; exit 3; }

work=$(mktemp -d /tmp/rowback-bench-XXXXXX)
chmod 755 "$work"
export HOME=$work TMPDIR=$work
trap 'rm -rf "$work"' EXIT
cluster_start bench shared_buffers=512MB max_wal_size=8GB synchronous_commit=off autovacuum=off

echo "making the shop at scale $scale …" >&2
createdb -T template0 -E UTF8 shop
psql -Xqd shop -v ON_ERROR_STOP=1 -v scale="$scale" -f "$here/shop.sql"
pg_dump -Fc -f "$work/shop.dump" shop
createdb -T shop damaged
psql -Xqd damaged -v ON_ERROR_STOP=1 -f "$here/accident.sql"
psql -Xqd shop -v ON_ERROR_STOP=1 -f <(sed '/^delete/d' "$here/accident.sql")
database_sums shop >"$work/wanted"
printf 'scale %s: dump of %s MB, %s rows lost and %s links cut\n' "$scale" "$(($(stat -c %s "$work/shop.dump") / 1000000))" \
  "$(psql -XqAtd shop -c "select count(distinct s.id) + count(distinct p.id) * 5 from shoppers s left join purchases p on p.shopper_id = s.id where s.store_id = 7")" \
  "$(psql -XqAtd shop -c "select count(*) from visits v join shoppers s on s.id = v.shopper_id where s.store_id = 7")"

fresh_live() { dropdb --if-exists -f live; createdb -T damaged live; psql -Xqd live -c 'checkpoint'; sync; }
check() { [[ "$(database_sums live)" == "$(cat "$work/wanted")" ]] || { echo "$1 did not recover the database" >&2; exit 1; }; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }

for ((run = 1; run <= runs; run++)); do
  echo "run $run of $runs …" >&2
  fresh_live
  start=$EPOCHREALTIME
  FULL='' "$here/by-hand.sh" "$work/shop.dump" live | sed 's/^/hand /' >>"$work/results"
  echo "hand total $(since "$start")" >>"$work/results"
  check "by-hand.sh"
  if [[ ${FULL:-} ]]; then
    fresh_live
    start=$EPOCHREALTIME
    FULL=1 "$here/by-hand.sh" "$work/shop.dump" live >/dev/null
    echo "full total $(since "$start")" >>"$work/results"
    check "by-hand.sh, the whole backup restored,"
  fi

  fresh_live
  url=$(cluster_url live)
  rm -rf "$work/case"
  measured() { # STAGE ARGUMENTS…: seconds and peak memory of one rowback command; prints the seconds
    local stage=$1 figures
    shift
    figures=$(python3 "$here/measure.py" "$work/$stage.json" "$rowback" "$@" 2>"$work/$stage.err") || { cat "$work/$stage.err" >&2; exit 1; }
    echo "rowback memory ${figures#* }" >>"$work/results"
    echo "${figures% *}"
  }
  recover=$(measured recover recover "$here/recipe.toml" --backup "$work/shop.dump" --live "$url" --case "$work/case" --json)
  apply=$(measured apply apply "$work/case" --live "$url" --confirm live --json)
  verify=$(measured verify verify "$work/case" --live "$url" --json)
  check rowback
  python3 "$here/stages.py" "$work/recover.json" >>"$work/results"
  awk -v r="$recover" -v a="$apply" -v v="$verify" 'BEGIN {
    printf "rowback apply %.3f\nrowback verify %.3f\nrowback total %.3f\nrowback unverified %.3f\n", a, v, r + a + v, r + a }' >>"$work/results"
done
python3 "$here/summary.py" "$work/results"
