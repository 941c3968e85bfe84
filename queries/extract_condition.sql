-- access:  scratch
-- params:  $1 text  schema-qualified name of a view
-- returns: definition text
-- why:     PostgreSQL prints a condition back with every name, operator, cast and constant resolved, which no reader of
--          the user's text could do; with an empty search path whatever is not of pg_catalog is named with its schema
select pg_catalog.pg_get_viewdef($1::text::pg_catalog.regclass::pg_catalog.oid)::text as definition
