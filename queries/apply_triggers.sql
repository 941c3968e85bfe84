-- access:  read
-- params:  $1 text  schema
--          $2 text  table
-- returns: on_insert bool, on_update bool
-- why:     rows that nobody's trigger can change need not be looked at again after they were written; triggers of single
--          partitions count
select
  coalesce(pg_catalog.bool_or(t.tgtype & 4 <> 0), false)::bool as on_insert,
  coalesce(pg_catalog.bool_or(t.tgtype & 16 <> 0), false)::bool as on_update
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_trigger as t on t.tgrelid = c.oid
  or t.tgrelid in (select p.relid::oid from pg_catalog.pg_partition_tree(c.oid) as p)
where n.nspname = $1::text
  and c.relname = $2::text
  and not t.tgisinternal
  and t.tgenabled <> 'D'
