# Sourced by the demo, the dataset runner and the benchmark: a private PostgreSQL cluster, socket only, that does not
# outlive the script. As root it runs as another user, because initdb refuses root.
# Afterwards: $pg_bin, $cluster (directory, also of the socket), PGHOST, PGPORT, PGUSER.
# shellcheck shell=bash

pg_bin() {
  local bin best="" major best_major=-1
  for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin "$(pg_config --bindir 2>/dev/null || true)"; do
    [[ -x $bin/initdb && -x $bin/postgres && -x $bin/pg_restore ]] || continue
    major=$("$bin/postgres" --version | grep -oE '[0-9]+' | head -1)
    ((major > best_major)) && best=$bin best_major=$major
  done
  [[ -n $best ]] || { echo "no PostgreSQL server programs found; run scripts/install.sh" >&2; return 3; }
  echo "$best"
}

# as_server COMMAND…: runs it as the user that owns the cluster.
as_server() {
  if [[ $EUID -ne 0 ]]; then "$@"; else setpriv --reuid=postgres --regid=postgres --init-groups "$@"; fi
}

# cluster_start NAME [setting=value …]
cluster_start() {
  local setting settings=()
  pg_bin=$(pg_bin) || return
  cluster=$(mktemp -d "/tmp/rowback-$1-XXXXXX")
  chmod 755 "$cluster"
  shift
  [[ $EUID -eq 0 ]] && chown postgres: "$cluster"
  for setting in unix_socket_permissions=0777 max_connections=60 "$@"; do settings+=(-c "$setting"); done
  (
    cd "$cluster" || exit
    as_server "$pg_bin/initdb" -D "$cluster/server" -U postgres --auth=trust --encoding=UTF8 --locale="$(locale -a | grep -im1 -E "^C\.utf-?8$" || echo C)" --no-sync >"$cluster/initdb.log" 2>&1 ||
      { cat "$cluster/initdb.log" >&2; exit 1; }
  ) || return
  cluster_run "${settings[@]}"
  export PGHOST=$cluster PGPORT=5432 PGUSER=postgres PATH=$pg_bin:$PATH
  unset PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGSSLMODE
  local tries=0
  until psql -XqAtd postgres -c 'select 1' >/dev/null 2>&1; do
    ((tries++ < 300)) || { cat "$cluster/server.log" >&2; return 1; }
    sleep 0.1
  done
}

# The server below a shell that stops it and removes the cluster when this script's end of a pipe closes, however the
# script ends; with $keep_cluster set to a file that exists then, both stay.
cluster_run() {
  local pipe=$cluster/alive
  mkfifo "$pipe"
  as_server "$pg_bin/postgres" -D "$cluster/server" -k "$cluster" -p 5432 -c listen_addresses= -c fsync=off "$@" \
    >"$cluster/server.log" 2>&1 </dev/null &
  disown
  # shellcheck disable=SC2016
  setsid sh -c 'read -r _ <"$1"; [ -e "$1.keep" ] && exit
    read -r server <"$2/server/postmaster.pid" && kill -QUIT "$server" && while kill -0 "$server"; do sleep 0.1; done
    rm -rf "$2"' watchdog "$pipe" "$cluster" >/dev/null 2>&1 &
  disown
  exec {cluster_alive}>"$pipe"
}

# cluster_url DATABASE
cluster_url() { echo "postgresql://postgres@/$1?host=$PGHOST&port=$PGPORT"; }

# Leaves the server running after the script's end.
cluster_keep() { touch "$cluster/alive.keep"; }

# database_digest DATABASE [COLUMNS]: every row of every table as `table<TAB>row`, sorted; equal text = equal databases.
# COLUMNS is a regular expression of column names to leave out.
database_digest() {
  local options="-c datestyle=ISO,MDY -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1 -c search_path= -c row_security=off -c timezone=UTC"
  PGOPTIONS=$options psql -XqAtd "$1" -v ON_ERROR_STOP=1 -c "
    select format('copy (select %L, %s from only %I.%I) to stdout;', n.nspname || '.' || c.relname,
                  coalesce(string_agg(format('%I', a.attname), ', ' order by a.attnum), 'null'), n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname !~ '${2:-^\$}'
    where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    group by n.nspname, c.relname order by n.nspname, c.relname" |
    PGOPTIONS=$options psql -XqAtd "$1" -v ON_ERROR_STOP=1 -f - | LC_ALL=C sort
}

# database_sums DATABASE: for each table its rows' number and two sums of their hashes; for databases too large for the above.
database_sums() {
  local options="-c datestyle=ISO,MDY -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1 -c search_path= -c row_security=off -c timezone=UTC"
  PGOPTIONS=$options psql -XqAtd "$1" -v ON_ERROR_STOP=1 -c "
    select format('select %L, count(*), sum(hashtextextended(t::text, 0)::numeric), sum(hashtextextended(t::text, 1)::numeric) from only %I.%I as t;',
                  n.nspname || '.' || c.relname, n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    order by n.nspname, c.relname" |
    PGOPTIONS=$options psql -XqAtd "$1" -v ON_ERROR_STOP=1 -f -
}
