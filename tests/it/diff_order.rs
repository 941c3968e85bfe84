//! Verdicts that depend on other rows of the same table, or of tables that refer to each other: found by random databases,
//! told here as small as they get.

use super::support::{Rescue, TestDb};

/// Recovers, applies, and gives the table's rows.
fn rows_after(shop: &str, accident: &str, recipe: &str, table: &str) -> (String, Vec<String>) {
    let live = TestDb::with("order", shop);
    let backup = live.dump(&["-Fc"]);
    live.psql(accident);
    let rescue = Rescue::new(&live, &backup);
    let planned = rescue.recover_text(recipe);
    assert!(matches!(planned.code, Some(0 | 1)), "{}{}", planned.stdout, planned.stderr);
    let _applied = rescue.apply().expect_code(0);
    let lines: Vec<&str> = planned.stdout.lines().filter(|line| line.starts_with("Plan: ")).collect();
    (lines.join("\n"), live.rows(table))
}

/// The row that lost its link stands before the one it was linked to, and a lost row hangs on it.
#[test]
fn a_row_that_lost_its_link_in_its_own_table_is_no_stranger() {
    let shop = "create table staff (id int primary key, boss int references staff on delete set null);
        insert into staff values (1, null), (2, 8), (8, 1), (9, 2);";
    let recipe = "[[recover]]\ntable = 'staff'\nwhere = 'id in (1, 2, 9)'\n";
    let (plan, rows) = rows_after(shop, "delete from staff where id in (1, 2, 9)", recipe, "staff");
    assert_eq!(plan, "Plan: 3 to insert, 0 to repair, 1 to re-link; no conflicts. Nothing has been written.");
    assert_eq!(rows, ["1\t\\N", "2\t8", "8\t1", "9\t2"]);
}

/// Its twin: the link was set by somebody since; then the row is what live says, and the others are held back to it.
#[test]
fn a_link_that_was_set_since_stays() {
    let shop = "create table staff (id int primary key, name text unique, boss int references staff on delete set null);
        insert into staff values (1, 'a', null), (2, 'b', 8), (3, 'c', null), (8, 'd', 1);";
    let recipe = "[[recover]]\ntable = 'staff'\nwhere = 'id in (1, 2)'\n";
    let accident = "delete from staff where id in (1, 2); update staff set boss = 3 where id = 8";
    let (_, rows) = rows_after(shop, accident, recipe, "staff");
    assert_eq!(rows, ["1\ta\t\\N", "2\tb\t8", "3\tc\t\\N", "8\td\t3"]);
}

/// A parent that was deleted on purpose since is not brought back for a row that does not come back itself.
#[test]
fn nobody_is_resurrected_for_a_row_that_stays_away() {
    let shop = "create table owners (name text primary key);
        create table pets (id int primary key, owner text not null references owners, mother int references pets,
          created_at timestamptz not null);
        insert into owners values ('gone'), ('here');
        insert into pets values (1, 'gone', 3, '2026-01-01'), (2, 'here', null, '2026-01-01'), (3, 'here', null, '2026-01-01');";
    let accident = "truncate pets; delete from owners where name = 'gone';
        insert into pets values (3, 'here', null, '2026-11-01')";
    let recipe = "[[recover]]\ntable = 'pets'\nwhere = 'true'\n";
    let (plan, rows) = rows_after(shop, accident, recipe, "owners");
    assert_eq!(
        plan,
        "Plan: 1 to insert, 0 to repair, 0 to re-link; 2 conflicts kept as they are. Nothing has been written."
    );
    assert_eq!(rows, ["here"]);
    // Its twin: without the stranger under the mother's number all come back, and so must the owner.
    let (_, rows) =
        rows_after(shop, "truncate pets; delete from owners where name = 'gone'", recipe, "owners");
    assert_eq!(rows, ["gone", "here"]);
}

/// Children may name their parent by another column than its key; when live's parent has another value there now, they
/// have nothing to hang on.
#[test]
fn a_parent_that_was_renamed_has_no_children_by_its_old_name() {
    let shop = "create table parents (id uuid primary key, code text unique, note text);
        create table children (id int primary key, parent text not null references parents (code) on delete cascade);
        insert into parents values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'old', 'x'), ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'kept', 'y');
        insert into children values (1, 'old'), (2, 'kept');";
    let accident = "truncate children, parents;
        insert into parents values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'new', 'x')";
    let recipe = "[[recover]]\ntable = 'parents'\nwhere = 'true'\n";
    let (plan, rows) = rows_after(shop, accident, recipe, "children");
    assert_eq!(
        plan,
        "Plan: 2 to insert, 0 to repair, 0 to re-link; 2 conflicts kept as they are. Nothing has been written."
    );
    assert_eq!(rows, ["2\tkept"]);
}
