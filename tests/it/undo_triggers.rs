//! What triggers have a hand in is set back by `undo` where they let it, and listed where they do not.

use super::support::{Output, Rescue, TestDb};

const TABLE: &str = "
    create table t (id int primary key, v text, version int default 1, cache text);
    insert into t select i, 'p' || i, 1, 'of p' || i from generate_series(1, 10) i;";

const CORRUPTED: &str = "[[recover]]\ntable = \"t\"\nkind = \"corrupted\"\ncolumns = [\"v\"]\nwhere = \"true\"\n\
    damaged = \"live.v like 'BAD%'\"\n";

/// A trigger on the table that does this before each update.
fn trigger(does: &str) -> String {
    format!(
        "create function f() returns trigger language plpgsql as $$ begin {does} return new; end $$;
         create trigger t before update on t for each row execute function f();"
    )
}

fn undo(rescue: &Rescue<'_>, live: &TestDb<'_>) -> serde_json::Value {
    let undone =
        rescue.rowback().run(["undo", "case", "--live", &live.url(), "--confirm", live.name(), "--json"]);
    let complete = undone.code == Some(0);
    let undone = undone.json();
    let nothing =
        undone["held"].as_array().unwrap().is_empty() && undone["remains"].as_array().unwrap().is_empty();
    assert_eq!(complete, nothing, "the exit code says whether anything is listed: {undone}");
    undone
}

/// A table with a trigger, of which two rows are damaged, repaired, and damaged again by undo; `meanwhile` happens before that.
fn repaired_and_undone(name: &str, trigger: &str, meanwhile: &str) -> (Output, bool, Vec<String>) {
    let live = TestDb::with(name, &format!("{TABLE}{trigger}"));
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("update t set v = 'BAD' || id where id in (3, 4)");
    let damaged = live.digest();
    let _planned = rescue.recover_text(CORRUPTED).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select count(*) from t where v like 'BAD%'"), "0");
    live.psql(meanwhile);
    let undone = rescue.undo();
    (undone, damaged == live.digest(), live.rows("t"))
}

/// What undo says below its table.
fn last_lines(output: &Output) -> String {
    let from = output.stdout.find("\n\n").map_or(0, |at| at + 2);
    let (lines, end) = output.stdout[from..].split_once("Taken back in \"").unwrap_or_default();
    let end = end.split_once('"').unwrap_or_default().1;
    format!("exit code {:?}\n{lines}Taken back in \"[DB]\"{end}", output.code)
}

