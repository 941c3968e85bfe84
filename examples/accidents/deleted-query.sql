-- "Delete the unpaid orders of people without a phone", but somebody forgot the second half.
delete from orders where status = 'open';
