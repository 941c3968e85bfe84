//! Rows that somebody asks to have erased after the plan was made: `exclude_keys` is read again when apply starts and before
//! each batch.

use super::support::{Output, Rescue, TestDb};

const SHOP: &str = "
create table customers (id int primary key, email text not null unique, boss int references customers);
create table orders (id int primary key, customer_id int not null references customers on delete cascade, code text not null unique);
create table items (order_code text references orders (code) on delete cascade, no int, what text, primary key (order_code, no));
create table reviews (id int primary key, customer_id int references customers on delete set null, stars int);
create table notes (id int primary key, subject_type text not null, subject_id int, body jsonb);
insert into customers select g, 'c' || g || '@x', case when g % 3 = 0 then g - 1 end from generate_series(1, 20) as g;
insert into orders select g, 1 + g % 20, 'O' || g from generate_series(1, 60) as g;
insert into items select code, n, 'thing' from orders, generate_series(1, 2) as n;
insert into reviews select g, 1 + g % 20, g % 5 from generate_series(1, 40) as g;
insert into notes select g, case when g > 20 then 'customer' else 'order' end, 1 + g % 20, '{\"n\": 1}' from generate_series(1, 40) as g;";

const LOST: &str = "
delete from notes where subject_type = 'customer' and subject_id between 3 and 7;
update customers set boss = null where boss between 3 and 7;
delete from customers where id between 3 and 7;";

