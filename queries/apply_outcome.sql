-- access:  read
-- params:  $1 text  number of a transaction, as apply_begin_mark gave it
-- returns: outcome text
-- why:     'committed', 'aborted', 'in progress', or null when the server has forgotten; txid_status() is what
--          pg_xact_status() is called on every version
select pg_catalog.txid_status($1::text::int8)::text as outcome
order by 1
