-- What the shops did after the accident, before anybody noticed. None of this may be touched by the recovery.
update products set price = price + 1 where tenant_id = 1;
update customers set phone = '+44 20 7946 0999' where id = 5;
insert into customers (tenant_id, email, full_name, created_at, updated_at)
values (1, 'newcomer@example.org', 'Newcomer', '2026-03-01 09:00+00', '2026-03-01 09:00+00');
insert into orders (tenant_id, customer_id, status, placed_at, updated_at)
select 1, id, 'paid', '2026-03-01 10:00+00', '2026-03-01 10:00+00' from customers where email = 'newcomer@example.org';
insert into order_items (order_id, line_no, product_id, quantity, unit_price)
select id, 1, 5, 2, 11.5 from orders where placed_at = '2026-03-01 10:00+00';
insert into payments
select '00000000-0000-4000-8000-000000000001', id, 23, '2026-03-01 10:05+00' from orders where placed_at = '2026-03-01 10:00+00';
delete from reviews where id = 10;
insert into notes (subject_type, subject_id, body) values ('customer', 5, 'called about the new number');
