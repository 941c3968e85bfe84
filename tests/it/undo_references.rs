//! `undo` and references that only the recipe knows: who came to refer to a recovered row keeps it, who referred to it all
//! along does not.

use super::support::{Rescue, TestDb};

const SHOP: &str = "
    create table customers (id int primary key, email text unique);
    create table notes (id serial primary key, cid int, body text);
    create table events (id serial primary key, d jsonb);
    create table tags (id serial primary key, kind text, ref text);
    insert into customers select i, 'c' || i from generate_series(1, 20) i;
    insert into notes (cid, body) select i, 'n' from generate_series(1, 20) i;
    insert into events (d) select jsonb_build_object('c', i) from generate_series(1, 20) i;
    insert into tags (kind, ref) select 'customer', i::text from generate_series(1, 20) i;";

const RECIPE: &str = r#"
    [[recover]]
    table = "customers"
    where = "id in (3, 4, 5, 6, 7)"
    [[foreign_key]]
    from = "notes(cid)"
    to = "customers(id)"
    [[foreign_key]]
    from = "events(d->>'c')"
    to = "customers(id)"
    [[foreign_key]]
    from = "tags(ref)"
    to = "customers(id)"
    when = "kind = 'customer'""#;

const GONE: &str = "delete from customers where id in (3, 4, 5, 6, 7)";

/// The children, which nobody cleans up for the database.
const CHILDREN_GONE: &str = "
    delete from notes where cid in (3, 4, 5, 6, 7);
    delete from events where (d ->> 'c')::int in (3, 4, 5, 6, 7);
    delete from tags where ref::int in (3, 4, 5, 6, 7);";

#[test]
fn rows_to_which_later_rows_refer_by_the_recipe_stay_and_are_listed() {
    let live = TestDb::with("undo_declared", SHOP);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql(&format!("{GONE}; {CHILDREN_GONE}"));
    let before = live.digest();
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    // A tag of another kind does not mean the customer.
    live.psql(
        "insert into notes (cid, body) values (3, 'later');
         insert into events (d) values ('{\"c\": 4}');
         insert into tags (kind, ref) values ('customer', '5'), ('order', '6')",
    );
    let undone = rescue.undo().expect_code(1);
    assert_eq!(
        live.value("select string_agg(id::text, ',' order by id) from customers where id < 8"),
        "1,2,3,4,5"
    );
    for (id, table) in [(3, "notes"), (4, "events"), (5, "tags")] {
        let told = format!("public.customers (id = {id}): still referred to by public.{table}");
        assert!(undone.stdout.contains(&told), "{}", undone.stdout);
    }
    assert!(undone.stdout.contains("3 rows left alone"), "{}", undone.stdout);
    // The twin: when nobody refers any more, they go.
    live.psql(
        "delete from notes where body = 'later'; delete from events where id > 20; delete from tags where id > 20",
    );
    let _rest = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "everything is taken back");
}

#[test]
fn rows_that_referred_before_the_parent_came_back_keep_nobody() {
    let live = TestDb::with("undo_dangling", SHOP);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql(&format!("{GONE}; insert into notes (cid, body) values (3, 'of a late colleague'); update notes set body = 'BAD' where id = 4"));
    let before = live.digest();
    let recipe = format!(
        "{RECIPE}\n[[recover]]\ntable = \"notes\"\nkind = \"corrupted\"\ncolumns = [\"body\"]\nwhere = \"true\"\ndamaged = \"live.body = 'BAD'\"\n"
    );
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(live.value("select body from notes where id = 4"), "n");
    assert_eq!(live.value("select count(*) from customers"), "20");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "the references dangle as before");
}
