-- access:  read
-- params:  $1 text  id of the case
--          $2 text  seal of the plan
-- returns: xid text, line text
-- why:     what live's journal knows of a case, in the order in which it was written; each of these transactions is committed
select j.xid, j.line::text as line
from rowback.journal as j
where j.case_id = $1
  and j.plan = $2
order by j.id
