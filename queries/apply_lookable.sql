-- access:  read
-- params:  $1 text  schema
--          $2 text  table
-- returns: rows int8, readable bool
-- why:     a table is looked through for rows that triggers made if it is there, may be read, and is not too large for
--          that by its estimate
select
  (select pg_catalog.sum(greatest(u.reltuples, 0))
   from pg_catalog.pg_class as u
   where u.oid = c.oid or u.oid in (select p.relid::oid from pg_catalog.pg_partition_tree(c.oid) as p))::int8 as rows,
  (pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
    and pg_catalog.has_table_privilege(c.oid, 'SELECT')
    and not pg_catalog.row_security_active(c.oid))::bool as readable
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = $1::text
  and c.relname = $2::text
