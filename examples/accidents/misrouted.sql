-- A merge script filed reviews of other shops under tenant 2, and went on to do so with new ones.
update reviews set tenant_id = 2 where id between 100 and 160;
insert into reviews (id, tenant_id, product_id, customer_id, stars, body) values (1001, 2, 3, 5, 5, 'written after the backup');
