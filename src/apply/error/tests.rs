use std::path::Path;

use super::*;
use crate::apply::Task;

fn place(task: Task) -> Place {
    Place { task, batch: 41, of: 120, done: (1..=40).collect() }
}

fn facts(message: &str, sqlstate: &str) -> Box<DbFacts> {
    Box::new(DbFacts { message: message.into(), sqlstate: sqlstate.into(), ..DbFacts::default() })
}

fn all() -> Vec<ApplyError> {
    let identity = |dbname: &str, oid| LiveIdentity {
        system_identifier: Some("7384120045".into()),
        dbname: dbname.into(),
        database_oid: oid,
    };
    let holder = Holder { pid: 48211, application: "nightly-report".into(), state: "active".into() };
    let case = Path::new("case").to_owned();
    vec![
        ApplyError::ConfirmationMissing,
        ApplyError::ConfirmationWrong { given: "shop".into(), dbname: "shop2".into() },
        ApplyError::PlanMissing { case: case.clone() },
        ApplyError::CaseUnreadable { path: case.join("plan.json"), cause: "permission denied".into() },
        ApplyError::PlanFormat { found: 2, known: 1 },
        ApplyError::PlanEdited,
        ApplyError::FileEdited { file: "batches/0001-public.t-insert.sql".into() },
        ApplyError::PlanStale { file: "staging/manifest.json".into() },
        ApplyError::PlanForeign {
            planned: Box::new(identity("shop", 16384)),
            found: Box::new(identity("shop", 20000)),
        },
        ApplyError::Standby { dbname: "shop".into() },
        ApplyError::ReadOnly { dbname: "shop".into(), role: "Repair".into() },
        ApplyError::CaseBusy { case },
        ApplyError::JournalDamaged { line: 3, cause: "missing field `batch`".into() },
        ApplyError::JournalFormat { found: 2 },
        ApplyError::JournalOfAnotherPlan { batches: 2 },
        ApplyError::JournalUnwritable { cause: "No space left on device".into() },
        ApplyError::LiveJournal { cause: "permission denied for schema rowback (SQLSTATE 42501)".into() },
        ApplyError::BatchBlocked {
            place: Box::new(place(Task::Apply)),
            object: "\"shop.orders\"".into(),
            waited: Duration::from_secs(5),
            attempts: 3,
            db: facts("canceling statement due to lock timeout", "55P03"),
            holders: vec![holder.clone()],
        },
        ApplyError::BatchBlocked {
            place: Box::new(place(Task::Undo)),
            object: "\"shop.orders\"".into(),
            waited: Duration::from_secs(5),
            attempts: 1,
            db: facts("deadlock detected", "40P01"),
            holders: vec![],
        },
        ApplyError::BatchFailed {
            place: Box::new(place(Task::DryRun)),
            tables: "\"shop.orders\"".into(),
            source: Box::new(PgError::Statement {
                what: "running batch 41".into(),
                db: facts("new row violates check constraint", "23514"),
            }),
        },
        ApplyError::Cancelled { place: Box::new(place(Task::Apply)) },
        ApplyError::ConnectionLost {
            place: Box::new(place(Task::Apply)),
            source: Box::new(PgError::Lost {
                what: "running batch 41".into(),
                cause: "connection closed".into(),
            }),
        },
        ApplyError::InDoubt { batch: 41, xid: "742".into(), holder: Some(holder), place: None },
        ApplyError::InDoubt {
            batch: 41,
            xid: "742".into(),
            holder: None,
            place: Some(Box::new(place(Task::Apply))),
        },
    ]
}

fn words(errors: &[ApplyError]) -> Vec<String> {
    let causes = |error: &ApplyError| -> String {
        error.causes().iter().map(|cause| format!("  cause: {cause}\n")).collect()
    };
    let all = |error| format!("{}{}  hint: {}", head(error), causes(error), error.hint());
    errors.iter().map(all).collect()
}

