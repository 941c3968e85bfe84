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
