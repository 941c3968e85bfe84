alter table purchases alter store_id drop not null, add changed_at timestamptz;