fn head(error: &ApplyError) -> String {
    format!("[{}] {:?}: {error}\n", error.code(), error.kind())
}

#[test]
fn a_missing_privilege_comes_with_its_grant() {
    let lacking = |word: &str| Lacking {
        role: "rescuer".into(),
        lines: vec![format!("no {word} on b.orders")],
        grants: format!("grant {} on \"b\".\"orders\" to \"rescuer\"", word.to_lowercase()),
    };
    let errors = [
        ApplyError::NotPermitted { task: Task::Apply, lacking: Box::new(lacking("INSERT")) },
        ApplyError::NotPermitted { task: Task::Undo, lacking: Box::new(lacking("DELETE")) },
    ];
    insta::assert_snapshot!(words(&errors).join("\n"), @r#"
    [privilege-missing] Input: the role "rescuer" may not write all that the plan writes
      cause: no INSERT on b.orders
      hint: Use another role with `--live`, or ask for: grant insert on "b"."orders" to "rescuer"; then run the same command again. Nothing was written by this run.
    [privilege-missing] Input: the role "rescuer" may not take back what the plan wrote
      cause: no DELETE on b.orders
      hint: Use another role with `--live`, or ask for: grant delete on "b"."orders" to "rescuer"; then run the same command again. Nothing was taken back by this run.
    "#);
}

/// Batches 41 to 44 stopped together, and 45 came through.
fn together() -> ApplyError {
    let lost = PgError::Lost { what: "running batch 44".into(), cause: "connection closed".into() };
    let failed = PgError::Statement {
        what: "running batch 42".into(),
        db: facts("permission denied for table orders", "42501"),
    };
    let at = |batch| Box::new(Place { batch, ..place(Task::Apply) });
    let tables = "\"shop.orders\"".to_owned();
    let errors = vec![
        (41, ApplyError::Cancelled { place: at(41) }),
        (42, ApplyError::BatchFailed { place: at(42), tables, source: Box::new(failed) }),
        (43, ApplyError::InDoubt { batch: 43, xid: "743".into(), holder: None, place: Some(at(43)) }),
        (44, ApplyError::ConnectionLost { place: at(44), source: Box::new(lost) }),
    ];
    let done: Vec<u32> = (1..=40).chain([45]).collect();
    let without_doubt = ApplyError::of_several(vec![(41, ApplyError::Cancelled { place: at(41) })], &done);
    assert_eq!(
        without_doubt.unwrap().to_string(),
        "stopped at batch 41 of 120; batches 1–40, 45 are committed (stopped on request)"
    );
    assert!(ApplyError::of_several(vec![], &done).is_none());
    ApplyError::of_several(errors, &done).unwrap()
}

#[test]
fn what_stops_a_run_midway_says_what_is_through() {
    let edited = ApplyError::FileEdited { file: "batches/0041-public.t-insert.sql".into() };
    let full = ApplyError::JournalUnwritable { cause: "No space left on device".into() };
    let nothing_yet = Place { done: Vec::new(), ..place(Task::Apply) };
    let before = ApplyError::PlanStale { file: "diff/manifest.json".into() };
    assert!(matches!(before.at(place(Task::Apply)), ApplyError::PlanStale { .. }));
    let texts = words(&[edited.at(place(Task::Apply)), full.at(place(Task::Undo))]);
    insta::assert_snapshot!(texts.join("\n"), @r#"
    [batch-edited] Refused: stopped at batch 41 of 120; batches 1–40 are committed
      cause: "batches/0041-public.t-insert.sql" was changed after the plan was made
      hint: A plan is applied as it was reviewed or not at all. Change the recipe and run `rowback plan` again, or run the edited file yourself with `psql -f`. Batches that are committed stay so.
    [journal-unwritable] Stopped: undo stopped at batch 41 of 120; batches 1–40 are taken back
      cause: the journal cannot be written
      cause: No space left on device
      hint: Free space or correct the permissions of the case directory, then run the same command again. The batch whose journal could not be written was not committed, or the next run asks the server about it. Batches that are taken back stay so.
    "#);
    let edited = ApplyError::FileEdited { file: "batches/0001-public.t-insert.sql".into() };
    assert!(matches!(edited.at(nothing_yet), ApplyError::FileEdited { .. }));
}

#[test]
fn a_journal_that_is_not_whole_is_told() {
    let errors = [ApplyError::JournalLost { certified: 3, known: 0 }];
    insta::assert_snapshot!(words(&errors).join("\n"), @r#"
    [journal-lost] Refused: the journal is not whole: certificate.json tells of 3 applied batches, journal.jsonl of 0
      hint: The journal says which rows are this recovery's, so it is not guessed: restore `journal.jsonl` from a copy. Without one the files in `undo/` still take back, last one first, what is as it was written: `psql -f` runs them. Nothing was changed.
    "#);
}

#[test]
fn every_error_has_its_words() {
    let errors: Vec<ApplyError> = all().into_iter().chain([together()]).collect();
    insta::assert_snapshot!(words(&errors).join("\n"), @r#"
    [confirmation-missing] Usage: nothing is written without the name of the database as confirmation
      hint: Add `--confirm` with the name of the live database. No connection was made and nothing was changed.
    [confirmation-wrong] Usage: the confirmation names "shop", but the connection leads to the database "shop2"
      hint: Give `--confirm shop2` if that is the database to write to, or correct the connection. Nothing was changed.
    [plan-missing] Input: there is no plan in "case"
      hint: Name the case directory of an earlier `rowback recover`, or run `rowback plan` for this one. Nothing was changed.
    [case-unreadable] Input: "case/plan.json" cannot be read
      cause: permission denied
      hint: Check the path and the permissions of the case directory. Nothing was changed.
    [plan-format] Refused: the plan has format 2, this version of rowback knows format 1
      hint: Use the version of rowback that made the case. Nothing was changed.
    [plan-edited] Refused: plan.json was changed after it was made
      hint: A plan is applied as it was reviewed or not at all. Change the recipe and run `rowback plan` again, or run the edited file yourself with `psql -f`. Nothing was changed.
    [batch-edited] Refused: "batches/0001-public.t-insert.sql" was changed after the plan was made
      hint: A plan is applied as it was reviewed or not at all. Change the recipe and run `rowback plan` again, or run the edited file yourself with `psql -f`. Nothing was changed.
    [plan-stale] Refused: the plan is stale: "staging/manifest.json" is not the one that it was made from
      hint: Run `rowback plan` again, review it, and apply that. Nothing was changed.
    [plan-foreign] Refused: the plan was made for another database than "shop"
      cause: planned for "shop" (oid 16384, system identifier 7384120045)
      cause: connected to "shop" (oid 20000, system identifier 7384120045)
      hint: Connect to the database that the plan was made for, or run `rowback recover` against this one. Nothing was changed.
    [live-is-standby] Refused: the server of "shop" is a standby, which takes no writes
      hint: Connect to the primary server. Nothing was changed.
    [live-is-read-only] Refused: transactions in "shop" start read-only (default_transaction_read_only)
      hint: If the database may be written to again, ask for: alter role "Repair" set default_transaction_read_only = off; then run the same command again. Nothing was changed.
    [case-busy] Refused: another run of rowback is at work on "case"
      hint: Wait until that run has ended, then run the same command again. Nothing was changed by this run.
    [journal-damaged] Refused: the journal is damaged at line 3
      cause: missing field `batch`
      hint: The journal says what was committed, so it is not guessed: restore `journal.jsonl` from a copy, or recover into a new case directory, which finds what live already has. Nothing was changed.
    [journal-format] Refused: the journal has format 2, which this version of rowback does not know
      hint: Use the version of rowback that made the case. Nothing was changed.
    [journal-of-another-plan] Refused: the journal belongs to another plan, of which 2 batches are applied and not taken back
      hint: Take the other plan back with `rowback undo` while its files are there, or recover into a new case directory. Nothing was changed.
    [journal-unwritable] Stopped: the journal cannot be written
      cause: No space left on device
      hint: Free space or correct the permissions of the case directory, then run the same command again. The batch whose journal could not be written was not committed, or the next run asks the server about it.
    [journal-live] Input: the journal in live cannot be used
      cause: permission denied for schema rowback (SQLSTATE 42501)
      hint: Use the role that the journal belongs to, or let somebody who may run `create schema rowback authorization` for this role; a case of which live's journal knows nothing can be applied without `--journal live`. No batch was run.
    [batch-blocked] Stopped: stopped at batch 41 of 120; batches 1–40 are committed
      cause: no lock on "shop.orders" within 5 s, 3 attempts (SQLSTATE 55P03); held by pid 48211, application "nightly-report" (active)
      hint: Run the same command again when that session has ended. Committed batches are not repeated; this one was rolled back.
    [batch-blocked] Stopped: undo stopped at batch 41 of 120; batches 1–40 are taken back
      cause: deadlock detected, 1 attempt (SQLSTATE 40P01)
      hint: Run the same command again later. What is taken back stays so; this batch was rolled back.
    [batch-failed] Stopped: the dry run stopped at batch 41 of 120
      cause: the server refused a statement while running batch 41, writing "shop.orders"
      cause: new row violates check constraint (SQLSTATE 23514)
      hint: Remove the cause and run the same command again; if live has changed too much for this plan, run `rowback recover` again in a new case. Nothing was changed.
    [apply-cancelled] Stopped: stopped at batch 41 of 120; batches 1–40 are committed (stopped on request)
      hint: Run the same command again to go on. Committed batches are not repeated; this one was rolled back.
    [apply-connection-lost] Stopped: the connection was lost; stopped at batch 41 of 120; batches 1–40 are committed
      cause: connection closed
      hint: Run the same command again when the server can be reached; it asks the server how the interrupted batch ended. Committed batches are not repeated; this one was rolled back.
    [batch-in-doubt] Stopped: the outcome of batch 41 is not known yet
      cause: transaction 742 is still open on the server: pid 48211, application "nightly-report" (active)
      hint: An interrupted run left that session behind. Run the same command again when it has ended, or end it with `select pg_terminate_backend(48211)`. Nothing was changed by this run.
    [batch-in-doubt] Stopped: the outcome of batch 41 is not known yet; batches 1–40 are committed
      cause: the server could not be asked about transaction 742
      hint: Run the same command again when the server can be reached; it asks the server how the interrupted batch ended. Whether that batch is committed is not known now.
    [batch-in-doubt] Stopped: the outcome of batch 43 is not known yet; batches 1–40, 45 are committed
      cause: the server could not be asked about transaction 743
      cause: batch 42 stopped as well: permission denied for table orders (SQLSTATE 42501); it was rolled back
      cause: batch 44 stopped as well: the connection was lost; it was rolled back
      cause: batch 41 stopped as well: on request; it was rolled back
      hint: Run the same command again when the server can be reached; it asks the server how the interrupted batch ended. Whether that batch is committed is not known now.
    "#);
}

#[test]
fn a_database_that_was_renamed_wants_its_name_back() {
    let identity = |dbname: &str, system: Option<&str>| LiveIdentity {
        system_identifier: system.map(str::to_owned),
        dbname: dbname.to_owned(),
        database_oid: 16384,
    };
    let hint = |system| {
        let (planned, found) = (Box::new(identity("shop", system)), Box::new(identity("Shop 2", system)));
        ApplyError::PlanForeign { planned, found }.hint()
    };
    insta::assert_snapshot!(hint(Some("7384120045")), @r#"The database was renamed after the plan was made: give it its old name back (alter database "Shop 2" rename to "shop"), or run `rowback recover` in a new case. Nothing was changed."#);
    insta::assert_snapshot!(hint(None), @"Connect to the database that the plan was made for, or run `rowback recover` against this one. Nothing was changed.");
}
