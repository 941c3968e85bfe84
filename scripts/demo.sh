#!/usr/bin/env bash
# A rescue in front of your eyes: a shop, a backup, an accident, life going on, and rowback. Works as root or not, in a
# private PostgreSQL cluster under /tmp that is gone when the script ends. ROWBACK names the binary.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/scripts/cluster.sh"
rowback=${ROWBACK:-$root/target/debug/rowback}
place=$root/target/demo
[[ -x $rowback ]] || { echo "no binary at $rowback; run make demo" >&2; exit 3; }

bold='' plain=''
[[ -t 1 && -z ${NO_COLOR:-} ]] && bold=$'\e[1m' plain=$'\e[0m'
chapter() { printf '\n%s── %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; }
counts() {
  psql -XqAt -F ' ' -d "$1" -c "
    select string_agg(format('%s %s', n, t), ', ' order by o) from (values
      (1, 'customers', (select count(*) from customers)), (2, 'orders', (select count(*) from orders)),
      (3, 'order lines', (select count(*) from order_items)), (4, 'payments', (select count(*) from payments)),
      (5, 'reviews with an author', (select count(customer_id) from reviews))) as x(o, t, n)"
}

rm -rf "$place"
mkdir -p "$place"
cluster_start demo
live=$(cluster_url shop)

chapter "A live database: five shops in one, and last night's backup"
createdb -T template0 -E UTF8 shop
psql -Xqd shop -v ON_ERROR_STOP=1 -f "$root/examples/shop.sql"
echo "  $(counts shop)"
show "pg_dump -Fc shop > shop.dump"
pg_dump -Fc -f "$place/shop.dump" shop
# The same shop without the accident, to compare with at the end. rowback never sees it.
createdb -T shop shop_without_accident
psql -Xqd shop_without_accident -v ON_ERROR_STOP=1 -f "$root/examples/later.sql"

chapter "The accident: the wrong tenant is closed, and the cascade takes what hangs on its customers"
show "$(grep -v '^--' "$root/examples/accidents/deleted-where.sql")"
psql -Xqd shop -v ON_ERROR_STOP=1 -f "$root/examples/accidents/deleted-where.sql"
echo "  $(counts shop)"

chapter "Nobody notices. The other shops go on: new customers, new orders, new prices"
psql -Xqd shop -v ON_ERROR_STOP=1 -f "$root/examples/later.sql"
echo "  $(counts shop)"
echo "  Restoring the whole backup now would throw this away."

chapter "The rescue: what to recover"
grep -v '^#' "$root/examples/deleted-where.toml"
echo
show "rowback recover deleted-where.toml --backup shop.dump --live … --case case"
"$rowback" recover "$root/examples/deleted-where.toml" --backup "$place/shop.dump" --live "$live" --case "$place/case"

chapter "Nothing has been written yet. Now it is"
show "rowback apply case --confirm shop"
"$rowback" apply "$place/case" --confirm shop

chapter "Is it true?"
show "rowback verify case"
"$rowback" verify "$place/case"

chapter "What came back, and what was left alone"
echo "  $(counts shop)"
if difference=$(diff <(database_digest shop_without_accident) <(database_digest shop)); then
  echo "  Every row of every table is what it would be without the accident: the lost rows are back under their old"
  echo "  keys, and the new customers, orders and prices are untouched."
else
  echo "  These rows differ from a shop without the accident:"
  head -n 20 <<<"$difference"
  exit 1
fi

chapter "What next"
echo "  The case directory: $place/case"
echo "  It holds the plan, the SQL of every batch (runs with psql, too), the undo files and the certificate."
echo "  Look:     $rowback report $place/case      (or open $place/case/report.html)"
echo "  Recipes:  $root/examples/*.toml, one for each kind of accident; the README explains every line"
if [[ -t 0 ]]; then
  echo "  The shop is still running. In another terminal:"
  echo "    psql '$live'"
  echo "    $rowback undo $place/case --confirm shop"
  read -r -p "  Press Enter to stop it. " _ || true
fi
