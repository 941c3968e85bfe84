//! `rowback compare` where live has other partitions than the backup: what is compared with what, and what is planned.

use serde_json::{Value, json};

use super::support::{Rescue, TestDb};

fn counts(found: &Value) -> Vec<String> {
    let of = |table: &Value| {
        let counts =
            ["backup_rows", "live_rows", "missing", "changed", "new"].map(|name| table[name].to_string());
        format!("{} {}", table["table"].as_str().unwrap(), counts.join(" "))
    };
    found["tables"].as_array().unwrap().iter().map(of).collect()
}

const DETACHED: &str = "
    create table plain (id int primary key, v text); insert into plain select i, 'v' from generate_series(1, 5) i;
    create table det (id int primary key, v text) partition by range (id);
    create table det1 partition of det for values from (0) to (100);
    create table det2 partition of det for values from (100) to (200);
    insert into det select i, 'v' from generate_series(90, 110) i;";

/// A partition that live holds as a table of its own keeps nothing else from being planned; none of its rows goes to the root.
#[test]
fn a_detached_partition_is_named_and_the_rest_is_planned() {
    let backup = TestDb::with("detached", DETACHED);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql(
        "alter table det detach partition det2; delete from det where id = 95; delete from det2 where id = 105; delete from plain where id = 3;
         create table det_rest partition of det default",
    );
    let rescue = Rescue::new(&live, &dump);
    let (path, url) = (dump.to_str().unwrap(), live.url());
    let args = ["compare", "--quiet", "--backup", path, "--live", &url, "--case", "case"];
    let said = rescue.rowback().run(args).expect_code(1).stdout.replace(live.name(), "[live]");
    insta::assert_snapshot!(said, @r#"
    table         backup  live  missing  changed  new
    public.det        10     9        1        0    0
    public.det2       11    10        1        0    0
    public.plain       5     4        1        0    0

    public.det
      missing: 95
      live has public.det2, in the backup part of public.det, outside of it: compared there
      live has partitions of public.det that the backup has not: public.det_rest. They were made since, or left out of the dump: what was lost from them cannot come out of it

    public.det2
      missing: 105
      in the backup these are rows of public.det

    public.plain
      missing: 3

    Compared 3 tables with "[live]": 3 missing in live, 0 changed, 0 new. Nothing has been written.

    Not planned, since live has these rows in other tables than the backup:
      public.det2: 1 row missing or changed in live; the backup has them as rows of public.det
      Where a partition was detached in live, attach it again and run this again; otherwise bring these rows back by hand.

    table         lost
    public.det       1
    public.plain     1

    Evidence: 2 by predicate only (it cannot know what was done on purpose).

    note: no condition for public.plain: each of its rows that live lacks counts as lost, also those that were deleted on purpose
    note: live has partitions of public.det that the backup has not: public.det_rest. They were made since, or left out of the dump: what was lost from them cannot come out of it

    Plan: 2 to insert, 0 to repair, 0 to re-link; no conflicts. Nothing has been written.
    Review case/report.html, then run: rowback apply case
    "#);
    let _applied = rescue.apply().expect_code(0);
    let all: Vec<String> = (90..100).map(|id| format!("{id}\tv")).collect();
    assert_eq!(live.rows("det"), all);
    assert_eq!(live.rows("plain"), backup.rows("plain"));
    let args = ["compare", "--json", "--backup", path, "--live", &url, "--case", "other", "--table", "det"];
    let found = rescue.rowback().run(args).expect_code(1).json();
    assert_eq!(counts(&found), ["public.det 10 10 0 0 0", "public.det2 11 10 1 0 0"]);
    assert_eq!((&found["not_planned"], &found["plan"]), (&json!({"public.det2": 1}), &Value::Null));
}

const SHAPES: &str = "
    create table sub (id int primary key, v text) partition by range (id);
    create table sub1 partition of sub for values from (0) to (100);
    create table sub2 partition of sub for values from (100) to (200) partition by range (id);
    create table sub2a partition of sub2 for values from (100) to (150);
    create table sub2b partition of sub2 for values from (150) to (200);
    insert into sub select i, 'v' from generate_series(90, 160) i;";

/// Live as it is after `later`, compared as a whole and by the root's name, and repaired with the case of the comparison.
fn is_found_and_repaired(later: &str, dump_args: &[&str]) {
    let backup = TestDb::with("shapes", SHAPES);
    let dump = backup.dump(dump_args);
    let live = backup.copy("live");
    live.psql(later);
    live.psql("delete from sub where id in (95, 155); update sub set v = 'w' where id = 120");
    let rescue = Rescue::new(&live, &dump);
    let (path, url) = (dump.to_str().unwrap(), live.url());
    for named in ["sub", "sub1", "sub2b"] {
        let args = ["compare", "--json", "--backup", path, "--live", &url, "--table", named];
        let found = rescue.rowback().run(args).expect_code(0).json();
        assert_eq!(counts(&found), ["public.sub 71 69 2 1 0"], "{named} after {later}");
    }
    let args = ["compare", "--json", "--backup", path, "--live", &url, "--case", "case"];
    let found = rescue.rowback().run(args).expect_code(1).json();
    assert_eq!(found["plan"]["insert"], 2, "{found}");
    let _applied = rescue.apply().expect_code(0);
    let expected = backup.rows("(select id, case id when 120 then 'w' else v end from sub) as t");
    assert_eq!(live.rows("sub"), expected, "after {later}");
}

#[test]
fn renamed_partitions_are_compared_through_their_root() {
    is_found_and_repaired(
        "alter table sub1 rename to sub_first; alter table sub2 rename to sub_second",
        &["-Fc"],
    );
}

#[test]
fn merged_partitions_are_compared_through_their_root() {
    is_found_and_repaired(
        "create table whole (like sub including all); insert into whole select * from sub; drop table sub1, sub2;
         alter table sub attach partition whole default",
        &["-Fp"],
    );
}

#[test]
fn a_partitioned_table_that_is_plain_in_live_is_compared() {
    is_found_and_repaired(
        "create table whole (like sub including all); insert into whole select * from sub; drop table sub; alter table whole rename to sub",
        &["-Fc", "--load-via-partition-root"],
    );
}

#[test]
fn rehashed_partitions_are_compared_through_their_root() {
    is_found_and_repaired(
        "create table whole as select * from sub; drop table sub; create table sub (id int primary key, v text) partition by hash (id);
         create table sub1 partition of sub for values with (modulus 2, remainder 0);
         create table sub_b partition of sub for values with (modulus 2, remainder 1);
         insert into sub select * from whole; drop table whole",
        &["-Fc"],
    );
}

#[test]
fn a_root_that_live_lacks_is_named_once() {
    let backup = TestDb::with("rootless", SHAPES);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("drop table sub");
    let rescue = Rescue::new(&live, &dump);
    let (path, url) = (dump.to_str().unwrap(), live.url());
    let args = ["compare", "--json", "--backup", path, "--live", &url];
    let found = rescue.rowback().run(args).expect_code(1).json();
    assert_eq!(found["skipped"], json!({"public.sub": "live has no such table"}));
}

/// A partition that was dropped on purpose is no reason to stop: its rows are missing, and those that have no place are told.
#[test]
fn rows_of_a_dropped_partition_are_missing_and_have_no_place() {
    let backup = TestDb::with("dropped", DETACHED);
    let dump = backup.dump(&["-Fc"]);
    let live = backup.copy("live");
    live.psql("drop table det2; delete from det where id = 95");
    let rescue = Rescue::new(&live, &dump);
    let (path, url) = (dump.to_str().unwrap(), live.url());
    let args = ["compare", "--json", "--backup", path, "--live", &url, "--case", "case"];
    let found = rescue.rowback().run(args).expect_code(1).json();
    assert_eq!(counts(&found), ["public.det 21 9 12 0 0", "public.plain 5 5 0 0 0"]);
    assert_eq!(
        found["tables"][0]["notes"],
        json!(["live has no public.det2: its rows are looked for in all of public.det"])
    );
    assert_eq!(found["plan"]["verdicts"]["public.det"], json!({"lost": 1, "unfit": 11}));
    let _applied = rescue.apply().expect_code(0);
    let all: Vec<String> = (90..100).map(|id| format!("{id}\tv")).collect();
    assert_eq!(live.rows("det"), all);
}

/// Rows of a partition that was left out of the dump look new; what was lost from it, nobody could tell.
#[test]
fn partitions_that_were_left_out_of_the_dump_are_told() {
    let live = TestDb::with("left_out", DETACHED);
    let rescue = Rescue::new(&live, &live.dump(&["-Fc"]));
    let url = live.url();
    let compare = |dump: &std::path::Path, more: &[&str], code: i32| {
        let args = ["compare", "--json", "--backup", dump.to_str().unwrap(), "--live", &url];
        rescue.rowback().run(args.iter().chain(more)).expect_code(code)
    };
    for format in ["-Fc", "-Fp"] {
        let partial = live.dump(&[format, "-T", "det2"]);
        for more in [&[][..], &["--table", "det"], &["--table", "det2"]] {
            let found = compare(&partial, more, 0).json();
            assert_eq!(counts(&found)[0], "public.det 10 21 0 0 11", "{format} {more:?}");
            let note = found["tables"][0]["notes"][0].as_str().unwrap();
            assert!(
                note.starts_with("live has partitions of public.det that the backup has not: public.det2. "),
                "{note}"
            );
        }
        let root_only = live.dump(&[format, "-T", "det1", "-T", "det2"]);
        let found = compare(&root_only, &[], 1).json();
        assert_eq!(found["skipped"], json!({"public.det": "the backup does not hold its rows"}), "{format}");
        assert_eq!(counts(&found), ["public.plain 5 5 0 0 0"], "{format}");
        for named in ["det", "det1"] {
            let refused = compare(&root_only, &["--table", named], 3).stderr;
            let expected =
                "error[backup-without-rows]: the backup holds the table public.det without its rows";
            assert!(refused.contains(expected), "{format} {named}: {refused}");
        }
    }
    // The twin: in a whole dump there is nothing to tell.
    let found = compare(&live.dump(&["-Fc"]), &[], 0).json();
    assert_eq!(found["tables"][0]["notes"], json!([]));
}
