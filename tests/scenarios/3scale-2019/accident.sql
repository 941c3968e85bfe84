-- From 08:00 to 16:30 a bug writes no owner, or the wrong one, into rows that are touched; some are born so.
update purchases set store_id = null, changed_at = '2026-11-19 09:00+00' where id % 40 = 7;
update purchases set store_id = 1 + id % 199, state = 'sent', changed_at = '2026-11-19 12:00+00' where id % 40 = 8;
insert into purchases (store_id, shopper_id, token, state, amount, bought_at, changed_at)
select case when n % 2 = 0 then 1 end, n, md5('born' || n)::uuid, 'basket', 3, '2026-11-19 13:00+00', '2026-11-19 13:00+00'
from generate_series(100, 160) as n;
insert into visits (store_id, shopper_id, action, context, seen_at)
select 2, n, 'look', '{}', '2026-11-19 14:00+00' from generate_series(100, 160) as n;
-- Others are touched in the same hours, and are right.
update purchases set remark = 'kept', changed_at = '2026-11-19 15:00+00' where id % 40 = 9;
