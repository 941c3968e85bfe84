-- Customers who signed up again in that half hour have a new number. Their old rows stay out, visits lose their link.
delete from shoppers where id % 20 = 3;
