//! Rows under the wrong owner, from the recipe to the certificate: they go home with everything that carries their owner,
//! whatever the foreign keys say about updates.

use std::path::PathBuf;

use super::support::{Rescue, TestDb};

/// Orders of tenants, with a child for every action of a foreign key, and some below others.
const MARKET: &str = "
create table tenants (id int primary key, name text not null);
create table accounts (id int primary key, tenant_id int not null references tenants, unique (tenant_id, id));
create table orders (
  id int primary key, tenant_id int references tenants, account_id int not null references accounts, number text not null, note text,
  unique (tenant_id, id), unique (tenant_id, number));
create table lines (tenant_id int, order_id int, line int, what text, primary key (tenant_id, order_id, line),
  foreign key (tenant_id, order_id) references orders (tenant_id, id) on update cascade);
create table parcels (id int primary key, tenant_id int, order_id int, code text, unique (tenant_id, code),
  foreign key (tenant_id, order_id) references orders (tenant_id, id));
create table invoices (tenant_id int, order_id int, part int, primary key (tenant_id, order_id, part),
  foreign key (tenant_id, order_id) references orders (tenant_id, id) on update restrict);
create table reviews (id int primary key, tenant_id int, order_id int, stars int,
  foreign key (tenant_id, order_id) references orders (tenant_id, id) on update set null);
create table refunds (id int primary key, tenant_id int, order_id int,
  foreign key (tenant_id, order_id) references orders (tenant_id, id) deferrable);
create table line_notes (id int primary key, tenant_id int, order_id int, line int, note text,
  foreign key (tenant_id, order_id, line) references lines (tenant_id, order_id, line));
create table remarks (id int primary key, tenant_id int, order_id int, body text);
insert into tenants select g, 'tenant ' || g from generate_series(1, 5) as g;
insert into accounts select g, 1 + g % 5 from generate_series(1, 50) as g;
insert into orders select g, 1 + g % 5, 1 + (g + 4) % 50, 'N' || g from generate_series(1, 1500) as g;
insert into lines select tenant_id, id, l, 'thing' from orders, generate_series(1, 2) as l;
insert into parcels select id, tenant_id, id, 'P' || id from orders where id % 2 = 0;
insert into invoices select tenant_id, id, 1 from orders where id % 3 = 0;
insert into reviews select id, tenant_id, id, id % 6 from orders where id % 4 = 0;
insert into refunds select id, tenant_id, id from orders where id % 5 = 0 or id % 7 = 0;
insert into line_notes select id, tenant_id, id, 2, 'n' from orders where id % 6 = 0;
insert into remarks select id, tenant_id, id, 'r' from orders where id % 8 = 0;";

/// Moves orders with everything that hangs on them.
fn moving(to: &str, which: &str) -> String {
    let set = format!("set tenant_id = {to}");
    format!(
        "create temp table hit as select id from orders where {which};
         with o as (update orders {set} where id in (table hit) returning 1),
         a as (update parcels {set} where order_id in (table hit)), b as (update invoices {set} where order_id in (table hit)),
         c as (update reviews {set} where order_id in (table hit)), d as (update refunds {set} where order_id in (table hit)),
         e as (update line_notes {set} where order_id in (table hit) returning 1)
         select (select count(*) from o), (select count(*) from e);
         drop table hit;"
    )
}

const BY_BACKUP: &str = "[[recover]]\ntable = \"orders\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\ndamaged = \"live.tenant_id = 5\"";

const BY_PATH: &str = "[[recover]]\ntable = \"orders\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\ndamaged = \"live.tenant_id = 5\"
    owner_from = \"select a.tenant_id from accounts as a where a.id = orders.account_id\"";

fn market(accident: &str, wanted: &str) -> ((PathBuf, TestDb<'static>), TestDb<'static>, TestDb<'static>) {
    let backup = TestDb::with("market", MARKET);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("wanted"));
    live.psql(accident);
    truth.psql(wanted);
    ((dump, backup), live, truth)
}

/// Recovers, compares the whole database, and undoes; `code` is that of `recover` and `verify`.
fn recover(accident: &str, wanted: &str, recipe: &str, code: i32) -> String {
    let ((dump, _backup), live, truth) = market(accident, wanted);
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(recipe).expect_code(code);
    damaged.assert_same(&live.digest(), "recover writes nothing to live");
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "after the recovery");
    let _certificate = rescue.verify().expect_code(code);
    let _nothing = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "a second apply changes nothing");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
    let report = rescue.rowback().run(["report", "case"]);
    format!("{}{}{}{}", planned.stdout, planned.stderr, report.stdout, report.stderr)
}

#[test]
fn all_that_carries_the_owner_moves_along() {
    let later = "update orders set note = 'called' where id % 20 = 1; update parcels set code = 'X' || id where id = 2;
        insert into lines values ((select tenant_id from orders where id = 2), 2, 9, 'added while misfiled');";
    let accident = format!("{}{later}", moving("5", "tenant_id = 2 or id between 100 and 140"));
    let said = recover(&accident, later, BY_BACKUP, 0);
    assert!(said.contains("public.lines: 650 update"), "{said}");
}

