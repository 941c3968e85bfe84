//! `undo` says where triggers had a hand in it.

use super::support::{Rescue, TestDb};

const VERSIONED: &str = "
    create table t (id int primary key, v text, version int default 1);
    create function f() returns trigger language plpgsql as
      $$ begin new.version = old.version + 1; return new; end $$;
    insert into t select i, 'p' || i from generate_series(1, 10) i;";

const TRIGGER: &str = "create trigger t before update on t for each row execute function f();";

const CORRUPTED: &str = "[[recover]]\ntable = \"t\"\nkind = \"corrupted\"\ncolumns = [\"v\"]\nwhere = \"true\"\n\
    damaged = \"live.v = 'BAD'\"\n";

/// What undo says, with and without a trigger on the table.
fn undone(name: &str, trigger: &str) -> String {
    let live = TestDb::with(name, &format!("{VERSIONED}{trigger}"));
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql("update t set v = 'BAD' where id in (3, 4)");
    let _planned = rescue.recover_text(CORRUPTED).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    let undone = rescue.undo().expect_code(0);
    format!("{}{}", undone.stdout, undone.stderr)
}

#[test]
fn columns_that_triggers_move_are_told() {
    let said = undone("undo_version", TRIGGER);
    assert!(said.contains("note: public.t: triggers that change rows fired"), "{said}");
    let said = undone("undo_no_version", "");
    assert!(!said.contains("note:"), "{said}");
}

#[test]
fn triggers_of_the_table_to_which_rows_go_back_are_listed_and_told() {
    let schema = |name: &str| {
        format!(
            "create schema {name}; create table {name}.orders (id int primary key, no text unique);
             create table {name}.log (id serial primary key, order_id int references {name}.orders on delete cascade, m text);
             create function {name}.f() returns trigger language plpgsql as
               $$ begin insert into {name}.log (order_id, m) values (new.id, 'created'); return null; end $$;
             create trigger t after insert on {name}.orders for each row execute function {name}.f();"
        )
    };
    let both = format!(
        "{}{}insert into a.orders select i, 'A' || i from generate_series(1, 5) i;
         insert into b.orders select i, 'B' || i from generate_series(21, 25) i;",
        schema("a"),
        schema("b")
    );
    let live = TestDb::with("undo_put_back", &both);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    live.psql(
        "alter table b.orders disable trigger t; insert into b.orders select * from a.orders where id = 3;
         delete from a.orders where id = 3; alter table b.orders enable trigger t",
    );
    let recipe = "[[recover]]\ntable = \"a.orders\"\nkind = \"misrouted\"\nmisrouted_to = \"b.orders\"\nwhere = \"id = 3\"\n";
    let planned = rescue.recover_text(recipe).expect_code(0);
    let said = format!("{}{}", planned.stdout, planned.stderr);
    assert!(said.contains("b.orders: t (b.f, after each row): writes rows elsewhere (at undo)"), "{said}");
    let _applied = rescue.apply().expect_code(0);
    let undone = rescue.undo();
    assert_eq!(live.value("select count(*) from b.log where order_id = 3"), "1", "the trigger made a row");
    let said = format!("{}{}", undone.stdout, undone.stderr);
    assert!(said.contains("note: b.orders: triggers fired when undo put rows back there"), "{said}");
}
