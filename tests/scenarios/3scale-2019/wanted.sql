-- The same work without the bug.
update purchases set changed_at = '2026-11-19 09:00+00' where id % 40 = 7;
update purchases set state = 'sent', changed_at = '2026-11-19 12:00+00' where id % 40 = 8;
insert into purchases (store_id, shopper_id, token, state, amount, bought_at, changed_at)
select (select store_id from shoppers where id = n), n, md5('born' || n)::uuid, 'basket', 3, '2026-11-19 13:00+00', '2026-11-19 13:00+00'
from generate_series(100, 160) as n;
insert into visits (store_id, shopper_id, action, context, seen_at)
select (select store_id from shoppers where id = n), n, 'look', '{}', '2026-11-19 14:00+00' from generate_series(100, 160) as n;
update purchases set remark = 'kept', changed_at = '2026-11-19 15:00+00' where id % 40 = 9;
