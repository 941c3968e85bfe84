-- access:  scratch
-- params:  $1 text  schema-qualified name of a view
-- returns: type_name text, deterministic bool
-- why:     what a sub-select returns can be looked for in the dump's text only where it is of the column's own type
select
  pg_catalog.format_type(a.atttypid, null)::text as type_name,
  coalesce((select c.collisdeterministic from pg_catalog.pg_collation as c where c.oid = a.attcollation), true)::bool as deterministic
from pg_catalog.pg_attribute as a
where a.attrelid = $1::text::pg_catalog.regclass::pg_catalog.oid and a.attnum > 0
order by a.attnum
