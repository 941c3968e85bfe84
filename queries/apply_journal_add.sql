-- access:  write
-- params:  $1 text  id of the case
--          $2 text  seal of the plan
--          $3 int4  number of the batch
--          $4 text  number of the transaction
--          $5 text  line of the journal, JSON
-- returns: none
-- why:     tells live itself what the open transaction did
insert into rowback.journal (case_id, plan, batch, xid, line)
values ($1, $2, $3, $4, $5::text::json)
