-- An import ran with the wrong search_path: it took the north's newest bookings for the south's.
insert into south.bookings select * from north.bookings where day >= '2026-02-20';
insert into south.seats select * from north.seats where booking_id in (select id from north.bookings where day >= '2026-02-20');
delete from north.seats where booking_id in (select id from north.bookings where day >= '2026-02-20');
delete from north.bookings where day >= '2026-02-20';
