//! What live's triggers remove beside the rows that come back: moves between partitions, rows made anew, strangers, tables that cannot
//! be looked at, repairs.

use super::removed_by_triggers::{deleted, list, trigger, undo};
use super::support::{Output, Rescue, TestDb};

/// A table `c` of which five rows are lost; their insertion does this to rows that stand beside them in `s`.
fn beside(name: &str, s: &str, does: &str) -> (TestDb<'static>, String) {
    let live = TestDb::with(
        name,
        &format!(
            "create table c (id int primary key); insert into c select generate_series(1, 10); {s}; {}",
            trigger("c", "after insert", &format!("{does} return null;"))
        ),
    );
    (live, deleted("c", "id <= 5"))
}

fn applied_and_undone(live: &TestDb<'static>, recipe: &str, code: i32) -> (Output, Output, bool) {
    let rescue = Rescue::new(live, &live.dump(&["-Fc"]));
    live.psql("delete from c where id <= 5");
    let damaged = live.digest();
    let _planned = rescue.recover_with(recipe, &["--batch-rows", "2"]).expect_code(0);
    let applied = rescue.apply().expect_code(code);
    let undone = rescue.undo();
    (applied, undone, live.digest() == damaged)
}

#[test]
fn rows_that_only_change_partition_are_neither_removed_nor_made() {
    let parted = |more: &str| {
        format!(
            "create table acc (tenant int, id int, primary key (tenant, id));
             create table tx (tenant int, id int, acc int, amt int{more},
                 foreign key (tenant, acc) references acc on update cascade) partition by list (tenant);
             create table tx1 partition of tx for values in (1, 2); create table tx2 partition of tx default;
             insert into acc select case when i < 6 then 1 else 3 end, i from generate_series(1, 10) i;
             insert into tx select case when i < 6 then 1 else 3 end, i, i, i from generate_series(1, 10) i;"
        )
    };
    let key = "[columns.tx]\nkey = [\"id\"]\n";
    for (name, more, key) in [("moved_pk", ", primary key (tenant, id)", ""), ("moved_keyless", "", key)] {
        let live = TestDb::with(name, &parted(more));
        let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
        let right = live.digest();
        live.psql("update acc set tenant = 3 where id in (1, 2, 3)");
        let recipe = format!(
            "[[recover]]\ntable = \"acc\"\nkind = \"misrouted\"\nowner = \"tenant\"\nwhere = \"id in (1, 2, 3)\"\ndamaged = \"true\"\n{key}"
        );
        let _planned = rescue.recover_text(&recipe).expect_code(0);
        let applied = rescue.apply().expect_code(0);
        assert!(live.digest() == right, "{name}: {applied:?}");
        // What others do meanwhile is theirs.
        live.psql("update tx set amt = 99 where id = 1; delete from tx where id = 2");
        let undone = undo(&rescue).expect_code(0);
        assert!(undone.stdout.contains("everything that apply wrote is taken back"), "{name}: {undone:?}");
        let rows = live.value(
            "select string_agg(tenant || ':' || id || ':' || amt, ' ' order by id) from tx where id < 6",
        );
        assert_eq!(rows, "3:1:99 3:3:3 1:4:4 1:5:5", "{name}");
    }
}

#[test]
fn a_row_that_a_trigger_moves_to_another_partition_is_listed_and_not_doubled() {
    let parts = "create table pp (rid int, id int, primary key (rid, id)) partition by list (rid);
        create table pp1 partition of pp for values in (1); create table pp0 partition of pp default;
        insert into pp select 1, i from generate_series(1, 10) i";
    let (live, recipe) = beside("departed", parts, "update pp set rid = 2 where id = new.id;");
    let (applied, undone, _) = applied_and_undone(&live, &recipe, 1);
    assert_eq!(list(&applied, "Left for a human:").len(), 5, "{applied:?}");
    assert_eq!(undone.code, Some(1));
    let left = list(&undone, "Left by triggers:");
    assert!(
        left.iter().all(|line| line.contains("removed by triggers, or moved to another partition")),
        "{left:?}"
    );
    assert_eq!(live.value("select count(*) from pp"), "10");
}

