//! Rows that triggers make in the way of rows that are linked again, or that move back to their tenant.

use super::support::{Rescue, TestDb};

const HISTORY: &str = "
create table customers (id serial primary key, email text unique, tenant int);
create table history (id bigserial primary key, customer_id int references customers on delete set null, v text default 'new');
create unique index on history ((customer_id + 0)) where v <> 'gone';
create function welcome() returns trigger language plpgsql as
  $$ begin insert into history (customer_id) values (new.id); return null; end $$;
create trigger welcome after insert on customers for each row execute function welcome();
insert into customers (email, tenant) select 'c' || i, i % 4 from generate_series(1, 20) i;
update history set v = 'old';";

const LOST: &str = "[[recover]]\ntable = \"customers\"\nwhere = \"tenant = 3\"\n";

#[test]
fn a_companion_gives_way_to_a_row_that_is_linked_again() {
    let shop = TestDb::with("companion_relink", HISTORY);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql("delete from customers where tenant = 3");
    let damaged = live.digest();
    for rows in ["1000", "2"] {
        let rescue = Rescue::new(&live, &dump);
        let planned = rescue.recover_with(LOST, &["--batch-rows", rows]).expect_code(0);
        assert!(planned.stdout.contains("5 to insert, 0 to repair, 5 to re-link"), "{planned:?}");
        let _applied = rescue.apply().expect_code(0);
        shop.digest().assert_same(&live.digest(), "every link is set, and nothing is double");
        let _verified = rescue.verify().expect_code(0);
        let _again = rescue.apply().expect_code(0);
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo gives back what was there");
    }
}

#[test]
fn a_companion_that_cannot_be_taken_away_is_named() {
    let shop = TestDb::with("companion_named", HISTORY);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql("delete from customers where tenant = 3");
    let role = format!("clerk_of_{}", live.name());
    live.psql(&format!(
        "create role {role} login; grant select, insert, update on all tables in schema public to {role};
         grant select, update on all sequences in schema public to {role}"
    ));
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(LOST).expect_code(0);
    let url = live.url_as(&role);
    let applied = rescue.rowback().run(["apply", "case", "--live", &url, "--confirm", live.name()]);
    let applied = applied.expect_code(1);
    let told = applied.stdout.lines().find(|line| line.contains("public.history (id = 11)"));
    insta::assert_snapshot!(told.unwrap_or_default(), @r#"  public.history (id = 11): live refused it: duplicate key value violates unique constraint "history_expr_idx"; a trigger made public.history (id = 23) in its place while rows came back, and that row could not be taken away: this role may not delete it (ask for: grant delete on "public"."history")"#);
    assert!(applied.stdout.contains("5 rows left for a human"), "{applied:?}");
}

/// Two tenants whose orders get settings, a log line and a note of their own from triggers.
fn tenants() -> String {
    let one = |name: &str| {
        format!(
            "create schema {name}; create table {name}.orders (id int primary key, no text unique);
             create table {name}.settings (id serial primary key, order_id int not null unique references {name}.orders on delete cascade, v text);
             create table {name}.notes (order_id int primary key references {name}.orders, v text);
             create function {name}.f() returns trigger language plpgsql as $$ begin
               insert into {name}.settings (order_id, v) values (new.id, 'default');
               insert into {name}.notes values (new.id, 'default'); return null; end $$;
             create trigger t after insert on {name}.orders for each row execute function {name}.f();"
        )
    };
    format!(
        "{}{}insert into a.orders select i, 'A' || i from generate_series(1, 9) i; select setval('b.settings_id_seq', 20);
         insert into b.orders select i, 'B' || i from generate_series(21, 25) i;
         update a.settings set v = 'mine' || id; update a.notes set v = 'of ' || order_id;",
        one("a"),
        one("b")
    )
}

const MISROUTE: &str = "
alter table b.orders disable trigger t;
insert into b.orders select * from a.orders where id in (3, 4, 5);
insert into b.settings select * from a.settings where order_id in (3, 4, 5);
insert into b.notes select * from a.notes where order_id in (3, 4, 5);
delete from a.notes where order_id in (3, 4, 5);
delete from a.orders where id in (3, 4, 5);
alter table b.orders enable trigger t;";

const MOVED: &str = "[[recover]]\ntable = \"a.orders\"\nkind = \"misrouted\"\nmisrouted_to = \"b.orders\"\nwhere = \"id in (3, 4, 5)\"\n";

#[test]
fn companions_give_way_to_rows_that_move_there_and_back() {
    let shop = TestDb::with("companion_move", &tenants());
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql(MISROUTE);
    let damaged = live.digest();
    for rows in ["1000", "3"] {
        let rescue = Rescue::new(&live, &dump);
        let _planned = rescue.recover_with(MOVED, &["--batch-rows", rows]).expect_code(0);
        let _applied = rescue.apply().expect_code(0);
        shop.digest().assert_same(&live.digest(), "each is where it belongs, once");
        let _verified = rescue.verify().expect_code(0);
        let _again = rescue.apply().expect_code(0);
        let _undone = rescue.undo().expect_code(0);
        damaged.assert_same(&live.digest(), "undo gives back what was there");
    }
}

#[test]
fn a_row_that_somebody_else_put_in_the_place_keeps_its_order_away() {
    let shop = TestDb::with("companion_move_taken", &tenants());
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql(MISROUTE);
    // What holds the number of order 4 is nobody's companion; the other two move.
    live.psql("alter table a.orders disable trigger t; insert into a.orders values (40, 'A4'); alter table a.orders enable trigger t");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(MOVED);
    live.psql("insert into a.orders values (41, 'A5')");
    let applied = rescue.apply().expect_code(1);
    assert_eq!(live.rows("a.settings").len(), 8, "{planned:?} {applied:?}");
    assert_eq!(
        live.value(
            "select string_agg(order_id || v, ' ' order by 1) from a.settings where order_id in (3, 4, 5)"
        ),
        "3mine3"
    );
    assert_eq!(
        live.value("select string_agg(order_id || v, ' ' order by 1) from b.settings where order_id < 10"),
        "4mine4 5mine5"
    );
}
