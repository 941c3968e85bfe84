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
