-- After the fix of the bug: more work on the same rows.
update purchases set remark = 'later', changed_at = '2026-11-19 16:00+00' where id % 80 = 7;
update purchases set amount = amount + 1 where id % 80 = 8;
delete from purchases where id % 400 = 7;
