//! How rows are looked up: over one connection or several, with conditions of every sort, the outcome is the same.

use super::support::{Rescue, TestDb};

const LEDGER: &str = "
create table entries (id bigint primary key, owner text not null, amount numeric(12, 2) not null, labels text[], seen timestamptz);
insert into entries select g, 'owner ' || g % 7 || E' \\\\ \"quoted\" ''', g, array['a', null, 'b'], '2025-01-01 00:00+00'::timestamptz + g * interval '1 hour'
from generate_series(1, 12500) as g;";

const ZEROED: &str = "update entries set amount = 0 where id % 3 = 0";

fn recipe(damaged: &str) -> String {
    format!(
        "[policy]\nmax_rows = 100000\n[[recover]]\ntable = \"entries\"\nkind = \"corrupted\"\ncolumns = [\"amount\"]\n\
         where = \"true\"\ndamaged = '''{damaged}'''"
    )
}

#[test]
fn one_connection_or_many_give_the_same_bytes() {
    let backup = TestDb::with("ledger", LEDGER);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(ZEROED);
    let rescue = Rescue::new(&live, &dump);
    let planned =
        rescue.recover_text(&recipe("live.amount = 0 and backup.owner = live.owner")).expect_code(0);
    assert!(
        planned.stdout.contains("4166 to repair") || planned.stdout.contains("4,166 to repair"),
        "{}",
        planned.stdout
    );
    let case = rescue.case().display().to_string();
    let diff = |jobs: &str| {
        let url = live.url();
        let args = ["diff", &case, "--live", &url, "--jobs", jobs, "--json"];
        let told = rescue.rowback().run(args).expect_code(0).json();
        let file = std::fs::read(rescue.case().join("diff/public.entries.parquet")).unwrap();
        (told["verdicts"]["public.entries"].clone(), file)
    };
    let (verdicts, one) = diff("1");
    assert_eq!(verdicts, serde_json::json!({"damaged": 4166, "same": 8334}));
    for jobs in ["2", "5"] {
        assert_eq!(diff(jobs), (verdicts.clone(), one.clone()), "{jobs} connections");
    }
    live.psql("update entries set amount = 0 where id = 12500");
    let (verdicts, other) = diff("5");
    assert_eq!(verdicts, serde_json::json!({"damaged": 4167, "same": 8333}));
    assert_ne!(one, other);
}

fn recovers(damaged: &str) {
    let backup = TestDb::with("ledger", LEDGER);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(ZEROED);
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&recipe(damaged)).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    backup.digest().assert_same(&live.digest(), damaged);
}

#[test]
fn a_condition_that_fails_for_equal_rows_is_asked_about_the_others() {
    recovers("10 / (backup.amount - live.amount) > 0");
}

#[test]
fn a_condition_sees_system_columns_and_the_whole_row() {
    recovers("live.xmin::text::bigint > 0 and to_jsonb(backup) ->> 'owner' = live.owner and live.amount = 0");
}

#[test]
fn a_condition_that_fails_for_a_row_that_differs_is_an_error() {
    let backup = TestDb::with("ledger", LEDGER);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(ZEROED);
    let rescue = Rescue::new(&live, &dump);
    let refused = rescue.recover_text(&recipe("backup.amount / live.amount > 0")).expect_code(2);
    assert!(refused.stderr.contains("division by zero"), "{}", refused.stderr);
}

#[test]
fn keys_close_together_and_far_apart_are_found_alike() {
    // Close together around zero, then with gaps of a thousand, then at the ends of what a bigint holds.
    let scattered = "
create table entries (id bigint primary key, owner text not null, amount numeric(12, 2) not null);
insert into entries select g, 'close', g from generate_series(-3000, 2999) as g;
insert into entries select g * 1000, 'apart', g from generate_series(3, 4002) as g;
insert into entries values (9223372036854775807, 'last', 1), (-9223372036854775808, 'first', 2);";
    let backup = TestDb::with("ledger", scattered);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    // Half of the rows are damaged; of the others some are gone, and newer ones are between them.
    live.psql("update entries set amount = 0 where id % 2 = 0 or owner in ('first', 'last')");
    live.psql(
        "delete from entries where id in (-2999, 1, 3000); insert into entries values (3001, 'newer', 0)",
    );
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&recipe("live.amount = 0")).expect_code(1);
    assert!(
        planned.stdout.contains("3 rows of public.entries that the recipe does not call deleted"),
        "{}",
        planned.stdout
    );
    let _applied = rescue.apply().expect_code(0);
    let wanted = backup.copy("wanted");
    wanted.psql(
        "delete from entries where id in (-2999, 1, 3000); insert into entries values (3001, 'newer', 0)",
    );
    wanted.digest().assert_same(&live.digest(), "all damage is found");
}
