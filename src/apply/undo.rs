//! Takes back what apply wrote, batch by batch, backwards: inserted rows are deleted, updated columns get their former
//! values. Only rows that apply wrote (the journal knows) and that nobody has changed since; all others stay and are
//! named. Journalled and resumed like apply. Sequences stay where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::batch_history::{BACK, BatchHistory, CHANGED, GONE, Ours, Pending};
use super::companions::in_live;
use super::gone::concerns;
use super::history::History;
use super::journal::{Event, Held, TakenRecord};
use super::live_journal::JournalPlace;
use super::row_key::{RowName, json_array};
use super::runner::{Announced, Job, Runner, Surroundings};
use super::summary::{HeldRow, Remains, held_rows};
use super::trace_book::short;
use super::transaction::Performed;
use super::{ApplyError, Limits, RowKey, Task, UndoCount, UndoSummary};
use crate::cancel::CancelToken;
use crate::ident::TableName;
use crate::pg::{ConnectSettings, PgError};
use crate::plan::recall::{Narrow, copy_block, narrow_sql};
use crate::plan::script::{Step, StepKind};
use crate::plan::{
    Action, Batch, NEWEST_TRANSACTION, OLDEST_TRANSACTION, OVERRULED, OWN_TRANSACTIONS, PUT_BACK, Part,
    REWRITTEN,
};
use crate::progress::{self, SharedProgress};

/// What the person says about this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoOptions {
    /// The name of the live database; empty = not given.
    pub confirm: String,
    /// Limits of locks, statements and attempts.
    pub limits: Limits,
}

/// Takes back everything that apply has committed in this case. Rows that had to stay are listed in the summary; a
/// later run tries them again.
pub async fn run(
    case: &Path,
    settings: &ConnectSettings,
    options: &UndoOptions,
    progress: SharedProgress,
    cancel: CancelToken,
) -> Result<UndoSummary, ApplyError> {
    let (limits, journal) = (&options.limits, JournalPlace::Case);
    let around = Surroundings { settings, limits, journal, progress, cancel };
    let mut runner = Runner::open(case, Task::Undo, &options.confirm, around).await?;
    runner.settle().await?;
    let started = runner.clock().await?;
    let before =
        runner.history().all().filter(|(_, batch)| !batch.taken.is_empty() && !batch.can_be_undone()).count();
    let batches = applied(&runner);
    let gone = runner.gone(&batches).await?;
    let (left, batches): (Vec<Batch>, Vec<Batch>) =
        batches.into_iter().partition(|batch| concerns(batch, &gone));
    runner.check_privileges(&batches).await?;
    runner.fill_live_for_good().await?;
    let rows = batches.iter().flat_map(|batch| &batch.parts).map(|part| part.rows).sum();
    let progress = runner.around.progress.clone();
    progress.start(progress::Step::Undo, &runner.dbname(), Some(rows));
    let mut done = run_all(&mut runner, &batches).await;
    if done.is_ok() {
        done = put_back_the_rest(&mut runner, &batches).await.and(done);
    }
    progress.finish(progress::Step::Undo);
    let unread = done?;
    let (remains, stamped) = runner.remains(&started).await?;
    let taken_back = batches.len().saturating_sub(unread.len());
    let mut summary = summary(&runner, taken_back, before, remains);
    summary.notes.extend(stamped);
    look_again_for_gone(&runner, &mut summary.held).await?;
    summary.held.extend(runner.held_back(&left, &gone));
    for (batch, why) in unread {
        let why = batch.parts.iter().map(|part| (part.table.clone(), why.clone())).collect();
        summary.held.extend(runner.held_back(std::slice::from_ref(&batch), &why));
    }
    if summary.held.iter().any(|row| row.reason == REWRITTEN) {
        let note = "Rows that were written again since hold what apply wrote, but somebody else wrote them (or their table: a change of \
                    type writes all rows). The files in undo/, run with psql from the last to the first, take back every row that holds it.";
        summary.notes.push(note.to_owned());
    }
    Ok(summary)
}

/// What triggers removed and an earlier undo could not put back is tried once more: with its batch, which has nothing else to
/// take back.
async fn put_back_the_rest(runner: &mut Runner<'_>, done: &[Batch]) -> Result<Vec<Unread>, ApplyError> {
    let waiting = runner.waiting_for_rows().await?;
    let is_left = |batch: &&Batch| {
        waiting.contains(&batch.number) && done.iter().all(|done| done.number != batch.number)
    };
    let batches: Vec<Batch> = runner.plan().batches.iter().rev().filter(is_left).cloned().collect();
    run_all(runner, &batches).await
}

