-- access:  read
-- params:  $1 text[]  names as pg_settings spells them
--          $2 text[]  values, in the same order
-- returns: name text, value text
-- why:     the join with pg_settings leaves out what this server version does not know, so one list serves all;
--          `rows from`, since unnest of several arrays exists only without its schema; what only a superuser may set is a
--          superuser's alone, where nobody chose a value and the server was built for ours
select
    s.name::text as name,
    pg_catalog.set_config(s.name, p.value, false)::text as value
from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) as p(name, value)
join pg_catalog.pg_settings as s on s.name = p.name
where
    s.context <> 'superuser'
    or (
        pg_catalog.current_setting('is_superuser') = 'on'
        and s.setting = 'off'
        and p.value = any(s.enumvals)
    )
order by s.name::text
