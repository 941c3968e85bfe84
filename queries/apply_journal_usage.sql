-- access:  write
-- params:  none
-- returns: none
-- why:     see apply_journal_share
grant usage on schema rowback to public
