-- access:  read
-- params:  none
-- returns: oid oid, schema text, name text, kind text, root oid, row_security bool, forced_row_security bool
-- why:     partitions are handled through their root; pg_partition_root gives null for a table that is no part of one. The journal
--          that apply keeps in live is rowback's own; another table of its name is a table like any other
select
  c.oid::oid as oid,
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind,
  pg_catalog.pg_partition_root(c.oid)::oid as root,
  c.relrowsecurity::bool as row_security,
  c.relforcerowsecurity::bool as forced_row_security
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
  and c.relpersistence <> 't'
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'rowback_scratch')
  and not (
    n.nspname = 'rowback' and c.relname = 'journal' and array['id', 'case_id', 'plan', 'batch', 'xid', 'written_at', 'line'] = (
      select pg_catalog.array_agg(a.attname::text order by a.attnum)
      from pg_catalog.pg_attribute as a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    )
  )
order by n.nspname, c.relname
