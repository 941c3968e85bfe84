-- access:  read
-- params:  $1 text  schema
--          $2 text  sequence
-- returns: increment_by int8, last_value int8
-- why:     last_value is null until the first nextval, which is the same as "nothing handed out yet"
select
  s.increment_by::int8 as increment_by,
  s.last_value::int8 as last_value
from pg_catalog.pg_sequences as s
where s.schemaname = $1::text
  and s.sequencename = $2::text
order by 1
