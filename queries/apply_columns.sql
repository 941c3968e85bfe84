-- access:  write
-- params:  $1 text  schema
--          $2 text  table
-- returns: name text, type_name text, in_key bool, numeric bool, nullable bool
-- why:     the columns that can be set back when a trigger moved them: neither generated nor identity always; the key is
--          the primary key, without which rows cannot be told apart
select
  a.attname::text as name,
  pg_catalog.format_type(a.atttypid, a.atttypmod)::text as type_name,
  (a.attnum = any (i.indkey))::bool as in_key,
  (t.typcategory = 'N')::bool as numeric,
  (not a.attnotnull)::bool as nullable
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_index as i on i.indrelid = c.oid and i.indisprimary
join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type as t on t.oid = a.atttypid
where n.nspname = $1::text
  and c.relname = $2::text
  and (a.attnum = any (i.indkey) or (a.attgenerated = '' and a.attidentity <> 'a'))
order by a.attnum
