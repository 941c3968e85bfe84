-- access:  write
-- params:  none
-- returns: xid text, pid int4
-- why:     the number under which the server remembers the outcome, and the process that others wait for;
--          txid_current() is the same number on every version, pg_current_xact_id() came with 13
select
    pg_catalog.txid_current()::text as xid,
    pg_catalog.pg_backend_pid()::int4 as pid
order by 1
