-- access:  write
-- params:  $1 text  schema
--          $2 text  table
-- returns: name text, type_name text, readable bool, settable bool, generated bool
-- why:     a reference of the recipe is asked as live is now: a table or column that has gone refers to nothing, one that
--          may not be read may refer to everything
select
  a.attname::text as name,
  pg_catalog.format_type(a.atttypid, a.atttypmod)::text as type_name,
  pg_catalog.has_table_privilege(c.oid, 'SELECT')::bool as readable,
  (a.attgenerated = '' and a.attidentity <> 'a')::bool as settable,
  (a.attgenerated <> '')::bool as generated
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = $1::text
  and c.relname = $2::text
order by a.attnum
