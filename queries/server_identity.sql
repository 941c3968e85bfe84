-- access:  read
-- params:  none
-- returns: dbname text, database_oid oid, server_version_num int4, user_name text, is_superuser bool, in_recovery bool, is_read_only bool, may_ask_identifier bool
-- why:     pg_control_system() cannot stand in this statement: where it is forbidden, even a branch that is never
--          taken fails; so only the right to call it is asked for here
select
    d.datname::text as dbname,
    d.oid::oid as database_oid,
    pg_catalog.current_setting('server_version_num')::int4 as server_version_num,
    current_user::text as user_name,
    coalesce(r.rolsuper, false)::bool as is_superuser,
    pg_catalog.pg_is_in_recovery()::bool as in_recovery,
    (pg_catalog.current_setting('transaction_read_only') = 'on')::bool as is_read_only,
    coalesce(
        pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('pg_catalog.pg_control_system()'), 'execute'),
        false
    )::bool as may_ask_identifier
from pg_catalog.pg_database as d
left join pg_catalog.pg_roles as r on r.rolname = current_user
where d.datname = pg_catalog.current_database()
order by d.datname::text
