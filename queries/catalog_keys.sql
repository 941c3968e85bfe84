-- access:  read
-- params:  none
-- returns: table_oid oid, index_oid oid, name text, is_primary bool, is_exclusion bool, deferrable bool, nulls_not_distinct bool, columns text[], expressions text[], operators text[], predicate text
-- why:     every unique and every exclusion constraint can hold a row back, also partial ones and ones over expressions;
--          columns holds the empty string where the element is an expression, expressions always holds its text;
--          indnullsnotdistinct is read through to_jsonb because servers before 15 do not have it;
--          from 18 on a primary or unique key WITHOUT OVERLAPS is an exclusion constraint as well, with operators of its own;
--          the equality of a unique element is looked up in its operator class, because it need not be called "="
select
  i.indrelid::oid as table_oid,
  i.indexrelid::oid as index_oid,
  ic.relname::text as name,
  i.indisprimary::bool as is_primary,
  i.indisexclusion::bool as is_exclusion,
  (not i.indimmediate)::bool as deferrable,
  coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false)::bool as nulls_not_distinct,
  (select pg_catalog.array_agg(coalesce(a.attname::text, '') order by k.n)
   from pg_catalog.generate_series(1, i.indnkeyatts::int4) as k(n)
   left join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[k.n - 1] and i.indkey[k.n - 1] <> 0)::text[] as columns,
  (select pg_catalog.array_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k.n, true) order by k.n)
   from pg_catalog.generate_series(1, i.indnkeyatts::int4) as k(n))::text[] as expressions,
  (select pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, op.oprname) order by k.n)
   from pg_catalog.generate_series(1, i.indnkeyatts::int4) as k(n)
   join pg_catalog.pg_opclass as oc on oc.oid = i.indclass[k.n - 1]
   join pg_catalog.pg_operator as op on op.oid = case
     when i.indisexclusion then con.conexclop[k.n]
     else (select am.amopopr from pg_catalog.pg_amop as am
           where am.amopfamily = oc.opcfamily and am.amoplefttype = oc.opcintype and am.amoprighttype = oc.opcintype
             and am.amopstrategy = 3) end
   join pg_catalog.pg_namespace as opn on opn.oid = op.oprnamespace)::text[] as operators,
  pg_catalog.pg_get_expr(i.indpred, i.indrelid, true)::text as predicate
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid = i.indrelid
join pg_catalog.pg_class as ic on ic.oid = i.indexrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join pg_catalog.pg_constraint as con on con.conindid = i.indexrelid and con.contype in ('p', 'u', 'x')
  and con.conrelid = i.indrelid
where (i.indisunique or i.indisexclusion)
  and i.indislive
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'rowback_scratch')
order by i.indrelid, i.indisprimary desc, ic.relname
