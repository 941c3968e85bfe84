-- All that hung on an old number hangs on the new one, and the old rows are no longer there.
update purchases as p set shopper_id = new.id from shoppers as old
join shoppers as new on old.login = 'old ' || new.login and old.store_id = new.store_id where p.shopper_id = old.id;
update visits as v set shopper_id = new.id from shoppers as old
join shoppers as new on old.login = 'old ' || new.login and old.store_id = new.store_id where v.shopper_id = old.id;
delete from shoppers where login like 'old %';
