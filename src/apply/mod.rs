//! Writes the plan's batches to live, one transaction each, and takes them back. The only stage that is given a
//! `WriteSession`. What a transaction changes is on disk before it commits; after a crash the server is asked how it
//! ended, so the same command always goes on. Never decides what to write: that is in the sealed plan.

mod aside;
mod batch_history;
mod beside;
mod blockers;
mod commit;
mod companions;
mod desk;
mod error;
mod gone;
mod history;
mod holders;
mod isolate;
mod isolate_groups;
mod isolate_together;
mod journal;
mod lanes;
mod limits;
mod live_journal;
mod lock;
mod moved;
mod named;
mod ours;
mod place;
mod privileges;
mod remains;
mod removed;
mod row_key;
mod runner;
mod sealed;
mod settle;
mod several;
mod state;
mod summary;
mod tallies;
mod ties;
mod tombstone_lists;
mod tombstones;
mod trace_book;
mod traces;
mod transaction;
pub mod undo;

use std::path::Path;

pub use companions::MadeRows;
pub use error::{ApplyError, Holder};
pub use journal::{Event, Exception, Held, JOURNAL_FORMAT, Journal, Line, PartRecord, TakenRecord};
pub use limits::Limits;
pub use live_journal::{CASE_ID, JournalPlace, unknown_to};
pub use lock::{CaseLock, LOCK_FILE};
pub use moved::MovedRow;
pub use place::{Place, Task};
pub use privileges::Lacking;
pub use removed::{Fate, RemovedRows};
pub use row_key::RowKey;
pub use sealed::certified;
pub use several::{Midway, Several};
pub use state::AppliedState;
pub use summary::{ApplySummary, HeldRow, Leftover, Outcome, Remains, TableCount, UndoCount, UndoSummary};
pub use tombstone_lists::TombstonesUnusable;
pub use traces::{Elsewhere, FormerRow, FormerRows, LeftRows, Traces};

use batch_history::{BatchHistory, Standing, mark_ours};
use history::History;
use lanes::Lanes;
use row_key::json_array;
use runner::{Announced, Runner, Surroundings};
use summary::leftovers;
use transaction::Performed;

use crate::cancel::CancelToken;
use crate::pg::{ConnectSettings, PgError};
use crate::plan::recall::{Narrow, narrow_sql};
use crate::plan::script::{Step, StepKind};
use crate::plan::{Action, Batch, Plan};
use crate::progress::{self, SharedProgress};

/// Shall it last?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Commit.
    Real,
    /// Do everything in one transaction and roll it back. Sequences are left alone; those that triggers or defaults of
    /// other tables draw from move nevertheless, because PostgreSQL never takes that back.
    DryRun,
}

/// What the person says about this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The name of the live database; empty = not given.
    pub confirm: String,
    /// Commit or roll back.
    pub mode: Mode,
    /// Limits of locks, statements and attempts.
    pub limits: Limits,
    /// Connections that write batches at the same time, where these have nothing to do with each other. A dry run has one.
    pub jobs: usize,
    /// Where the journal is kept.
    pub journal: JournalPlace,
}

/// Applies the plan of a case. Everything is checked before the first write; batches that an earlier run committed are
/// not repeated. Rows that did not end as staged are listed in the summary.
pub async fn run(
    case: &Path,
    settings: &ConnectSettings,
    options: &ApplyOptions,
    progress: SharedProgress,
    cancel: CancelToken,
) -> Result<ApplySummary, ApplyError> {
    let (limits, journal) = (&options.limits, options.journal);
    let around = Surroundings { settings, limits, journal, progress, cancel };
    let task = if options.mode == Mode::DryRun { Task::DryRun } else { Task::Apply };
    let runner = Runner::open(case, task, &options.confirm, around).await?;
    runner.settle().await?;
    let before = runner.committed();
    let waiting = waiting(runner.plan(), &runner.history());
    drop(runner.look_for_tombstones(None).await?);
    runner.refuse_gone(&waiting).await?;
    runner.check_privileges(&waiting).await?;
    runner.fill_live_for_good().await?;
    let rows = waiting.iter().flat_map(|batch| &batch.parts).map(|part| part.rows).sum();
    let bar = runner.around.progress.clone();
    bar.start(progress::Step::Apply, &runner.dbname(), Some(rows));
    let jobs = if options.mode == Mode::Real { options.jobs } else { 1 };
    let mut lanes = Lanes::new(runner, jobs);
    let done = match options.mode {
        Mode::Real => lanes.run(&waiting, announce).await,
        Mode::DryRun => try_all(&mut lanes, &waiting).await,
    };
    bar.finish(progress::Step::Apply);
    done?;
    if options.mode == Mode::Real {
        lanes.first().look_back().await?;
    }
    Ok(summary(lanes.first(), options.mode, waiting.len(), before))
}

/// The batches that are not known to be committed.
fn waiting(plan: &Plan, history: &History) -> Vec<Batch> {
    let open = |batch: &&Batch| {
        let history = history.batch(batch.number);
        history.standing != Standing::Committed || history.pending.is_some()
    };
    plan.batches.iter().filter(open).cloned().collect()
}

/// The steps with rows taken out of what is staged.
fn without(mut steps: Vec<Step>, batch: &Batch, left_out: &[Vec<RowKey>]) -> Vec<Step> {
    let mut more = Vec::new();
    for ((at, part), keys) in batch.parts.iter().enumerate().zip(left_out) {
        if !keys.is_empty() {
            let sql = narrow_sql(at + 1, part, &json_array(keys.iter()), Narrow::Drop);
            more.push(Step::sql(StepKind::Stage, sql));
        }
    }
    let behind = steps.iter().rposition(|step| step.kind == StepKind::Stage).map_or(0, |at| at + 1);
    steps.splice(behind..behind, more);
    steps
}

