//! Tenants with a schema each: rows that ended up in another tenant's tables go back with all that hangs on them, in one
//! transaction, or stay and are named.

use std::path::{Path, PathBuf};

use super::support::{Rescue, TestDb};

/// The tables of one tenant, whose numbers begin behind `base`.
fn tenant(schema: &str, base: u32) -> String {
    format!(
        "create schema {schema};
        set search_path = {schema};
        create type state as enum ('open', 'sent');
        create table customers (id serial primary key, email text unique not null);
        create table products (id int primary key, name text not null);
        create table orders (id serial primary key, customer_id int not null references customers, code text unique, state state not null,
            note text, total numeric(10,2), doubled numeric(12,2) generated always as (total * 2) stored);
        create table order_items (order_id int references orders on delete cascade, line int, product_id int references products,
            qty int not null, primary key (order_id, line));
        create table item_marks (id serial primary key, order_id int, line int, mark text,
            foreign key (order_id, line) references order_items on delete restrict);
        create table parcels (id serial primary key, order_id int references orders on delete set null, code text);
        insert into customers select {base} + g, 'c' || ({base} + g) || '@{schema}' from generate_series(1, 20) as g;
        insert into products select g, 'thing ' || g || ' of {schema}' from generate_series(1, 9) as g;
        insert into orders (id, customer_id, code, state, note, total) select {base} + g, {base} + 1 + g % 20, 'N' || ({base} + g), 'open', E'tab\\t' || g, g * 1.5
            from generate_series(1, 200) as g;
        insert into order_items select id, l, 1 + id % 9, l from orders, generate_series(1, 2) as l;
        insert into item_marks select {base} + g, {base} + g, 1, 'm' from generate_series(1, 200, 4) as g;
        insert into parcels select {base} + g, {base} + g, 'P' || g from generate_series(1, 200, 3) as g;
        select setval('customers_id_seq', {base} + 500), setval('orders_id_seq', {base} + 500), setval('item_marks_id_seq', {base} + 500),
            setval('parcels_id_seq', {base} + 500);
        set search_path = public;"
    )
}

/// Every customer of tenant_a is one of tenant_b as well, as far as numbers go: the accident could not have happened otherwise.
const COMMON: &str = "insert into tenant_b.customers select id, 'like ' || email from tenant_a.customers;";

/// The accident: orders of tenant_a go to tenant_b with all that hangs on them.
const WHICH: &str = "id between 100 and 140";
pub fn accident() -> String {
    format!(
        "create temp table hit as select id from tenant_a.orders where {WHICH};
        insert into tenant_b.orders (id, customer_id, code, state, note, total)
            select id, customer_id, code, state::text::tenant_b.state, note, total from tenant_a.orders where id in (table hit);
        insert into tenant_b.order_items select * from tenant_a.order_items where order_id in (table hit);
        insert into tenant_b.item_marks select * from tenant_a.item_marks where order_id in (table hit);
        insert into tenant_b.parcels select * from tenant_a.parcels where order_id in (table hit);
        delete from tenant_a.parcels where order_id in (table hit);
        delete from tenant_a.item_marks where order_id in (table hit);
        delete from tenant_a.orders where id in (table hit);
        drop table hit;"
    )
}

const RECIPE: &str =
    "[[recover]]\ntable = \"tenant_a.orders\"\nkind = \"misrouted\"\nmisrouted_to = \"tenant_b.orders\"\n";

pub struct Town {
    dump: PathBuf,
    pub live: TestDb<'static>,
    wanted: TestDb<'static>,
    _backup: TestDb<'static>,
}

/// A backup, a live database after `accident` and what it should be in the end.
pub fn town(accident: &str, wanted: &str) -> Town {
    let all = format!("{}{}{COMMON}", tenant("tenant_a", 0), tenant("tenant_b", 1000));
    let backup = TestDb::with("town", &all);
    let dump = backup.dump(&["-Fc"]);
    let (live, good) = (backup.copy("town_live"), backup.copy("town_wanted"));
    live.psql(accident);
    good.psql(wanted);
    Town { dump, live, wanted: good, _backup: backup }
}

