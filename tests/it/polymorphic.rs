//! References of the recipe under a condition (`when`): guarded at `apply` like those without, for the rows alone for which
//! the condition holds.

use super::support::{Rescue, TestDb};

const SHOP: &str = "
    create table customers (id serial primary key, email text unique);
    create table notes (id serial primary key, kind text, ref int, total int default 1, moved bool default false, loud text generated always as (upper(kind)) stored);
    insert into customers (email) select 'c' || i || '@x' from generate_series(1, 10) i;
    insert into notes (kind, ref) select 'customer', i from generate_series(1, 10) i;
    insert into notes (kind, ref) select 'order', i from generate_series(1, 10) i;";

const REFERENCE: &str = "
    [[foreign_key]]
    from = \"notes(ref)\"
    to = \"customers(id)\"
    when = \"kind = 'customer' and total > 0 and not moved\"
    [[recover]]
    table = \"customers\"
    where = \"id in (7, 8)\"
    identity = [\"email\"]
    ";

const LOST: &str = "
    [[recover]]
    table = \"notes\"
    where = \"ref in (7, 8)\"";

fn scene<'db>(live: &'db TestDb<'db>, accident: &str, recipe: &str) -> Rescue<'db> {
    let rescue = Rescue::new(live, &live.dump(&["-Fc"]));
    live.psql(&format!("delete from customers where id in (7, 8); {accident}"));
    let _planned = rescue.recover_text(&format!("{REFERENCE}{recipe}")).expect_code(0);
    rescue
}

#[test]
fn children_whose_parent_could_not_come_back_are_held_back_if_they_are_its_children() {
    let live = TestDb::with("poly", SHOP);
    let rescue = scene(&live, "delete from notes where ref in (7, 8)", LOST);
    live.psql("insert into customers values (105, 'c7@x')");
    let applied = rescue.apply().expect_code(1);
    assert!(applied.stdout.contains("public.notes (id = 7): held back"), "{}", applied.stdout);
    assert!(applied.stdout.contains("2 rows left for a human"), "{}", applied.stdout);
    assert_eq!(live.rows("notes").iter().filter(|row| row.contains("\t7\t")).count(), 1);
    assert_eq!(live.value("select string_agg(kind, ',') from notes where ref = 7"), "order");
    assert_eq!(
        live.value("select string_agg(kind, ',' order by kind) from notes where ref = 8"),
        "customer,order"
    );
}

#[test]
fn children_are_not_hung_on_a_stranger_under_the_key_of_their_parent() {
    let live = TestDb::with("poly_stranger", SHOP);
    let rescue = scene(&live, "delete from notes where ref in (7, 8)", LOST);
    live.psql("insert into customers values (7, 'stranger@x')");
    let applied = rescue.apply().expect_code(1);
    assert!(applied.stdout.contains("public.notes (id = 7): held back"), "{}", applied.stdout);
    assert_eq!(live.value("select string_agg(kind, ',') from notes where ref = 7"), "order");
}

#[test]
fn a_repaired_link_is_held_back_by_the_condition_over_the_row_as_live_has_it() {
    let live = TestDb::with("poly_repair", SHOP);
    let repair = "
    [[recover]]
    table = \"notes\"
    kind = \"corrupted\"
    columns = [\"ref\"]
    where = \"ref in (7, 8)\"
    damaged = \"live.ref = 0\"";
    let rescue = scene(&live, "update notes set ref = 0 where ref in (7, 8)", repair);
    live.psql("insert into customers values (105, 'c7@x')");
    let applied = rescue.apply().expect_code(1);
    assert!(applied.stdout.contains("public.notes (id = 7): held back"), "{}", applied.stdout);
    assert_eq!(live.value("select string_agg(id::text, ',' order by id) from notes where ref = 0"), "7");
}

#[test]
fn a_condition_over_a_column_that_is_not_written_guards_nothing_and_stops_nothing() {
    let live = TestDb::with("poly_generated", SHOP);
    let recipe = format!("{REFERENCE}{LOST}").replace("kind = 'customer'", "loud = 'CUSTOMER'");
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    let before = live.digest();
    live.psql("delete from customers where id in (7, 8); delete from notes where ref in (7, 8)");
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    before.assert_same(&live.digest(), "all is back");
}
