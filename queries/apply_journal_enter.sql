-- access:  write
-- params:  $1 text  id of the case
-- returns: locked text
-- why:     said first in each transaction that tells live what it did: whoever reads the journal waits until all of them have
--          ended, also those of a run that was killed and whose server has not noticed
select pg_catalog.pg_advisory_xact_lock_shared(pg_catalog.hashtextextended($1, 0))::text as locked
order by 1
