-- access:  read
-- params:  $1 bool  true: the zone that whoever connects so has by default; false: that of this session
-- returns: zone text
-- why:     ALTER TABLE turns a timestamp into one with a time zone, and back, by the zone of whoever runs it
select
  pg_catalog.set_config('TimeZone', case when $1::bool then s.reset_val else 'UTC' end, true)::text as zone
from pg_catalog.pg_settings as s
where s.name = 'TimeZone'
order by 1
