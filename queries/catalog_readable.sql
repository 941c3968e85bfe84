-- access:  read
-- params:  $1 text[]  schemas
--          $2 text[]  tables, one for each schema
-- returns: schema text, name text, may_enter bool, may_select bool, hides_rows bool
-- why:     a role that lacks a privilege is told before anything is read, with all tables at once. SELECT may have been
--          granted column by column; row security that applies makes reading an error
select
  n.nspname::text as schema,
  c.relname::text as name,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE')::bool as may_enter,
  coalesce(pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')), true)::bool as may_select,
  pg_catalog.row_security_active(c.oid)::bool as hides_rows
from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) as wanted(schema, name)
join pg_catalog.pg_namespace as n on n.nspname = wanted.schema
join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = wanted.name
left join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
group by n.oid, n.nspname, c.oid, c.relname
order by n.nspname, c.relname
