-- access:  write
-- params:  none
-- returns: xid text, pid int4, oldest text
-- why:     the number under which the server remembers the outcome, the process that others wait for, and the oldest transaction
--          that still ran: what older ones wrote was there before; txid_current() is the same number on every version,
--          pg_current_xact_id() came with 13
select
    pg_catalog.txid_current()::text as xid,
    pg_catalog.pg_backend_pid()::int4 as pid,
    pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())::text as oldest
order by 1
