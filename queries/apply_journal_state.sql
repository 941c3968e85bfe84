-- access:  read
-- params:  none
-- returns: schema_there bool, there bool, ours bool, readable bool
-- why:     whether live keeps a journal of rowback, and whether what has its name is one; asked by name in the catalog, because
--          a role that may not use the schema gets an error from everything else
select
    n.oid is not null as schema_there,
    t.oid is not null as there,
    (
        select pg_catalog.count(*) = 5
        from pg_catalog.pg_attribute as a
        where a.attrelid = t.oid
          and not a.attisdropped
          and (a.attname, a.atttypid) in (
              ('id', 'int8'::pg_catalog.regtype), ('plan', 'text'::pg_catalog.regtype), ('batch', 'int4'::pg_catalog.regtype),
              ('xid', 'text'::pg_catalog.regtype), ('line', 'json'::pg_catalog.regtype))
    ) as ours,
    coalesce(
        pg_catalog.has_schema_privilege(n.oid, 'USAGE') and pg_catalog.has_table_privilege(t.oid, 'SELECT'), false
    ) as readable
from (select) as one
left join pg_catalog.pg_namespace as n on n.nspname = 'rowback'
left join pg_catalog.pg_class as t on t.relnamespace = n.oid and t.relname = 'journal'
order by 1