#[test]
fn rows_born_after_the_backup_find_their_owner_by_the_path() {
    let born = |wrong: bool| {
        let of = |tenant: &str| if wrong { "5".to_owned() } else { tenant.to_owned() };
        format!(
            "insert into orders values (9001, {0}, 1, 'N9001'), (9002, 5, 4, 'N9002'), (9003, {1}, 2, 'N9003');
             insert into lines values ({0}, 9001, 1, 'new'); insert into parcels values (9001, {0}, 9001, 'P9001');",
            of("2"),
            of("3")
        )
    };
    // An account that was really sold keeps what it took along.
    let sold = format!(
        "update accounts set tenant_id = 5 where id = 11; {}",
        moving("5", "account_id = 11 and tenant_id = 2")
    );
    let accident = format!("{sold}{}{}", moving("5", "tenant_id = 2"), born(true));
    recover(&accident, &format!("{sold}{}", born(false)), BY_PATH, 0);
}

#[test]
fn an_owner_that_was_lost_altogether_comes_back() {
    let none = "update orders set tenant_id = null where id % 97 = 0 and id % 2 = 1 and id % 3 > 0 and id % 5 > 0 and id % 7 > 0;";
    let accident = format!("alter table lines drop constraint lines_tenant_id_order_id_fkey; {none}");
    let wanted = "alter table lines drop constraint lines_tenant_id_order_id_fkey;";
    recover(&accident, wanted, &BY_PATH.replace("live.tenant_id = 5", "live.tenant_id is null"), 0);
    recover(&accident, wanted, &BY_BACKUP.replace("live.tenant_id = 5", "live.tenant_id is null"), 0);
}

#[test]
fn a_reference_that_the_recipe_declares_moves_along() {
    let accident = format!(
        "{}update remarks set tenant_id = 5 where order_id in (select id from orders where tenant_id = 5)",
        moving("5", "tenant_id = 2")
    );
    let declared = "[[foreign_key]]\nfrom = \"remarks(tenant_id, order_id)\"\nto = \"orders(tenant_id, id)\"";
    recover(&accident, "", &format!("{BY_BACKUP}\n{declared}"), 0);
    recover(&accident, "", &format!("{BY_PATH}\n{declared}"), 0);
}

#[test]
fn verify_finds_what_points_across_tenants() {
    let accident = format!(
        "{}update remarks set tenant_id = 5 where order_id in (select id from orders where tenant_id = 5)",
        moving("5", "tenant_id = 2")
    );
    let declared = "[[foreign_key]]\nfrom = \"remarks(tenant_id, order_id)\"\nto = \"orders(tenant_id, id)\"";
    let ((dump, _backup), live, truth) = market(&accident, "");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&format!("{BY_BACKUP}\n{declared}")).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "everything is home");
    let _certificate = rescue.verify().expect_code(0);
    // Order 16 is of tenant 2, and so is its remark.
    assert_eq!(live.value("select o.tenant_id || ' ' || r.tenant_id from orders o join remarks r on r.order_id = o.id where o.id = 16"), "2 2");
    live.psql("update remarks set tenant_id = 3 where order_id = 16");
    let certificate = rescue.verify().expect_code(1);
    assert!(certificate.stdout.contains("remarks"), "{}", certificate.stdout);
    live.psql("update remarks set tenant_id = 2 where order_id = 16");
    let _certificate = rescue.verify().expect_code(0);
}

#[test]
fn what_cannot_go_home_stays_with_all_that_hangs_on_it() {
    // A parcel's code, an order's number and a tenant stand in the way of 1, 6 and 11.
    let before =
        "insert into orders values (9001, 2, 1, 'N6'); insert into parcels values (9001, 2, 9001, 'P16');";
    let accident = format!("{}{before}", moving("5", "id in (1, 6, 16, 21)"));
    let wanted = format!("{}{before}", moving("5", "id in (6, 16)"));
    let said = recover(&accident, &wanted, BY_BACKUP, 1);
    assert!(said.contains("orders_tenant_id_number_key is held by"), "{said}");
    assert!(said.contains("in public.parcels parcels_tenant_id_code_key is held by"), "{said}");
}

#[test]
fn an_owner_that_does_not_exist_is_no_owner() {
    let recipe = BY_PATH.replace(
        "select a.tenant_id from accounts as a where a.id = orders.account_id",
        "case when live.id = 6 then 77 when orders.id = 11 then null else 2 end",
    );
    let accident = moving("5", "tenant_id = 2 and id < 30");
    let recipe =
        recipe.replace("live.tenant_id = 5", "live.tenant_id = 5 and live.id < 30 and live.id % 5 = 1");
    let said = recover(&accident, &moving("5", "id in (6, 11)"), &recipe, 1);
    assert!(said.contains("would refer to a row of public.tenants that is not in live"), "{said}");
    assert!(said.contains("owner_from gives no owner"), "{said}");
}

