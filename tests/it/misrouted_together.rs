//! Misrouted rows of several entries that need each other's moves: rows hang on both by references that hold the owner.

use super::support::{Rescue, TestDb};

/// Customers and products of tenants, orders of customers, and lines that hang on an order and a product of the same tenant.
const SHOP: &str = "
create table customers (id int primary key, tenant_id int not null, email text, unique (tenant_id, email), unique (tenant_id, id));
create table products (id int primary key, tenant_id int not null, code text, unique (tenant_id, code), unique (tenant_id, id));
create table orders (id int primary key, tenant_id int not null, customer_id int not null references customers, unique (tenant_id, id));
create table lines (id int primary key, tenant_id int not null, order_id int not null, product_id int,
  foreign key (tenant_id, order_id) references orders (tenant_id, id), foreign key (tenant_id, product_id) references products (tenant_id, id));
create table marks (id int primary key, line_id int not null references lines, body text);
insert into customers select g, 1 + g % 2, 'c' || g from generate_series(1, 20) as g;
insert into products select g, 1 + g % 2, 'p' || g from generate_series(1, 20) as g;
insert into orders select g, 1 + g % 2, g from generate_series(1, 20) as g;
insert into lines select o * 100 + p, 1 + o % 2, o, o - (o - 1) / 2 % 2 * 2 + p * 2 from generate_series(1, 16) as o, generate_series(0, 1) as p;
insert into lines values (9001, 1, 2, null), (9002, 2, 1, null);
insert into marks select id, id, 'm' from lines;";

/// What an import that names the wrong tenant leaves of these rows.
fn import(which: &str) -> String {
    let of = |table: &str| format!("update {table} set tenant_id = 3 where tenant_id = 1 and {which};");
    format!(
        "set session_replication_role = replica; {}{}{}{} reset session_replication_role;",
        of("customers"),
        of("products"),
        of("orders"),
        of("lines")
    )
}

fn entry(table: &str, more: &str) -> String {
    format!(
        "[[recover]]\ntable = \"{table}\"\nkind = \"misrouted\"\nowner = \"tenant_id\"\ndamaged = \"live.tenant_id = 3\"\n{more}\n"
    )
}

pub(super) fn entries(tables: &[&str]) -> String {
    tables.iter().map(|table| entry(table, "where = \"tenant_id = 1\"")).collect()
}

#[test]
fn rows_of_several_entries_go_home_together() {
    let backup = TestDb::with("together", SHOP);
    let dump = backup.dump(&["-Fc"]);
    for (tables, batch) in [
        (&["orders", "products"][..], "5000"),
        (&["customers", "orders", "products"], "1"),
        (&["products", "lines", "orders", "customers"], "7"),
    ] {
        let (live, truth) = (backup.copy("live"), backup.copy("truth"));
        let later =
            "update lines set product_id = null where id = 201; insert into marks values (7, 201, 'later');";
        live.psql(&import("true"));
        live.psql(later);
        truth.psql(later);
        if !tables.contains(&"customers") {
            truth.psql("update customers set tenant_id = 3 where tenant_id = 1");
        }
        let before = live.digest();
        let rescue = Rescue::new(&live, &dump);
        let planned = rescue.recover_with(&entries(tables), &["--batch-rows", batch]).expect_code(0);
        assert!(planned.stdout.contains("no conflicts"), "{}", planned.stdout);
        before.assert_same(&live.digest(), "recover writes nothing");
        let _applied = rescue.apply().expect_code(0);
        truth.digest().assert_same(&live.digest(), "everything is home");
        let _verified = rescue.verify().expect_code(0);
        let again = rescue.apply().expect_code(0);
        assert!(again.stdout.contains("an earlier run had done everything"), "{}", again.stdout);
        truth.digest().assert_same(&live.digest(), "nothing more to do");
        let _undone = rescue.undo().expect_code(0);
        before.assert_same(&live.digest(), "and taken back");
    }
}

/// What hangs on several rows that go home keeps all of them where one cannot go, and no others.
#[test]
fn who_cannot_go_keeps_only_those_that_need_it() {
    let backup = TestDb::with("together", SHOP);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    // Product 6 cannot go: orders 6 and 8 hang on it by their lines, and on product 8.
    let taken = "insert into products values (99, 1, 'p6');";
    live.psql(&format!("{}{taken}", import("true")));
    truth.psql(&format!(
        "update customers set tenant_id = 3 where tenant_id = 1; set session_replication_role = replica;
         update products set tenant_id = 3 where id in (6, 8); update orders set tenant_id = 3 where id in (6, 8);
         update lines set tenant_id = 3 where order_id in (6, 8); reset session_replication_role; {taken}"
    ));
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entries(&["orders", "products"])).expect_code(1);
    let report = rescue.rowback().run(["report", "case"]).expect_code(0);
    assert!(report.stdout.contains("products_tenant_id_code_key is held by"), "{}", report.stdout);
    assert!(report.stdout.contains("it can only move with others"), "{}{}", planned.stdout, report.stdout);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "only what needs product 6 stays");
    let _verified = rescue.verify().expect_code(1);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");
}

