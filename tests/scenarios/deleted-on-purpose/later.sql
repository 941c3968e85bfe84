update shoppers set display_name = 'Later name' where store_id = 8;
