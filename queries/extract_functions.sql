-- access:  scratch
-- params:  none
-- returns: schema text, name text, language text, source text
-- why:     the texts of the backup's own functions, to look for the tables that they name; a function of an extension has
--          no text that says anything, which its language (c) tells
select
    n.nspname::text as schema,
    p.proname::text as name,
    l.lanname::text as language,
    p.prosrc::text as source
from pg_catalog.pg_proc as p
join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
join pg_catalog.pg_language as l on l.oid = p.prolang
where n.nspname not in ('pg_catalog', 'information_schema') and p.prokind in ('f', 'p')
order by 1, 2, 3, 4
