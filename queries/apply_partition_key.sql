-- access:  write
-- params:  $1 text  schema
--          $2 text  table
-- returns: name text, cascades bool
-- why:     a row whose value in one of these columns changes goes to another partition: PostgreSQL deletes it here and inserts it
--          there; null stands for an expression, on which any column may have a part; a
--          reference with ON UPDATE CASCADE moves rows so as it should
select distinct
  a.attname::text as name,
  exists (
    select from pg_catalog.pg_constraint as f
    where f.conrelid = c.oid and f.contype = 'f' and f.confupdtype = 'c'
  )::bool as cascades
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join lateral pg_catalog.pg_partition_tree(c.oid) as t
join pg_catalog.pg_partitioned_table as p on p.partrelid = t.relid
cross join lateral pg_catalog.unnest(p.partattrs::int2[]) as k(attnum)
left join pg_catalog.pg_attribute as a on a.attrelid = p.partrelid and a.attnum = k.attnum
where n.nspname = $1::text
  and c.relname = $2::text
order by 1
