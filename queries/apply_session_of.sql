-- access:  read
-- params:  $1 text  number of a transaction, as apply_begin_mark gave it
-- returns: pid int4, application text, state text
-- why:     a transaction that is still open belongs to a session that can be waited for or ended;
--          pg_stat_activity shows the lower 32 bits of the number
select
    a.pid::int4 as pid,
    coalesce(a.application_name, '')::text as application,
    coalesce(a.state, '')::text as state
from pg_catalog.pg_stat_activity as a
where a.backend_xid::text::int8 = ($1::text::int8 & 4294967295)
order by a.pid
