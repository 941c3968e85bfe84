-- Store 7 loses its shoppers, the cascade takes purchases, lines and settlements, and visits lose their shopper.
delete from shoppers where store_id = 7;
-- The others go on; a recovery must leave this alone.
update goods set price = price + 1 where store_id = 7 and id % 2 = 1;
insert into visits (store_id, action, context, seen_at)
select 7, 'look', '{"later": true}', '2026-06-01 00:00+00' from generate_series(1, 100);
