-- access:  scratch
-- params:  $1 text[]  names of functions, in lower case
-- returns: name text
-- why:     a select that calls one of these may give something else when it is run again, or over the same rows in another
--          order: functions that are not immutable, and aggregates but those that no order can change
select distinct p.proname::text as name
from pg_catalog.pg_proc as p
where pg_catalog.lower(p.proname::text) = any ($1)
  and (p.provolatile <> 'i' or p.prokind <> 'f' and p.proname not in ('count', 'max', 'min'))
order by 1
