//! `undo` while others work: what they commit in the meantime stays, and every row that could not be taken back is named.

use super::support::{Colleague, Output, Rescue, Running, TestDb, wait_until_rowback_waits};

const SHOP: &str = "
    create table cu (id int primary key, name text, price int);
    create table od (id int primary key, cu int references cu on delete cascade);
    create table rv (id int primary key, cu int references cu on delete set null);
    insert into cu select n, 'c' || n, n from generate_series(1, 3) n;
    insert into rv values (1, 1);";

const RECIPE: &str = "[[recover]]\ntable = \"public.cu\"\nwhere = \"true\"\n";

/// Recovered and applied after `accident`; `more` is run in live before `recover`.
fn applied<'db>(backup: &TestDb<'_>, live: &'db TestDb<'db>, accident: &str, recipe: &str) -> Rescue<'db> {
    let rescue = Rescue::new(live, &backup.dump(&["-Fc"]));
    live.psql(accident);
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    rescue
}

fn start_undo(rescue: &Rescue<'_>, live: &TestDb<'_>) -> Running {
    rescue.rowback().start(["undo", "case", "--live", &live.url(), "--confirm", live.name()])
}

/// Runs undo while `sql` is not committed yet; it is committed as soon as undo waits for it.
fn undo_meets(rescue: &Rescue<'_>, live: &TestDb<'_>, sql: &str) -> Output {
    let colleague = Colleague::begins(live, sql);
    let undo = start_undo(rescue, live);
    wait_until_rowback_waits(live);
    colleague.commits();
    undo.wait()
}

#[test]
fn a_row_that_came_to_refer_while_undo_waited_stays_and_keeps_its_parent() {
    let backup = TestDb::with("undo_refer", SHOP);
    let live = backup.copy("undo_refer_live");
    let rescue = applied(&backup, &live, "delete from cu", RECIPE);
    let undone = undo_meets(&rescue, &live, "insert into od values (901, 1)").expect_code(1);
    assert_eq!(live.rows("od"), ["901\t1"], "the colleague's row is nobody's to delete");
    assert_eq!(live.value("select string_agg(id::text, ',') from cu"), "1");
    assert!(
        undone.stdout.contains("public.cu (id = 1): still referred to by public.od"),
        "{}",
        undone.stdout
    );
    assert!(
        undone.stdout.contains("2 rows removed") && undone.stdout.contains("1 row left alone"),
        "{}",
        undone.stdout
    );
    // The twin: when nobody refers any more, it goes.
    live.psql("delete from od");
    let _rest = rescue.undo().expect_code(0);
    assert_eq!(live.value("select count(*) from cu"), "0");
}

#[test]
fn a_link_that_was_set_while_undo_waited_is_not_cut() {
    let backup = TestDb::with("undo_link", SHOP);
    let live = backup.copy("undo_link_live");
    let rescue = applied(&backup, &live, "insert into rv values (2, null); delete from cu", RECIPE);
    let undone = undo_meets(&rescue, &live, "update rv set cu = 2 where id = 2").expect_code(1);
    assert_eq!(live.rows("rv"), ["1\t\\N", "2\t2"]);
    assert!(
        undone.stdout.contains("public.cu (id = 2): still referred to by public.rv"),
        "{}",
        undone.stdout
    );
}

#[test]
fn a_row_that_changed_while_undo_waited_is_listed() {
    let backup = TestDb::with("undo_changed", SHOP);
    let live = backup.copy("undo_changed_live");
    let rescue = applied(&backup, &live, "delete from cu", RECIPE);
    let undone = undo_meets(&rescue, &live, "update cu set price = 99 where id = 2").expect_code(1);
    assert_eq!(live.rows("cu"), ["2\tc2\t99"]);
    assert!(undone.stdout.contains("public.cu (id = 2): changed since"), "{}", undone.stdout);
    assert!(!undone.stdout.contains("everything that apply wrote"), "{}", undone.stdout);

    let live = backup.copy("undo_changed_live");
    let recipe = "[[recover]]\ntable = \"public.cu\"\nkind = \"corrupted\"\ncolumns = [\"price\"]\nwhere = \"true\"\ndamaged = \"true\"\n";
    let rescue = applied(&backup, &live, "update cu set price = 0", recipe);
    let undone = undo_meets(&rescue, &live, "update cu set price = 99 where id = 2").expect_code(1);
    assert_eq!(live.rows("cu"), ["1\tc1\t0", "2\tc2\t99", "3\tc3\t0"]);
    assert!(undone.stdout.contains("public.cu (id = 2): changed since"), "{}", undone.stdout);
    assert!(undone.stdout.contains("2 rows as before"), "{}", undone.stdout);
}

