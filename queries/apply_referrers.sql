-- access:  write
-- params:  $1 text  schema
--          $2 text  table
-- returns: child_schema text, child text, child_columns text[], parent_columns text[], operators text[]
-- why:     who could hang on a row that is to be deleted: asked of live itself, because foreign keys may have been added
--          since the plan. Copies that a partition inherits are left out, ones that refer to a partition are not; the
--          operators are those by which the server compares parent and child. A constraint that is NOT ENFORCED (from 18 on)
--          holds nothing back
select
  cn.nspname::text as child_schema,
  cc.relname::text as child,
  (select pg_catalog.array_agg(a.attname::text order by k.n)
   from pg_catalog.unnest(con.conkey) with ordinality as k(attnum, n)
   join pg_catalog.pg_attribute as a on a.attrelid = con.conrelid and a.attnum = k.attnum)::text[] as child_columns,
  (select pg_catalog.array_agg(a.attname::text order by k.n)
   from pg_catalog.unnest(con.confkey) with ordinality as k(attnum, n)
   join pg_catalog.pg_attribute as a on a.attrelid = con.confrelid and a.attnum = k.attnum)::text[] as parent_columns,
  (select pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, op.oprname) order by k.n)
   from pg_catalog.unnest(con.conpfeqop) with ordinality as k(operator, n)
   join pg_catalog.pg_operator as op on op.oid = k.operator
   join pg_catalog.pg_namespace as opn on opn.oid = op.oprnamespace)::text[] as operators
from pg_catalog.pg_constraint as con
join pg_catalog.pg_class as cc on cc.oid = con.conrelid
join pg_catalog.pg_namespace as cn on cn.oid = cc.relnamespace
where con.contype = 'f'
  and coalesce((pg_catalog.to_jsonb(con) ->> 'conenforced')::bool, true)
  and con.conparentid = 0
  and con.confrelid in (
    select p.oid
    from pg_catalog.pg_class as p
    join pg_catalog.pg_namespace as pn on pn.oid = p.relnamespace
    where pn.nspname = $1::text and p.relname = $2::text
    union all
    select t.relid::oid
    from pg_catalog.pg_class as p
    join pg_catalog.pg_namespace as pn on pn.oid = p.relnamespace
    cross join lateral pg_catalog.pg_partition_tree(p.oid) as t
    where pn.nspname = $1::text and p.relname = $2::text
  )
order by 1, 2, con.conname
