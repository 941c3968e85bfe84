-- access:  read
-- params:  none
-- returns: snapshot text
-- why:     several sessions read live in parallel, yet all must see the same moment
select pg_catalog.pg_export_snapshot()::text as snapshot
