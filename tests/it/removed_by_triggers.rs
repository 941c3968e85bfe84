//! Rows that live's triggers remove while rows come back, or go again, are listed with what hung on them; undo puts back what
//! apply cost. Rows to which triggers give another key are not written.

use super::support::{Output, Rescue, TestDb};

pub(super) fn deleted(table: &str, condition: &str) -> String {
    format!("[[recover]]\ntable = \"{table}\"\nkind = \"deleted\"\nwhere = \"{condition}\"\n")
}

/// A trigger that does this to each row.
pub(super) fn trigger(table: &str, when: &str, does: &str) -> String {
    format!(
        "create function f() returns trigger language plpgsql as $$ begin {does} end $$;
         create trigger x {when} on {table} for each row execute function f();"
    )
}

/// The lines of the list below this title, sorted.
pub(super) fn list(output: &Output, title: &str) -> Vec<String> {
    let below = output.stdout.split_once(title).map(|(_, below)| below).unwrap_or_default();
    let lines = below.lines().skip(1).take_while(|line| line.starts_with("  "));
    let mut lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

pub(super) fn undo(rescue: &Rescue<'_>) -> Output {
    rescue.undo()
}

/// One session for each user: whoever logs in is logged out elsewhere, with all that hangs on that session.
fn sessions(name: &str, catching: bool) -> TestDb<'static> {
    let does = if catching {
        // A block that catches errors is a savepoint: what it deletes carries another number than the transaction.
        "begin delete from sess where usr = new.usr and id <> new.id; exception when division_by_zero then null; end; return null;"
    } else {
        "delete from sess where usr = new.usr and id <> new.id; return null;"
    };
    TestDb::with(
        name,
        &format!(
            "create table sess (id int primary key, usr int, tok text, at timestamptz default '2026-01-01 10:00+02', tags text[]);
             create table act (id int generated always as identity primary key, sid int references sess on delete cascade, what text,
                twice text generated always as (what || what) stored);
             insert into sess select i, i, 't' || i, '2026-01-01 10:00+02', array['a b', null, '\"' || i] from generate_series(1, 20) i;
             {}",
            trigger("sess", "after insert", does)
        ),
    )
}

#[test]
fn rows_of_others_that_a_trigger_removes_are_listed_and_undo_puts_them_back() {
    for (name, catching) in [("removed_others", false), ("removed_in_block", true)] {
        let live = sessions(name, catching);
        let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
        live.psql(
            "delete from sess where id <= 2;
             insert into sess select 100 + i, i, 'new\t' || i from generate_series(1, 2) i;
             insert into act (sid, what) select 100 + i, E'pre\\\\cious' || i from generate_series(1, 2) i;",
        );
        let damaged = live.digest();
        let _planned = rescue.recover_text(&deleted("sess", "id <= 2")).expect_code(0);
        let wanted: Vec<String> = ["act (id = 1)", "act (id = 2)", "sess (id = 101)", "sess (id = 102)"]
            .map(|row| format!("public.{row}: was in live, and a trigger removed it while rows came back; undo puts it back"))
            .into();
        let dry = ["apply", "case", "--dry-run", "--live", &live.url(), "--confirm", live.name()];
        let dry = rescue.rowback().run(dry);
        assert_eq!((dry.code, list(&dry, "Left for a human:")), (Some(1), wanted.clone()), "{name}: {dry:?}");
        assert_eq!(live.digest(), damaged, "a dry run writes nothing");
        let applied = rescue.apply();
        assert_eq!(
            (applied.code, list(&applied, "Left for a human:")),
            (Some(1), wanted),
            "{name}: {applied:?}"
        );
        assert_eq!(live.value("select count(*) from sess where id > 100"), "0");
        let verified = rescue.verify();
        let told =
            "triggers removed rows of public.sess that the plan says nothing of (2 listed by the report)";
        assert!(verified.stdout.contains(told), "{name}: {verified:?}");
        let undone = undo(&rescue).expect_code(0);
        assert!(undone.stdout.contains("everything that apply wrote is taken back"), "{name}: {undone:?}");
        assert_eq!(live.digest(), damaged, "{name}");
        // What somebody deletes after that stays away.
        live.psql("delete from sess where id = 101");
        let _again = undo(&rescue).expect_code(0);
        assert_eq!(live.value("select count(*) from sess where id = 101"), "0", "{name}");
    }
}

