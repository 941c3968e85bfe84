-- After the backup, before the accident: two customers ask for erasure, an order is cancelled for good, life goes on.
delete from shoppers where id in (206, 406);
delete from purchases where id in (select min(id) from purchases where shopper_id = 6);
update shoppers set display_name = 'Newer name' where id = 7;
insert into shoppers (store_id, login, display_name, joined_at, changed_at)
values (7, 'young@mail.example', 'Born after the backup', '2026-11-19 08:00+00', '2026-11-19 08:00+00');