/// An import of this morning wrote all under the wrong tenant: the backup knows none of it, the country of the customer and the
/// supplier of the product do.
#[test]
fn what_came_since_goes_home_together_by_the_path() {
    let world = "
        create table regions (country text primary key, tenant_id int not null);
        create table customers (id int primary key, tenant_id int not null, country text references regions, unique (tenant_id, id));
        create table products (id int primary key, tenant_id int not null, made_in text references regions, unique (tenant_id, id));
        create table lines (id int primary key, tenant_id int not null, customer_id int not null, product_id int not null,
          foreign key (tenant_id, customer_id) references customers (tenant_id, id), foreign key (tenant_id, product_id) references products (tenant_id, id));
        insert into regions values ('at', 1), ('be', 2); insert into customers values (1, 1, 'at'), (2, 2, 'be'); insert into products values (1, 1, 'at'), (2, 2, 'be');
        insert into lines values (1, 1, 1, 1), (2, 2, 2, 2);";
    let since = |tenants: [i32; 5]| {
        let [austria, belgium, across, other, made] = tenants;
        format!(
            "insert into customers values (11, {austria}, 'at'), (12, {belgium}, 'be'), (13, {across}, 'at'), (14, {other}, 'at');
             insert into products values (11, {austria}, 'at'), (12, {belgium}, 'be'), (13, {made}, 'be'), (14, {other}, 'at');
             insert into lines values (11, {austria}, 11, 11), (12, {belgium}, 12, 12), (13, {across}, 13, 13), (14, {other}, 14, 14), (15, {other}, 14, 14);"
        )
    };
    let backup = TestDb::with("together", world);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql(&since([2, 2, 2, 2, 2]));
    // Line 13 sells a Belgian product to an Austrian customer: where it belongs is for a human to say.
    truth.psql(&since([1, 2, 2, 1, 2]));
    let path = |column: &str, table: &str| {
        entry(
            table,
            &format!(
                "owner_from = \"select r.tenant_id from regions as r where r.country = {table}.{column}\""
            ),
        )
        .replace("live.tenant_id = 3", "true")
    };
    let recipe = format!("{}{}", path("country", "customers"), path("made_in", "products"));
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&recipe).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "all but the line across");
    let _verified = rescue.verify().expect_code(1);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");
}

/// A table between two that lead, with lost rows below one: these come first, and what hangs on them moves.
#[test]
fn tables_between_those_that_lead_are_recovered_as_well() {
    let world = "
        create table customers (id int primary key, tenant_id int not null, unique (tenant_id, id));
        create table carts (id int primary key, customer_id int not null references customers on delete cascade, note text);
        create table orders (id int primary key, tenant_id int not null, cart_id int references carts on delete set null, unique (tenant_id, id));
        create table lines (id int primary key, tenant_id int not null, order_id int, payer_id int,
          foreign key (tenant_id, order_id) references orders (tenant_id, id), foreign key (tenant_id, payer_id) references customers (tenant_id, id));
        insert into customers select g, 1 + g % 2 from generate_series(1, 8) as g; insert into carts select g, g, 'n' from generate_series(1, 8) as g;
        insert into orders select g, 1 + g % 2, g from generate_series(1, 8) as g; insert into lines select g, 1 + g % 2, g, g from generate_series(1, 8) as g;";
    let accident = format!("{ALL_TO_THREE} delete from carts where id in (2, 3)");
    let recipe =
        format!("{}[[recover]]\ntable = \"carts\"\nwhere = \"true\"\n", entries(&["customers", "orders"]));
    comes_to(world, &accident, &recipe, ("", 0));
}

