-- access:  read
-- params:  none
-- returns: may_temp bool, starts_read_only bool, version text
-- why:     batches are loaded through temporary tables; where transactions start read-only (a standby, a role or database
--          set so) apply cannot write
select
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')::bool as may_temp,
  (pg_catalog.current_setting('default_transaction_read_only') = 'on')::bool as starts_read_only,
  pg_catalog.current_setting('server_version')::text as version
order by 1
