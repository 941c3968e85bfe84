//! Live changes its tables, or writes rows anew, between plan, apply and undo: nothing stops midway, nothing of others goes.

use std::fs::File;

use super::support::{Rescue, TestDb};

const WORLD: &str = "create table a (id int primary key, n text);
    create table b (id int primary key, a int not null references a on delete cascade, v text);
    create table c (id int primary key, a int references a on delete set null);
    insert into a select i, 'n' || i from generate_series(1, 10) i; insert into b select i, i, 'v' || i from generate_series(1, 10) i;
    insert into c select i, i from generate_series(1, 10) i;";

const LOST: &str = "[[recover]]\ntable = \"public.a\"\nwhere = \"id <= 4\"\n";

fn applied(name: &str, look: impl FnOnce(&TestDb<'static>, &Rescue<'_>)) {
    let live = TestDb::with(name, WORLD);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from a where id <= 4");
    let _planned = rescue.recover_text(LOST).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    look(&live, &rescue);
}

#[test]
fn apply_begins_with_nothing_that_it_could_not_finish() {
    let changes = [
        ("alter table b rename v to w", "live's public.b has no v any more"),
        ("drop table b", "live has no table public.b any more"),
        ("alter table c drop column a", "live's public.c has no a any more"),
    ];
    for (change, told) in changes {
        let live = TestDb::with("changed_apply", WORLD);
        let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
        live.psql("delete from a where id <= 4");
        let _planned = rescue.recover_text(LOST).expect_code(0);
        live.psql(change);
        let applied = rescue.apply().expect_code(4);
        assert!(applied.stderr.starts_with("error[live-changed]"), "{applied:?}");
        assert!(
            applied.stderr.contains(told) && applied.stderr.contains("Nothing was written."),
            "{applied:?}"
        );
        assert_eq!(live.value("select count(*) from a"), "6", "{change}");
    }
}

#[test]
fn undo_takes_back_what_a_dropped_table_does_not_concern() {
    applied("changed_dropped", |live, rescue| {
        live.psql("drop table b");
        let undone = rescue.undo().expect_code(1);
        assert!(
            undone.stdout.contains("public.b: 4 rows, live has no table public.b any more"),
            "{undone:?}"
        );
        assert!(undone.stdout.contains("4 rows left alone."), "{undone:?}");
        assert_eq!(live.value("select count(*) from a"), "6");
        assert_eq!(live.value("select count(*) from c where a is null"), "4");
        let verified = rescue.verify().expect_code(4);
        assert!(verified.stderr.starts_with("error[verify-live-changed]"), "{verified:?}");
        assert!(verified.stderr.contains("\"public.b\" does not exist"), "{verified:?}");
    });
}

#[test]
fn undo_leaves_the_parents_of_rows_that_it_cannot_find_under_another_name() {
    let changes =
        ["alter table b rename to b2", "alter table b rename a to parent", "alter table b rename v to w"];
    for change in changes {
        applied("changed_renamed", |live, rescue| {
            live.psql(change);
            let undone = rescue.undo().expect_code(1);
            assert!(undone.stdout.contains("(id = 1): still referred to by"), "{change}: {undone:?}");
            assert_eq!(live.value("select count(*) from a"), "10", "{change}");
            let back = match change {
                "alter table b rename to b2" => "alter table b2 rename to b",
                "alter table b rename a to parent" => "alter table b rename parent to a",
                _ => "alter table b rename w to v",
            };
            live.psql(back);
            let undone = rescue.undo().expect_code(0);
            assert!(
                undone.stdout.contains("everything that apply wrote is taken back"),
                "{change}: {undone:?}"
            );
            assert_eq!(live.value("select count(*) from a"), "6", "{change}");
        });
    }
}

#[test]
fn rows_that_somebody_wrote_anew_are_not_those_of_apply() {
    applied("rewritten", |live, rescue| {
        live.psql(
            "create temporary table x as select * from b where id <= 2; delete from b where id <= 2; insert into b select * from x",
        );
        let undone = rescue.undo().expect_code(1);
        let stays = live.value("select string_agg(id::text, ',' order by id) from b where id <= 4");
        assert_eq!(stays, "1,2", "{undone:?}");
        assert!(undone.stdout.contains("public.b (id = 1): written again since"), "{undone:?}");
        assert!(undone.stdout.contains("public.a (id = 1): still referred to by public.b"), "{undone:?}");
        assert_eq!(live.value("select count(*) from a"), "8");
        let again = rescue.undo().expect_code(1);
        assert!(again.stdout.contains("public.b (id = 1): written again since"), "{again:?}");
        assert_eq!(live.value("select count(*) from a"), "8");
    });
}

#[test]
fn a_table_that_was_restored_whole_is_not_taken_apart() {
    applied("restored", |live, rescue| {
        live.psql("truncate a, b, c");
        live.psql(
            WORLD.split_once("insert").map(|(_, rest)| format!("insert{rest}")).unwrap_or_default().as_str(),
        );
        let whole = live.digest();
        let undone = rescue.undo().expect_code(1);
        assert!(undone.stdout.contains("public.a (id = 1): written again since"), "{undone:?}");
        let links = live.value("select count(*) from c where a is null");
        assert!(
            live.value("select count(*) from a") == "10" && live.value("select count(*) from b") == "10",
            "{undone:?}"
        );
        // A link is taken back by its value: the parent stays, and with it nothing is lost.
        assert!(links == "0" || links == "4", "{whole:?}");
    });
}

