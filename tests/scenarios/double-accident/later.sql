-- A customer gives the right number again, others change what was never damaged.
update shoppers set mobile = '0111' where id = 20;
update shoppers set display_name = 'Married ' || id where store_id = 30 and id % 3 <> 0;
insert into visits (store_id, shopper_id, action, context, seen_at)
select store_id, id, 'look', '{}', '2026-11-19 14:00+00' from shoppers where store_id = 31 and id % 3 <> 0 order by id;
