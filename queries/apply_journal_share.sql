-- access:  write
-- params:  none
-- returns: none
-- why:     another role must find out that a case is told there, or it would do what is done, and leave undone what is to be
--          told; these columns hold nothing but numbers that rowback made
grant select (case_id, plan, xid) on rowback.journal to public
