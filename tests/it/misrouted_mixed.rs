//! Misrouted rows beside lost and damaged ones of the same tables, and references that only the recipe knows.

use super::misrouted_together::{ALL_TO_THREE, CHAIN, comes_to, entries};
use super::support::{Rescue, TestDb};

fn lost(table: &str) -> String {
    format!("[[recover]]\ntable = \"{table}\"\nwhere = \"tenant_id = 1\"\n")
}

fn damaged(table: &str, column: &str, condition: &str) -> String {
    format!(
        "[[recover]]\ntable = \"{table}\"\nkind = \"corrupted\"\ncolumns = [\"{column}\"]\nwhere = \"true\"\ndamaged = \"{condition}\"\n"
    )
}

/// The deletion of a coupon emptied links of customers, who are under the wrong tenant as well, and of those who move with them.
#[test]
fn a_cut_link_is_set_again_in_a_row_that_moves() {
    let world = "
        create table coupons (id int primary key, tenant_id int not null, code text unique, unique (tenant_id, id));
        create table customers (id int primary key, tenant_id int not null, email text unique, coupon_id int, unique (tenant_id, id),
          foreign key (tenant_id, coupon_id) references coupons (tenant_id, id) on delete set null (coupon_id));
        create table orders (id int primary key, tenant_id int not null, customer_id int, coupon_id int, foreign key (tenant_id, customer_id) references customers (tenant_id, id),
          foreign key (tenant_id, coupon_id) references coupons (tenant_id, id) on delete set null (coupon_id));
        insert into coupons select g, 1, 'k' || g from generate_series(1, 3) as g; insert into customers select g, 1, 'c' || g, g from generate_series(1, 3) as g;
        insert into orders select g, 1, g, g from generate_series(1, 3) as g;";
    let accident = "delete from coupons where id < 3; set session_replication_role = replica; update customers set tenant_id = 3 where id = 1;
        update orders set tenant_id = 3 where id = 1; reset session_replication_role";
    comes_to(world, accident, &format!("{}{}", entries(&["customers"]), lost("coupons")), ("", 0));
    comes_to(world, accident, &format!("{}{}", lost("coupons"), entries(&["orders", "customers"])), ("", 0));
}

/// An entry about damage in the table between looks at rows that move: they are parents of what moves with them all the same.
#[test]
fn damage_between_does_not_stop_the_move() {
    let accident = format!("{ALL_TO_THREE} update orders set number = 'X' where id = 2");
    let damage = damaged("orders", "number", "live.number = 'X'");
    comes_to(CHAIN, &accident, &format!("{}{damage}", entries(&["customers"])), ("", 0));
    comes_to(CHAIN, &accident, &format!("{damage}{}", entries(&["customers", "lines"])), ("", 0));
}

/// The reference by which a row moves is damaged itself: both are set right, and `verify` says so.
#[test]
fn a_damaged_reference_of_a_row_that_moves() {
    let accident = format!("{ALL_TO_THREE} update orders set customer_id = 4 where id = 2");
    let damage = damaged("orders", "customer_id", "true");
    comes_to(CHAIN, &accident, &format!("{}{damage}", entries(&["customers"])), ("", 0));
}

/// Lost orders need their customer to be home, whichever entry brings that, also within a tree.
#[test]
fn what_is_inserted_waits_for_the_move_of_its_parent() {
    let accident =
        format!("{ALL_TO_THREE} delete from lines where order_id in (2, 4); delete from orders where id = 2");
    comes_to(
        CHAIN,
        &accident,
        &format!("{}{}", entries(&["customers", "lines", "orders"]), lost("orders")),
        ("", 0),
    );
    let tree = "
        create table folders (id int primary key, tenant_id int not null, parent_id int, unique (tenant_id, id),
          foreign key (tenant_id, parent_id) references folders (tenant_id, id) on delete cascade);
        insert into folders select g, 1, nullif(g - 1, 0) from generate_series(1, 6) as g;";
    let accident = "delete from folders where id > 2; set session_replication_role = replica; update folders set tenant_id = 3; reset session_replication_role";
    comes_to(tree, accident, &format!("{}{}", entries(&["folders"]), lost("folders")), ("", 0));
}

/// The true owner is lost and no entry wants it back: its rows stay, and those of others go home.
#[test]
fn rows_of_an_owner_that_is_lost_stay() {
    let world = "
        create table tenants (id int primary key, name text);
        create table customers (id int primary key, tenant_id int not null references tenants, email text, unique (tenant_id, email), unique (tenant_id, id));
        create table products (id int primary key, tenant_id int not null references tenants, sku text, unique (tenant_id, sku), unique (tenant_id, id));
        create table items (id int primary key, tenant_id int not null, customer_id int, product_id int, foreign key (tenant_id, customer_id) references customers (tenant_id, id),
          foreign key (tenant_id, product_id) references products (tenant_id, id));
        insert into tenants select g, 't' || g from generate_series(1, 3) as g; insert into customers select g, 1 + g % 2, 'c' || g from generate_series(1, 4) as g;
        insert into products select g, 1 + g % 2, 'p' || g from generate_series(1, 4) as g; insert into items select g, 1 + g % 2, g, g from generate_series(1, 4) as g;";
    let moved = |which: &str| {
        format!(
            "set session_replication_role = replica; update customers set tenant_id = 3 where {which}; update products set tenant_id = 3 where {which};
             update items set tenant_id = 3 where {which}; reset session_replication_role; delete from tenants where id = 1"
        )
    };
    let recipe = entries(&["customers", "products"]).replace("tenant_id = 1", "true");
    comes_to(world, &moved("true"), &recipe, (&moved("tenant_id = 1"), 1));
    let with_owner =
        format!("{recipe}[[recover]]\ntable = \"tenants\"\nwhere = \"id = 1\"\nchildren = \"none\"\n");
    comes_to(world, &moved("true"), &with_owner, ("", 0));
}

