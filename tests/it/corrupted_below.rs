//! Damaged rows of which only their parents say who they are: no entry names these, and they are asked about all the same.

use super::support::{Rescue, TestDb};

/// A line and what extends an order go by the order, an address by its customer and its kind; a log goes by nothing.
const WORLD: &str = "
    create table customer (id serial primary key, email text unique, created_at timestamptz not null);
    create table orders (id serial primary key, customer int not null references customer on delete cascade, ref text unique);
    create table line (order_id int references orders on delete cascade, no int, qty int, primary key (order_id, no));
    create table extra (order_id int primary key references orders on delete cascade, v text);
    create table address (id serial primary key, customer int references customer on delete cascade, kind text, v text, unique (customer, kind));
    create table part (order_id int, no int, n int, v text, primary key (order_id, no, n), foreign key (order_id, no) references line on delete cascade);
    insert into customer (email, created_at) select 'c' || g, timestamptz '2026-01-01' + g * interval '1 hour' from generate_series(1, 4) as g;
    insert into orders (customer, ref) select id, 'r' || id from customer;
    insert into line select id, 1, id from orders;
    insert into extra select id, 'x' || id from orders;
    insert into address (customer, kind, v) select id, 'home', 'a' || id from customer;
    insert into part select id, 1, 1, 'p' || id from orders;";

const ACCIDENT: &str = "update line set qty = null; update extra set v = null; update address set v = null; update part set v = null";

/// Customer 2 and all of the kind are somebody else by now, and hold what the accident left.
const STRANGER: &str = "
    delete from customer where id = 2;
    insert into customer values (2, 'new', timestamptz '2026-06-06');
    insert into orders values (2, 2, 'new');
    insert into line values (2, 1, null); insert into extra values (2, null); insert into part values (2, 1, 1, null);
    insert into address values (2, 2, 'home', null);";

const TABLES: [(&str, &str, &str); 4] = [
    ("line", "qty", "order_id"),
    ("extra", "v", "order_id"),
    ("address", "v", "customer"),
    ("part", "v", "order_id"),
];

fn recipe() -> String {
    let entry = |(table, column, _): (&str, &str, &str)| {
        format!(
            "[[recover]]\ntable = \"{table}\"\nkind = \"corrupted\"\ncolumns = [\"{column}\"]\nwhere = \"true\"\ndamaged = \"live.{column} is null\"\n"
        )
    };
    TABLES.map(entry).concat()
}

/// The numbers of the rows that hold a value.
fn repaired(live: &TestDb<'_>, (table, column, number): (&str, &str, &str)) -> String {
    live.value(&format!(
        "select string_agg({number}::text, ' ' order by {number}) from {table} where {column} is not null"
    ))
}

#[test]
fn rows_below_a_stranger_whom_no_entry_names_are_not_repaired() {
    let backup = TestDb::with("below", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(ACCIDENT);
    live.psql(STRANGER);
    for parents in ["missing", "none"] {
        let rescue = Rescue::new(&live, &dump);
        let recipe = format!("{}[policy]\nparents = \"{parents}\"\n", recipe());
        let planned = rescue.recover_with(&recipe, &["--json"]).expect_code(1).json();
        for (table, ..) in TABLES {
            let verdicts = &planned["verdicts"][format!("public.{table}")];
            let found = [&verdicts["damaged"], &verdicts["id_reused"]];
            assert_eq!(
                found,
                [&serde_json::json!(3), &serde_json::json!(1)],
                "{parents}: {table}: {planned}"
            );
        }
    }
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_with(&recipe(), &[]).expect_code(1);
    let before = live.digest();
    let _applied = rescue.apply().expect_code(0);
    for table in TABLES {
        assert_eq!(repaired(&live, table), "1 3 4", "{}", table.0);
    }
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}

/// The guards ask again.
#[test]
fn rows_below_a_stranger_who_comes_after_the_plan_are_not_repaired() {
    let backup = TestDb::with("below", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(ACCIDENT);
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_with(&recipe(), &["--json"]).expect_code(0).json();
    for (table, ..) in TABLES {
        assert_eq!(planned["verdicts"][format!("public.{table}")]["damaged"], 4, "{table}: {planned}");
    }
    live.psql(STRANGER);
    let _applied = rescue.apply().expect_code(1);
    for table in TABLES.into_iter().filter(|(table, ..)| *table != "address") {
        assert_eq!(repaired(&live, table), "1 3 4", "{}", table.0);
    }
}

/// Who is only asked about is not brought back by it.
#[test]
fn a_parent_that_only_tells_comes_back_for_nobody_whom_the_policy_leaves_without() {
    let backup = TestDb::with("below", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("update line set qty = null where order_id <> 3; delete from orders where id = 3");
    let entry = |kind: &str| {
        format!(
            "[[recover]]\ntable = \"line\"\nkind = \"corrupted\"\ncolumns = [\"qty\"]\nwhere = \"true\"\ndamaged = \"live.qty is null\"\n{kind}"
        )
    };
    let lost = "[[recover]]\ntable = \"line\"\nwhere = \"order_id = 3\"\n";
    let orders = |rescue: &Rescue<'_>| {
        let _applied = rescue.apply();
        let all = live.value("select string_agg(id::text, ' ' order by id) from orders");
        let _undone = rescue.undo();
        all
    };
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_with(&entry(""), &["--json"]).expect_code(1).json();
    assert_eq!(planned["verdicts"]["public.line"], serde_json::json!({"damaged": 3, "lost": 1}), "{planned}");
    assert_eq!(orders(&rescue), "1 2 4", "nobody needs it");
    let rescue = Rescue::new(&live, &dump);
    let recipe = entry(&format!("{lost}[policy]\nparents = \"none\"\n"));
    let planned = rescue.recover_with(&recipe, &["--json"]).expect_code(1).json();
    assert_eq!(
        planned["verdicts"]["public.line"],
        serde_json::json!({"damaged": 3, "orphan": 1}),
        "{planned}"
    );
    assert_eq!(orders(&rescue), "1 2 4", "the policy leaves it away");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_with(&entry(lost), &["--json"]).expect_code(0).json();
    assert_eq!(planned["verdicts"]["public.line"], serde_json::json!({"damaged": 3, "lost": 1}), "{planned}");
    assert_eq!(orders(&rescue), "1 2 3 4", "a lost line needs it");
}
