-- access:  write
-- params:  $1 text  id of the case
-- returns: locked text
-- why:     see apply_journal_enter; let go at the end of the transaction
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))::text as locked
order by 1
