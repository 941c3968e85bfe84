-- access:  read
-- params:  $1 text[]  schemas
--          $2 text[]  tables, one for each schema
--          $3 bool[]  may rows be deleted from it, one for each schema
-- returns: schema text, name text, rule text
-- why:     what is written to a table with a rule goes elsewhere, or nowhere, and a batch cannot learn what it wrote;
--          the same goes for rows that are taken away, by the recovery itself or by its undo
select
  n.nspname::text as schema,
  c.relname::text as name,
  r.rulename::text as rule
from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::bool[])) as wanted(schema, name, emptied)
join pg_catalog.pg_namespace as n on n.nspname = wanted.schema
join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = wanted.name
join pg_catalog.pg_rewrite as r on r.ev_class = c.oid
where (r.ev_type in ('2', '3') or (r.ev_type = '4' and wanted.emptied))
  and r.ev_enabled in ('O', 'A')
order by n.nspname, c.relname, r.rulename
