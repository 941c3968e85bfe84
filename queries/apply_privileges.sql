-- access:  read
-- params:  $1 text[]  schemas
--          $2 text[]  tables, one for each schema
-- returns: schema text, name text, may_enter bool, may_select bool, may_insert bool, may_update bool, may_delete bool, hides_rows bool, may_temp bool, closed_inserts text[], closed_updates text[]
-- why:     a role that lacks a privilege is told before anything is written, with all tables at once. INSERT and UPDATE may
--          have been granted column by column, so the columns are named that are closed; SELECT may not: batches ask for
--          tableoid, which is open to those only who may read the whole table. Rows wait in temporary tables
select
  n.nspname::text as schema,
  c.relname::text as name,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE')::bool as may_enter,
  pg_catalog.has_table_privilege(c.oid, 'SELECT')::bool as may_select,
  pg_catalog.has_any_column_privilege(c.oid, 'INSERT')::bool as may_insert,
  pg_catalog.has_any_column_privilege(c.oid, 'UPDATE')::bool as may_update,
  pg_catalog.has_table_privilege(c.oid, 'DELETE')::bool as may_delete,
  pg_catalog.row_security_active(c.oid)::bool as hides_rows,
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')::bool as may_temp,
  closed.inserts::text[] as closed_inserts,
  closed.updates::text[] as closed_updates
from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) as wanted(schema, name)
join pg_catalog.pg_namespace as n on n.nspname = wanted.schema
join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = wanted.name
cross join lateral (
  select
    coalesce(pg_catalog.array_agg(a.attname order by a.attnum) filter (where not pg_catalog.has_column_privilege(c.oid, a.attnum, 'INSERT')), '{}') as inserts,
    coalesce(pg_catalog.array_agg(a.attname order by a.attnum) filter (where not pg_catalog.has_column_privilege(c.oid, a.attnum, 'UPDATE')), '{}') as updates
  from pg_catalog.pg_attribute as a
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) as closed
order by n.nspname, c.relname
