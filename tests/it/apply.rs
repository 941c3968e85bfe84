//! `apply` and `undo` on real databases: what is written, what is left alone, what is refused.

use rowback::apply::{ApplyError, Mode, Outcome, TableCount, UndoCount};
use rowback::error::{Explain, Kind};
use rowback::ident::TableName;

use super::hand_made_case::HandMadeCase;

fn count(table: &str, inserted: u64, updated: u64, present: u64) -> TableCount {
    TableCount { table: TableName::new("public", table), inserted, updated, moved: 0, present }
}

fn left(summary: &rowback::apply::ApplySummary) -> Vec<(String, String, Outcome)> {
    let rows = summary.leftovers.iter();
    rows.map(|row| (row.table.to_string(), row.key.to_string(), row.outcome)).collect()
}

#[tokio::test]
async fn everything_comes_back_once_and_goes_again() {
    let case = HandMadeCase::shop("apply", "", 25).await;
    let accident = case.live.digest();
    let summary = case.apply().await.unwrap();
    case.backup.digest().assert_same(&case.live.digest(), "after apply");
    assert_eq!(
        summary.tables,
        [
            count("customers", 30, 0, 0),
            count("orders", 60, 0, 0),
            count("items", 180, 0, 0),
            count("person", 4, 0, 0),
            count("team", 4, 0, 0)
        ]
    );
    assert_eq!((summary.batches, summary.committed_now, summary.committed_before), (15, 15, 0));
    assert!(summary.complete() && !summary.was_done_before());
    let sequences = case.live.sequences();
    assert!(sequences.contains(&"public.team_id_seq|6|t".to_owned()), "{sequences:?}");

    let again = case.apply().await.unwrap();
    assert!(again.was_done_before() && again.complete());
    assert_eq!((again.tables, case.live.sequences()), (summary.tables, sequences));
    case.backup.digest().assert_same(&case.live.digest(), "after the second apply");

    let undone = case.undo().await.unwrap();
    accident.assert_same(&case.live.digest(), "after undo");
    assert_eq!((undone.removed, undone.restored, undone.held.len()), (278, 0, 0));
    let customers = UndoCount { table: TableName::new("public", "customers"), removed: 30, restored: 0 };
    assert_eq!(undone.tables[0], customers);
    assert!(undone.notes[0].starts_with("Sequences stay"), "{:?}", undone.notes);
    let nothing = case.undo().await.unwrap();
    assert_eq!((nothing.undone_now, nothing.removed), (0, 278));

    let third = case.apply().await.unwrap();
    assert_eq!((third.committed_now, third.inserted), (15, 278));
    case.backup.digest().assert_same(&case.live.digest(), "after the third apply");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let case = HandMadeCase::shop("dry", "", 50).await;
    let (rows, sequences) = (case.live.digest(), case.live.sequences());
    let summary = case.apply_with(|options| options.mode = Mode::DryRun).await.unwrap();
    assert_eq!((summary.dry_run, summary.inserted, summary.complete()), (true, 278, true));
    assert_eq!(summary.notes, ["Sequences would be moved forward where they are behind: 1."]);
    rows.assert_same(&case.live.digest(), "after the dry run");
    assert_eq!((case.live.sequences(), case.journal()), (sequences, String::new()));
}

#[tokio::test]
async fn a_row_that_live_refuses_does_not_spoil_the_others() {
    let before = "
        create function no() returns trigger language plpgsql as $$ begin
            if new.id in (3, 7) then raise exception 'no %', new.id; end if;
            return new; end $$;
        create trigger t before insert on customers for each row execute function no()";
    let case = HandMadeCase::shop("refused", before, 1000).await;
    keep_only_first_batch(&case);
    let accident = case.live.digest();
    let summary = case.apply().await.unwrap();
    assert_eq!(summary.tables, [count("customers", 28, 0, 0)]);
    let row = |id: u32| ("public.customers".to_owned(), format!("id = {id}"), Outcome::Refused);
    assert_eq!(left(&summary), [row(3), row(7)]);
    let reasons: Vec<String> = summary.leftovers.iter().map(rowback::apply::Leftover::reason).collect();
    assert_eq!(reasons, ["live refused it: no 3", "live refused it: no 7"]);
    let again = case.apply().await.unwrap();
    assert_eq!(again.leftovers, summary.leftovers, "a later run still knows why");
    let undone = case.undo().await.unwrap();
    assert_eq!(undone.removed, 28);
    accident.assert_same(&case.live.digest(), "after the undo");
}