/// ON UPDATE CASCADE over two levels, and a reference without it below: PostgreSQL asks about that before the second level moved.
#[test]
fn a_reference_below_two_that_cascade_does_not_stop_them() {
    let world = "
        create table customers (id int primary key, tenant_id int not null, unique (tenant_id, id));
        create table orders (id int primary key, tenant_id int, customer_id int, unique (tenant_id, id),
          foreign key (tenant_id, customer_id) references customers (tenant_id, id) on update cascade);
        create table boxes (id int primary key, tenant_id int, order_id int, unique (tenant_id, id),
          foreign key (tenant_id, order_id) references orders (tenant_id, id) on update cascade);
        create table labels (id int primary key, tenant_id int, order_id int references orders, box_id int, foreign key (tenant_id, box_id) references boxes (tenant_id, id));
        insert into customers select g, 1 + g % 2 from generate_series(1, 6) as g; insert into orders select g, 1 + g % 2, g from generate_series(1, 6) as g;
        insert into boxes select g, 1 + g % 2, g from generate_series(1, 6) as g; insert into labels select g, 1 + g % 2, g, g from generate_series(1, 6) as g;";
    let accident = "set session_replication_role = replica; update customers set tenant_id = 3 where tenant_id = 1;
        update orders set tenant_id = 3 where tenant_id = 1; update boxes set tenant_id = 3 where tenant_id = 1;
        update labels set tenant_id = 3 where tenant_id = 1; reset session_replication_role;";
    comes_to(world, accident, &entries(&["customers"]), ("", 0));
}

