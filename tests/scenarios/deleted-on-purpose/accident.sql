-- The wrong store.
delete from shoppers where store_id = 7 and joined_at < '2026-01-01';
