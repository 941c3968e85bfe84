-- access:  read
-- params:  $1 int4  process that waits for a lock
-- returns: pid int4, application text, user_name text, state text, relation text
-- why:     asked from a second session while the first one waits: afterwards nobody knows any more who was in the way
select
    b.pid::int4 as pid,
    coalesce(a.application_name, '')::text as application,
    coalesce(a.usename, '')::text as user_name,
    coalesce(a.state, '')::text as state,
    (
        select pg_catalog.format('%s.%s', n.nspname, c.relname)
        from pg_catalog.pg_locks as w
        join pg_catalog.pg_class as c on c.oid = w.relation
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where w.pid = $1::int4 and (w.locktype = 'tuple' or (w.locktype = 'relation' and not w.granted))
        order by w.granted, n.nspname, c.relname
        limit 1
    )::text as relation
from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::int4)) as b(pid)
left join pg_catalog.pg_stat_activity as a on a.pid = b.pid
order by b.pid