const RECIPE: &str = "
[[recover]]
table = \"customers\"
where = \"id between 3 and 7\"
[[foreign_key]]
from = \"notes(subject_id)\"
to = \"customers(id)\"
when = \"subject_type = 'customer'\"
[[foreign_key]]
from = \"notes(subject_id)\"
to = \"orders(id)\"
when = \"subject_type = 'order'\"
[policy]
exclude_keys = { \"customers\" = \"erased.csv\" }
";

/// A planned rescue, with customer 3 erased from the beginning.
struct Planned {
    live: &'static TestDb<'static>,
    rescue: Rescue<'static>,
    shop: TestDb<'static>,
}

impl Planned {
    fn new(more: &[&str]) -> Self {
        let shop = TestDb::with("shop", SHOP);
        let live: &'static TestDb<'static> = Box::leak(Box::new(shop.copy("live")));
        live.psql(LOST);
        let rescue = Rescue::new(live, &shop.dump(&["-Fc"]));
        rescue.directory().write("erased.csv", "email\nc3@x\n");
        // The reviews of customer 3 stay without an author, which is what their erasure means.
        let _planned = rescue.recover_with(RECIPE, more).expect_code(0);
        Self { live, rescue, shop }
    }

    fn erase(&self, text: &str) {
        self.rescue.directory().write("erased.csv", text);
    }

    /// Live must be the shop without these customers and what hangs on them.
    fn assert_without(&self, customers: &str) {
        let wanted = self.shop.copy("wanted");
        wanted.psql(&format!(
            "delete from notes where subject_type = 'customer' and subject_id in ({customers});
             delete from notes where subject_type = 'order' and subject_id in (select id from orders where customer_id in ({customers}))
               and subject_id in (select id from orders);
             update customers set boss = null where boss between 3 and 7 and id not between 3 and 7;
             delete from customers where boss in ({customers}) or id in ({customers});"
        ));
        let count = |db: &TestDb<'_>, table: &str| db.psql(&format!("select count(*) from {table}"));
        for table in ["customers", "orders", "items", "reviews"] {
            assert_eq!(count(&wanted, table), count(self.live, table), "{table} without {customers}");
        }
        for table in ["orders", "items", "reviews"] {
            let rows = |db: &TestDb<'_>| db.psql(&format!("select t::text from {table} as t order by 1"));
            assert_eq!(rows(&wanted), rows(self.live), "{table} without {customers}");
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

#[test]
fn without_a_new_request_everything_planned_is_written() {
    let planned = Planned::new(&[]);
    let _applied = planned.rescue.apply().expect_code(0);
    planned.assert_without("3");
    let _verified = planned.rescue.verify().expect_code(0);
}

#[test]
fn a_request_after_the_plan_keeps_the_row_and_all_that_hangs_on_it_out() {
    let planned = Planned::new(&[]);
    let damaged = planned.live.digest();
    planned.erase("email\nc3@x\nc5@x\n");
    let rehearsed = planned.rescue.rowback().run([
        "apply",
        "case",
        "--dry-run",
        "--live",
        &planned.live.url(),
        "--confirm",
        planned.live.name(),
    ]);
    assert!(said(&rehearsed.expect_code(1)).contains("public.customers"), "a dry run says the same");
    damaged.assert_same(&planned.live.digest(), "a dry run writes nothing");
    let applied = planned.rescue.apply().expect_code(1);
    for row in ["public.customers", "public.orders", "public.items", "public.reviews", "public.notes"] {
        assert!(said(&applied).contains(row), "{row}: {applied:?}");
    }
    assert!(said(&applied).contains("exclude_keys names it by now"), "{applied:?}");
    // 6 hangs on 5, its boss.
    planned.assert_without("3, 5, 6");
    let kept =
        planned.live.psql("select count(*) from notes where subject_type = 'order' and subject_id = 5");
    assert_eq!(kept.trim(), "1", "a note about order 5 does not hang on customer 5");
    let notes = planned
        .live
        .psql("select count(*) from notes where subject_type = 'customer' and subject_id in (5, 6)");
    assert_eq!(notes.trim(), "0");
    let _verified = planned.rescue.verify().expect_code(1);
    let again = planned.rescue.apply().expect_code(1);
    assert!(said(&again).contains("exclude_keys names it by now"), "still listed: {again:?}");
    planned.assert_without("3, 5, 6");
    let _undone = planned.rescue.undo().expect_code(0);
    damaged.assert_same(&planned.live.digest(), "undo takes back what was written");
}

#[test]
fn the_new_list_may_name_rows_by_another_key() {
    let planned = Planned::new(&[]);
    planned.erase("id\n3\n7\n");
    let _applied = planned.rescue.apply().expect_code(1);
    planned.assert_without("3, 7");
}

#[test]
fn a_request_between_two_batches_stops_the_rest() {
    let planned = Planned::new(&[]);
    planned.live.psql(
        "create function stop() returns trigger language plpgsql as $$ begin raise 'not now'; end $$;
         create trigger stop before insert on items for each statement execute function stop()",
    );
    let _stopped = planned.rescue.apply().expect_code(5);
    planned.live.psql("drop trigger stop on items; drop function stop()");
    planned.erase("email\nc3@x\nc5@x\n");
    let applied = planned.rescue.apply().expect_code(1);
    let late = said(&applied);
    assert!(late.contains("since it was written; it is not taken out again"), "{applied:?}");
    assert!(late.contains("public.customers (id = 5)"), "{applied:?}");
    let items = planned
        .live
        .psql("select count(*) from items join orders on code = order_code where customer_id = 5");
    assert_eq!(items.trim(), "0", "the batches that were open leave out what hangs on the customer");
    let others = planned
        .live
        .psql("select count(*) from items join orders on code = order_code where customer_id = 4");
    assert_eq!(others.trim(), "6");
}

#[test]
fn a_list_that_is_gone_or_broken_stops_everything() {
    let planned = Planned::new(&[]);
    let damaged = planned.live.digest();
    let cases = [
        ("nickname\nc5\n", "its header names \"nickname\", which is no column of public.customers"),
        ("", "it has no header"),
        ("id\nfive\n", "invalid input syntax for type integer"),
        ("id,email\n5\n", "found record with 1 field"),
        ("id,id\n5,6\n", "column 2 of its header names \"id\" once more"),
    ];
    for (text, problem) in cases {
        planned.erase(text);
        let refused = planned.rescue.apply().expect_code(3);
        assert!(refused.stderr.contains("error[tombstones-unusable]"), "{refused:?}");
        assert!(
            refused.stderr.contains(problem) && refused.stderr.contains("Nothing was changed."),
            "{refused:?}"
        );
    }
    std::fs::remove_file(planned.rescue.directory().join("erased.csv")).unwrap();
    let refused = planned.rescue.apply().expect_code(3);
    assert!(refused.stderr.contains("it cannot be read"), "{refused:?}");
    damaged.assert_same(&planned.live.digest(), "nothing was written");
    planned.erase("email\nc3@x\n");
    let _applied = planned.rescue.apply().expect_code(0);
    planned.assert_without("3");
}

#[test]
fn recover_refuses_a_list_with_the_wrong_columns() {
    let shop = TestDb::with("shop", SHOP);
    let live = shop.copy("live");
    live.psql(LOST);
    let rescue = Rescue::new(&live, &shop.dump(&["-Fc"]));
    for (text, problem) in [
        ("nickname\nc5\n", "which is no column of public.customers"),
        ("id\nfive\n", "integer"),
        ("email,email\nc5@x,c6@x\n", "names \"email\" once more"),
    ] {
        rescue.directory().write("erased.csv", text);
        let refused = rescue.recover_text(RECIPE).expect_code(3);
        assert!(
            refused.stderr.contains("error[tombstones-unusable]") && refused.stderr.contains(problem),
            "{refused:?}"
        );
        assert!(!rescue.case().join("plan.json").exists());
    }
}

#[test]
fn keys_that_name_nothing_are_told() {
    let shop = TestDb::with("shop", SHOP);
    let live = shop.copy("live");
    live.psql(LOST);
    let dump = shop.dump(&["-Fc"]);
    for (list, told) in [("email\nc3@x\nc33@x\n", true), ("email\nc3@x\n", false)] {
        let rescue = Rescue::new(&live, &dump);
        rescue.directory().write("erased.csv", list);
        let planned = rescue.recover_with(RECIPE, &[]).expect_code(0);
        let words = "1 of 2 keys that exclude_keys gives for public.customers name no row of this recovery";
        assert_eq!(planned.stdout.contains(words), told, "{}", planned.stdout);
    }
}

#[test]
fn blanks_are_a_part_of_a_key() {
    let shop = TestDb::with(
        "blanks",
        "create table it (code text primary key); insert into it values ('a'), (' a'), ('a '), ('b');",
    );
    let live = shop.copy("live");
    live.psql("delete from it");
    let dump = shop.dump(&["-Fc"]);
    let recipe =
        "[[recover]]\ntable = \"it\"\nwhere = \"true\"\n[policy]\nexclude_keys = { it = \"erased.csv\" }\n";
    for (list, back) in [("code\n a\n", ["a", "a ", "b"]), ("code\r\n\"a \"\r\n", [" a", "a", "b"])] {
        let rescue = Rescue::new(&live, &dump);
        rescue.directory().write("erased.csv", list);
        let planned = rescue.recover_text(recipe).expect_code(0);
        assert!(!planned.stdout.contains("name no row"), "{}", planned.stdout);
        let _applied = rescue.apply().expect_code(0);
        assert_eq!(live.rows("it"), back, "{list:?}");
        let _undone = rescue.undo().expect_code(0);
    }
}

#[test]
fn a_row_named_after_it_was_written_is_listed_for_as_long_as_live_has_it() {
    let planned = Planned::new(&[]);
    let _applied = planned.rescue.apply().expect_code(0);
    let _again = planned.rescue.apply().expect_code(0);
    planned.erase("email\nc3@x\nc5@x\n");
    let row = "public.customers (id = 5): in live: exclude_keys names it, or what it hangs on, since it was written";
    for _ in 0..2 {
        let applied = said(&planned.rescue.apply().expect_code(1));
        assert!(applied.contains(row) && applied.contains("public.orders"), "{applied}");
        assert!(!applied.contains("public.customers (id = 4)"), "{applied}");
    }
    let verified = said(&planned.rescue.verify().expect_code(1));
    assert!(verified.contains("public.customers (id = 5): must not be in live"), "{verified}");
    assert!(!verified.contains("public.customers (id = 4)"), "{verified}");
    planned.live.psql("delete from customers where id = 6; delete from customers where id = 5");
    let applied = said(&planned.rescue.apply().expect_code(1));
    assert!(
        !applied.contains("public.customers (") && applied.contains("public.notes ("),
        "nobody must look at a row that has gone: {applied}"
    );
    planned.erase("email\nc3@x\n");
    let _applied = planned.rescue.apply().expect_code(0);
}

#[test]
fn a_row_that_a_trigger_makes_again_is_listed() {
    let shop = TestDb::with(
        "again",
        "create table customers (id int primary key, tenant int);
         create table settings (customer_id int references customers on delete cascade, k text, v text, primary key (customer_id, k));
         create function welcome() returns trigger language plpgsql as $$
         begin insert into settings values (new.id, 'newsletter', 'on'); return null; end $$;
         create trigger welcome after insert on customers for each row execute function welcome();
         insert into customers select g, g % 4 from generate_series(1, 8) as g;",
    );
    let dump = shop.dump(&["-Fc"]);
    let recipe =
        "[policy]\nexclude_keys = { settings = \"opted-out.csv\" }\n[[recover]]\ntable = \"customers\"\n";
    // In the second one no settings come back at all.
    for (lost, back) in [("tenant = 3", 1), ("id = 3", 0)] {
        let live = shop.copy("again_live");
        live.psql(&format!("delete from customers where {lost}"));
        let damaged = live.digest();
        let rescue = Rescue::new(&live, &dump);
        rescue.directory().write("opted-out.csv", "k,customer_id\nnewsletter,3\nnewsletter,33\n");
        let _planned = rescue.recover_text(&format!("{recipe}where = \"{lost}\"\n")).expect_code(0);
        let row = "public.settings (customer_id = 3, k = newsletter)";
        let dry = rescue.rowback().run([
            "apply",
            "case",
            "--dry-run",
            "--live",
            &live.url(),
            "--confirm",
            live.name(),
        ]);
        assert!(said(&dry.expect_code(1)).contains(row), "a dry run says the same");
        for _ in 0..2 {
            let applied = said(&rescue.apply().expect_code(1));
            assert!(applied.contains(&format!("{row}: in live: exclude_keys names it")), "{applied}");
            assert!(!applied.contains("stay beside") && !applied.contains("customer_id = 7"), "{applied}");
        }
        let verified = said(&rescue.verify().expect_code(1));
        assert!(verified.contains(&format!("{row}: must not be in live")), "{verified}");
        assert_eq!(live.value(&format!("select count(*) from settings where customer_id in (select id from customers where {lost} and id <> 3)")), back.to_string());
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo takes the row of the trigger away as well");
        let _verified = rescue.verify().expect_code(0);
    }
}

/// A column that others share with the row would name them, too.
#[test]
fn a_list_names_rows_by_a_key() {
    let backup = TestDb::with(
        "named",
        "create table t (id int primary key, a int, b int, email text unique, kind text, unique (a, b));
         insert into t select g, g, g, 'e' || g, 'k' from generate_series(1, 5) as g",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from t");
    let recipe =
        "[[recover]]\ntable = \"t\"\nwhere = \"true\"\n[policy]\nexclude_keys = { t = \"erased.csv\" }\n";
    for (list, told) in [
        ("id\n2\n", None),
        ("email\ne2\n", None),
        ("b,a\n2,2\n", None),
        ("kind,id\nk,2\n", None),
        (
            "kind\nk\n",
            Some(
                "its header names kind, which is no key: rows of public.t are told by (id) or (a, b) or (email)",
            ),
        ),
        ("a\n2\n", Some("its header names a, which is no key")),
    ] {
        let rescue = Rescue::new(&live, &dump);
        let _list = rescue.directory().write("erased.csv", list);
        let planned = rescue.recover_with(recipe, &["--json"]);
        match told {
            None => {
                let verdicts = planned.expect_code(0).json()["verdicts"]["public.t"].clone();
                assert_eq!(verdicts, serde_json::json!({"excluded": 1, "lost": 4}), "{list}");
            }
            Some(told) => {
                let refused = planned.expect_code(3);
                assert!(
                    format!("{}{}", refused.stdout, refused.stderr).contains(told),
                    "{list}: {refused:?}"
                );
            }
        }
    }
}
