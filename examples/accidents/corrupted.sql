-- An anonymiser meant for the staging copy ran on the live database; two people have corrected their address since.
update customers set email = md5(email) || '@invalid', phone = null where tenant_id = 5;
update customers set email = 'corrected@example.org' where id = 4;
update customers set phone = '+44 20 7946 0555' where id = 9;
