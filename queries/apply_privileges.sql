-- access:  read
-- params:  $1 text[]  schemas
--          $2 text[]  tables, one for each schema
-- returns: schema text, name text, may_enter bool, may_insert bool, may_update bool, may_delete bool, hides_rows bool
-- why:     a role that lacks a privilege is told before anything is written, with all tables at once. INSERT and UPDATE may
--          have been granted column by column: which columns a batch needs is for the batch to find out
select
  n.nspname::text as schema,
  c.relname::text as name,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE')::bool as may_enter,
  pg_catalog.has_any_column_privilege(c.oid, 'INSERT')::bool as may_insert,
  pg_catalog.has_any_column_privilege(c.oid, 'UPDATE')::bool as may_update,
  pg_catalog.has_table_privilege(c.oid, 'DELETE')::bool as may_delete,
  pg_catalog.row_security_active(c.oid)::bool as hides_rows
from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) as wanted(schema, name)
join pg_catalog.pg_namespace as n on n.nspname = wanted.schema
join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = wanted.name
order by n.nspname, c.relname
