-- access:  read
-- params:  none
-- returns: table_oid oid, name text, enabled text, row_level bool, before bool, on_insert bool, on_update bool, on_delete bool, on_truncate bool, function text, definition text, source text
-- why:     what fires when rows are put back must be listed before it does; bits of tgtype: 1 row, 2 before, 4 insert,
--          8 delete, 16 update, 32 truncate, 64 instead of
select
  t.tgrelid::oid as table_oid,
  t.tgname::text as name,
  t.tgenabled::text as enabled,
  ((t.tgtype & 1) <> 0)::bool as row_level,
  ((t.tgtype & 2) <> 0)::bool as before,
  ((t.tgtype & 4) <> 0)::bool as on_insert,
  ((t.tgtype & 16) <> 0)::bool as on_update,
  ((t.tgtype & 8) <> 0)::bool as on_delete,
  ((t.tgtype & 32) <> 0)::bool as on_truncate,
  pg_catalog.format('%I.%I', pn.nspname, p.proname)::text as function,
  pg_catalog.pg_get_triggerdef(t.oid, true)::text as definition,
  p.prosrc::text as source
from pg_catalog.pg_trigger as t
join pg_catalog.pg_class as c on c.oid = t.tgrelid
join pg_catalog.pg_proc as p on p.oid = t.tgfoid
join pg_catalog.pg_namespace as pn on pn.oid = p.pronamespace
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where not t.tgisinternal
  and c.relkind in ('r', 'p')
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'rowback_scratch')
order by t.tgrelid, t.tgname
