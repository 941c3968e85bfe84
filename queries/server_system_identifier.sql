-- access:  read
-- params:  none
-- returns: system_identifier text
-- why:     written by initdb, the same for all databases of a cluster and for its physical copies; no other number
--          tells two servers apart when one answers under several host names
select c.system_identifier::text as system_identifier
from pg_catalog.pg_control_system() as c
order by c.system_identifier::text
