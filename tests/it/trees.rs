//! Rows of one table that hang on each other, deep and in circles: all of them come back or none, whatever the key is made of
//! and whoever looks after the parents.

use super::support::{Rescue, TestDb};

/// On which row number `i` hangs.
const UP: &str = "nullif(case i when 21 then 22 when 22 then 21 else i - 1 end, 0)";

/// A chain of twelve, and two rows in a circle.
fn tree(columns: &str, key: &str, row: &str, link: &str) -> TestDb<'static> {
    let sql = format!(
        "create table cat ({columns}, n int not null, primary key ({key}));
         insert into cat select {row}, i from generate_series(1, 12) as i;
         insert into cat select {row}, i from generate_series(21, 22) as i;
         alter table cat add foreign key ({link}) references cat on delete cascade"
    );
    TestDb::with("tree", &sql)
}

/// `verdict count` of the table, what is to be inserted, and whether it all came back.
fn recovered(backup: &TestDb<'_>, accident: &str, recipe: &str, code: i32) -> (String, bool) {
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(accident);
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    let found = rescue.recover_with(recipe, &["--json"]).expect_code(code).json();
    let verdicts = found["verdicts"]["public.cat"].as_object().unwrap();
    let told: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{verdict} {count}")).collect();
    if found["plan"]["insert"] == 0 {
        return (told.join(", "), false);
    }
    let _applied = rescue.apply().expect_code(0);
    let same = backup.digest().difference(&live.digest()).is_empty();
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes all of it back");
    (told.join(", "), same)
}

#[test]
fn a_tree_comes_back_whole_whatever_its_key_is_made_of() {
    let kinds = [
        ("id int, up int", "id", format!("i, {UP}"), "up"),
        ("id numeric, up numeric", "id", format!("i, {UP}"), "up"),
        ("id char(4), up char(4)", "id", format!("i::text, ({UP})::text"), "up"),
        (
            "org numeric, day date, up date",
            "org, day",
            format!("7, '2026-01-01'::date + i, '2026-01-01'::date + {UP}"),
            "org, up",
        ),
    ];
    for (columns, key, row, link) in kinds {
        let backup = tree(columns, key, &row, link);
        let none = "[policy]\nparents = \"none\"\n";
        for (policy, chosen) in [("", "n in (3, 21)"), ("", "n in (12, 21)"), (none, "n in (3, 21)")] {
            let recipe = format!("[[recover]]\ntable = \"cat\"\nwhere = \"{chosen}\"\n{policy}");
            let (verdicts, same) = recovered(&backup, "delete from cat where n in (3, 21)", &recipe, 0);
            assert!(same && verdicts.starts_with("lost 12"), "{columns}, {chosen} {policy}: {verdicts}");
        }
    }
}

/// What vouches for nobody: the parent of the whole chain stays away, and everything below it is listed.
#[test]
fn a_tree_whose_root_stays_away_stays_away_whole() {
    let backup = tree("id int, up int", "id", &format!("i, {UP}"), "up");
    let recipe = "[[recover]]\ntable = \"cat\"\nwhere = \"n = 5\"\n[policy]\nparents = \"none\"\n";
    let (verdicts, _) = recovered(&backup, "delete from cat where n = 3", recipe, 1);
    assert_eq!(verdicts, "orphan 8");
}

/// Somebody took the key of one row of a long chain: what hangs on it is held back down to the last one, what stands above it
/// comes, and so does the other chain.
#[test]
fn below_a_stranger_the_whole_chain_is_held_back() {
    let backup = TestDb::with(
        "chain",
        "create table v (id int primary key, doc text unique, prev int references v on delete cascade);
         insert into v select g, 'd' || g, nullif(g - 1, 0) from generate_series(1, 400) as g;
         insert into v select 1000 + g, 'e' || g, nullif(1000 + g - 1, 1000) from generate_series(1, 50) as g;",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("delete from v where id in (1, 1001)");
    let rescue = Rescue::new(&live, &dump);
    let _planned =
        rescue.recover_text("[[recover]]\ntable = \"v\"\nwhere = \"id in (1, 1001)\"\n").expect_code(0);
    live.psql("insert into v values (101, 'stranger')");
    let before = live.digest();
    let applied =
        rescue.rowback().run(["apply", "case", "--json", "--live", &live.url(), "--confirm", live.name()]);
    let applied = applied.expect_code(1).json();
    let left = applied["leftovers"].as_array().unwrap();
    let mut ids: Vec<u32> =
        left.iter().map(|row| row["key"]["id"].as_str().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (101..=400).collect::<Vec<u32>>(), "{applied}");
    let held = left.iter().filter(|row| row["outcome"] == "held_back").count();
    assert_eq!(held, 299, "nobody tries them one by one: {applied}");
    assert_eq!(live.value("select count(*) || ' ' || max(id) from v where id <= 400"), "101 101");
    assert_eq!(live.value("select count(*) from v where id > 1000"), "50");
    let _undone = rescue.undo().expect_code(0);
    before.assert_same(&live.digest(), "undo takes back what was written");
}
