-- access:  write
-- params:  $1 text    a table that was touched beside a batch, as SQL names it
--          $2 text[]  the tables that the batch updated, as SQL names them
-- returns: name text
-- why:     the columns that PostgreSQL itself moves by ON UPDATE CASCADE when a referenced key changes, over any number of
--          tables: no trigger's work
with recursive moved as (
  select w.name::pg_catalog.regclass::oid as relation
  from pg_catalog.unnest($2::text[]) as w(name)
  union
  select c.conrelid as relation
  from moved as m
  join pg_catalog.pg_constraint as c on c.confrelid = m.relation and c.contype = 'f' and c.confupdtype = 'c'
)
select distinct
  a.attname::text as name
from moved as m
join pg_catalog.pg_constraint as c on c.confrelid = m.relation and c.contype = 'f' and c.confupdtype = 'c'
cross join lateral pg_catalog.unnest(c.conkey) as k(attnum)
join pg_catalog.pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.attnum
where c.conrelid = $1::text::pg_catalog.regclass
order by 1
