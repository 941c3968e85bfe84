-- access:  read
-- params:  none
-- returns: parent_schema text, parent text, heir_schema text, heir text
-- why:     rows of a table that inherits are no rows of the table it inherits from when that is read with ONLY, as dumps and
--          foreign keys do; partitions are kept in the same catalog and are left out
select
  pn.nspname::text as parent_schema,
  pc.relname::text as parent,
  hn.nspname::text as heir_schema,
  hc.relname::text as heir
from pg_catalog.pg_inherits as i
join pg_catalog.pg_class as pc on pc.oid = i.inhparent
join pg_catalog.pg_namespace as pn on pn.oid = pc.relnamespace
join pg_catalog.pg_class as hc on hc.oid = i.inhrelid
join pg_catalog.pg_namespace as hn on hn.oid = hc.relnamespace
where pc.relkind = 'r'
  and hc.relkind in ('r', 'f')
  and not hc.relispartition
  and pn.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'rowback_scratch')
order by pn.nspname, pc.relname, hn.nspname, hc.relname
