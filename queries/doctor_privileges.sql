-- access:  read
-- params:  $1 text  schema
--          $2 text  table
-- returns: may_select bool, may_insert bool, may_update bool, may_delete bool, hides_rows bool, owns bool
-- why:     a recovery reads every column, inserts, updates and (to undo) deletes; row security that applies to this role
--          makes reading an error rather than a short result
select
  pg_catalog.has_table_privilege(c.oid, 'SELECT')::bool as may_select,
  pg_catalog.has_table_privilege(c.oid, 'INSERT')::bool as may_insert,
  pg_catalog.has_table_privilege(c.oid, 'UPDATE')::bool as may_update,
  pg_catalog.has_table_privilege(c.oid, 'DELETE')::bool as may_delete,
  pg_catalog.row_security_active(c.oid)::bool as hides_rows,
  pg_catalog.pg_has_role(c.relowner, 'MEMBER')::bool as owns
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = $1::text
  and c.relname = $2::text
order by 1
