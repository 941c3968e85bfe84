//! What to do after an error of apply or undo, and what it left behind: one hint for each.

use super::super::place::Task;
use super::ApplyError;
use crate::error::Explain;
use crate::ident::Ident;

/// What to do next, and what state was left.
pub(super) fn hint(error: &ApplyError) -> String {
    match error {
        ApplyError::Tombstones(error) => error.hint(),
        ApplyError::Server(error) => error.hint(),
        ApplyError::Midway(midway) => midway.hint(),
        ApplyError::Several(several) => several.first.hint(),
        ApplyError::PlanForeign { planned, found } => {
            format!("{} Nothing was changed.", planned.way_to(found))
        }
        ApplyError::ConfirmationWrong { dbname, .. } => format!(
            "Give `--confirm {dbname}` if that is the database to write to, or correct the connection. Nothing \
             was changed."
        ),
        ApplyError::ReadOnly { role, .. } => format!(
            "If the database may be written to again, ask for: alter role {} set default_transaction_read_only = off; then \
             run the same command again. Nothing was changed.",
            Ident::new(role).quoted()
        ),
        ApplyError::LiveChanged { applied, .. } => {
            let left = match applied {
                0 => "Nothing was written.".to_owned(),
                1 => "Nothing was written by this run; 1 batch is applied, and `rowback undo` takes it back."
                    .to_owned(),
                some => format!(
                    "Nothing was written by this run; {some} batches are applied, and `rowback undo` takes them back."
                ),
            };
            format!(
                "If that was on purpose, run `rowback recover` again in a new case, with `[columns]` for what has another \
                 name; otherwise bring it back and run the same command again. {left}"
            )
        }
        ApplyError::NotPermitted { task, lacking } => format!(
            "Use another role with `--live`, or ask for: {}; then run the same command again. Nothing was {}.",
            lacking.grants,
            if *task == Task::Undo { "taken back by this run" } else { "written by this run" }
        ),
        ApplyError::BatchBlocked { place, holders, .. } => {
            let when = if holders.is_empty() { "later" } else { "when that session has ended" };
            format!("Run the same command again {when}. {}", place.what_is_left())
        }
        ApplyError::BatchFailed { place, .. } => format!(
            "Remove the cause and run the same command again; if live has changed too much for this plan, run \
             `rowback recover` again in a new case. {}",
            place.what_is_left()
        ),
        ApplyError::Cancelled { place } => {
            format!("Run the same command again to go on. {}", place.what_is_left())
        }
        ApplyError::ConnectionLost { place, .. } => format!(
            "Run the same command again when the server can be reached; it asks the server how the interrupted \
             batch ended. {}",
            place.what_is_left()
        ),
        ApplyError::InDoubt { holder: Some(holder), place, .. } => format!(
            "An interrupted run left that session behind. Run the same command again when it has ended, or end it \
             with `select pg_terminate_backend({})`. {}",
            holder.pid,
            if place.is_some() {
                "Committed batches are not repeated."
            } else {
                "Nothing was changed by this run."
            }
        ),
        other => without_facts(other).to_owned(),
    }
}

/// The hints that name nothing of the error itself.
fn without_facts(error: &ApplyError) -> &'static str {
    match error {
        ApplyError::ConfirmationMissing => {
            "Add `--confirm` with the name of the live database. No connection was made and nothing was changed."
        }
        ApplyError::PlanMissing { .. } => {
            "Name the case directory of an earlier `rowback recover`, or run `rowback plan` for this one. Nothing \
             was changed."
        }
        ApplyError::CaseUnreadable { .. } => {
            "Check the path and the permissions of the case directory. Nothing was changed."
        }
        ApplyError::PlanFormat { .. } | ApplyError::JournalFormat { .. } => {
            "Use the version of rowback that made the case. Nothing was changed."
        }
        ApplyError::PlanEdited | ApplyError::FileEdited { .. } => {
            "A plan is applied as it was reviewed or not at all. Change the recipe and run `rowback plan` again, \
             or run the edited file yourself with `psql -f`. Nothing was changed."
        }
        ApplyError::PlanStale { .. } => {
            "Run `rowback plan` again, review it, and apply that. Nothing was changed."
        }
        ApplyError::Standby { .. } => "Connect to the primary server. Nothing was changed.",
        ApplyError::CaseBusy { .. } => {
            "Wait until that run has ended, then run the same command again. Nothing was changed by this run."
        }
        ApplyError::JournalDamaged { .. } => {
            "The journal says what was committed, so it is not guessed: restore `journal.jsonl` from a copy, or \
             recover into a new case directory, which finds what live already has. Nothing was changed."
        }
        ApplyError::JournalOfAnotherPlan { .. } => {
            "Take the other plan back with `rowback undo` while its files are there, or recover into a new case \
             directory. Nothing was changed."
        }
        ApplyError::JournalLost { .. } => {
            "The journal says which rows are this recovery's, so it is not guessed: restore `journal.jsonl` from a copy. Without one the \
             files in `undo/` still take back, last one first, what is as it was written: `psql -f` runs them. Nothing was changed."
        }
        ApplyError::LiveJournal { .. } => {
            "Use the role that the journal belongs to, or let somebody who may run `create schema rowback authorization` for this \
             role; a case of which live's journal knows nothing can be applied without `--journal live`. No batch was run."
        }
        ApplyError::JournalUnwritable { .. } => {
            "Free space or correct the permissions of the case directory, then run the same command again. The \
             batch whose journal could not be written was not committed, or the next run asks the server about it."
        }
        _ => {
            "Run the same command again when the server can be reached; it asks the server how the interrupted \
             batch ended. Whether that batch is committed is not known now."
        }
    }
}
