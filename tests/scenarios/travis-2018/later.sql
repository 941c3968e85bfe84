-- The same addresses, new numbers, and things hang on the new numbers. The rows come from numbers alone: nothing is left
-- to copy them from.
insert into shoppers (store_id, login, display_name, joined_at, changed_at)
select 1 + n % 200, 'shopper.' || n || '@mail.example', 'Back again ' || n, '2026-11-19 11:00+00', '2026-11-19 11:00+00'
from generate_series(3, 4000, 20) as n;
insert into purchases (store_id, shopper_id, token, state, amount, bought_at)
select store_id, id, md5('again' || login)::uuid, 'paid', 5, '2026-11-19 11:10+00'
from shoppers where joined_at = '2026-11-19 11:00+00' order by login;
insert into visits (store_id, shopper_id, action, context, seen_at)
select store_id, id, 'enter', '{}', '2026-11-19 11:00+00' from shoppers where joined_at = '2026-11-19 11:00+00' order by login;
-- And somebody who was never there.
insert into shoppers (store_id, login, display_name, joined_at, changed_at)
values (4, 'new@mail.example', 'New', '2026-11-19 11:20+00', '2026-11-19 11:20+00');