/// A tree whose rows refer to each other with their owner: `where` names its root, and the rest follows within the same table.
#[test]
fn rows_of_the_leading_table_that_follow_are_counted_and_verified() {
    let world = "
        create table folders (id int primary key, tenant_id int not null, parent_id int, name text, unique (tenant_id, id), unique (tenant_id, parent_id, name),
          foreign key (tenant_id, parent_id) references folders (tenant_id, id));
        insert into folders select g, 1 + g % 2, case when g > 2 then g - 2 end, 'f' || g from generate_series(1, 9) as g;";
    let backup = TestDb::with("together", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("set session_replication_role = replica; update folders set tenant_id = 3 where tenant_id = 1; insert into folders values (20, 3, 4, 'new')");
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entry("folders", "where = \"id = 2\"")).expect_code(0);
    assert!(planned.stdout.contains("5 to repair"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(
        live.value("select string_agg(id::text, ' ' order by id) from folders where tenant_id = 1"),
        "2 4 6 8 20"
    );
    let verified = rescue.verify().expect_code(0);
    assert!(verified.stdout.contains("public.folders        5                  5"), "{}", verified.stdout);
    live.psql("update folders set tenant_id = 2, parent_id = null where id = 20");
    let _stray = rescue.verify().expect_code(1);
    live.psql("update folders set tenant_id = 1, parent_id = 4 where id = 20");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");
}

/// A table between that has no owner: what hangs below it is not followed, and that is said.
#[test]
fn what_hangs_below_a_table_without_an_owner_is_told() {
    let world = "
        create table customers (id int primary key, tenant_id int not null);
        create table carts (id int primary key, customer_id int references customers);
        create table items (id int primary key, tenant_id int not null, cart_id int references carts);
        create table tags (id int primary key, item_id int references items, cart_id int references carts);
        insert into customers values (1, 1), (2, 2); insert into carts values (1, 1), (2, 2); insert into items values (1, 1, 1), (2, 2, 2);";
    let backup = TestDb::with("together", world);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("update customers set tenant_id = 3 where id = 1; update items set tenant_id = 3 where id = 1");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entries(&["customers"])).expect_code(0);
    let note = "rows of public.items that hang on misrouted rows of public.customers over public.carts, which has no tenant_id";
    assert_eq!(planned.stdout.matches("over public.carts").count(), 1, "{}", planned.stdout);
    assert!(planned.stdout.contains(note), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    let verified = rescue.verify().expect_code(0);
    assert!(verified.stdout.contains(note), "what nobody looked at is not vouched for: {}", verified.stdout);
    let _undone = rescue.undo().expect_code(0);
    let undone = rescue.verify();
    assert!(!undone.stdout.contains(note), "{}", undone.stdout);
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entries(&["customers", "items"])).expect_code(0);
    assert!(!planned.stdout.contains("over public.carts"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), "all is as it was");
}

/// What came between plan and apply keeps the rows that it concerns, with all that hangs on them, and no others.
#[test]
fn what_came_meanwhile_keeps_only_its_group() {
    let backup = TestDb::with("together", SHOP);
    let dump = backup.dump(&["-Fc"]);
    for entries in [entries(&["orders", "products"]), entries(&["customers", "orders", "products"])] {
        let (live, truth) = (backup.copy("live"), backup.copy("truth"));
        live.psql(&import("true"));
        if !entries.contains("customers") {
            truth.psql("update customers set tenant_id = 3 where tenant_id = 1");
        }
        let rescue = Rescue::new(&live, &dump);
        let _planned = rescue.recover_text(&entries).expect_code(0);
        let meanwhile =
            "insert into products values (99, 1, 'p6'); insert into lines values (777, 3, 14, null);";
        live.psql(meanwhile);
        let before = live.digest();
        // Customers do not need their orders.
        truth.psql(&format!(
            "set session_replication_role = replica; update products set tenant_id = 3 where id in (6, 8, 14, 16); update orders set tenant_id = 3 where id in (6, 8, 14, 16);
             update lines set tenant_id = 3 where order_id in (6, 8, 14, 16); reset session_replication_role; {meanwhile}"
        ));
        let applied = rescue.apply().expect_code(1);
        assert!(
            applied.stdout.contains("public.products (id = 6): live refused it: duplicate key"),
            "{}",
            applied.stdout
        );
        assert!(
            applied.stdout.contains(
                "public.lines (id = 600): live refused it: a row of products that moves with it was refused"
            ),
            "{}",
            applied.stdout
        );
        truth.digest().assert_same(&live.digest(), "only what hangs on product 6 or order 14 stays");
        let _verified = rescue.verify().expect_code(1);
        let _again = rescue.apply().expect_code(1);
        truth.digest().assert_same(&live.digest(), "nothing more");
        let _undone = rescue.undo().expect_code(0);
        before.assert_same(&live.digest(), "and taken back");
    }
}

/// Parent and child went to different owners: nothing in live leads from one to the other, and the child needs the parent's move all the same.
#[test]
fn rows_that_went_to_different_owners_find_each_other() {
    let world = "
        create table folders (id int primary key, tenant_id int not null, parent_id int, name text, unique (tenant_id, id), unique (tenant_id, name),
          foreign key (tenant_id, parent_id) references folders (tenant_id, id));
        insert into folders select g, 1, nullif(g - 1, 0), 'f' || g from generate_series(1, 4) as g;";
    let accident = "set session_replication_role = replica; update folders set tenant_id = 1 + id; reset session_replication_role;";
    let recipe = entry("folders", "").replace("live.tenant_id = 3", "live.tenant_id > 1");
    let backup = TestDb::with("together", world);
    let dump = backup.dump(&["-Fc"]);
    for (taken, home) in [("", "1 2 3 4"), ("insert into folders values (9, 1, null, 'f2');", "1 9")] {
        let live = backup.copy("live");
        live.psql(&format!("{accident}{taken}"));
        let rescue = Rescue::new(&live, &dump);
        let code = i32::from(!taken.is_empty());
        let _planned = rescue.recover_with(&recipe, &["--batch-rows", "1"]).expect_code(code);
        let _applied = rescue.apply().expect_code(0);
        let found =
            live.value("select string_agg(id::text, ' ' order by id) from folders where tenant_id = 1");
        assert_eq!(found, home);
        let _verified = rescue.verify().expect_code(code);
    }
}

/// Customers, their orders with numbers of the tenant, and lines: everything carries the tenant in its references.
pub(super) const CHAIN: &str = "
create table customers (id int primary key, tenant_id int not null, email text, unique (tenant_id, email), unique (tenant_id, id));
create table orders (id int primary key, tenant_id int not null, customer_id int, number text, unique (tenant_id, number), unique (tenant_id, id),
  foreign key (tenant_id, customer_id) references customers (tenant_id, id));
create table lines (id int primary key, tenant_id int not null, order_id int, payer_id int, what text, foreign key (tenant_id, order_id) references orders (tenant_id, id),
  foreign key (tenant_id, payer_id) references customers (tenant_id, id));
insert into customers select g, 1 + g % 2, 'c' || g from generate_series(1, 8) as g; insert into orders select g, 1 + g % 2, g, 'n' || g from generate_series(1, 8) as g;
insert into lines select g, 1 + g % 2, g, null, 'w' from generate_series(1, 8) as g;";

pub(super) const ALL_TO_THREE: &str = "set session_replication_role = replica; update customers set tenant_id = 3 where tenant_id = 1; update orders set tenant_id = 3 where tenant_id = 1;
    update lines set tenant_id = 3 where tenant_id = 1; reset session_replication_role;";

/// Recovers, and compares live with what is wanted; `code` is that of `recover` and `verify`, `apply` has nothing left.
pub(super) fn comes_to(world: &str, accident: &str, recipe: &str, (wanted, code): (&str, i32)) {
    let backup = TestDb::with("together", world);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql(accident);
    truth.psql(wanted);
    let before = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(recipe).expect_code(code);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "live is as wanted");
    let _verified = rescue.verify().expect_code(code);
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");
}

