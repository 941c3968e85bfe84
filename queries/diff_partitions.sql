-- access:  read
-- params:  $1 text  schema
--          $2 text  partitioned table
-- returns: bound text
-- why:     a row without a partition is refused; each leaf's whole constraint, its parents' included, tells which rows it
--          takes. A default partition that is alone takes every row and has no constraint
select coalesce(pg_catalog.pg_get_partition_constraintdef(t.relid), 'true')::text as bound
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join lateral pg_catalog.pg_partition_tree(c.oid) as t
where n.nspname = $1::text
  and c.relname = $2::text
  and t.isleaf
order by t.relid
