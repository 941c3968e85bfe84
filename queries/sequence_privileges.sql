-- access:  read
-- params:  $1 text[]  schemas
--          $2 text[]  sequences, one for each schema
-- returns: schema text, name text, may_read bool, may_move bool
-- why:     where a sequence stands must be read (pg_sequences gives null where that is forbidden), and setval needs UPDATE
select
  n.nspname::text as schema,
  c.relname::text as name,
  (pg_catalog.has_schema_privilege(n.oid, 'USAGE') and pg_catalog.has_sequence_privilege(c.oid, 'SELECT'))::bool as may_read,
  (pg_catalog.has_schema_privilege(n.oid, 'USAGE') and pg_catalog.has_sequence_privilege(c.oid, 'UPDATE'))::bool as may_move
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join unnest($1::text[], $2::text[]) as wanted (schema, name)
  on wanted.schema = n.nspname and wanted.name = c.relname
where c.relkind = 'S'
order by n.nspname, c.relname