/// A reference of the recipe ties rows as one of the catalog does: an item stays with the product that cannot go.
#[test]
fn references_of_the_recipe_tie_rows_as_well() {
    let world = "
        create table orders (id int primary key, tenant_id int not null, unique (tenant_id, id));
        create table products (id int primary key, tenant_id int not null, sku text, unique (tenant_id, sku), unique (tenant_id, id));
        create table items (id int primary key, tenant_id int not null, order_id int, product_id int, foreign key (tenant_id, order_id) references orders (tenant_id, id));
        insert into orders select g, 1 from generate_series(1, 3) as g; insert into products select g, 1, 'p' || g from generate_series(1, 3) as g;
        insert into items select g, 1, g, g from generate_series(1, 3) as g; insert into items values (9, 1, 3, 77);";
    let moved = |which: &str| {
        format!(
            "set session_replication_role = replica; update orders set tenant_id = 3 where {which}; update products set tenant_id = 3 where {which};
             update items set tenant_id = 3 where {which}; reset session_replication_role; insert into products values (8, 1, 'p1')"
        )
    };
    // Item 9 named no product before either.
    let accident = moved("true").replace("where true", "where id <> 8");
    let declared =
        "[[foreign_key]]\nfrom = \"items(tenant_id, product_id)\"\nto = \"products(tenant_id, id)\"\n";
    comes_to(
        world,
        &accident,
        &format!("{}{declared}", entries(&["orders", "products"])),
        (&moved("id = 1"), 1),
    );
    // The same where the code is only taken between plan and apply.
    let taken = "insert into products values (8, 1, 'p1')";
    let backup = TestDb::with("together", world);
    let dump = backup.dump(&["-Fc"]);
    let (live, truth) = (backup.copy("live"), backup.copy("truth"));
    live.psql(accident.strip_suffix(taken).expect("the accident ends with it"));
    truth.psql(&moved("id = 1"));
    let rescue = Rescue::new(&live, &dump);
    let _planned =
        rescue.recover_text(&format!("{}{declared}", entries(&["orders", "products"]))).expect_code(0);
    live.psql(taken);
    let before = live.digest();
    let applied = rescue.apply().expect_code(1);
    assert!(applied.stdout.contains("public.items (id = 1): live refused it"), "{}", applied.stdout);
    truth.digest().assert_same(&live.digest(), "what hangs on the product stays with it");
    live.psql("insert into products values (7, 3, 'p2')");
    let part = rescue.undo().expect_code(1);
    assert!(part.stdout.contains("public.items (id = 2): live refused it"), "{}", part.stdout);
    assert_eq!(
        live.value("select string_agg(id::text, ' ' order by id) from items where tenant_id = 1"),
        "2"
    );
    live.psql("delete from products where id = 7");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "and taken back");
}

/// Where a row of two tables in a circle is led by both entries, it is counted and written once.
#[test]
fn rows_that_two_entries_lead_are_written_once() {
    let backup = TestDb::with("mixed", CHAIN);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(ALL_TO_THREE);
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&entries(&["customers", "orders"])).expect_code(0);
    assert!(planned.stdout.contains("0 to insert, 12 to repair"), "{}", planned.stdout);
    let applied = rescue.apply().expect_code(0);
    assert!(applied.stdout.contains("12 rows updated (1 batch)"), "{}", applied.stdout);
    backup.digest().assert_same(&live.digest(), "all is as it was");
}

/// The owner's table is only known by the recipe: a customer whose owner is gone is not hung on nobody, but for one that hung on nobody
/// in the backup and does so in live.
#[test]
fn nobody_is_moved_onto_an_owner_that_is_gone() {
    let world = "
        create table tenants (id int primary key); create table customers (id int primary key, tenant_id int not null, email text unique);
        insert into tenants values (1), (2), (3); insert into customers values (1, 1, 'a'), (2, 2, 'b'), (3, 2, 'c'), (4, 8, 'd');";
    let declared = "[[foreign_key]]\nfrom = \"customers(tenant_id)\"\nto = \"tenants(id)\"\n";
    let recipe = format!(
        "{}{declared}",
        entries(&["customers"])
            .replace("where = \"tenant_id = 1\"", "where = \"true\"")
            .replace("live.tenant_id = 3", "live.tenant_id > 2")
    );
    let accident = "update customers set tenant_id = 3 where id < 3; update customers set tenant_id = 74 + id where id > 2; delete from tenants where id = 1";
    comes_to(
        world,
        accident,
        &recipe,
        ("update customers set tenant_id = 3 where id = 1; delete from tenants where id = 1", 1),
    );
}

