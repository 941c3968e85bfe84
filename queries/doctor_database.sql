-- access:  read
-- params:  none
-- returns: may_temp bool, superuser bool, version text
-- why:     batches are loaded through temporary tables; triggers = "replica" needs a superuser or a grant
select
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')::bool as may_temp,
  (select r.rolsuper from pg_catalog.pg_roles as r where r.rolname = current_user)::bool as superuser,
  pg_catalog.current_setting('server_version')::text as version
order by 1
