-- The application cleans up its notes itself before it deletes a customer or an order. Two of the customers sign up again.
create temporary table again as select * from customers where id in (14, 22);
delete from notes where subject_type = 'order' and subject_id in (select id from orders where customer_id between 11 and 30);
delete from notes where subject_type = 'customer' and subject_id between 11 and 30;
delete from customers where id between 11 and 30;
insert into customers (id, tenant_id, email, full_name, created_at, updated_at) overriding system value
select 9000 + id, tenant_id, email, 'signed up again', '2026-03-01 08:00+00', '2026-03-01 08:00+00' from again;
drop table again;
