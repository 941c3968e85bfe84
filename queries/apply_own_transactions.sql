-- access:  write
-- params:  none
-- returns: version text
-- why:     the numbers that rows written by the open transaction carry, those of its savepoints and of triggers that catch errors
--          included: a transaction holds a lock on each of its numbers
select l.transactionid::text as version
from pg_catalog.pg_locks as l
where l.pid = pg_catalog.pg_backend_pid()
  and l.locktype = 'transactionid'
  and l.mode = 'ExclusiveLock'
order by 1
