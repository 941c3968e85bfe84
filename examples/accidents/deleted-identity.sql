-- All customers of tenant 2 are gone; support typed one in again under his old number, with a new phone.
delete from customers where tenant_id = 2;
insert into customers (id, tenant_id, email, full_name, phone, created_at, updated_at) overriding system value
values (6, 2, 'person6@example.org', 'Person 6', '+44 20 7946 0777', '2026-02-28 12:00+00', '2026-02-28 12:00+00');
