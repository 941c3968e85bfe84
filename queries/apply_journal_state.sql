-- access:  read
-- params:  none
-- returns: schema_there bool, there bool, fits bool, inert bool, trusted bool, readable bool, writable bool, tells bool, owner text
-- why:     whether live keeps a journal of rowback, and whether what has its name is one: a table that runs nothing when it is
--          written to, and of an owner who may see and do everything that this role does. Asked by name in the catalog,
--          because a role that may not use the schema gets an error from everything else
select
    n.oid is not null as schema_there,
    t.oid is not null as there,
    coalesce(t.relkind = 'r' and not t.relrowsecurity and (
        select pg_catalog.count(*) = 6
        from pg_catalog.pg_attribute as a
        where a.attrelid = t.oid
          and not a.attisdropped
          and (a.attname, a.atttypid) in (
              ('id', 'int8'::pg_catalog.regtype), ('case_id', 'text'::pg_catalog.regtype), ('plan', 'text'::pg_catalog.regtype),
              ('batch', 'int4'::pg_catalog.regtype), ('xid', 'text'::pg_catalog.regtype), ('line', 'json'::pg_catalog.regtype))
    ), false) as fits,
    t.oid is not null
        and not exists (select from pg_catalog.pg_trigger as g where g.tgrelid = t.oid)
        and not exists (select from pg_catalog.pg_rewrite as w where w.ev_class = t.oid) as inert,
    coalesce(o.rolname = current_user or o.rolsuper, false) as trusted,
    coalesce(u.may and pg_catalog.has_table_privilege(t.oid, 'SELECT'), false) as readable,
    coalesce(u.may and pg_catalog.has_table_privilege(t.oid, 'INSERT'), false) as writable,
    coalesce(u.may and (
        select pg_catalog.bool_and(pg_catalog.has_column_privilege(t.oid, a.attnum, 'SELECT'))
        from pg_catalog.pg_attribute as a
        where a.attrelid = t.oid
          and a.attname in ('case_id', 'plan', 'xid')
    ), false) as tells,
    o.rolname::text as owner
from (select) as one
left join pg_catalog.pg_namespace as n on n.nspname = 'rowback'
left join pg_catalog.pg_class as t on t.relnamespace = n.oid and t.relname = 'journal'
left join pg_catalog.pg_roles as o on o.oid = t.relowner
cross join lateral (select pg_catalog.has_schema_privilege(n.oid, 'USAGE') as may) as u
order by 1
