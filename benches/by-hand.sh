#!/usr/bin/env bash
# The same recovery as an expert does it by hand, knowing every table: restore the five tables that matter without their
# indexes, copy the wanted rows out, copy them into live, insert what is missing, mend the links.
# usage: by-hand.sh DUMP LIVE_DB       PGHOST, PGPORT, PGUSER as usual; prints "stage seconds" lines
# WANTED is the condition for the shoppers, over s; without it those of store 7. FULL=1: the whole backup is restored first, with
# indexes and foreign keys, as runbooks say.
set -euo pipefail
dump=$1 live=$2 wanted=${WANTED:-s.store_id = 7} scratch=by_hand_$$ files=$(mktemp -d)
export PGOPTIONS='-c client_min_messages=warning'
trap 'dropdb --if-exists -f "$scratch"; rm -rf "$files"' EXIT
tables=(shoppers purchases purchase_lines settlements visits)

mark=$EPOCHREALTIME
stage() { awk -v n="$1" -v a="$mark" -v b="$EPOCHREALTIME" 'BEGIN { printf "%s %.3f\n", n, b - a }'; mark=$EPOCHREALTIME; }

createdb -T template0 "$scratch"
if [[ ${FULL:-} ]]; then
  pg_restore -j2 -O -x -d "$scratch" "$dump"
else
  pg_restore --section=pre-data -O -x -d "$scratch" "$dump"
  pg_restore --section=data -j2 "${tables[@]/#/--table=}" -d "$scratch" "$dump"
fi
stage load

rows_of() { # TABLE: the rows of it that hang on the wanted shoppers
  case $1 in
    shoppers) echo "select s.* from shoppers s where $wanted" ;;
    purchases) echo "select p.* from purchases p join shoppers s on s.id = p.shopper_id where $wanted" ;;
    purchase_lines) echo "select l.* from purchase_lines l join purchases p on p.id = l.purchase_id join shoppers s on s.id = p.shopper_id where $wanted" ;;
    settlements) echo "select t.* from settlements t join purchases p on p.id = t.purchase_id join shoppers s on s.id = p.shopper_id where $wanted" ;;
    visits) echo "select v.id, v.shopper_id from visits v join shoppers s on s.id = v.shopper_id where $wanted" ;;
  esac
}
copies=()
for table in "${tables[@]}"; do copies+=(-c "\\copy ($(rows_of "$table")) to '$files/$table' (format binary)"); done
psql -qXd "$scratch" -v ON_ERROR_STOP=1 "${copies[@]}"
stage extract

{
  echo "begin;"
  for table in "${tables[@]}"; do
    if [[ $table == visits ]]; then shape="id bigint, shopper_id bigint"; else shape="like $table"; fi
    echo "create temporary table back_$table ($shape);"
    echo "\\copy back_$table from '$files/$table' (format binary)"
  done
  for table in "${tables[@]:0:4}"; do echo "insert into $table select * from back_$table on conflict do nothing;"; done
  echo "update visits v set shopper_id = b.shopper_id from back_visits b where b.id = v.id and v.shopper_id is null;"
  echo "commit;"
} | psql -qXd "$live" -v ON_ERROR_STOP=1 -f -
stage apply