#[test]
fn a_version_that_a_trigger_counts_is_listed() {
    let (undone, same, rows) =
        repaired_and_undone("undo_version", &trigger("new.version = old.version + 1;"), "");
    assert!(!same);
    insta::assert_snapshot!(last_lines(&undone), @r#"
    exit code Some(1)
    Not as before:
      public.t (id = 3): taken back, but triggers changed version
      public.t (id = 4): taken back, but triggers changed version

    Taken back in "[DB]": 0 rows removed, 0 rows as before; 2 rows not as before in columns that triggers changed.
    "#);
    assert!(
        rows.iter().any(|row| row.starts_with("3\tBAD3\t4\t")),
        "one step for each write, no more: {rows:?}"
    );
}

#[test]
fn the_time_of_the_last_change_may_tell_of_the_undo() {
    let stamped = "alter table t add changed timestamptz default '2026-01-01 00:00+00';";
    let touch = trigger("new.changed := clock_timestamp();");
    let (undone, same, rows) = repaired_and_undone("undo_stamp", &format!("{stamped}{touch}"), "");
    assert!(!same);
    insta::assert_snapshot!(last_lines(&undone), @r#"
    exit code Some(0)
    note: Of 2 rows of public.t that have their former values again, changed tells of the undo: a trigger insists on it.

    Taken back in "[DB]": 0 rows removed, 2 rows as before; everything that apply wrote is taken back.
    "#);
    assert!(rows.iter().any(|row| row.starts_with("3\tBAD3\t1\t")), "{rows:?}");
    // Beside anything else it is listed with it.
    let both = trigger("new.changed := clock_timestamp(); new.version = old.version + 1;");
    let (undone, _, _) = repaired_and_undone("undo_stamp_both", &format!("{stamped}{both}"), "");
    assert!(
        undone.stdout.contains("(id = 3): taken back, but triggers changed changed, version\n"),
        "{undone:?}"
    );
    assert_eq!(undone.code, Some(1));
}

#[test]
fn without_triggers_nothing_is_listed() {
    let (undone, same, _) = repaired_and_undone("undo_plain", "", "");
    assert!(same && undone.code == Some(0) && !undone.stdout.contains("Not as before"), "{undone:?}");
}

#[test]
fn columns_that_follow_the_recovered_ones_or_that_a_trigger_lets_be_set_are_as_before() {
    for (name, does) in [
        ("undo_follows", "new.cache = 'of ' || new.v;"),
        (
            "undo_settable",
            "if new.version = old.version and new.cache = old.cache then new.version = old.version + 1; new.cache = 'touched'; end if;",
        ),
    ] {
        let (undone, same, rows) = repaired_and_undone(name, &trigger(does), "");
        assert!(same && undone.code == Some(0), "{name}: {undone:?} {rows:?}");
    }
}

#[test]
fn of_two_columns_the_one_that_can_be_set_back_is() {
    let does = "new.version = old.version + 1; if new.cache = old.cache then new.cache = 'touched ' || old.version; end if;";
    let (undone, same, rows) = repaired_and_undone("undo_partly", &trigger(does), "");
    assert!(!same);
    assert!(rows.iter().any(|row| row.starts_with("3\tBAD3\t") && row.ends_with("touched 1")), "{rows:?}");
    assert!(undone.stdout.contains("(id = 3): taken back, but triggers changed version\n"), "{undone:?}");
}

#[test]
fn what_a_colleague_did_to_the_row_since_is_not_undone() {
    let does = "if new.version = old.version then new.version = old.version + 1; end if;";
    let meanwhile = "update t set version = 70 where id = 3";
    let (undone, _, rows) = repaired_and_undone("undo_colleague", &trigger(does), meanwhile);
    assert!(rows.iter().any(|row| row.starts_with("3\tBAD3\t70\t")), "{undone:?} {rows:?}");
    assert!(rows.iter().any(|row| row.starts_with("4\tBAD4\t2\t")), "{undone:?} {rows:?}");
    assert_eq!(undone.code, Some(0), "{undone:?}");
}

#[test]
fn an_undo_that_a_trigger_overrules_names_the_column() {
    let does = "if new.v like 'BAD%' then new.v = 'never'; end if;";
    let live = TestDb::with("undo_overruled", TABLE);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("update t set v = 'BAD' || id where id in (3, 4)");
    let _planned = rescue.recover_text(CORRUPTED).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    live.psql(&trigger(does));
    let undone = undo(&rescue, &live);
    assert_eq!(undone["restored"], 0);
    let held = undone["held"].as_array().unwrap();
    assert_eq!(held.len(), 2, "{undone}");
    assert_eq!(held[0]["columns"], serde_json::json!(["v"]));
    assert_eq!(held[0]["reason"], "set back, but a trigger changed the values of v");
}

const LOGGED: &str = "
    create table customers (id int primary key, n int not null default 0);
    create table orders (id int primary key, customer_id int references customers);
    create table log (id serial primary key, what text);
    create table heap (what text);
    create function l() returns trigger language plpgsql as $$ begin
      insert into log (what) values (tg_op); insert into heap values (tg_op);
      if tg_op = 'INSERT' then update customers set n = n + 1 where id = new.customer_id; end if;
      return null; end $$;
    create trigger l after insert or delete on orders for each row execute function l();
    insert into customers select generate_series(1, 3);
    insert into orders select i, 1 + i % 3 from generate_series(1, 9) i;";

#[test]
fn rows_and_counters_that_triggers_leave_behind_are_listed() {
    let live = TestDb::with("undo_logged", LOGGED);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("delete from orders where id in (3, 4, 5)");
    let _planned =
        rescue.recover_text("[[recover]]\ntable = \"orders\"\nwhere = \"id in (3, 4, 5)\"\n").expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    // Whoever writes a row or takes it away answers for it.
    live.psql("update customers set n = 50 where id = 1; delete from log where id = (select min(id) + 3 from log where what = 'DELETE')");
    let undone = rescue.undo().expect_code(1);
    insta::assert_snapshot!(last_lines(&undone), @r#"
    exit code Some(1)
    Left by triggers:
      public.heap: 6 rows made by triggers
      public.log: 5 rows made by triggers: (id = 14), (id = 15), (id = 16), (id = 17), (id = 18)
      public.customers: n of 2 rows not as before apply: (id = 2), (id = 3)

    Taken back in "[DB]": 3 rows removed, 0 rows as before; what triggers did elsewhere is still there.
    "#);
    let again = undo(&rescue, &live);
    assert_eq!(
        (&again["undone_now"], again["remains"].as_array().unwrap().len()),
        (&serde_json::json!(0), 3),
        "{again}"
    );
    // A row that was made and is gone is not told any more.
    live.psql("truncate log, heap; update customers set n = n");
    let clean = undo(&rescue, &live);
    assert_eq!(clean["remains"], serde_json::json!([]), "{clean}");
}

/// Two tenants, with a trigger on the orders of each.
fn tenants(trigger: &str) -> String {
    let schema = |name: &str| {
        format!(
            "create schema {name}; create table {name}.orders (id int primary key, no text unique, stamp text);
             create table {name}.log (id serial primary key, order_id int references {name}.orders on delete cascade, m text);
             create function {name}.f() returns trigger language plpgsql as $$ begin {trigger} end $$;"
        )
        .replace("SCHEMA", name)
    };
    format!(
        "{}{}insert into a.orders select i, 'A' || i, 'old' from generate_series(1, 5) i;
         insert into b.orders select i, 'B' || i, 'old' from generate_series(21, 25) i;",
        schema("a"),
        schema("b")
    )
}

const MOVED: &str = "[[recover]]\ntable = \"a.orders\"\nkind = \"misrouted\"\nmisrouted_to = \"b.orders\"\nwhere = \"id = 3\"\n";

const MISROUTE: &str =
    "insert into b.orders select * from a.orders where id = 3; delete from a.orders where id = 3;";

#[test]
fn rows_that_triggers_make_where_rows_go_back_to_are_listed() {
    let live = TestDb::with(
        "undo_put_back",
        &tenants("insert into SCHEMA.log (order_id, m) values (new.id, 'created'); return null;"),
    );
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql(MISROUTE);
    live.psql("create trigger t after insert on a.orders for each row execute function a.f(); create trigger t after insert on b.orders for each row execute function b.f();");
    let planned = rescue.recover_text(MOVED).expect_code(0);
    let said = format!("{}{}", planned.stdout, planned.stderr);
    assert!(said.contains("b.orders: t (b.f, after each row): writes rows elsewhere (at undo)"), "{said}");
    let _applied = rescue.apply().expect_code(0);
    let undone = rescue.undo().expect_code(1);
    assert_eq!(live.value("select count(*) from b.log where order_id = 3"), "1", "the trigger made a row");
    assert_eq!(live.value("select count(*) from a.log"), "0", "this one went with its order");
    assert!(
        undone.stdout.contains("Left by triggers:\n  b.log: 1 row made by triggers: (id = 1)\n"),
        "{undone:?}"
    );
}

#[test]
fn rows_that_go_back_get_the_values_that_they_had_there() {
    // A stamp that is only given where nobody gives one by an update.
    let live = TestDb::with("undo_stamped", &tenants("new.stamp = 'stamped'; return new;"));
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql(MISROUTE);
    let damaged = live.digest();
    let _planned = rescue.recover_text(MOVED).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    live.psql("create trigger t before insert on b.orders for each row execute function b.f();");
    let undone = undo(&rescue, &live);
    assert_eq!(undone["held"], serde_json::json!([]));
    damaged.assert_same(&live.digest(), "undo gives back what was there");
}

#[test]
fn a_surviving_parent_whose_time_of_change_tells_of_the_undo_is_a_note() {
    let live = TestDb::with(
        "stamped_parent",
        "create table clients (id int primary key, orders int not null default 0, touched timestamptz not null default now());
         create table orders (id int primary key, client int not null references clients);
         create function touch() returns trigger language plpgsql as $$ begin
           update clients set touched = clock_timestamp() where id = coalesce(new.client, old.client); return null; end $$;
         insert into clients select generate_series(1, 3); insert into orders select g, 1 + g % 3 from generate_series(1, 9) as g;
         create trigger touch after insert or delete on orders for each row execute function touch();",
    );
    let dump = live.dump(&["-Fc"]);
    let rescue = Rescue::new(&live, &dump);
    live.psql("delete from orders where id in (1, 2)");
    let _planned =
        rescue.recover_text("[[recover]]\ntable = \"orders\"\nwhere = \"id in (1, 2)\"\n").expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let undone = rescue.undo().expect_code(0);
    let note = "Of 2 rows of public.clients that are not part of the recovery, touched tells of the undo: a trigger sets it.";
    assert!(undone.stdout.contains(note), "{undone:?}");
    assert_eq!(live.value("select count(*) from orders"), "7");
    // A time that is not that of the change is a value like any other: here that of the newest order that there ever was.
    live.psql("create or replace function touch() returns trigger language plpgsql as $$ begin
        update clients set touched = '2020-01-01 00:00+00'::timestamptz + (coalesce(new.id, 0)::text || ' days')::interval
        where id = coalesce(new.client, old.client) and tg_op = 'INSERT'; return null; end $$;
        delete from orders where id = 4");
    let rescue = Rescue::new(&live, &dump);
    let _planned =
        rescue.recover_text("[[recover]]\ntable = \"orders\"\nwhere = \"id = 4\"\n").expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let undone = rescue.undo().expect_code(1);
    assert!(undone.stdout.contains("public.clients") && undone.stdout.contains("touched"), "{undone:?}");
}
