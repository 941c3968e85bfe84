-- access:  read
-- params:  none
-- returns: name text, value text
-- why:     until the end of the transaction or savepoint: a bitmap scan asks for so many pages ahead (PostgreSQL 18 has 16 by
--          itself, earlier versions 1), and no other scan is taken where there can be one; one process is enough
select
    s.name::text as name,
    pg_catalog.set_config(s.name, p.value, true)::text as value
from (
    values
        ('effective_io_concurrency', '16'),
        ('enable_indexscan', 'off'),
        ('enable_indexonlyscan', 'off'),
        ('enable_seqscan', 'off'),
        ('max_parallel_workers_per_gather', '0')
) as p(name, value)
join pg_catalog.pg_settings as s on s.name = p.name
order by s.name::text
