-- access:  write
-- params:  $1 text  seal of the plan
--          $2 int4  number of the batch
--          $3 text  number of the transaction
--          $4 text  line of the journal, JSON
-- returns: none
-- why:     tells live itself what the open transaction did
insert into rowback.journal (plan, batch, xid, line)
values ($1, $2, $3, $4::text::json)