#[test]
fn rows_that_a_trigger_makes_anew_under_their_key_are_as_if_it_had_changed_them() {
    let sums = "create table s (cid int primary key, total int, note text);
        insert into s select i, i * 10, 'by hand ' || i from generate_series(1, 10) i";
    let does = "delete from s where cid = new.id; insert into s values (new.id, 0);";
    let (live, recipe) = beside("anew", sums, does);
    let (applied, undone, _) = applied_and_undone(&live, &recipe, 0);
    assert!(
        applied.stdout.contains("triggers moved note of 2 rows, total of 2 rows in public.s"),
        "{applied:?}"
    );
    assert_eq!(undone.code, Some(1));
    assert_eq!(
        list(&undone, "Left by triggers:"),
        [
            "public.s: note, total of 5 rows not as before apply: (cid = 1), (cid = 2), (cid = 3), (cid = 4), (cid = 5)"
        ],
        "{undone:?}"
    );
}

#[test]
fn a_row_that_triggers_change_and_then_remove_comes_back_as_it_was_before_both() {
    let rows = "create table s (id int primary key, v text); insert into s select i, 'v' || i from generate_series(1, 10) i";
    let does =
        "delete from s where id = new.id - 1; update s set v = 'touched' where id = new.id and new.id < 5;";
    let (live, recipe) = beside("changed_first", rows, does);
    let (_applied, undone, same) = applied_and_undone(&live, &recipe, 1);
    assert!(same && undone.code == Some(0), "{undone:?} {:?}", live.rows("s"));
}

#[test]
fn what_triggers_make_of_rows_that_are_put_back_is_listed() {
    let rows = "create table s (id int primary key, v text); insert into s select i, 'v' || i from generate_series(1, 10) i;
        create function g() returns trigger language plpgsql as $$ begin new.v = 'default'; return new; end $$;
        create trigger y before insert on s for each row execute function g()";
    let (live, recipe) = beside("stamped", rows, "delete from s where id = new.id;");
    live.psql("alter table s disable trigger y; update s set v = 'v' || id; alter table s enable trigger y");
    let (_applied, undone, same) = applied_and_undone(&live, &recipe, 1);
    assert!(!same && undone.code == Some(1), "{undone:?}");
    let changed: Vec<String> =
        (1..=5).map(|id| format!("public.s (id = {id}): taken back, but triggers changed v")).collect();
    assert_eq!(list(&undone, "Not as before:"), changed, "{undone:?}");
}

#[test]
fn of_rows_that_nothing_tells_apart_the_number_is_told() {
    let rows =
        "create table s (id int, v text); insert into s select i % 2, 'same' from generate_series(1, 10) i";
    let take = "delete from s where ctid = (select min(ctid) from s where id = 1) and new.id <= 2;";
    let (live, recipe) = beside("unseen", rows, take);
    let (applied, undone, _) = applied_and_undone(&live, &recipe, 1);
    let left = list(&applied, "Left for a human:");
    let told =
        "public.s: triggers removed rows while others came back, and undo cannot put them back: 2 rows; ";
    assert!(left.len() == 1 && left[0].starts_with(told), "{applied:?}");
    assert_eq!(
        list(&undone, "Left by triggers:"),
        ["public.s: 2 rows removed by triggers; nobody knows which"]
    );
    let (live, recipe) = beside("unseen_changed", rows, "update s set v = 'x' where id = 0 and new.id = 1;");
    let (applied, undone, _) = applied_and_undone(&live, &recipe, 0);
    assert!(
        applied.stdout.contains("note: triggers changed rows of public.s, and undo leaves them: 5 rows; "),
        "{applied:?}"
    );
    assert_eq!(undone.code, Some(1));
    assert_eq!(
        list(&undone, "Left by triggers:"),
        ["public.s: 5 rows changed by triggers; nobody knows which, or how they were"]
    );
}

#[test]
fn a_trigger_that_truncates_stops_the_batch() {
    let (live, recipe) =
        beside("truncated", "create table s (id int); insert into s values (1)", "truncate s;");
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from c where id <= 5");
    let damaged = live.digest();
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    let stopped = rescue.apply().expect_code(5);
    assert!(stopped.stderr.contains("a trigger empties or rewrites public.s"), "{stopped:?}");
    assert_eq!(live.digest(), damaged);
}

