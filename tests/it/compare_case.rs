//! `rowback compare --case` and recipes without a `where`: what a comparison found is planned and brought back.

use serde_json::json;

use super::compare::counts;
use super::support::{Rescue, TestDb};

/// What is missing must come back, what differs or is new must stay; `composite` has a key of two columns.
const TWO_TABLES: &str = "
create table accounts (id int primary key, name text);
create table composite (tenant int, code text, account int references accounts on delete cascade, v text, primary key (tenant, code));
insert into accounts select g, 'account ' || g from generate_series(1, 2000) as g;
insert into composite select g % 9, E'c\t' || g, g % 100 + 1, 'v' from generate_series(1, 1000) as g;";

fn two_tables() -> (TestDb<'static>, std::path::PathBuf, TestDb<'static>, TestDb<'static>) {
    let backup = TestDb::with("two", TWO_TABLES);
    let dump = backup.dump(&["-Fc"]);
    let (live, wanted) = (backup.copy("live"), backup.copy("wanted"));
    let later = "update accounts set name = 'renamed' where id = 1500; insert into accounts values (3000, 'new'); update composite set v = 'w' where code = E'c\t2'";
    live.psql("delete from accounts where id in (7, 8, 1999); delete from composite where tenant = 3 and account < 20;");
    live.psql(later);
    wanted.psql(later);
    (backup, dump, live, wanted)
}

