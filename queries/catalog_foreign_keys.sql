-- access:  read
-- params:  none
-- returns: name text, child oid, parent oid, child_columns text[], parent_columns text[], child_types text[], parent_types text[], on_delete text, on_update text, set_columns text[], match_full bool, deferrable bool, initially_deferred bool, enforced bool, operators text[]
-- why:     conkey and confkey are read as pairs: a foreign key may point at a unique key that is not the primary key, or
--          list its columns in another order; copies that a partition inherits are left out, ones that a partition has
--          of its own are not; confdelsetcols is read through to_jsonb because servers before 15 do not have it, and conenforced because
--          those before 18 do not;
--          the operators are those by which the server itself compares parent and child: with an empty search path a plain
--          "=" would compare citext as text
select
  con.conname::text as name,
  con.conrelid::oid as child,
  con.confrelid::oid as parent,
  (select pg_catalog.array_agg(a.attname::text order by k.n)
   from pg_catalog.unnest(con.conkey) with ordinality as k(attnum, n)
   join pg_catalog.pg_attribute as a on a.attrelid = con.conrelid and a.attnum = k.attnum)::text[] as child_columns,
  (select pg_catalog.array_agg(a.attname::text order by k.n)
   from pg_catalog.unnest(con.confkey) with ordinality as k(attnum, n)
   join pg_catalog.pg_attribute as a on a.attrelid = con.confrelid and a.attnum = k.attnum)::text[] as parent_columns,
  (select pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod)::text order by k.n)
   from pg_catalog.unnest(con.conkey) with ordinality as k(attnum, n)
   join pg_catalog.pg_attribute as a on a.attrelid = con.conrelid and a.attnum = k.attnum)::text[] as child_types,
  (select pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod)::text order by k.n)
   from pg_catalog.unnest(con.confkey) with ordinality as k(attnum, n)
   join pg_catalog.pg_attribute as a on a.attrelid = con.confrelid and a.attnum = k.attnum)::text[] as parent_types,
  con.confdeltype::text as on_delete,
  con.confupdtype::text as on_update,
  coalesce((select pg_catalog.array_agg(a.attname::text order by a.attnum)
   from pg_catalog.jsonb_array_elements_text(nullif(pg_catalog.to_jsonb(con) -> 'confdelsetcols', 'null'::pg_catalog.jsonb)) as s(attnum)
   join pg_catalog.pg_attribute as a on a.attrelid = con.conrelid and a.attnum = s.attnum::int2), '{}')::text[] as set_columns,
  (con.confmatchtype = 'f')::bool as match_full,
  con.condeferrable::bool as deferrable,
  con.condeferred::bool as initially_deferred,
  coalesce((pg_catalog.to_jsonb(con) ->> 'conenforced')::bool, true)::bool as enforced,
  (select pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, op.oprname) order by k.n)
   from pg_catalog.unnest(con.conpfeqop) with ordinality as k(operator, n)
   join pg_catalog.pg_operator as op on op.oid = k.operator
   join pg_catalog.pg_namespace as opn on opn.oid = op.oprnamespace)::text[] as operators
from pg_catalog.pg_constraint as con
where con.contype = 'f'
  and con.conparentid = 0
order by con.conrelid, con.conname
