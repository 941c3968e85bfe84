//! Tables that inherit: what a recovery of the table they inherit from does not reach is counted and told.

use super::support::{Rescue, TestDb};

const WORLD: &str = "
    create table base (id int primary key, v text);
    create table derived (w text, primary key (id)) inherits (base);
    create table deeper (primary key (id)) inherits (derived);
    insert into base values (1, 'b');
    insert into derived values (2, 'd', 'w'), (3, 'keep', 'w');
    insert into deeper values (4, 'd', 'w');";

#[test]
fn rows_of_inheriting_tables_are_named_and_cost_the_exit_code() {
    let backup = TestDb::with("heirs", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from base where base.v <> 'keep'");
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"public.base\"\nwhere = \"base.v <> 'keep'\"\n";
    let planned = rescue.recover_text(recipe).expect_code(1);
    let told = |table: &str| format!("1 rows of public.{table}, which inherits from public.base");
    assert!(planned.stdout.contains(&told("derived")), "{}", planned.stdout);
    assert!(planned.stdout.contains(&told("deeper")), "{}", planned.stdout);
    assert!(planned.stdout.contains("1 to insert"), "{}", planned.stdout);
    assert!(planned.stdout.contains("; 2 left out. Nothing"), "{}", planned.stdout);
    let _applied = rescue.apply();
    assert_eq!(live.rows("only base"), ["1\tb"]);
    let verified = rescue.verify().expect_code(1);
    assert!(verified.stdout.contains("in inheriting tables"), "{}", verified.stdout);
}

#[test]
fn with_entries_of_their_own_nothing_is_left_out() {
    let backup = TestDb::with("heirs", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from base where base.v <> 'keep'");
    let rescue = Rescue::new(&live, &dump);
    let entry = |table: &str| format!("[[recover]]\ntable = \"public.{table}\"\nwhere = \"v <> 'keep'\"\n");
    let recipe = ["base", "derived", "deeper"].map(entry).concat();
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), "all is back");
    let _verified = rescue.verify().expect_code(0);
}

/// The twin: a condition that no row of an inheriting table meets leaves nothing out.
#[test]
fn rows_that_the_condition_does_not_mean_are_not_counted() {
    let backup = TestDb::with("heirs", WORLD);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from only base");
    let rescue = Rescue::new(&live, &dump);
    let planned =
        rescue.recover_text("[[recover]]\ntable = \"public.base\"\nwhere = \"id = 1\"\n").expect_code(0);
    assert!(!planned.stdout.contains("inherits"), "{}", planned.stdout);
}

/// No foreign key knows of rows of a table that inherits from the one that refers: they keep nothing in its place, whether the plan
/// knew the foreign key, live has got it since, or it is about a column that is set back.
#[test]
fn rows_that_inherit_refer_to_nothing() {
    let backup = TestDb::with(
        "dangling_heirs",
        "create table cust (id int primary key, name text unique);
         create table base (id int primary key, v text, cust int references cust on delete cascade, named text references cust (name) on update cascade);
         create table derived (primary key (id)) inherits (base);
         create table later (id int primary key, cust int); create table later_heir () inherits (later);
         insert into cust values (1, 'a'), (2, 'b');
         insert into base values (1, 'x', 1, null); insert into derived values (2, 'y', 1, 'b'); insert into later_heir values (1, 1)",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from cust where id = 1; update cust set name = 'wrong' where id = 2");
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"cust\"\nwhere = \"id = 1\"\n[[recover]]\ntable = \"cust\"\nkind = \"corrupted\"\n\
                  columns = [\"name\"]\nwhere = \"id = 2\"\ndamaged = \"live.name = 'wrong'\"\n";
    let _planned = rescue.recover_with(recipe, &[]).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), "all is back");
    live.psql("alter table later add foreign key (cust) references cust");
    let _undone = rescue.undo().expect_code(0);
    live.psql("alter table later drop constraint later_cust_fkey");
    damaged.assert_same(&live.digest(), "undo leaves nothing behind");

    // The twin: a row of the table itself refers.
    let _again = rescue.apply().expect_code(0);
    live.psql("insert into base values (9, 'z', 1, 'b')");
    let held = rescue.undo().expect_code(1);
    assert_eq!(held.stdout.matches("still referred to by public.base").count(), 1, "{}", held.stdout);
}

/// Nor are they parents: neither for the plan, nor for a batch that the server does not watch, nor for `verify`.
#[test]
fn rows_that_inherit_are_nobodys_parents() {
    let backup = TestDb::with(
        "heirs_as_parents",
        "create table p (id int primary key, v text); create table heir () inherits (p);
         create table c (id int primary key, p int references p on delete cascade);
         insert into p values (1, 'a'), (2, 'b'); insert into c values (1, 1), (2, 2)",
    );
    let dump = backup.dump(&["-Fc"]);
    let (live, early) = (backup.copy("live"), backup.copy("early"));
    live.psql("delete from c");
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"c\"\nwhere = \"true\"\n[policy]\nparents = \"none\"\n";
    let replica = format!("{recipe}triggers = \"replica\"\n");
    let _planned = rescue.recover_with(&replica, &[]).expect_code(0);
    live.psql("delete from p where id = 1; insert into heir values (1, 'stranger')");
    let refused = rescue.apply().expect_code(5);
    assert!(
        refused.stderr.contains("a recovered row of public.c has no parent in public.p"),
        "{}",
        refused.stderr
    );
    assert!(live.rows("c").is_empty());

    live.psql("insert into p values (1, 'a')");
    let _applied = rescue.apply().expect_code(0);
    live.psql("set session_replication_role = replica; delete from only p where id = 1");
    let said = rescue.verify().expect_code(1);
    assert!(said.stdout.contains("orphan") || said.stdout.contains("parent"), "{}", said.stdout);

    early.psql("delete from c; delete from p where id = 1; insert into heir values (1, 'stranger')");
    let found = Rescue::new(&early, &dump).recover_with(recipe, &["--json"]).expect_code(1).json();
    assert_eq!(found["verdicts"]["public.c"], serde_json::json!({ "lost": 1, "orphan": 1 }), "{found}");
}
