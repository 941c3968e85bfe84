-- access:  write
-- params:  none
-- returns: relation oid, file oid, schema text, name text
-- why:     a TRUNCATE is counted nowhere; it gives a table another file, and locks it for everybody until the end of the
--          transaction, as making a partition does; partitions are named by their root
select
  c.oid as relation,
  c.relfilenode as file,
  n.nspname::text as schema,
  r.relname::text as name
from pg_catalog.pg_locks as l
join pg_catalog.pg_class as c on c.oid = l.relation
join pg_catalog.pg_class as r on r.oid = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid)
join pg_catalog.pg_namespace as n on n.oid = r.relnamespace
where l.pid = pg_catalog.pg_backend_pid()
  and l.locktype = 'relation'
  and l.mode = 'AccessExclusiveLock'
  and c.relkind in ('r', 'm', 'p')
  and c.relpersistence <> 't'
order by c.oid