#[test]
fn a_row_that_somebody_moved_meanwhile_is_left_where_it_is() {
    let accident = moving("5", "tenant_id = 2");
    let ((dump, _backup), live, truth) = market(&accident, &moving("3", "id = 1"));
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(BY_BACKUP).expect_code(0);
    let meanwhile = format!("{}update orders set note = 'x' where id = 6;", moving("3", "id = 1"));
    live.psql(&meanwhile);
    truth.psql("update orders set note = 'x' where id = 6");
    let applied = rescue.apply().expect_code(1);
    assert!(applied.stdout.contains("(id = 1)") || applied.stderr.contains("(id = 1)"), "{applied:?}");
    truth.digest().assert_same(&live.digest(), "the colleague's order stays with tenant 3");
    let _certificate = rescue.verify().expect_code(1);
}

#[test]
fn an_owner_in_the_key_and_rows_that_hang_on_each_other() {
    let tree = "create table folders (tenant_id int, id int, parent_id int, name text, primary key (tenant_id, id),
          foreign key (tenant_id, parent_id) references folders (tenant_id, id));
        insert into folders select 1 + (g / 100) % 3, g, case when g % 100 > 0 then g - 1 end, 'f' || g from generate_series(0, 2999) as g;
        create table files (id int primary key, tenant_id int, folder_id int, foreign key (tenant_id, folder_id) references folders (tenant_id, id));
        insert into files select id, tenant_id, id from folders;";
    let backup = TestDb::with("tree", tree);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(
        "with f as (update folders set tenant_id = 3 where tenant_id = 2 returning 1), g as (update files set tenant_id = 3 where tenant_id = 2)
         select 1; insert into folders values (3, 5000, 150, 'new in 150');",
    );
    let damaged = live.digest();
    let wanted = backup.copy("wanted");
    wanted.psql("insert into folders values (2, 5000, 150, 'new in 150')");
    let rescue = Rescue::new(&live, &dump);
    let recipe =
        "[[recover]]\ntable = \"folders\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\ndamaged = \"true\"";
    let _planned = rescue.recover_text(recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "folders and files are home");
    let _certificate = rescue.verify().expect_code(0);
    let _nothing = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "a second apply changes nothing");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn three_kinds_in_one_recipe_overlapping() {
    let accident = format!(
        "{}update orders set number = 'bad' || id where tenant_id = 5 and id % 4 = 1;
         delete from line_notes where order_id < 60; delete from lines where order_id < 60 and line = 2; delete from parcels where order_id < 60;",
        moving("5", "tenant_id = 2")
    );
    let recipe = format!(
        "{BY_BACKUP}\n[[recover]]\ntable = \"orders\"\nkind = \"corrupted\"\ncolumns = [\"number\"]\ndamaged = \"live.number like 'bad%'\"
         [[recover]]\ntable = \"lines\"\nwhere = \"order_id < 60 and line = 2\"\n[[recover]]\ntable = \"parcels\"\nwhere = \"order_id < 60\"
         [columns.\"public.lines\"]\nkey = [\"order_id\", \"line\"]"
    );
    recover(&accident, "", &recipe, 0);
}

#[test]
fn entries_that_contradict_each_other_are_refused() {
    let recipe = format!(
        "{BY_PATH}\n[[recover]]\ntable = \"orders\"\nkind = \"corrupted\"\ncolumns = [\"tenant_id\"]\ndamaged = \"live.tenant_id = 5\""
    );
    let accident = format!("update accounts set tenant_id = 4 where id = 1;{}", moving("5", "tenant_id = 2"));
    let ((dump, _backup), live, _truth) = market(&accident, "");
    let refused = Rescue::new(&live, &dump).recover_text(&recipe).expect_code(2);
    assert!(refused.stderr.contains("error[entries-contradict]: entries 1 and 2"), "{}", refused.stderr);
}

#[test]
fn owners_that_cannot_be_found_out_are_refused() {
    let ((dump, _backup), live, _truth) = market("update orders set note = 'x' where id = 1", "");
    let before = live.digest();
    for (from, to, code, kind) in [
        ("owner = \"tenant_id\"", "owner = \"tenat_id\"", 2, "unknown-column"),
        ("a.tenant_id from accounts as a", "a.tenat_id from accounts as a", 2, "predicate-failed"),
        ("orders.account_id", "o.account_id", 2, "predicate-failed"),
        ("live.tenant_id = 5", "live.tenat_id = 5", 2, "predicate-failed"),
        ("where a.id = orders.account_id", "where a.id <> orders.account_id", 2, "predicate-failed"),
        ("select a.tenant_id from", "select a.tenant_id, 1 from", 2, "predicate-failed"),
        ("select a.tenant_id", "delete from accounts; select a.tenant_id", 2, "predicate-semicolon"),
        ("owner = \"tenant_id\"", "", 2, "recipe-missing-key"),
    ] {
        let recipe = BY_PATH.replace(from, to);
        assert_ne!(recipe, BY_PATH);
        let refused = Rescue::new(&live, &dump).recover_text(&recipe).expect_code(code);
        assert!(refused.stderr.contains(&format!("error[{kind}]")), "{to}: {}", refused.stderr);
    }
    before.assert_same(&live.digest(), "nothing was written");
}
