-- access:  read
-- params:  $1 text  id of the case
--          $2 text  seal of the plan
-- returns: xid text
-- why:     the committed transactions of a case, also for a role that may not read what they did
select j.xid
from rowback.journal as j
where j.case_id = $1
  and j.plan = $2
order by 1