#[test]
fn a_trigger_that_makes_partitions_keeps_nobody_waiting() {
    let log = "create table log (id int, c int, at date, primary key (id, at)) partition by range (at);
        create table log0 partition of log for values from ('2020-01-01') to ('2021-01-01');
        insert into log select i, i, '2020-05-05' from generate_series(1, 10) i";
    let does = "execute format('create table if not exists log_%s partition of log for values from (%L) to (%L)', new.id,
            date '2022-01-01' + new.id, date '2022-01-02' + new.id);
        insert into log values (new.id + 100, new.id, date '2022-01-01' + new.id);
        update log set c = 0 where c = new.id and id < 100; delete from log where id = new.id + 5;";
    let (live, recipe) = beside("makes_parts", log, does);
    let (applied, undone, _) = applied_and_undone(&live, &recipe, 1);
    let left = list(&applied, "Left for a human:");
    assert!(left.iter().all(|line| line.starts_with("public.log: triggers removed rows")), "{applied:?}");
    assert_eq!(undone.code, Some(1), "{undone:?}");
    assert_eq!(live.value("select count(*) from c"), "5");
}

#[test]
fn nothing_is_hung_on_a_stranger_who_took_the_key_of_a_removed_row() {
    let rows = "create table s (id int primary key, v text);
        create table si (id int primary key, s int references s on delete cascade);
        insert into s select i, 'v' || i from generate_series(1, 10) i; insert into si select i, i from generate_series(1, 10) i";
    let (live, recipe) = beside("stranger", rows, "delete from s where id = new.id and id < 3;");
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from c where id <= 5");
    let damaged = live.digest();
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(1);
    live.psql("insert into s values (1, 'stranger')");
    for attempt in 0..2 {
        let undone = undo(&rescue).expect_code(1);
        let told = "1 row removed by triggers and not put back: another row has their key by now, or that of their parent; \
                    journal.jsonl has them: (id = 1)";
        let wanted = [format!("public.s: {told}"), format!("public.si: {told}")];
        assert_eq!(list(&undone, "Left by triggers:"), wanted, "{attempt}: {undone:?}");
    }
    assert_eq!(live.value("select count(*) || ':' || min(v) from s"), "10:stranger");
    assert_eq!(live.value("select min(id) from si"), "2");
    live.psql("delete from s where id = 1");
    let again = undo(&rescue).expect_code(0);
    assert!(again.stdout.contains("everything that apply wrote is taken back"), "{again:?}");
    assert_eq!(live.digest(), damaged, "once the stranger has gone");
}

#[test]
fn what_triggers_made_and_take_away_again_was_never_there() {
    let rows = "create table n (g int primary key, n int);
        create function g() returns trigger language plpgsql as $$ begin
            update n set n = n - 1 where g = old.id % 2; delete from n where n = 0; return null; end $$;
        create trigger y after delete on c for each row execute function g()";
    let does = "insert into n values (new.id % 2, 1) on conflict (g) do update set n = n.n + 1;";
    let (live, recipe) = beside("to_and_fro", rows, does);
    live.psql("delete from c where id > 5");
    let (applied, undone, same) = applied_and_undone(&live, &recipe, 0);
    assert!(same && undone.code == Some(0), "{applied:?} {undone:?}");
}

#[test]
fn rows_that_the_repair_itself_takes_to_another_partition_are_updated_ones() {
    for (name, key) in [("crossed_pk", "primary key (t, id)"), ("crossed_unique", "unique (t, id)")] {
        let live = TestDb::with(
            name,
            &format!(
                "create table tx (t int not null, id int not null, amt int, {key}) partition by list (t);
                 create table tx1 partition of tx for values in (1); create table tx2 partition of tx default;
                 insert into tx select i % 2 + 1, i, i from generate_series(1, 10) i"
            ),
        );
        let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
        let right = live.digest();
        live.psql("update tx set t = 2 - t % 2 + 1 where id <= 4");
        let damaged = live.digest();
        assert!(damaged != right, "there is something to repair");
        let recipe = "[[recover]]\ntable = \"tx\"\nkind = \"misrouted\"\nowner = \"t\"\nwhere = \"id <= 4\"\n\
            damaged = \"true\"\n[columns.tx]\nkey = [\"id\"]\n";
        let _planned = rescue.recover_text(recipe).expect_code(0);
        let applied = rescue.apply().expect_code(0);
        assert!(live.digest() == right, "{name}: {applied:?}");
        let undone = undo(&rescue).expect_code(0);
        assert!(live.digest() == damaged, "{name}: {undone:?}");
    }
}
