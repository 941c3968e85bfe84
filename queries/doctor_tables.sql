-- access:  read
-- params:  $1 oid[]  tables to ask about
-- returns: table_oid oid, may_enter bool, may_select bool, may_insert bool, may_update bool, may_delete bool, owns bool, hides_rows bool
-- why:     a batch reads whole rows (tableoid included, so column grants are not enough), but inserts and updates named
--          columns; row security that applies to this role makes reading an error rather than a short result
select
  c.oid::oid as table_oid,
  pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')::bool as may_enter,
  pg_catalog.has_table_privilege(c.oid, 'SELECT')::bool as may_select,
  (pg_catalog.has_table_privilege(c.oid, 'INSERT') or coalesce(columns.may_insert, false))::bool as may_insert,
  (pg_catalog.has_table_privilege(c.oid, 'UPDATE') or coalesce(columns.may_update, false))::bool as may_update,
  pg_catalog.has_table_privilege(c.oid, 'DELETE')::bool as may_delete,
  pg_catalog.pg_has_role(c.relowner, 'USAGE')::bool as owns,
  pg_catalog.row_security_active(c.oid)::bool as hides_rows
from pg_catalog.pg_class as c
cross join lateral (
  select
    pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'INSERT')) as may_insert,
    pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'UPDATE')) as may_update
  from pg_catalog.pg_attribute as a
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
) as columns
where c.oid = any ($1::oid[])
order by c.oid
