-- access:  read
-- params:  $1 text  seal of the plan
-- returns: xid text, line text
-- why:     what live's journal knows of a plan, in the order in which it was written; each of these transactions is committed
select j.xid, j.line::text as line
from rowback.journal as j
where j.plan = $1
order by j.id
