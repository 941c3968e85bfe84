-- Twelve in a hundred stores write on: purchases under the old numbers, edits, and a customer who leaves.
insert into purchases (store_id, shopper_id, token, state, amount, bought_at)
select s.store_id, min(s.id), md5('new' || s.store_id)::uuid, 'paid', 10 + s.store_id, '2026-11-19 10:00+00'
from shoppers as s where s.store_id % 8 = 1 group by s.store_id order by s.store_id limit 24;
insert into purchase_lines select id, 1, 1, 2, 9.99, null from purchases where bought_at = '2026-11-19 10:00+00';
insert into settlements (purchase_id, channel, amount) select id, 'card', amount from purchases where bought_at = '2026-11-19 10:00+00' order by id;
update shoppers set display_name = 'Renamed ' || id, changed_at = '2026-11-19 10:30+00' where store_id % 8 = 1;
update visits set action = 'enter' where store_id % 8 = 1 and id % 3 = 0;
delete from visits where store_id % 8 = 1 and id % 7 = 0;
delete from shoppers where id = 500;
