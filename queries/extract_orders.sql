-- access:  scratch
-- params:  $1 oid  table
-- returns: name text, bytewise bool, labels text[]
-- why:     the order of a text is that of its collation, and only C and POSIX order by bytes whatever the machine; that of an
--          enum is the order of its labels. The column datlocprovider is there from PostgreSQL 15 on
select
  a.attname::text as name,
  (a.attcollation in ('pg_catalog."C"'::pg_catalog.regcollation, 'pg_catalog."POSIX"'::pg_catalog.regcollation)
    or a.attcollation = 'pg_catalog."default"'::pg_catalog.regcollation
      and d.datcollate in ('C', 'POSIX')
      and coalesce(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c') = 'c')::bool as bytewise,
  array(
    select e.enumlabel::text from pg_catalog.pg_enum as e where e.enumtypid = a.atttypid order by e.enumsortorder
  )::text[] as labels
from pg_catalog.pg_attribute as a
join pg_catalog.pg_database as d on d.datname = pg_catalog.current_database()
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
order by a.attnum
