-- access:  read
-- params:  none
-- returns: table_oid oid, name text, expression text
-- why:     a recovered row that live's CHECK refuses must be known before a batch is written; copies that partitions
--          inherit from their root are left out, and so are those that are NOT ENFORCED (from 18 on)
select
  con.conrelid::oid as table_oid,
  con.conname::text as name,
  pg_catalog.pg_get_expr(con.conbin, con.conrelid)::text as expression
from pg_catalog.pg_constraint as con
where con.contype = 'c'
  and con.conrelid <> 0
  and con.conparentid = 0
  and coalesce((pg_catalog.to_jsonb(con) ->> 'conenforced')::bool, true)
order by con.conrelid, con.conname
