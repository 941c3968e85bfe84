-- access:  read
-- params:  none
-- returns: may_set bool
-- why:     PostgreSQL 15 and newer can grant SET on session_replication_role; older servers do not know this function
select pg_catalog.has_parameter_privilege('session_replication_role', 'SET')::bool as may_set
order by 1