#[test]
fn a_case_of_a_comparison_brings_back_what_is_missing() {
    let (_backup, dump, live, wanted) = two_tables();
    let rescue = Rescue::new(&live, &dump);
    let (path, url) = (dump.to_str().unwrap().to_owned(), live.url());
    let damaged = live.digest();
    let args = ["compare", "--json", "--backup", &path, "--live", &url, "--case", "case"];
    let found = rescue.rowback().run(args).expect_code(1).json();
    damaged.assert_same(&live.digest(), "nothing is written");
    assert_eq!(counts(&found), ["public.accounts 2000 1998 3 1 1", "public.composite 1000 961 39 1 0"]);
    let verdict = |table: &str, verdict: &str| found["plan"]["verdicts"][table][verdict].clone();
    assert_eq!(
        [verdict("public.accounts", "lost"), verdict("public.accounts", "changed")],
        [json!(3), json!(1)]
    );
    assert_eq!(
        [verdict("public.composite", "lost"), verdict("public.composite", "changed")],
        [json!(39), json!(1)]
    );
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the recovery");
    let again = ["compare", "--json", "--backup", &path, "--live", &url, "--table", "composite"];
    assert_eq!(
        counts(&rescue.rowback().run(again).expect_code(0).json()),
        ["public.composite 1000 1000 0 1 0"]
    );
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn a_recipe_may_leave_where_out() {
    let (_backup, dump, live, wanted) = two_tables();
    let rescue = Rescue::new(&live, &dump);
    let recipe = "[[recover]]\ntable = \"accounts\"\n[[recover]]\ntable = \"composite\"\n";
    let planned = rescue.recover_with(recipe, &["--explain"]).expect_code(1);
    assert!(planned.stdout.contains("each of its rows that live lacks counts as lost"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the recovery");
}

#[test]
fn where_nothing_is_missing_nothing_is_planned() {
    let (backup, dump, _live, _wanted) = two_tables();
    let rescue = Rescue::new(&backup, &dump);
    let planned = rescue.recover_with("[[recover]]\ntable = \"accounts\"\n", &[]).expect_code(0);
    assert!(planned.stdout.contains("Plan: 0 to insert"), "{}", planned.stdout);
    let (path, url) = (dump.to_str().unwrap().to_owned(), backup.url());
    let args = ["compare", "--backup", &path, "--live", &url, "--case", "other"];
    let said = rescue.rowback().run(args).expect_code(0);
    assert!(said.stdout.contains("there is no case to make"), "{}", said.stdout);
    assert!(!rescue.directory().join("other").exists(), "no case without a reason");
}

/// What a comparison cannot see must not be taken for equal: a renamed column, tables that inherit, partitions.
#[test]
fn what_was_not_compared_is_looked_at_all_the_same() {
    let backup = TestDb::with(
        "unseen",
        "create table bills (id int primary key, ref_no text); insert into bills values (1, 'a'), (2, 'b'), (3, 'c');
         create table base (id int primary key, v text); insert into base values (1, 'b');
         create table derived (w text, primary key (id)) inherits (base); insert into derived values (2, 'd', 'w');
         create table days (id int, day date, primary key (id, day)) partition by range (day);
         create table days_1 partition of days for values from ('2026-01-01') to ('2026-02-01');
         insert into days values (1, '2026-01-01'), (2, '2026-01-02');",
    );
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("alter table bills rename ref_no to reference; update bills set reference = 'bad' where id = 2; delete from base; delete from days where id = 1");
    let verdicts = |recipe: &str, code: i32| {
        Rescue::new(&live, &dump).recover_with(recipe, &["--json"]).expect_code(code).json()
    };
    let damaged = verdicts(
        "[[recover]]\ntable = \"bills\"\nkind = \"corrupted\"\ncolumns = [\"ref_no\"]\ndamaged = \"live.reference = 'bad'\"\n
         [columns.\"public.bills\"]\nmap = { ref_no = \"reference\" }\n",
        0,
    );
    assert_eq!(damaged["verdicts"]["public.bills"]["damaged"], json!(1), "{damaged}");
    let base = verdicts("[[recover]]\ntable = \"base\"\n", 1);
    assert_eq!(base["verdicts"]["public.base"]["lost"], json!(1));
    assert!(base.to_string().contains("public.derived"), "{base}");
    let days = verdicts("[[recover]]\ntable = \"days\"\n", 0);
    assert_eq!(days["verdicts"]["public.days"]["lost"], json!(1));
    assert!(days.to_string().contains("each of its rows that live lacks counts as lost"), "{days}");
}

/// The rows of a table without a key have no names: they are listed, and the other tables planned all the same.
#[test]
fn a_case_leaves_tables_without_a_key_out_and_says_so() {
    let backup = TestDb::with(
        "nameless",
        "create table parent (id int primary key, v text); insert into parent select g, 'v' from generate_series(1, 9) as g;
         create table child (id int primary key, parent int references parent on delete cascade); insert into child select g, g from generate_series(1, 9) as g;
         create table link (parent int references parent on delete cascade, what text); insert into link select g, 'w' from generate_series(1, 9) as g;
         create table log (what text); insert into log values ('a'), ('b')",
    );
    let dump = backup.dump(&["-Fc"]);
    let (live, only_log) = (backup.copy("live"), backup.copy("log"));
    live.psql("delete from parent where id < 4; delete from log where what = 'a'");
    only_log.psql("delete from log where what = 'a'");
    let rescue = Rescue::new(&live, &dump);
    let (path, url) = (dump.to_str().unwrap(), live.url());
    let args = ["compare", "--json", "--backup", path, "--live", &url, "--case", "case"];
    let found = rescue.rowback().run(args).expect_code(1).json();
    assert_eq!(found["not_planned"], json!({"public.link": 3, "public.log": 1}));
    assert_eq!(found["plan"]["insert"], 6, "parents and their children with a key: {found}");
    let _applied = rescue.apply().expect_code(0);
    assert_eq!((live.rows("parent"), live.rows("child")), (backup.rows("parent"), backup.rows("child")));
    let url = only_log.url();
    let args = ["compare", "--quiet", "--backup", path, "--live", &url, "--case", "other"];
    let said = rescue.rowback().run(args).expect_code(1).stdout.replace(only_log.name(), "[live]");
    insta::assert_snapshot!(said, @r#"
    table          backup  live  missing  changed  new
    public.child        9     9        0        0    0
    public.link         9     9        0        0    0
    public.log          2     1        1        0    0
    public.parent       9     9        0        0    0

    public.link
      it has no key: whole rows are counted, and a changed row counts as missing and as new

    public.log
      it has no key: whole rows are counted, and a changed row counts as missing and as new

    Compared 4 tables with "[live]": 1 missing in live, 0 changed, 0 new. Nothing has been written.

    Not planned, since without a key nothing names their rows:
      public.log: 1 row missing in live
      Where columns are unique all the same, a recipe can name them (`key` under [columns]); otherwise bring these rows back by hand. `--table` names the tables that are wanted.
    There is nothing else to be planned, so no case was made.
    "#);
    assert!(!rescue.directory().join("other").exists(), "no case without a reason");
}