#[test]
fn what_was_done_is_told_where_the_result_cannot_be_written() {
    let live = TestDb::with("unwritable", WORLD);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from a where id <= 4");
    let _planned = rescue.recover_text(LOST).expect_code(0);
    for (command, rows) in [("apply", "10"), ("undo", "6")] {
        let arguments = [command, "case", "--live", &live.url(), "--confirm", live.name()];
        let full = File::create("/dev/full").unwrap();
        let output = rescue.rowback().command(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(live.value("select count(*) from a"), rows, "{told}");
        assert_eq!(output.status.code(), Some(5), "{told}");
        assert!(told.contains("what it did stands") && !told.contains("Nothing was changed"), "{told}");
    }
}

#[test]
fn what_is_written_row_by_row_in_savepoints_is_no_work_of_others() {
    let world = "create table a (id int primary key, n int not null default 0);
        create table b (id int primary key, a int not null references a on delete cascade, v text unique);
        create function g() returns trigger language plpgsql as $$ begin
            update a set n = (select count(*) from b where b.a = a.id) where id in (new.a, old.a);
            return null; end $$;
        insert into a select i, 1 from generate_series(1, 10) i; insert into b select i, i, 'v' || i from generate_series(1, 10) i;
        create trigger x after insert or delete on b for each row execute function g();";
    let live = TestDb::with("savepoints", world);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql(
        "delete from a where id <= 4; insert into b values (99, 10, 'v2'); delete from b where id = 10",
    );
    let damaged = live.digest();
    // One row is refused: the others are written row by row, each in a savepoint.
    live.psql("alter table b add constraint odd check (id <> 3) not valid");
    let _planned = rescue.recover_with(LOST, &["--batch-rows", "2"]).expect_code(1);
    live.psql("alter table b drop constraint odd");
    for _ in 0..2 {
        let applied = rescue.apply();
        assert!(live.value("select count(*) from a") == "10", "{applied:?}");
        let undone = rescue.undo();
        assert_eq!(undone.code, Some(0), "{undone:?}");
        assert_eq!(live.digest(), damaged, "{undone:?}");
    }
}

#[test]
fn what_triggers_write_in_savepoints_is_no_work_of_others() {
    let cases = [
        // The last batch of apply ends with the numbers of savepoints.
        ("5000", "insert", "update c set x = x where id = new.id"),
        ("5000", "delete", "update p set v = v where id = old.pid"),
        ("4", "delete", "update c set x = x where id = old.id + 1"),
    ];
    for (batch_rows, event, does) in cases {
        let world = format!(
            "create table p (id int primary key, v int, w text);
             create table c (id int primary key, pid int references p on delete cascade, x text);
             create function hd() returns trigger language plpgsql as $$ begin
                begin {does}; exception when others then null; end; return null; end $$;
             insert into p select i, i, 'w' from generate_series(1, 30) i; insert into c select i, i, 'x' from generate_series(1, 30) i;
             create trigger t after {event} on c for each row execute function hd();"
        );
        let live = TestDb::with("caught", &world);
        let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
        live.psql("set session_replication_role = replica; delete from p where id < 20; delete from c where pid < 20");
        let damaged = live.digest();
        let recipe = "[[recover]]\ntable = \"public.p\"\nwhere = \"true\"\n";
        let _planned = rescue.recover_with(recipe, &["--batch-rows", batch_rows]).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        let undone = rescue.undo();
        assert_eq!((undone.code, live.digest() == damaged), (Some(0), true), "{does}: {undone:?}");
    }
}

#[test]
fn undo_goes_on_past_a_column_that_became_narrower() {
    let live = TestDb::with(
        "narrower",
        "create table a (id int primary key);
         create table b (id int primary key, a int not null references a on delete cascade, n numeric(10,2));
         create table c (id int primary key, a int not null references a on delete cascade);
         insert into a select generate_series(1, 6); insert into b select i, i, 1.55 from generate_series(1, 3) i;
         insert into c select i, i from generate_series(1, 6) i;",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from a");
    let _planned =
        rescue.recover_text("[[recover]]\ntable = \"public.a\"\nwhere = \"true\"\n").expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    live.psql("alter table b alter n type int");
    for taken_back in [2, 1] {
        let undone =
            rescue.rowback().run(["undo", "case", "--live", &live.url(), "--confirm", live.name(), "--json"]);
        assert_eq!(undone.json()["undone_now"], taken_back, "b's batch is not: {undone:?}");
        let undone = rescue.undo().expect_code(1);
        let told = "public.b: 3 rows, invalid input syntax for type integer: \"1.55\"";
        assert!(undone.stdout.contains(told), "{undone:?}");
        assert!(undone.stdout.contains("public.a (id = 3): still referred to by public.b"), "{undone:?}");
        assert_eq!(live.value("select (select count(*) from a) || ' ' || (select count(*) from b) || ' ' || (select count(*) from c)"), "3 3 0");
    }
}
