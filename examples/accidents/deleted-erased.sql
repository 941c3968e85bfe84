-- Customers of tenant 4 are gone by accident, but two of them had asked to be erased, and must stay so.
delete from customers where tenant_id = 4;