#[test]
fn what_cannot_be_put_back_is_listed() {
    let live = sessions("removed_for_good", false);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from sess where id = 1; insert into sess values (102, 1, 'newer')");
    let damaged = live.digest();
    let _planned = rescue.recover_text(&deleted("sess", "id = 1")).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(list(&applied, "Left for a human:").len(), 1, "{applied:?}");
    live.psql("alter table sess add constraint short check (tok <> 'newer')");
    let undone = undo(&rescue).expect_code(1);
    assert_eq!(
        list(&undone, "Left by triggers:"),
        [
            "public.sess: 1 row that triggers removed not in live; journal.jsonl has what is known of them: (id = 102); could not be \
             put back: new row for relation \"sess\" violates check constraint \"short\""
        ],
        "{undone:?}"
    );
    assert!(!undone.stdout.contains("everything that apply wrote"), "{undone:?}");
    // What live refused is tried again by the next one, as often as it takes.
    let again = undo(&rescue).expect_code(1);
    assert!(again.stdout.contains("(id = 102); could not be put back"), "{again:?}");
    live.psql("alter table sess rename tok to token");
    let again = undo(&rescue).expect_code(1);
    let told = "(id = 102); could not be put back: live has its table, or a column of it, no more or under another name";
    assert!(again.stdout.contains(told), "{again:?}");
    live.psql("alter table sess rename token to tok; alter table sess drop constraint short");
    let again = undo(&rescue).expect_code(0);
    assert!(again.stdout.contains("everything that apply wrote is taken back"), "{again:?}");
    assert_eq!(live.digest(), damaged);
    let journal = std::fs::read_to_string(rescue.case().join("journal.jsonl")).unwrap();
    let _nothing_left = undo(&rescue).expect_code(0);
    assert_eq!(
        std::fs::read_to_string(rescue.case().join("journal.jsonl")).unwrap(),
        journal,
        "nothing is written where nothing waits"
    );
}

#[test]
fn what_undo_leaves_alone_is_not_removed_for_the_sake_of_what_it_puts_back() {
    let live = sessions("removed_not_again", false);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from sess where id <= 2; insert into sess values (101, 1, 'new'), (102, 2, 'new')");
    let _planned = rescue.recover_with(&deleted("sess", "id <= 2"), &["--batch-rows", "1"]).expect_code(0);
    let _applied = rescue.apply().expect_code(1);
    live.psql("update sess set tok = 'in use' where id = 1");
    let undone = undo(&rescue).expect_code(1);
    assert_eq!(list(&undone, "Left alone:"), ["public.sess (id = 1): changed since"], "{undone:?}");
    assert_eq!(
        list(&undone, "Left by triggers:"),
        [
            "public.sess: 1 row that triggers removed not in live; journal.jsonl has what is known of them: (id = 101); could not be \
             put back: triggers would remove other rows for it"
        ],
        "{undone:?}"
    );
    assert_eq!(
        live.value("select string_agg(id || tok, ',' order by id) from sess where usr <= 2"),
        "1in use,102new"
    );
}

