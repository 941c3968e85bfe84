-- access:  write
-- params:  $1 text  schema
--          $2 text  table
-- returns: expressions text[], operators text[], predicate text, needs text[], deletable bool
-- why:     every unique key under which a row that a trigger made can stand in the way of a recovered one, also partial
--          ones and ones over expressions; needs names all columns that tell whether a row has that key. The equality of
--          an element is looked up in its operator class, because it need not be called "="
select
  (select pg_catalog.array_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k.n, true) order by k.n)
   from pg_catalog.generate_series(1, i.indnkeyatts::int4) as k(n))::text[] as expressions,
  (select pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, op.oprname) order by k.n)
   from pg_catalog.generate_series(1, i.indnkeyatts::int4) as k(n)
   join pg_catalog.pg_opclass as oc on oc.oid = i.indclass[k.n - 1]
   join pg_catalog.pg_amop as am on am.amopfamily = oc.opcfamily and am.amoplefttype = oc.opcintype
     and am.amoprighttype = oc.opcintype and am.amopstrategy = 3
   join pg_catalog.pg_operator as op on op.oid = am.amopopr
   join pg_catalog.pg_namespace as opn on opn.oid = op.oprnamespace)::text[] as operators,
  pg_catalog.pg_get_expr(i.indpred, i.indrelid, true)::text as predicate,
  (select pg_catalog.array_agg(a.attname::text order by a.attnum)
   from pg_catalog.pg_attribute as a
   where a.attrelid = i.indrelid
     and (a.attnum in (select i.indkey[k.n - 1] from pg_catalog.generate_series(1, i.indnkeyatts::int4) as k(n))
       or exists (
         select from pg_catalog.pg_depend as d
         where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = i.indexrelid
           and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = i.indrelid
           and d.refobjsubid = a.attnum))
     and a.attnum > 0)::text[] as needs,
  pg_catalog.has_table_privilege(c.oid, 'delete')::bool as deletable
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid = i.indrelid
join pg_catalog.pg_class as ic on ic.oid = i.indexrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where i.indisunique
  and i.indislive
  and n.nspname = $1::text
  and c.relname = $2::text
order by i.indisprimary desc, ic.relname
