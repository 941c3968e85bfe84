-- access:  write
-- params:  none
-- returns: none
-- why:     only where the person asks for a journal in live, and before the first batch
create schema rowback