/// A row that undo found gone is not taken back later, whoever has put it there by then; but it is not called gone any more.
async fn look_again_for_gone(runner: &Runner<'_>, held: &mut [HeldRow]) -> Result<(), ApplyError> {
    let mut gone: BTreeMap<TableName, Vec<RowKey>> = BTreeMap::new();
    for row in held.iter().filter(|row| row.reason == GONE) {
        gone.entry(row.table.clone()).or_default().push(row.key.clone());
    }
    for (table, keys) in gone {
        let there: BTreeSet<RowKey> = in_live(&runner.session, &table, keys).await?.into_iter().collect();
        for row in held.iter_mut().filter(|row| row.reason == GONE && row.table == table) {
            if there.contains(&row.key) {
                BACK.clone_into(&mut row.reason);
            }
        }
    }
    Ok(())
}

/// The batches that have something to be taken back, last one first.
fn applied(runner: &Runner<'_>) -> Vec<Batch> {
    let applied = |batch: &&Batch| {
        let history = runner.history_of(batch.number);
        history.can_be_undone() || history.pending.is_some()
    };
    runner.plan().batches.iter().rev().filter(applied).cloned().collect()
}

/// A batch whose values live's columns do not take any more, and what the server says.
type Unread = (Batch, String);

/// What live cannot read stays, with all that hangs on it; the other batches are taken back.
async fn run_all(runner: &mut Runner<'_>, batches: &[Batch]) -> Result<Vec<Unread>, ApplyError> {
    let mut unread = Vec::new();
    for batch in batches {
        match run_one(runner, batch).await {
            Ok(()) => {}
            Err(ApplyError::BatchFailed { source, .. }) if is_about_values(&source) => {
                unread.push((batch.clone(), told(&source)));
            }
            Err(error) => return Err(error.at(runner.place(batch))),
        }
        let rows = batch.parts.iter().map(|part| part.rows).sum();
        runner.around.progress.advance(progress::Step::Undo, rows);
    }
    Ok(unread)
}

/// Data exceptions: a column may be narrower by now, or of another type.
fn is_about_values(error: &PgError) -> bool {
    error.sqlstate().is_some_and(|state| state.starts_with("22"))
}

fn told(error: &PgError) -> String {
    error.db().map_or_else(|| error.to_string(), |db| db.message.clone())
}

async fn run_one(runner: &mut Runner<'_>, batch: &Batch) -> Result<(), ApplyError> {
    let (Some(file), Some(sha256)) = (&batch.undo_file, &batch.undo_sha256) else {
        let note = "Sequences stay where they are: moving them back could hand out a number twice.";
        runner.record(batch.number, Event::Undone)?;
        runner.tell(batch.number, note.to_owned());
        return Ok(());
    };
    let steps = runner.case.script(file, sha256)?;
    let mut steps = narrowed(steps, batch, &runner.history_of(batch.number));
    let behind = steps.iter().rposition(|step| step.kind == StepKind::Settings).map_or(0, |at| at + 1);
    steps.insert(behind, own_transactions(&runner.history()));
    runner.run(&Job { left_out: Vec::new(), batch, steps }, announce).await?;
    runner.note_undone(batch.number);
    Ok(())
}

/// Adds, behind the last stage, what the journal knows: which of the staged rows are apply's, and what triggers made
/// of them.
fn narrowed(mut steps: Vec<Step>, batch: &Batch, history: &BatchHistory) -> Vec<Step> {
    let ours = history.ours_before();
    let mut more = Vec::new();
    for (at, part) in batch.parts.iter().enumerate() {
        let (keys, narrow) = match &ours {
            Ours::AllBut(rows) => (keys_of(rows, part), Narrow::Drop),
            Ours::Only(rows) => (keys_of(rows, part), Narrow::Keep),
        };
        if narrow == Narrow::Keep || !keys.is_empty() {
            let sql = narrow_sql(at + 1, part, &json_array(keys.into_iter()), narrow);
            more.push(Step::sql(StepKind::Stage, sql));
        }
        let stored = history.stored.get(&at).into_iter().flatten();
        let stored: Vec<(&RowKey, &String)> =
            stored.filter(|(key, _)| ours.contains(&part.table, key)).collect();
        if !stored.is_empty() {
            let sql = narrow_sql(at + 1, part, &json_array(stored.iter().map(|(key, _)| *key)), Narrow::Drop);
            let rows: String = stored.iter().map(|(_, row)| format!("{row}\n")).collect();
            let copy = Some(copy_block(at + 1, part, rows.into_bytes()));
            more.push(Step { kind: StepKind::Stage, sql, copy });
        }
    }
    let behind = steps.iter().rposition(|step| step.kind == StepKind::Stage).map_or(0, |at| at + 1);
    steps.splice(behind..behind, more);
    steps
}

/// Tells the undo file which rows are only young because undo gave them their former values back, which are old, and which
/// were written since.
fn own_transactions(history: &History) -> Step {
    let own: Vec<String> = history.undo_transactions.iter().filter_map(|xid| short(xid)).collect();
    let oldest = history.oldest.short().unwrap_or_default();
    let newest = history.newest.short().unwrap_or_default();
    let sql = format!(
        "set local {OWN_TRANSACTIONS} = '{}'; set local {OLDEST_TRANSACTION} = '{oldest}'; set local {NEWEST_TRANSACTION} = '{newest}';",
        own.join(",")
    );
    Step::sql(StepKind::Settings, sql)
}