/// All batches in one transaction, because a child's batch needs its parents'; then back.
async fn try_all(lanes: &mut Lanes<'_>, batches: &[Batch]) -> Result<(), ApplyError> {
    // `nextval` and `setval` cannot be rolled back: a batch that moves sequences writes no rows and is left out.
    let (rows, sequences): (Vec<Batch>, Vec<Batch>) =
        batches.iter().cloned().partition(|batch| !batch.parts.is_empty());
    lanes.first().begin_trial().await?;
    let mut tried = lanes.run(&rows, announce).await;
    let runner = lanes.first();
    if tried.is_ok() {
        tried = runner.look_back().await;
    }
    let ended = runner.end_trial().await;
    tried?;
    if !sequences.is_empty() {
        let moves = runner.plan().sequences.len();
        runner.tell(u32::MAX, format!("Sequences would be moved forward where they are behind: {moves}."));
    }
    ended
}

/// The line of the journal that goes before the commit.
fn announce(
    batch: &Batch,
    performed: Performed,
    before: &BatchHistory,
    announced: Announced,
) -> Result<Event, PgError> {
    let Announced { xid, system_identifier } = announced;
    let mut written: Vec<PartRecord> = batch
        .parts
        .iter()
        .zip(&performed.counts)
        .map(|(part, &rows)| PartRecord {
            table: part.table.clone(),
            action: part.action,
            rows,
            exceptions: Vec::new(),
        })
        .collect();
    for row in performed.reported {
        let what = || format!("running batch {}", batch.number);
        let refused =
            performed.refused.iter().find(|refused| refused.key == row.key && refused.table == row.table);
        let refused =
            refused.filter(|_| ["blocked", "kept", "held_back", "dropped"].contains(&row.word.as_str()));
        let word = refused.map_or(row.word.as_str(), |_| "refused");
        let mut known = performed.in_the_way.iter();
        let because =
            refused.or_else(|| known.find(|known| known.key == row.key && known.table == row.table));
        let outcome = Outcome::parse(word).ok_or_else(|| PgError::Answer {
            what: what(),
            cause: format!("unknown outcome {:?}", row.word),
        })?;
        let at = part_of(batch, &performed.stored, &row).ok_or_else(|| PgError::Answer {
            what: what(),
            cause: format!("a row of {} was reported", row.table),
        })?;
        let stored = performed.stored.get(at).and_then(|stored| stored.get(&row.key)).cloned();
        let record = written.get_mut(at).into_iter();
        record.for_each(|record| {
            let because = because.map(|because| because.message.clone());
            let (key, stored) = (row.key.clone(), stored.clone());
            let exception = Exception { key, outcome, ours: false, stored, because };
            record.exceptions.push(exception);
        });
    }
    mark_ours(&mut written, &before.ours_before());
    let (moved, made, mut traces) = (performed.moves.rows, performed.made, performed.traces);
    traces.kept = performed.moves.kept;
    let (oldest, newest) = (Some(performed.oldest), Some(performed.newest));
    Ok(Event::Writing { xid, oldest, newest, system_identifier, written, moved, made, traces })
}

/// Which part of the batch a reported row belongs to: the one that stored it, else the first that fits.
fn part_of(
    batch: &Batch,
    stored: &[std::collections::BTreeMap<RowKey, String>],
    row: &transaction::Reported,
) -> Option<usize> {
    let fits = |at: &usize| {
        let part = &batch.parts[*at];
        part.table == row.table && row.key.has_columns(part.key.iter().map(crate::ident::Ident::as_str))
    };
    let has = |at: &usize| stored.get(*at).is_some_and(|stored| stored.contains_key(&row.key));
    let all = || (0..batch.parts.len()).filter(fits);
    all().find(has).or_else(|| all().next())
}

fn summary(runner: &Runner<'_>, mode: Mode, now: usize, before: usize) -> ApplySummary {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut tables: Vec<TableCount> = Vec::new();
    for (_, history) in runner.history().all().filter(|(_, batch)| batch.standing == Standing::Committed) {
        history.written.iter().for_each(|part| count(&mut tables, part));
    }
    ApplySummary {
        dry_run: mode == Mode::DryRun,
        dbname: runner.dbname(),
        batches: number(runner.plan().batches.len()),
        committed_now: number(now),
        committed_before: number(before),
        inserted: tables.iter().map(|table| table.inserted).sum(),
        updated: tables.iter().map(|table| table.updated).sum(),
        moved: tables.iter().map(|table| table.moved).sum(),
        tables,
        conflicts: runner.plan().totals.conflicts,
        leftovers: leftovers(&runner.history()).into_iter().chain(runner.named().iter().cloned()).collect(),
        notes: runner.notes(),
    }
}

fn count(tables: &mut Vec<TableCount>, part: &PartRecord) {
    let at = tables.iter().position(|count| count.table == part.table).unwrap_or_else(|| {
        tables.push(TableCount { table: part.table.clone(), inserted: 0, updated: 0, moved: 0, present: 0 });
        tables.len() - 1
    });
    let entry = &mut tables[at];
    let present = part.exceptions.iter().filter(|exception| exception.outcome == Outcome::Present);
    let (ours, theirs): (Vec<&Exception>, Vec<&Exception>) = present.partition(|exception| exception.ours);
    let written = part.rows + u64::try_from(ours.len()).unwrap_or(u64::MAX);
    match part.action {
        Action::Insert => entry.inserted += written,
        Action::Update => entry.updated += written,
        Action::Move => entry.moved += written,
    }
    entry.present += u64::try_from(theirs.len()).unwrap_or(u64::MAX);
}
