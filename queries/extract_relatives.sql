-- access:  scratch
-- params:  none
-- returns: schema text, name text, kind text, parent_schema text, parent text
-- why:     names that stand for other tables' rows: views, which read them (kind v), and tables that inherit from another
--          without being its partition (kind i), whose rows a statement on the parent touches, too
select
    n.nspname::text as schema,
    c.relname::text as name,
    'v'::text as kind,
    ''::text as parent_schema,
    ''::text as parent
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema')
union all
select n.nspname::text, c.relname::text, 'i'::text, pn.nspname::text, p.relname::text
from pg_catalog.pg_inherits as i
join pg_catalog.pg_class as c on c.oid = i.inhrelid and not c.relispartition and c.relkind = 'r'
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_class as p on p.oid = i.inhparent
join pg_catalog.pg_namespace as pn on pn.oid = p.relnamespace
order by 3, 1, 2, 4, 5
