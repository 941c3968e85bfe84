-- access:  scratch
-- params:  $1 text  schema-qualified name of a view
-- returns: schema text, name text, kind text
-- why:     PostgreSQL itself knows what a condition reads once it is a view: tables directly, tables behind other views,
--          tables that inherit from those, the views themselves (kind v or m), and functions; a function that is not immutable may read any table, which is why it is listed (kind f)
with recursive seen as (
  select $1::text::pg_catalog.regclass::oid as relation
  union
  select next.relation
  from seen as s
  cross join lateral (
    select d.refobjid as relation
    from pg_catalog.pg_rewrite as r
    join pg_catalog.pg_depend as d on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = r.oid
      and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid <> r.ev_class
    where r.ev_class = s.relation
    union all
    select i.inhrelid from pg_catalog.pg_inherits as i where i.inhparent = s.relation
  ) as next
), called as (
  -- An operator is a function by another name, and an aggregate is what its functions do.
  select case d.refclassid when 'pg_catalog.pg_operator'::pg_catalog.regclass then o.oprcode::oid else d.refobjid end as function
  from seen as s
  join pg_catalog.pg_rewrite as r on r.ev_class = s.relation
  join pg_catalog.pg_depend as d on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = r.oid
    and d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
  left join pg_catalog.pg_operator as o on d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass and o.oid = d.refobjid
), functions as (
  select p.proname, p.pronamespace
  from (
    select c.function from called as c
    union
    select f.function
    from called as c
    join pg_catalog.pg_aggregate as a on a.aggfnoid::oid = c.function
    cross join lateral (values (a.aggtransfn::oid), (a.aggfinalfn::oid), (a.aggcombinefn::oid), (a.aggmtransfn::oid)) as f(function)
  ) as c
  join pg_catalog.pg_proc as p on p.oid = c.function
  join pg_catalog.pg_language as l on l.oid = p.prolang
  where p.provolatile <> 'i' and l.lanname not in ('internal', 'c')
    or p.proname in ('crosstab', 'crosstab2', 'crosstab3', 'crosstab4', 'connectby', 'xpath_table')
  union
  -- Functions of PostgreSQL's own that run a statement given as text; nothing depends on them by the catalog.
  select m.name[1], 'pg_catalog'::pg_catalog.regnamespace::oid
  from seen as s
  join pg_catalog.pg_class as v on v.oid = s.relation and v.relkind in ('v', 'm')
  cross join lateral pg_catalog.regexp_matches(
    pg_catalog.pg_get_viewdef(v.oid),
    '\m((?:query|cursor|table|schema|database)_to_xml(?:schema|_and_xmlschema)?|ts_stat|ts_rewrite)\(',
    'g'
  ) as m(name)
)
select
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind
from seen as s
join pg_catalog.pg_class as c on c.oid = s.relation
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') or c.relkind in ('v', 'm') and c.oid <> $1::text::pg_catalog.regclass::pg_catalog.oid
union all
select n.nspname::text, f.proname::text, 'f'::text
from functions as f
join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
order by 3, 1, 2