/// Orders hang on stores that no entry names, so they and their customers stay: a line of an entry of its own is not planned as if they moved.
#[test]
fn a_line_whose_order_stays_is_not_planned() {
    let world = "
        create table stores (id int primary key, tenant_id int not null, unique (tenant_id, id)); create table customers (id int primary key, tenant_id int not null, unique (tenant_id, id));
        create table orders (id int primary key, tenant_id int not null, customer_id int, store_id int, unique (tenant_id, id),
          foreign key (tenant_id, customer_id) references customers (tenant_id, id), foreign key (tenant_id, store_id) references stores (tenant_id, id));
        create table lines (id int primary key, tenant_id int not null, order_id int, foreign key (tenant_id, order_id) references orders (tenant_id, id));
        insert into stores select g, 1 from generate_series(1, 4) as g; insert into customers select g, 1 from generate_series(1, 4) as g;
        insert into orders select g, 1, g, case when g < 3 then g end from generate_series(1, 4) as g; insert into lines select g, 1, g from generate_series(1, 4) as g;";
    let moved = |which: &str| {
        format!("set session_replication_role = replica; update stores set tenant_id = 3; update customers set tenant_id = 3 where {which};
            update orders set tenant_id = 3 where {which}; update lines set tenant_id = 3 where {which}; reset session_replication_role")
    };
    comes_to(world, &moved("true"), &entries(&["lines", "customers"]), (&moved("id < 3"), 1));
}

/// Between plan and apply the order of a lost line is deleted, and a stranger takes its number under the right tenant: the
/// line is not hung on the stranger, whether the lost rows' own references hold the owner or not.
#[test]
fn a_lost_line_is_not_hung_on_a_stranger_where_its_order_would_be() {
    let plain = CHAIN.replace(
        "foreign key (tenant_id, order_id) references orders (tenant_id, id)",
        "foreign key (order_id) references orders",
    );
    assert_ne!(plain, CHAIN);
    for world in [CHAIN, plain.as_str()] {
        let backup = TestDb::with("together", world);
        let dump = backup.dump(&["-Fc"]);
        let live = backup.copy("live");
        live.psql(&format!("{ALL_TO_THREE} delete from lines where id in (2, 4)"));
        let rescue = Rescue::new(&live, &dump);
        let recipe = format!("{}[[recover]]\ntable = \"lines\"\nwhere = \"true\"\n", entries(&["customers"]));
        let planned = rescue.recover_text(&recipe).expect_code(0);
        assert!(planned.stdout.contains("no conflicts"), "{}", planned.stdout);
        live.psql("delete from orders where id = 2; insert into orders (id, tenant_id, customer_id, number) values (2, 1, null, 'stranger')");
        let applied = rescue.apply().expect_code(1);
        assert!(applied.stdout.contains("public.lines (id = 2)"), "{}", applied.stdout);
        assert_eq!(
            live.value("select string_agg(id::text, ' ' order by id) from lines where id in (2, 4)"),
            "4",
            "{}",
            applied.stdout
        );
        let _undone = rescue.undo().expect_code(0);
        assert_eq!(live.value("select count(*) from orders where tenant_id = 3"), "3");
    }
}

/// Between plan and apply a customer is deleted, and a stranger takes the number under the wrong tenant: only the e-mail address,
/// unique within the tenant, tells them apart.
#[test]
fn a_stranger_under_the_wrong_owner_stays_there() {
    let alone = "create table customers (id int primary key, tenant_id int not null, email text, unique (tenant_id, email));
        insert into customers select g, 1 + g % 2, 'c' || g from generate_series(1, 8) as g;";
    let below = "delete from lines where order_id = 2; delete from orders where customer_id = 2;";
    for (world, accident, below) in
        [(CHAIN, ALL_TO_THREE, below), (alone, "update customers set tenant_id = 3 where tenant_id = 1", "")]
    {
        let backup = TestDb::with("together", world);
        let dump = backup.dump(&["-Fc"]);
        let (live, truth) = (backup.copy("live"), backup.copy("truth"));
        live.psql(accident);
        let rescue = Rescue::new(&live, &dump);
        let _planned = rescue.recover_text(&entries(&["customers"])).expect_code(0);
        let later = format!(
            "{below} delete from customers where id = 2; insert into customers values (2, 3, 'stranger')"
        );
        live.psql(&later);
        truth.psql(&later);
        let before = live.digest();
        let applied = rescue.apply().expect_code(1);
        assert!(applied.stdout.contains("public.customers (id = 2): "), "{}", applied.stdout);
        truth.digest().assert_same(&live.digest(), "all but the stranger are home");
        let _verified = rescue.verify().expect_code(1);
        let _undone = rescue.undo().expect_code(0);
        before.assert_same(&live.digest(), "and taken back");
    }
}