fn keys_of<'a>(rows: &'a BTreeSet<RowName>, part: &Part) -> Vec<&'a RowKey> {
    let of_part = |(table, key): &&RowName| {
        *table == part.table && key.has_columns(part.key.iter().map(crate::ident::Ident::as_str))
    };
    rows.iter().filter(of_part).map(|(_, key)| key).collect()
}

/// The line of the journal that goes before the commit.
fn announce(
    batch: &Batch,
    performed: Performed,
    before: &BatchHistory,
    announced: Announced,
) -> Result<Event, PgError> {
    let Announced { xid, system_identifier } = announced;
    let taken = batch.parts.iter().zip(&performed.counts);
    let mut taken: Vec<TakenRecord> = taken
        .map(|(part, &rows)| TakenRecord {
            table: part.table.clone(),
            action: part.action,
            rows,
            held: Vec::new(),
        })
        .collect();
    for row in performed.reported {
        let at = super::part_of(batch, &[], &row).ok_or_else(|| PgError::Answer {
            what: format!("taking back batch {}", batch.number),
            cause: format!("a row of {} was reported", row.table),
        })?;
        let mut refused = performed.refused.iter();
        let refused = refused.find(|refused| refused.key == row.key && refused.table == row.table);
        let reason = refused.map_or(row.word, |refused| format!("live refused it: {}", refused.message));
        let held = Held { key: row.key, reason };
        if held.reason == PUT_BACK || held.reason == OVERRULED {
            // Counted by the statement, and nevertheless not as it was.
            taken[at].rows = taken[at].rows.saturating_sub(1);
        }
        if !was_taken_back(&batch.parts[at], &held, before) {
            taken[at].held.push(held);
        }
    }
    let mut traces = performed.traces;
    for rows in traces.left.iter().filter(|rows| !rows.stamped) {
        let mut parts = batch.parts.iter().zip(&mut taken);
        if let Some((_, record)) = parts.find(|(part, _)| part.table == rows.table) {
            let overruled = record.held.iter().filter(|held| held.reason == OVERRULED);
            let overruled: BTreeSet<&RowKey> = overruled.map(|held| &held.key).collect();
            let left = rows.each().filter(|((_, key), _)| !overruled.contains(key)).count();
            record.rows = record.rows.saturating_sub(u64::try_from(left).unwrap_or(u64::MAX));
        }
    }
    traces.kept = performed.moves.kept;
    let (newest, moved) = (Some(performed.newest), performed.moves.rows);
    Ok(Event::UndoWriting { xid, newest, system_identifier, taken, moved, traces })
}

/// After an undo of which the server forgot whether it was committed: a row that is gone (or has other values) and was
/// not held back then is one that it took back.
fn was_taken_back(part: &Part, held: &Held, before: &BatchHistory) -> bool {
    let Some(Pending::Undo { taken, .. }) = &before.pending else { return false };
    let expected = match part.action {
        Action::Insert | Action::Move => GONE,
        Action::Update => CHANGED,
    };
    let mut earlier =
        taken.iter().filter(|earlier| earlier.table == part.table).flat_map(|earlier| &earlier.held);
    held.reason == expected && !earlier.any(|earlier| earlier.key == held.key)
}

fn summary(runner: &Runner<'_>, now: usize, before: usize, remains: Vec<Remains>) -> UndoSummary {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut tables: Vec<UndoCount> = Vec::new();
    for (_, history) in runner.history().all() {
        for part in &history.taken {
            count(&mut tables, part);
        }
    }
    let mut notes = runner.notes();
    notes.extend(runner.traces().stamped().into_iter().map(|((table, columns), rows)| {
        let columns = columns.join(", ");
        format!("Of {rows} rows of {table} that have their former values again, {columns} tells of the undo: a trigger insists on it.")
    }));
    UndoSummary {
        dbname: runner.dbname(),
        undone_now: number(now),
        undone_before: number(before),
        removed: tables.iter().map(|table| table.removed).sum(),
        restored: tables.iter().map(|table| table.restored).sum(),
        tables,
        held: held_rows(&runner.history()),
        remains,
        notes,
    }
}

fn count(tables: &mut Vec<UndoCount>, part: &TakenRecord) {
    let at = tables.iter().position(|count| count.table == part.table).unwrap_or_else(|| {
        tables.push(UndoCount { table: part.table.clone(), removed: 0, restored: 0 });
        tables.len() - 1
    });
    match part.action {
        Action::Insert => tables[at].removed += part.rows,
        Action::Update | Action::Move => tables[at].restored += part.rows,
    }
}
