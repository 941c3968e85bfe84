-- access:  write
-- params:  $1 text[]  tables of which rows were inserted, as SQL names them
--          $2 text    name of a table that triggers moved, without its schema
-- returns: numbering bool
-- why:     only a BEFORE INSERT trigger can take a number for its row from another table, and then its source names that
--          table; what an AFTER trigger counts there is true and stays. The root of a partitioned table is asked with
--          its partitions
select
  (pg_catalog.count(*) > 0)::bool as numbering
from pg_catalog.unnest($1::text[]) as w(name)
cross join lateral (
  select w.name::pg_catalog.regclass::oid as relid
  union
  select p.relid::oid as relid
  from pg_catalog.pg_partition_tree(w.name::pg_catalog.regclass) as p
) as r
join pg_catalog.pg_trigger as t on t.tgrelid = r.relid
join pg_catalog.pg_proc as f on f.oid = t.tgfoid
where not t.tgisinternal
  and t.tgenabled in ('O', 'A')
  and t.tgtype & 7 = 7
  and pg_catalog.strpos(pg_catalog.replace(pg_catalog.lower(f.prosrc), '""', '"'), pg_catalog.lower($2::text)) > 0
