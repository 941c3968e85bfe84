-- access:  write
-- params:  none
-- returns: relation oid, file oid
-- why:     a TRUNCATE is counted nowhere; it gives a table another file, and writes so into pg_class
select
  c.oid as relation,
  c.relfilenode as file
from pg_catalog.pg_class as c
where c.relkind in ('r', 'm')
  and c.relpersistence <> 't'
  and c.xmin::text in (
    select l.transactionid::text
    from pg_catalog.pg_locks as l
    where l.pid = pg_catalog.pg_backend_pid()
      and l.locktype = 'transactionid'
      and l.mode = 'ExclusiveLock'
  )
order by c.oid
