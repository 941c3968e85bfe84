-- access:  read
-- params:  none
-- returns: table_oid oid, name text, type_name text, base_oid oid, base_typmod int4, base_kind text, not_null bool, default_text text, identity text, generated bool, is_virtual bool, generated_as text, sequence_schema text, sequence_name text, deterministic bool
-- why:     a domain is followed to its base type, because text is compared and stored by the base type's rules;
--          a sequence belongs to a column through ownership (serial, identity) or only through its default (nextval)
with recursive base as (
  select t.oid as type_oid, t.oid as base_oid, -1 as typmod, t.typtype, t.typbasetype, t.typtypmod
  from pg_catalog.pg_type as t
  union all
  select b.type_oid, t.oid, b.typtypmod, t.typtype, t.typbasetype, t.typtypmod
  from base as b
  join pg_catalog.pg_type as t on t.oid = b.typbasetype
  where b.typtype = 'd'
)
select
  a.attrelid::oid as table_oid,
  a.attname::text as name,
  pg_catalog.format_type(a.atttypid, a.atttypmod)::text as type_name,
  b.base_oid::oid as base_oid,
  (case when b.base_oid = a.atttypid then a.atttypmod else b.typmod end)::int4 as base_typmod,
  b.typtype::text as base_kind,
  a.attnotnull::bool as not_null,
  (case when a.attgenerated = '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end)::text as default_text,
  a.attidentity::text as identity,
  (a.attgenerated <> '')::bool as generated,
  (a.attgenerated = 'v')::bool as is_virtual,
  (case when a.attgenerated <> '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end)::text as generated_as,
  s.schema::text as sequence_schema,
  s.name::text as sequence_name,
  coalesce((select co.collisdeterministic from pg_catalog.pg_collation as co where co.oid = a.attcollation), true)::bool as deterministic
from pg_catalog.pg_attribute as a
join pg_catalog.pg_class as c on c.oid = a.attrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join base as b on b.type_oid = a.atttypid and b.typtype <> 'd'
left join pg_catalog.pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join lateral (
  select sn.nspname as schema, sc.relname as name
  from pg_catalog.pg_depend as dep
  join pg_catalog.pg_class as sc on sc.relkind = 'S'
    and sc.oid = case when dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass then dep.objid else dep.refobjid end
  join pg_catalog.pg_namespace as sn on sn.oid = sc.relnamespace
  where (dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
         and dep.refobjid = a.attrelid and dep.refobjsubid = a.attnum and dep.deptype in ('a', 'i'))
     or (dep.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and dep.objid = d.oid
         and dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
  order by sn.nspname, sc.relname
  limit 1
) as s on true
where a.attnum > 0
  and not a.attisdropped
  and c.relkind in ('r', 'p')
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'rowback_scratch')
order by a.attrelid, a.attnum
