-- First a script overwrites columns; then somebody deletes some of the rows that look broken.
update shoppers set mobile = 'UNKNOWN', postal = '{"place": "UNKNOWN"}' where store_id between 20 and 60;
delete from shoppers where store_id between 20 and 60 and id % 3 = 0;