impl Town {
    pub fn rescue(&self) -> Rescue<'_> {
        Rescue::new(&self.live, &self.dump)
    }

    #[track_caller]
    pub fn assert_well(&self, what: &str) {
        self.wanted.digest().assert_same(&self.live.digest(), what);
    }
}

pub fn recipe(more: &str) -> String {
    format!("{RECIPE}where = \"{WHICH}\"\n{more}")
}

/// Runs the batches with psql.
fn by_hand(case: &Path, live: &TestDb<'_>, folder: &str) -> String {
    let mut files: Vec<_> =
        std::fs::read_dir(case.join(folder)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| live.psql(&std::fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn rows_go_back_with_all_that_hangs_on_them() {
    // Colleagues worked on: on the misfiled rows' children, and beside.
    let later = |schema: &str| {
        format!(
            "update {schema}.order_items set qty = 77 where order_id = 101;
            insert into {schema}.item_marks values (900, 102, 2, 'new');
            insert into {schema}.parcels values (901, 103, 'new');"
        )
    };
    let beside = "update tenant_a.orders set note = 'edited' where id = 5; update tenant_b.orders set note = 'x' where id = 1005;
        delete from tenant_a.orders where id = 141; delete from tenant_a.orders where id = 6;";
    let both = "delete from tenant_a.item_marks where order_id in (141, 6); delete from tenant_a.parcels where order_id in (141, 6);";
    let accident = format!("{}{}{both}{beside}", accident(), later("tenant_b"));
    let wanted = format!("{}{both}{beside}", later("tenant_a"));
    let town = town(&accident, &wanted);
    let before = town.live.digest();
    let rescue = town.rescue();
    let planned = rescue.recover_text(&recipe("")).expect_code(0);
    assert!(
        planned.stdout.contains("41 rows of tenant_b.orders go to tenant_a.orders and leave it"),
        "{}",
        planned.stdout
    );
    assert!(
        planned.stdout.contains("0 to insert, 149 to repair, 0 to re-link; no conflicts"),
        "{}",
        planned.stdout
    );
    before.assert_same(&town.live.digest(), "recover only reads");
    let early = rescue.verify().expect_code(1);
    assert!(early.stdout.contains("still here, which it was to leave"), "{}", early.stdout);
    let applied = rescue.apply().expect_code(0);
    assert!(applied.stdout.contains("149 rows moved"), "{}", applied.stdout);
    town.assert_well("after apply");
    let verified = rescue.verify().expect_code(0);
    assert!(verified.stdout.contains("tenant_b.orders"), "{}", verified.stdout);
    let _again = rescue.apply().expect_code(0);
    town.assert_well("after a second apply");
    by_hand(&rescue.case(), &town.live, "batches");
    town.assert_well("after psql ran the batches again");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&town.live.digest(), "after undo");
    let _verified = rescue.verify().expect_code(0);
    by_hand(&rescue.case(), &town.live, "batches");
    town.assert_well("after psql ran the batches");
}

#[test]
fn a_condition_over_both_rows_finds_them_without_a_where() {
    let town = town(
        &format!("{}update tenant_a.orders set note = 'later' where id = 50;", accident()),
        "update tenant_a.orders set note = 'later' where id = 50;",
    );
    let rescue = town.rescue();
    let said = rescue
        .recover_text(&format!("{RECIPE}damaged = \"live.code = backup.code and live.id < 1000\"\n"))
        .expect_code(0);
    assert!(said.stdout.contains("41 rows of tenant_b.orders"), "{}", said.stdout);
    let _applied = rescue.apply().expect_code(0);
    town.assert_well("after apply");
    // The twin: a condition that holds for none moves none, and says so.
    let other = town.rescue();
    town.live.psql(&accident());
    let none =
        other.recover_text(&format!("{RECIPE}damaged = \"live.code <> backup.code\"\n")).expect_code(1);
    assert!(none.stdout.contains("0 to repair"), "{}", none.stdout);
    let report = other.rowback().run(["show", "case", "--table", "tenant_a.orders"]).stdout;
    assert!(report.contains("does not call tenant_b.orders's row misrouted"), "{report}");
    let wrong =
        town.rescue().recover_text(&format!("{RECIPE}damaged = \"live.nothing = 1\"\n")).expect_code(2);
    assert!(wrong.stderr.contains("error[predicate-failed]"), "{}", wrong.stderr);
}

#[test]
fn what_somebody_edited_there_stays_there_unless_the_policy_says_otherwise() {
    let edited = "update tenant_b.orders set note = 'called' where id = 110;";
    let town = town(&format!("{}{edited}", accident()), "select");
    let rescue = town.rescue();
    let said = rescue.recover_text(&recipe("")).expect_code(1);
    assert!(said.stdout.contains("3 conflicts kept"), "{}", said.stdout);
    let shown = rescue
        .rowback()
        .run(["show", "case", "--table", "tenant_a.orders", "--verdict", "changed", "--values"])
        .stdout;
    assert!(
        shown.contains("tenant_b.orders holds it, and its note differs") && shown.contains("called"),
        "{shown}"
    );
    let _applied = rescue.apply().expect_code(0);
    let left = "select (select count(*) from tenant_a.orders where id between 100 and 140) || ' ' ||
        (select string_agg(id::text, ',') from tenant_b.orders where id < 1000) || ' ' || (select count(*) from tenant_b.order_items where order_id < 1000)";
    assert_eq!(town.live.value(left), "40 110 2");
    let _verified = rescue.verify().expect_code(1);
    let second = town.rescue();
    let said = second.recover_text(&recipe("[policy]\nchanged = \"overwrite\"\n")).expect_code(0);
    assert!(said.stdout.contains("1 rows of tenant_b.orders go to"), "{}", said.stdout);
    let before = town.live.digest();
    let _applied = second.apply().expect_code(0);
    town.assert_well("the backup's values won");
    let _undone = second.undo().expect_code(0);
    before.assert_same(&town.live.digest(), "the edit is back after undo");
}

#[test]
fn rows_that_are_the_other_tenants_own_are_left_alone() {
    let all = "create schema a; create schema b;
        create table a.tags (id int primary key, name text); create table b.tags (id int primary key, name text);
        insert into a.tags values (1, 'x'), (2, 'y'), (3, 'z'), (4, 'w'); insert into b.tags values (1, 'x'), (2, 'other');";
    let backup = TestDb::with("own", all);
    let live = backup.copy("own_live");
    // Tags 1 and 2 were deleted on purpose, 3 went astray, 4 is in its place.
    live.psql("delete from a.tags where id < 4; insert into b.tags values (3, 'z')");
    let dump = backup.dump(&["-Fc"]);
    let rescue = Rescue::new(&live, &dump);
    let said = rescue
        .recover_text("[[recover]]\ntable = \"a.tags\"\nkind = \"misrouted\"\nmisrouted_to = \"b.tags\"\nwhere = \"true\"\n")
        .expect_code(1);
    assert!(
        said.stdout.contains("2 rows of a.tags that the recipe does not call deleted are not in live"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("1 rows of b.tags go to a.tags"), "{}", said.stdout);
    let shown = rescue.rowback().run(["show", "case"]).stdout;
    assert_eq!(shown.matches("b.tags had a row of this key of its own in the backup").count(), 2, "{shown}");
    let _applied = rescue.apply().expect_code(0);
    let rows = "select (select string_agg(id::text, '' order by id) from a.tags) || ' ' || (select string_agg(id::text, '' order by id) from b.tags)";
    assert_eq!(live.value(rows), "34 12");
    // The twin: of a backup that knows nothing of b's own rows, the row that is alike would go.
    let other = TestDb::with("own_other", &format!("{all} delete from b.tags where id = 1"));
    let again = backup.copy("own_again");
    again.psql("delete from a.tags where id = 1");
    let rescue = Rescue::new(&again, &other.dump(&["-Fc"]));
    let said = rescue
        .recover_text("[[recover]]\ntable = \"a.tags\"\nkind = \"misrouted\"\nmisrouted_to = \"b.tags\"\nwhere = \"id = 1\"\n")
        .expect_code(0);
    assert!(said.stdout.contains("1 rows of b.tags go to a.tags"), "{}", said.stdout);
}

#[test]
fn what_cannot_move_keeps_its_parent_where_it_is() {
    let more = "create table audit (id int primary key, order_id int references tenant_b.orders on delete cascade);
        create table tenant_b.extras (order_id int references tenant_b.orders on delete cascade, what text);
        create table tenant_a.extras (order_id int references tenant_a.orders on delete cascade, what text, who text);
        insert into audit values (1, 120); insert into tenant_b.extras values (121, 'x');
        insert into tenant_a.orders (id, customer_id, code, state) values (700, 1, 'N122', 'open');
        insert into tenant_a.item_marks values ((select min(id) from tenant_b.item_marks where order_id = 125), 1, 1, 'taken');
        delete from tenant_a.item_marks where order_id = 11; delete from tenant_a.parcels where order_id = 11;
        delete from tenant_a.orders where customer_id = 11; delete from tenant_a.customers where id = 11;";
    let prepare = "delete from tenant_a.item_marks where order_id in (select id from tenant_a.orders where customer_id = 11);
        delete from tenant_a.parcels where order_id in (select id from tenant_a.orders where customer_id = 11);";
    let town = town(&format!("{}{prepare}{more}", accident()), "select");
    let rescue = town.rescue();
    let said = rescue.recover_text(&recipe("[policy]\nparents = \"none\"\n")).expect_code(1);
    let shown = rescue.rowback().run(["show", "case", "--table", "tenant_a.orders"]).stdout;
    for wanted in [
        "rows of public.audit hang on it by audit_order_id_fkey and cannot move",
        "tenant_a.extras is not like tenant_b.extras",
        "orders_code_key is held by",
        "tenant_a.item_marks has a row of the key",
        "hangs on a row",
    ] {
        let wanted = if wanted == "hangs on a row" { "that is not in live" } else { wanted };
        assert!(shown.replace("\n            ", " ").contains(wanted), "{wanted}\n{shown}\n{}", said.stdout);
    }
    let _applied = rescue.apply().expect_code(0);
    let left = "select string_agg(id::text, ',' order by id) from tenant_b.orders where id < 1000";
    assert_eq!(town.live.value(left), "110,120,121,122,125,130");
    assert_eq!(
        town.live
            .value("select (select count(*) from audit) || ' ' || (select count(*) from tenant_b.extras)"),
        "1 1"
    );
}

#[test]
fn children_that_the_accident_deleted_come_back_behind_those_that_moved() {
    let accident = "insert into tenant_b.orders (id, customer_id, code, state, note, total)
            select id, customer_id, code, state::text::tenant_b.state, note, total from tenant_a.orders where id in (30, 31);
        delete from tenant_a.item_marks where order_id in (30, 31, 33);
        delete from tenant_a.order_items where order_id = 33 and line = 2;
        delete from tenant_a.orders where id in (30, 31);";
    // What was deleted on purpose below an order that stayed where it was does not come back.
    let wanted = "delete from tenant_a.item_marks where order_id = 33; delete from tenant_a.order_items where order_id = 33 and line = 2;";
    let town = town(accident, wanted);
    let rescue = town.rescue();
    let said = rescue.recover_text(&format!("{RECIPE}where = \"id between 30 and 35\"\n")).expect_code(0);
    assert!(said.stdout.contains("2 rows of tenant_b.orders"), "{}", said.stdout);
    let before = town.live.digest();
    let _applied = rescue.apply().expect_code(0);
    town.assert_well("after apply");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&town.live.digest(), "after undo");
}

#[test]
fn tables_that_differ_are_refused() {
    let town = town(&format!("{} alter table tenant_b.orders add column vip bool;", accident()), "select");
    let refused = town.rescue().recover_text(&recipe("")).expect_code(4);
    insta::assert_snapshot!(refused.stderr.lines().filter(|line| !line.starts_with("live: ")).collect::<Vec<_>>().join("\n"), @r#"
    error[tables-differ]: rows of "tenant_b.orders" cannot go to "tenant_a.orders": the tables differ
      cause: tenant_a.orders has no column vip
      hint: Give both tables the same columns for the time of the recovery, or recover the rows with kind = "deleted" and remove them from "tenant_b"."orders" by hand. Live was only read; nothing was changed.
    "#);
    let missing = recipe("").replace("tenant_b.orders", "tenant_c.orders");
    let refused = town.rescue().recover_text(&missing).expect_code(2);
    assert!(
        refused.stderr.contains(
            "error[other-table-missing]: live has no table \"tenant_c.orders\", which misrouted_to names"
        ),
        "{}",
        refused.stderr
    );
}

#[test]
fn rows_that_name_parents_by_the_other_tenants_numbers_stay() {
    // Born in the wrong schema: its product is number 3 of tenant_b, which is another thing in tenant_a.
    let born = "insert into tenant_b.order_items values (115, 7, 3, 1);";
    let town = town(&format!("{}{born}", accident()), "select");
    let rescue = town.rescue();
    let _said = rescue.recover_text(&recipe("")).expect_code(1);
    let shown =
        rescue.rowback().run(["show", "case", "--table", "tenant_a.orders", "--verdict", "changed"]).stdout;
    assert!(shown.contains("product_id of tenant_b.order_items may be a number of its own"), "{shown}");
    // The twin: where both have the same products, it goes along.
    town.live.psql("update tenant_b.products set name = replace(name, 'tenant_b', 'tenant_a')");
    let again = town.rescue();
    let _said = again.recover_text(&recipe("")).expect_code(0);
    let _applied = again.apply().expect_code(0);
    assert_eq!(town.live.value("select count(*) from tenant_a.order_items where order_id = 115"), "3");
}

#[test]
fn a_second_backup_tells_what_went_astray_in_the_accident_and_what_afterwards() {
    let moves = |which: &str| {
        format!(
            "insert into b.tags select * from a.tags where id in ({which}); insert into b.uses select * from a.uses where tag_id in ({which});
            delete from a.uses where tag_id in ({which}); delete from a.tags where id in ({which});"
        )
    };
    let table = |schema: &str| {
        format!(
            "create schema {schema}; create table {schema}.tags (id int primary key, name text);
            create table {schema}.uses (id int primary key, tag_id int references {schema}.tags, what text);"
        )
    };
    let own = "insert into a.tags select g, 'tag ' || g from generate_series(1, 6) as g; insert into a.uses select g, g, 'use' from generate_series(1, 6) as g;";
    let town = TestDb::with("second", &format!("{}{}{own}", table("a"), table("b")));
    let before = town.dump(&["-Fc"]);
    let wanted = town.copy("second_wanted");
    town.psql(&moves("1, 2"));
    let after = town.dump(&["-Fc"]);
    let live = town.copy("second_live");
    for one in [&live, &wanted] {
        one.psql(&moves("3"));
        one.psql("delete from a.uses where tag_id = 4; delete from a.tags where id = 4");
    }
    let rescue = Rescue::new(&live, &before);
    let recipe = format!(
        "[backup]\nafter = {:?}\n[[recover]]\ntable = \"a.tags\"\nkind = \"misrouted\"\nmisrouted_to = \"b.tags\"\nwhere = \"true\"\n",
        after.display().to_string()
    );
    let said = rescue.recover_text(&recipe).expect_code(0);
    assert!(said.stdout.contains("2 rows of b.tags go to a.tags"), "{}", said.stdout);
    let shown = rescue.rowback().run(["show", "case", "--table", "a.tags"]).stdout;
    assert!(shown.contains("the accident left it: it went to the other table afterwards"), "{shown}");
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after apply");
    let _verified = rescue.verify().expect_code(0);
}

#[test]
fn doctor_asks_for_what_moving_needs() {
    let town = town(
        &format!(
            "{} create role mover login; grant usage on schema tenant_a, tenant_b to mover;
            grant select, insert, update, delete on all tables in schema tenant_a to mover; grant select, update on all tables in schema tenant_b to mover;
            grant all on all sequences in schema tenant_a, tenant_b to mover;",
            accident()
        ),
        "select",
    );
    let rescue = town.rescue();
    let recipe = rescue.directory().write("recipe.toml", recipe("")).display().to_string();
    let asked = |url: String| {
        let dump = town.dump.display().to_string();
        rescue.rowback().run(["doctor", &recipe, "--backup", &dump, "--live", &url])
    };
    let lacking = asked(town.live.url_as("mover"));
    assert!(
        lacking.stdout.contains("no DELETE on") && lacking.stdout.contains("tenant_b"),
        "{}",
        lacking.stdout
    );
    let fine = asked(town.live.url());
    assert!(fine.stdout.contains("DELETE on 4"), "{}", fine.stdout);
    town.live.psql("drop owned by mover; drop role mover");
}
