-- The application cleans up its notes itself before it deletes a customer or an order.
delete from notes where subject_type = 'order' and subject_id in (select id from orders where customer_id between 11 and 30);
delete from notes where subject_type = 'customer' and subject_id between 11 and 30;
delete from customers where id between 11 and 30;
