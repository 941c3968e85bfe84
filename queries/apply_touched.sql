-- access:  write
-- params:  none
-- returns: schema text, name text, rows int8, updated int8, inserted int8, deleted int8
-- why:     what this session has updated, inserted and deleted lately, triggers included, as PostgreSQL counts it; partitions are named by
--          their root; a table too large to be read for the sake of a few rows shows by its row estimate
select
  n.nspname::text as schema,
  c.relname::text as name,
  pg_catalog.max(greatest(u.reltuples, 0))::int8 as rows,
  pg_catalog.sum(s.n_tup_upd)::int8 as updated,
  pg_catalog.sum(s.n_tup_ins)::int8 as inserted,
  pg_catalog.sum(s.n_tup_del)::int8 as deleted
from pg_catalog.pg_stat_xact_user_tables as s
join pg_catalog.pg_class as u on u.oid = s.relid
join pg_catalog.pg_class as c on c.oid = coalesce(pg_catalog.pg_partition_root(s.relid), s.relid)
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where (s.n_tup_upd > 0 or s.n_tup_ins > 0 or s.n_tup_del > 0)
  and u.relpersistence <> 't'
group by n.nspname, c.relname
order by 1, 2