#[test]
fn what_a_trigger_does_not_let_go_is_listed() {
    let backup = TestDb::with("undo_trigger", SHOP);
    let live = backup.copy("undo_trigger_live");
    let rescue = applied(&backup, &live, "delete from cu", RECIPE);
    live.psql(
        "create function stay() returns trigger language plpgsql as $$ begin
            if old.id = 1 then return null; end if; return old; end $$;
         create function back() returns trigger language plpgsql as $$ begin
            if old.id = 2 then insert into cu values (old.*); end if; return null; end $$;
         create trigger stay before delete on cu for each row execute function stay();
         create trigger back after delete on cu for each row execute function back()",
    );
    let undone = rescue.undo().expect_code(1);
    assert_eq!(live.value("select string_agg(id::text, ',' order by id) from cu"), "1,2");
    for line in [
        "public.cu (id = 1): a trigger stands in the way",
        "public.cu (id = 2): removed, then put back by a trigger",
        "1 row removed, 1 row as before; 2 rows left alone",
    ] {
        assert!(undone.stdout.contains(line), "{line}:\n{}", undone.stdout);
    }
    live.psql("drop trigger stay on cu; drop trigger back on cu");
    let _rest = rescue.undo().expect_code(0);
    assert_eq!(live.value("select count(*) from cu"), "0");
}

#[test]
fn a_trigger_that_has_its_own_way_with_former_values_is_listed() {
    let backup = TestDb::with("undo_overruled", SHOP);
    let live = backup.copy("undo_overruled_live");
    let recipe = "[[recover]]\ntable = \"public.cu\"\nkind = \"corrupted\"\ncolumns = [\"price\"]\nwhere = \"true\"\ndamaged = \"true\"\n";
    let rescue = applied(&backup, &live, "update cu set price = 0", recipe);
    live.psql(
        "create function own() returns trigger language plpgsql as $$ begin
            if new.id = 3 then new.price := 7; end if; return new; end $$;
         create trigger own before update on cu for each row execute function own()",
    );
    let undone = rescue.undo().expect_code(1);
    assert_eq!(live.rows("cu"), ["1\tc1\t0", "2\tc2\t0", "3\tc3\t7"]);
    let listed = "public.cu (id = 3): set back, but a trigger changed the values";
    assert!(
        undone.stdout.contains(listed) && undone.stdout.contains("2 rows as before"),
        "{}",
        undone.stdout
    );
}

#[test]
fn a_table_that_came_to_refer_since_the_plan_is_not_emptied() {
    let backup = TestDb::with("undo_new_table", SHOP);
    let live = backup.copy("undo_new_table_live");
    let rescue = applied(&backup, &live, "delete from cu", RECIPE);
    live.psql("create table note (id int primary key, who int references cu on delete cascade); insert into note values (1, 3)");
    let undone = rescue.undo().expect_code(1);
    assert_eq!(live.rows("note"), ["1\t3"]);
    assert!(undone.stdout.contains("public.cu (id = 3): still referred to by note"), "{}", undone.stdout);
    assert_eq!(live.value("select string_agg(id::text, ',') from cu"), "3");
}

#[test]
fn triggers_that_slept_while_undo_ran_are_awake_afterwards() {
    let trigger = "create table log (id int);
        create function note() returns trigger language plpgsql as $$ begin insert into log values (old.id); return null; end $$;
        create trigger note after delete on cu for each row execute function note();";
    let backup = TestDb::with("undo_sleep", &format!("{SHOP}{trigger}"));
    let live = backup.copy("undo_sleep_live");
    let recipe = format!("{RECIPE}[policy]\ntriggers = \"disable\"\n");
    let rescue = applied(&backup, &live, "delete from cu; delete from log", &recipe);
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(live.value("select count(*) from log"), "0", "asleep while undo ran");
    live.psql("insert into cu values (9); delete from cu");
    assert_eq!(live.rows("log"), ["9"], "and awake again");
}

#[test]
fn verify_after_undo_speaks_of_rows_that_apply_wrote() {
    let backup = TestDb::with("undo_verify", SHOP);
    let live = backup.copy("undo_verify_live");
    let rescue = Rescue::new(&live, &backup.dump(&["-Fc"]));
    live.psql("delete from cu");
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    live.psql("insert into cu values (1, 'c1', 1), (2, 'other', 2)");
    let _applied = rescue.apply().expect_code(1);
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(live.rows("cu"), ["1\tc1\t1", "2\tother\t2"], "nobody's but those who put them there");
    let verified = rescue.verify().expect_code(0);
    assert!(verified.stdout.contains("Verified: the recovery is taken back."), "{}", verified.stdout);
    assert!(
        verified.stdout.contains("as before") && !verified.stdout.contains("present and equal"),
        "{}",
        verified.stdout
    );
    // The twin: a row that apply had written is there again.
    live.psql("insert into cu values (3, 'c3', 3)");
    let verified = rescue.verify().expect_code(1);
    assert!(
        verified.stdout.contains("public.cu (id = 3): in live although it was taken back"),
        "{}",
        verified.stdout
    );
    assert!(
        verified.stdout.contains("NOT verified: not everything that was recovered is taken back."),
        "{}",
        verified.stdout
    );
}