#[test]
fn what_a_later_batch_cost_is_put_back_once_nothing_stands_in_its_way() {
    let live = TestDb::with(
        "removed_in_the_way",
        &format!(
            "create table a (id int primary key, slot text unique); create table b (id int primary key, a int references a);
             insert into a values (1, 'x'); insert into b values (1, 1); {}",
            trigger("b", "after insert", "delete from a where id = 7; return null;")
        ),
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from b; delete from a; insert into a values (7, 'y')");
    let damaged = live.digest();
    let _planned = rescue.recover_text(&deleted("a", "id = 1")).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(list(&applied, "Left for a human:").len(), 1, "{applied:?}");
    // From now on there may be one of them at a time.
    live.psql("create unique index one on a ((true))");
    let _undone = undo(&rescue).expect_code(0);
    live.psql("drop index one");
    assert_eq!(live.digest(), damaged);
}

#[test]
fn rows_that_came_back_and_that_a_later_batch_cost_are_listed() {
    let live = TestDb::with(
        "removed_own",
        &format!(
            "create table p (id int primary key);
             create table c (id int primary key, pid int references p on delete cascade);
             create table sib (id int primary key, pid int references p on delete cascade);
             insert into p select generate_series(1, 9);
             insert into c select i, i from generate_series(1, 9) i;
             insert into sib select i, i from generate_series(1, 9) i;
             {}",
            trigger("sib", "after insert", "delete from c where pid = new.pid; return null;")
        ),
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from p where id <= 2");
    let damaged = live.digest();
    let _planned = rescue.recover_text(&deleted("p", "id <= 2")).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(
        list(&applied, "Left for a human:"),
        ["public.c (id = 1)", "public.c (id = 2)"]
            .map(|row| format!("{row}: written, then removed again by a trigger")),
        "{applied:?}"
    );
    let _undone = undo(&rescue);
    assert_eq!(live.digest(), damaged);
}

#[test]
fn a_row_to_repair_that_a_trigger_removes_comes_back_as_it_was() {
    let live = TestDb::with(
        "removed_repaired",
        "create table p (id int primary key);
         create table s (id int primary key, pid int references p on delete set null);
         insert into p values (1), (2); insert into s values (1, 1), (2, 1), (3, 1);",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from p where id = 1");
    live.psql(&trigger(
        "s",
        "after update",
        "if new.id = 1 then delete from s where id = 2; end if; return null;",
    ));
    let damaged = live.digest();
    let _planned = rescue.recover_text(&deleted("p", "id = 1")).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(
        list(&applied, "Left for a human:"),
        ["public.s (id = 2): written, then removed again by a trigger"],
        "{applied:?}"
    );
    let _undone = undo(&rescue).expect_code(0);
    assert_eq!(live.digest(), damaged);
}

#[test]
fn what_undo_costs_others_is_listed() {
    let live = TestDb::with(
        "removed_by_undo",
        &format!(
            "create table p (id int primary key); create table notes (id int primary key, pid int, t text);
             insert into p select generate_series(1, 9); {}",
            trigger("p", "after delete", "delete from notes where pid = old.id; return null;")
        ),
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from p where id = 1");
    let _planned = rescue.recover_text(&deleted("p", "id = 1")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    live.psql("insert into notes values (1, 1, 'precious')");
    let undone = undo(&rescue).expect_code(1);
    assert_eq!(
        list(&undone, "Left by triggers:"),
        [
            "public.notes: 1 row that triggers removed not in live; journal.jsonl has what is known of them: (id = 1)"
        ],
        "{undone:?}"
    );
    // The journal keeps the whole row.
    let journal = std::fs::read_to_string(rescue.case().join("journal.jsonl")).unwrap();
    assert!(journal.contains("precious"), "{journal}");
}

#[test]
fn a_row_to_which_a_trigger_gives_another_key_is_not_written() {
    let live = TestDb::with(
        "astray",
        "create table p (id int primary key, name text); insert into p select i, 'p' || i from generate_series(1, 10) i;
         create sequence ps start 1000;",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from p where id <= 3");
    live.psql(&trigger(
        "p",
        "before insert",
        "if new.id < 3 then new.id = nextval('ps'); end if; return new;",
    ));
    let damaged = live.digest();
    let _planned = rescue.recover_text(&deleted("p", "id <= 3")).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    let left = list(&applied, "Left for a human:");
    assert_eq!(left.len(), 2, "{applied:?}");
    for (row, line) in [1, 2].into_iter().zip(&left) {
        let told =
            format!("public.p (id = {row}): live refused it: a trigger gives the row another key: public.p ");
        assert!(line.starts_with(&told), "{line}");
    }
    assert_eq!(live.value("select count(*) from p where id > 10"), "0");
    assert_eq!(live.value("select count(*) from p where id = 3"), "1");
    let _undone = undo(&rescue).expect_code(0);
    assert_eq!(live.digest(), damaged);
}

#[test]
fn a_trigger_that_drops_or_diverts_a_repair_is_told_so() {
    let live = TestDb::with(
        "dropped",
        "create table p (id int primary key, v int); insert into p select i, i from generate_series(1, 4) i;",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("update p set v = -1");
    let does = "if new.id = 2 then return null; elsif new.id = 4 then new.id = 44; end if; return new;";
    live.psql(&trigger("p", "before update", does));
    let damaged = live.digest();
    let recipe =
        "[[recover]]\ntable = \"p\"\nkind = \"corrupted\"\nwhere = \"true\"\ndamaged = \"live.v = -1\"\n";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let applied = rescue.apply().expect_code(1);
    assert_eq!(
        list(&applied, "Left for a human:"),
        [
            "public.p (id = 2): not repaired: a trigger dropped the change",
            "public.p (id = 4): live refused it: a trigger gives the row another key: public.p {\"id\": \"44\"}",
        ],
        "{applied:?}"
    );
    assert_eq!(live.rows("p"), ["1\t1", "2\t-1", "3\t3", "4\t-1"]);
    let _undone = undo(&rescue).expect_code(0);
    assert_eq!(live.digest(), damaged);
}

#[test]
fn rows_that_undo_found_gone_are_not_forgotten_by_the_next_one() {
    let live = TestDb::with(
        "still_gone",
        "create table t (id int primary key, v text); insert into t select i, 'v' || i from generate_series(1, 10) i;",
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from t");
    let _planned = rescue.recover_text(&deleted("t", "true")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    live.psql("delete from t where id = 3; update t set v = 'x' where id = 4");
    let both = ["public.t (id = 3): gone", "public.t (id = 4): changed since"];
    for attempt in 0..2 {
        let undone = undo(&rescue).expect_code(1);
        assert_eq!(list(&undone, "Left alone:"), both, "{attempt}: {undone:?}");
    }
    live.psql("update t set v = 'v4' where id = 4; insert into t values (3, 'mine')");
    let undone = undo(&rescue);
    assert!(
        list(&undone, "Left alone:")
            .contains(&"public.t (id = 3): was gone when undo looked, and is there again since".to_owned()),
        "{undone:?}"
    );
    assert_eq!(live.value("select v from t where id = 3"), "mine");
}
