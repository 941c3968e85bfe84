-- access:  write
-- params:  $1 text[]  schemas
--          $2 text[]  tables, one for each schema
-- returns: schema text, name text, partitioned bool, alone bool, keys text, settled text[], parents int8[]
-- why:     which batches may be written side by side, asked just before that happens: a trigger or a rule may do anything, also one
--          of a partition. keys are the columns of all unique keys, null where one has expressions or excludes by other means; by_text
--          says that different texts are different values. settled are columns on which others may depend (keys, what foreign
--          keys refer to); parents are positions in the lists, from 1
with wanted as (
  select w.n, w.schema, w.name, c.oid, c.relkind
  from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) with ordinality as w(schema, name, n)
  join pg_catalog.pg_namespace as ns on ns.nspname = w.schema
  join pg_catalog.pg_class as c on c.relnamespace = ns.oid and c.relname = w.name
  where c.relkind in ('r', 'p')
), member as (
  select w.n, w.oid as relid from wanted as w
  union
  select w.n, t.relid::oid from wanted as w cross join lateral pg_catalog.pg_partition_tree(w.oid) as t
), key as (
  select m.n, i.indexrelid, i.indrelid, i.indkey, i.indnkeyatts,
    i.indisunique and i.indexprs is null as plain,
    coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) as nulls_collide
  from member as m
  join pg_catalog.pg_index as i on i.indrelid = m.relid and (i.indisunique or i.indisexclusion)
  join pg_catalog.pg_class as ic on ic.oid = i.indexrelid and not ic.relispartition
), reference as (
  select con.conrelid, con.confrelid, con.confkey from pg_catalog.pg_constraint as con where con.contype = 'f'
)
select
  w.schema::text as schema,
  w.name::text as name,
  (w.relkind = 'p')::bool as partitioned,
  (exists (
    select from member as m join pg_catalog.pg_trigger as t on t.tgrelid = m.relid
    where m.n = w.n and not t.tgisinternal and t.tgenabled <> 'D'
  ) or exists (
    select from member as m join pg_catalog.pg_rewrite as r on r.ev_class = m.relid
    where m.n = w.n and r.ev_type in ('2', '3', '4') and r.ev_enabled <> 'D'
  ))::bool as alone,
  (select case when pg_catalog.bool_and(k.plain) is not false then coalesce(pg_catalog.jsonb_agg((
      select pg_catalog.jsonb_build_object(
        'columns', pg_catalog.jsonb_agg(a.attname::text order by at.position),
        'by_text', pg_catalog.bool_and(coalesce(c.collisdeterministic, true) and a.atttypid in (
          'pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype,
          'pg_catalog.uuid'::pg_catalog.regtype, 'pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype,
          'pg_catalog.bool'::pg_catalog.regtype, 'pg_catalog.date'::pg_catalog.regtype,
          'pg_catalog.timestamp'::pg_catalog.regtype, 'pg_catalog.timestamptz'::pg_catalog.regtype)) and not k.nulls_collide)
      from pg_catalog.generate_series(1, k.indnkeyatts::int4) as at(position)
      join pg_catalog.pg_attribute as a on a.attrelid = k.indrelid and a.attnum = k.indkey[at.position - 1]
      left join pg_catalog.pg_collation as c on c.oid = a.attcollation
    ) order by k.indexrelid), '[]'::jsonb) end
   from key as k where k.n = w.n)::text as keys,
  (select pg_catalog.array_agg(distinct a.attname::text order by a.attname::text)
   from member as m
   join pg_catalog.pg_attribute as a on a.attrelid = m.relid and a.attnum > 0 and not a.attisdropped
   where m.n = w.n
     and (exists (
       select from key as k
       where k.indrelid = m.relid
         and (a.attnum = any (k.indkey::int2[]) or exists (
           select from pg_catalog.pg_depend as d
           where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = k.indexrelid
             and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = m.relid
             and d.refobjsubid = a.attnum))
     ) or exists (
       select from reference as r where r.confrelid = m.relid and a.attnum = any (r.confkey)
     )))::text[] as settled,
  (select pg_catalog.array_agg(distinct p.n order by p.n)
   from member as m
   join reference as r on r.conrelid = m.relid
   join member as p on p.relid = r.confrelid
   where m.n = w.n)::int8[] as parents
from wanted as w
order by w.n
