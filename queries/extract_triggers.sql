-- access:  scratch
-- params:  none
-- returns: schema text, name text, kind text, function_schema text, function text
-- why:     what a statement on a table sets in motion beside foreign keys: triggers (kind t) with their function, and
--          rules (kind r), of which only the table is of interest; a partition's triggers count, too
select
    n.nspname::text as schema,
    c.relname::text as name,
    't'::text as kind,
    fn.nspname::text as function_schema,
    p.proname::text as function
from pg_catalog.pg_trigger as t
join pg_catalog.pg_class as c on c.oid = t.tgrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_proc as p on p.oid = t.tgfoid
join pg_catalog.pg_namespace as fn on fn.oid = p.pronamespace
where not t.tgisinternal
union all
select n.nspname::text, c.relname::text, 'r'::text, ''::text, ''::text
from pg_catalog.pg_rewrite as r
join pg_catalog.pg_class as c on c.oid = r.ev_class
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
order by 1, 2, 3, 4, 5