#[tokio::test]
async fn live_wins_and_every_row_left_is_named() {
    let before = "
        insert into customers values (1, 'c1@shop', '{\"a b\",NULL,1}', '2026-01-01 10:00Z');
        insert into customers values (2, 'new@shop', null, null);
        create unique index only_one on orders (note) where customer_id = 30 and note is not null;
        insert into customers values (3, 'c3@shop', '{}', null);
        create function gone() returns trigger language plpgsql as $$ begin
            if new.id = 4 then return null; end if;
            if new.id = 5 then new.tags := '{altered}'; end if;
            return new; end $$;
        create function away() returns trigger language plpgsql as $$ begin delete from customers where id = 6; return null; end $$;
        create trigger t1 before insert or update on customers for each row execute function gone();
        create trigger t2 after insert on customers for each row when (new.id = 6) execute function away()";
    // Only customers, so that no order waits for one that is not there.
    let case = HandMadeCase::shop("kept", before, 1000).await;
    keep_only_first_batch(&case);
    let accident = case.live.digest();
    let summary = case.apply().await.unwrap();
    assert_eq!(summary.tables, [count("customers", 26, 0, 1)]);
    let row = |id: u32, outcome| ("public.customers".to_owned(), format!("id = {id}"), outcome);
    assert_eq!(
        left(&summary),
        [
            row(2, Outcome::Kept),
            row(3, Outcome::Kept),
            row(4, Outcome::Blocked),
            row(5, Outcome::Altered),
            row(6, Outcome::Swallowed)
        ]
    );
    // What apply did not write stays when it is undone; what a trigger made of a row goes.
    let undone = case.undo().await.unwrap();
    assert_eq!((undone.removed, undone.held), (25, vec![]));
    accident.assert_same(&case.live.digest(), "after undo");
}

/// Rewrites the plan so that it ends after its first batch.
fn keep_only_first_batch(case: &HandMadeCase) {
    let path = case.directory.join("plan.json");
    let mut plan: rowback::plan::Plan = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    plan.batches.truncate(1);
    std::fs::write(&path, serde_json::to_vec(&plan.sealed()).unwrap()).unwrap();
}

#[tokio::test]
async fn undo_leaves_what_changed_since_and_what_is_referred_to() {
    let case = HandMadeCase::shop("since", "", 1000).await;
    case.apply().await.unwrap();
    case.live.psql(
        "update orders set note = 'changed' where id = 7; delete from items where order_id = 9 and line = 2",
    );
    case.live.psql("insert into orders (customer_id, total) values (20, 1)");
    let undone = case.undo().await.unwrap();
    let held: Vec<_> =
        undone.held.iter().map(|row| format!("{} {}: {}", row.table, row.key, row.reason)).collect();
    assert_eq!(
        held,
        [
            "public.customers id = 20: still referred to by public.orders",
            "public.customers id = 4: still referred to by public.orders",
            "public.orders id = 7: changed since",
            "public.items line = 2, order_id = 9: gone",
        ]
    );
    assert_eq!(
        case.live.value("select string_agg(id::text, ',' order by id) from customers where id <= 30"),
        "4,20"
    );
    assert_eq!(case.live.value("select count(*) from items where order_id <= 60"), "0");
    // Once nothing is in the way, undo takes the rest.
    case.live.psql("delete from orders where customer_id = 20 or id = 7");
    let rest = case.undo().await.unwrap();
    let held: Vec<_> =
        rest.held.iter().map(|row| format!("{} {}: {}", row.table, row.key, row.reason)).collect();
    assert_eq!(held, ["public.orders id = 7: gone", "public.items line = 2, order_id = 9: gone"]);
    assert_eq!(case.live.value("select count(*) from customers where id <= 30"), "0");
}

#[tokio::test]
async fn triggers_see_the_search_path_and_deferred_constraints_stop_before_the_commit() {
    let before = "create table log (id int);
        create function note() returns trigger language plpgsql as $$ begin insert into log values (new.id); return null; end $$;
        create trigger t after insert on customers for each row execute function note()";
    let case = HandMadeCase::shop("path", before, 1000).await;
    case.apply().await.unwrap();
    assert_eq!(case.live.value("select count(*) from log"), "30");

    let before = "create function no() returns trigger language plpgsql as $$ begin raise exception 'not today' using errcode = 'P7777'; end $$;
        create constraint trigger t after insert on orders deferrable initially deferred for each row execute function no()";
    let case = HandMadeCase::shop("deferred", before, 1000).await;
    for mode in [Mode::DryRun, Mode::Real] {
        let error = case.apply_with(|options| options.mode = mode).await.unwrap_err();
        assert!(
            error.causes().iter().any(|cause| cause.contains("not today (SQLSTATE P7777)")),
            "{:?}",
            error.causes()
        );
        let stopped = if mode == Mode::Real {
            "stopped at batch 2 of 5; batch 1 is committed"
        } else {
            "the dry run stopped at batch 2 of 5"
        };
        assert_eq!(
            (error.code(), error.kind(), error.to_string()),
            ("batch-failed", Kind::Stopped, stopped.to_owned())
        );
    }
    case.live.psql("drop trigger t on orders");
    let summary = case.apply().await.unwrap();
    assert_eq!((summary.committed_before, summary.committed_now), (1, 4));
    case.backup.digest().assert_same(&case.live.digest(), "after the second run");
}