/// A line has an entry of its own, and the order on which it hangs stays with its customer.
#[test]
fn what_hangs_on_rows_that_stay_is_not_planned() {
    let taken = "insert into customers values (99, 1, 'c2');";
    let wanted = format!(
        "set session_replication_role = replica; update customers set tenant_id = 3 where id = 2; update orders set tenant_id = 3 where id = 2;
         update lines set tenant_id = 3 where id = 2; reset session_replication_role; {taken}"
    );
    comes_to(CHAIN, &format!("{ALL_TO_THREE}{taken}"), &entries(&["customers", "lines"]), (&wanted, 1));
    comes_to(
        CHAIN,
        &format!("{ALL_TO_THREE}{taken}"),
        &entries(&["lines", "customers", "orders"]),
        (&wanted, 1),
    );
}

/// The order between has no entry: it moves along, and is no stranger for its line.
#[test]
fn who_moves_along_is_no_stranger_to_what_hangs_on_it() {
    comes_to(CHAIN, ALL_TO_THREE, &entries(&["customers", "lines"]), ("", 0));
}

/// Lines were deleted while their orders were under the wrong tenant.
#[test]
fn lost_rows_below_rows_that_move_come_back() {
    let accident = format!("{ALL_TO_THREE} delete from lines where id in (2, 4, 5)");
    let lost = "[[recover]]\ntable = \"lines\"\nwhere = \"true\"\n";
    comes_to(CHAIN, &accident, &format!("{}{lost}", entries(&["customers"])), ("", 0));
    comes_to(CHAIN, &accident, &format!("{lost}{}", entries(&["orders", "customers"])), ("", 0));
}

/// Notes lie between the two tables that lead, have no entry, and their codes are unique within the tenant.
#[test]
fn who_lies_between_is_told_apart_without_the_owner() {
    let world = "
        create table customers (id int primary key, tenant_id int not null, unique (tenant_id, id));
        create table notes (id int primary key, tenant_id int not null, customer_id int, code text, unique (tenant_id, code), unique (tenant_id, id),
          foreign key (tenant_id, customer_id) references customers (tenant_id, id));
        create table orders (id int primary key, tenant_id int not null, note_id int, number text, unique (tenant_id, number), unique (tenant_id, id), foreign key (tenant_id, note_id) references notes (tenant_id, id));
        create table lines (id int primary key, tenant_id int not null, order_id int, payer_id int, foreign key (tenant_id, order_id) references orders (tenant_id, id),
          foreign key (tenant_id, payer_id) references customers (tenant_id, id));
        insert into customers select g, 1 + g % 2 from generate_series(1, 8) as g; insert into notes select g, 1 + g % 2, g, 'n' || g from generate_series(1, 8) as g;
        insert into orders select g, 1 + g % 2, g, 'o' || g from generate_series(1, 8) as g; insert into lines select g, 1 + g % 2, g, g from generate_series(1, 8) as g;";
    let accident = format!("update notes set tenant_id = 3 where tenant_id = 1; {ALL_TO_THREE}");
    let accident = format!("set session_replication_role = replica; {accident}");
    comes_to(world, &accident, &entries(&["customers", "orders"]), ("", 0));
}

/// After apply somebody hangs a line on order 2 and edits order 4: `undo` leaves both with what hangs on them, and takes the rest back.
#[test]
fn undo_leaves_what_others_need_with_its_group() {
    let backup = TestDb::with("together", CHAIN);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql(ALL_TO_THREE);
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&entries(&["customers"])).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    live.psql("insert into lines values (99, 1, 2, null, 'later'); update orders set tenant_id = 1, customer_id = null where id = 4");
    truth.psql(ALL_TO_THREE);
    truth.psql(
        "set session_replication_role = replica; update customers set tenant_id = 1 where id = 2; update orders set tenant_id = 1 where id in (2, 4);
         update lines set tenant_id = 1 where id in (2, 4); update orders set customer_id = null where id = 4; insert into lines values (99, 1, 2, null, 'later')",
    );
    let undone = rescue.undo().expect_code(1);
    assert!(undone.stdout.contains("public.orders (id = 2): live refused it"), "{}", undone.stdout);
    assert!(undone.stdout.contains("public.orders (id = 4): changed since"), "{}", undone.stdout);
    truth.digest().assert_same(&live.digest(), "the rest is taken back");
    live.psql("delete from lines where id = 99");
    truth.psql(
        "delete from lines where id = 99; set session_replication_role = replica; update customers set tenant_id = 3 where id = 2; update orders set tenant_id = 3 where id = 2;
         update lines set tenant_id = 3 where id = 2",
    );
    let _again = rescue.undo().expect_code(1);
    truth.digest().assert_same(&live.digest(), "and what nobody needs any more");
}