#[tokio::test]
async fn whatever_is_not_as_reviewed_is_refused() {
    let case = HandMadeCase::shop("refused", "", 1000).await;
    let accident = case.live.digest();
    let file = |name: &str| case.directory.join(name);
    let expect = async |code: &str, kind: Kind, what: &str| {
        let error = case.apply().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, kind), "{error}");
        assert!(
            format!("{error} {:?} {}", error.causes(), error.hint()).contains(what),
            "{error} {:?}",
            error.causes()
        );
    };
    let edit = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(file(name)).unwrap();
        assert!(text.contains(from));
        std::fs::write(file(name), text.replacen(from, to, 1)).unwrap();
        text
    };
    for (confirm, code) in [("", "confirmation-missing"), ("other", "confirmation-wrong")] {
        let error = case.apply_with(|options| options.confirm = confirm.to_owned()).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, Kind::Usage));
    }
    for (name, from, to, code) in [
        ("batches/0001.sql", "c1@shop", "x1@shop", "batch-edited"),
        ("plan.json", "\"rows\": 30", "\"rows\": 31", "plan-edited"),
        ("staging/manifest.json", "{}", "{ }", "plan-stale"),
        ("diff/manifest.json", "{}", "{ }", "plan-stale"),
        ("plan.json", "\"format\": 1", "\"format\": 9", "plan-format"),
    ] {
        let text = edit(name, from, to);
        expect(code, Kind::Refused, if code == "plan-format" { "format 9" } else { name }).await;
        std::fs::write(file(name), text).unwrap();
    }
    let plan = std::fs::read_to_string(file("plan.json")).unwrap();
    let mut foreign: rowback::plan::Plan = serde_json::from_str(&plan).unwrap();
    foreign.live.system_identifier = Some("1".into());
    std::fs::write(file("plan.json"), serde_json::to_vec(&foreign.sealed()).unwrap()).unwrap();
    expect("plan-foreign", Kind::Refused, "system identifier 1)").await;
    std::fs::remove_file(file("plan.json")).unwrap();
    expect("plan-missing", Kind::Input, "no plan").await;
    std::fs::write(file("plan.json"), &plan).unwrap();

    let lock = rowback::apply::CaseLock::take(case.directory.path()).unwrap();
    expect("case-busy", Kind::Refused, "another run").await;
    drop(lock);
    accident.assert_same(&case.live.digest(), "after all refusals");
    assert_eq!(case.journal(), "");
    case.apply().await.unwrap();
    let mut other: rowback::plan::Plan = serde_json::from_str(&plan).unwrap();
    other.notes.push("another plan".into());
    std::fs::write(file("plan.json"), serde_json::to_vec(&other.sealed()).unwrap()).unwrap();
    assert!(matches!(case.apply().await.unwrap_err(), ApplyError::JournalOfAnotherPlan { batches: 5 }));
}

/// Runs files of the case with psql, which knows nothing of rowback.
fn psql_files(case: &HandMadeCase, folder: &str, order: impl Fn(&mut Vec<std::path::PathBuf>)) {
    let entries = std::fs::read_dir(case.directory.join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    order(&mut files);
    for file in files {
        let mut psql = case.live.server().program("psql", case.live.name());
        super::support::run(psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file));
    }
}

#[tokio::test]
async fn psql_runs_the_files_as_they_stand_and_rows_of_others_are_never_taken_back() {
    let case = HandMadeCase::shop("psql", "", 25).await;
    let accident = case.live.digest();
    for round in ["first", "second"] {
        psql_files(&case, "batches", |_| {});
        case.backup.digest().assert_same(&case.live.digest(), round);
    }
    let sequences = case.live.sequences();
    let summary = case.apply().await.unwrap();
    assert_eq!((summary.inserted, summary.tables[2].present, summary.complete()), (0, 180, true));
    assert_eq!(case.live.sequences(), sequences, "sequences are where they must be");
    let undone = case.undo().await.unwrap();
    assert_eq!((undone.removed, undone.held.len()), (0, 0), "apply wrote nothing, so nothing is taken back");
    case.backup.digest().assert_same(&case.live.digest(), "after undo");
    psql_files(&case, "undo", |files| files.reverse());
    accident.assert_same(&case.live.digest(), "after the undo files by hand");
}
