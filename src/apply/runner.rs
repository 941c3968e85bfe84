//! Runs one batch after the other, forwards or backwards: transaction, retries, journal, commit, and what to do when
//! any of it fails. What a batch *means* is the business of `apply` and `undo`.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::batch_history::{BatchHistory, Pending};
use super::beside::Watcher;
use super::commit::Conclusion;
use super::companions::{self, Ground};
use super::desk::{Desk, OpenCase};
use super::holders::{Seen, Watch};
use super::isolate::{self, Writing};
use super::isolate_groups;
use super::journal::Event;
use super::live_journal::JournalPlace;
use super::place::Task;
use super::sealed::{Purpose, certified};
use super::settle::{self, Fate};
use super::summary::EXCLUDED;
use super::tallies;
use super::transaction::{self, Performed, Reported, Transaction};
use super::{ApplyError, Limits, RowKey};
use crate::cancel::CancelToken;
use crate::error::Explain;
use crate::ident::TableName;
use crate::pg::{
    ConnectSettings, PgError, ReadSession, ServerIdentity, SessionOptions, WriteSession, is_worth_retrying,
};
use crate::plan::script::Step;
use crate::plan::{Action, Batch, LiveIdentity, Part, Plan};
use crate::progress::SharedProgress;

/// What a run is given from outside.
pub(super) struct Surroundings<'a> {
    pub(super) settings: &'a ConnectSettings,
    pub(super) limits: &'a Limits,
    pub(super) journal: JournalPlace,
    pub(super) progress: SharedProgress,
    pub(super) cancel: CancelToken,
}

/// One batch to be run.
pub(super) struct Job<'a> {
    pub(super) batch: &'a Batch,
    pub(super) steps: Vec<Step>,
    /// Rows that must not be written any more, by part; `steps` leave them out.
    pub(super) left_out: Vec<Vec<RowKey>>,
}

/// One session that is fit for writing, and what it works on together with others.
pub(super) struct Runner<'a> {
    desk: Rc<Desk<'a>>,
    pub(super) session: WriteSession,
    pub(super) reader: Option<ReadSession>,
    /// Tables that only the open transaction can read.
    pub(super) locked: BTreeSet<TableName>,
}

impl<'a> Deref for Runner<'a> {
    type Target = Desk<'a>;

    fn deref(&self) -> &Desk<'a> {
        &self.desk
    }
}

/// Turns what a transaction did into its line of the journal.
pub(super) type Record = fn(&Batch, Performed, &BatchHistory, Announced) -> Result<Event, PgError>;

/// What every announcement of a commit tells.
pub(super) struct Announced {
    pub(super) xid: String,
    pub(super) system_identifier: Option<String>,
}

impl<'a> Runner<'a> {
    /// All checks, in the order in which they cost: confirmation, case, journal, connection, identity.
    pub(super) async fn open(
        dir: &Path,
        task: Task,
        confirm: &str,
        around: Surroundings<'a>,
    ) -> Result<Self, ApplyError> {
        if confirm.is_empty() {
            return Err(ApplyError::ConfirmationMissing);
        }
        let purpose = if task == Task::Undo { Purpose::Undo } else { Purpose::Apply };
        let case = OpenCase::open(dir, purpose)?;
        let session = WriteSession::connect(around.settings, &around.limits.session_options()).await?;
        let identity = session.identity().await?;
        check_identity(case.plan(), confirm, &identity)?;
        let runner = Self {
            desk: Rc::new(case.on(identity, task, around)),
            session,
            reader: None,
            locked: BTreeSet::new(),
        };
        runner.take_from_live().await?;
        runner.history().check_against(certified(dir, &runner.plan().seal))?;
        Ok(runner)
    }

    /// Another session for the same work; the inner error says why it cannot be had, which harms nobody.
    pub(super) async fn beside(&self) -> Result<Self, String> {
        let options = self.around.limits.session_options();
        let session = WriteSession::connect(self.around.settings, &options).await;
        let session = session.map_err(|error| told(&error))?;
        let identity = session.identity().await.map_err(|error| told(&error))?;
        // A list of hosts may lead elsewhere the second time.
        if identity.in_recovery || !identity.is_same_database(&self.identity) {
            return Err("it leads to another server".to_owned());
        }
        Ok(Self { desk: Rc::clone(&self.desk), session, reader: None, locked: BTreeSet::new() })
    }

    /// Reads the lists of rows that were deleted on purpose, and where one has changed finds out which planned rows it is
    /// about. Returns those of the batch, by part.
    pub(super) async fn look_for_tombstones(
        &self,
        batch: Option<&Batch>,
    ) -> Result<Vec<Vec<RowKey>>, ApplyError> {
        let mut tombstones = self.tombstones.lock().await;
        let done = self.committed();
        if let Some(lists) = tombstones.changed(self.case.plan(), done)? {
            self.around
                .progress
                .note("exclude_keys has changed since the plan was made: looking for rows that it names now");
            let options = SessionOptions::named("rowback apply");
            let reader = ReadSession::connect(self.around.settings, &options).await?;
            tombstones.find(&self.case, &reader, &lists, done).await?;
        }
        Ok(batch.map(|batch| tombstones.of_batch(batch)).unwrap_or_default())
    }

    /// Finds out what became of the transactions that an interrupted run has left in doubt.
    pub(super) async fn settle(&self) -> Result<(), ApplyError> {
        let pending: Vec<(u32, Pending)> = self
            .history()
            .all()
            .filter_map(|(number, batch)| Some((number, batch.pending.clone()?)))
            .collect();
        for (number, pending) in pending {
            let (Pending::Write { xid, .. } | Pending::Undo { xid, .. }) = &pending;
            self.around.progress.note(&format!("asking the server how the interrupted batch {number} ended"));
            let fate = self.fate(number, xid).await?;
            match (fate, &pending) {
                (Fate::Committed, Pending::Write { .. }) => self.record(number, Event::Committed)?,
                (Fate::Aborted, Pending::Write { .. }) => self.record(number, Event::RolledBack)?,
                (Fate::Committed, Pending::Undo { .. }) => self.record(number, Event::Undone)?,
                (Fate::Aborted, Pending::Undo { .. }) => self.record(number, Event::UndoRolledBack)?,
                (Fate::Forgotten, _) => self.tell(
                    number,
                    format!(
                        "The server has forgotten how the interrupted batch {number} ended; it is run once more, which \
                         changes nothing that is done already."
                    ),
                ),
            }
        }
        Ok(())
    }

    pub(super) async fn fate(&self, batch: u32, xid: &str) -> Result<Fate, ApplyError> {
        settle::fate(&self.session, batch, xid, self.around.limits.settle_within, &self.around.cancel).await
    }

    /// Opens the one transaction of a dry run.
    pub(super) async fn begin_trial(&self) -> Result<(), ApplyError> {
        self.session.begin().await?;
        self.fill_live().await
    }

    /// Rolls the dry run back.
    pub(super) async fn end_trial(&self) -> Result<(), ApplyError> {
        Ok(self.session.rollback().await?)
    }

    /// Runs a batch to its commit (or, in a dry run, as far as that).
    pub(super) async fn run(&mut self, job: &Job<'_>, record: Record) -> Result<(), ApplyError> {
        let mut failed = 0;
        let mut isolating = Writing::Together;
        loop {
            if self.around.cancel.is_cancelled() {
                return Err(ApplyError::Cancelled { place: Box::new(self.place(job.batch)) });
            }
            let (error, seen) = match Box::pin(self.attempt(job, isolating)).await {
                Ok((performed, xid)) => match self.conclude(job, performed, xid, record).await? {
                    Conclusion::Done => return Ok(()),
                    Conclusion::NotCommitted(error) => (error, Seen::default()),
                },
                Err((error, seen)) => {
                    self.leave_transaction(&error).await;
                    (error, seen)
                }
            };
            let next = self.next_writing(job, isolating, &error);
            if let Some(next) = next {
                isolating = next;
                let why = error.db().map_or_else(|| error.to_string(), |db| db.message.clone());
                let number = job.batch.number;
                self.around.progress.note(&format!("batch {number} is tried {next}: {why}"));
                continue;
            }
            failed += 1;
            let passing = error.sqlstate().is_some_and(is_worth_retrying);
            match self.around.limits.backoff.pause_after(failed) {
                Some(pause) if passing => self.pause(job, &error, pause).await,
                _ => return Err(self.stopped(job, error, failed, seen)),
            }
        }
    }

    /// One attempt; leaves the transaction open when it went well.
    async fn attempt(
        &mut self,
        job: &Job<'_>,
        isolating: Writing,
    ) -> Result<(Performed, String), (PgError, Seen)> {
        let unseen = |error| (error, Seen::default());
        match self.task {
            Task::DryRun => self.session.execute("setting a savepoint", "savepoint rowback").await,
            Task::Apply | Task::Undo => self.session.begin().await,
        }
        .map_err(unseen)?;
        self.enter_live().await.map_err(unseen)?;
        let table_by_table = match isolating {
            Writing::InTurn => true,
            Writing::WithoutRefused | Writing::RowByRow => isolate_groups::moves(&job.batch.parts),
            Writing::Together => false,
        };
        let reader = if table_by_table { Some(self.take_reader().await.map_err(unseen)?) } else { None };
        let (cancel, limits) = (&self.around.cancel, self.around.limits);
        let mut transaction =
            Transaction::enter(&self.session, cancel, limits, isolating).await.map_err(unseen)?;
        let (task, batch, book) = (self.task, job.batch.number, self.traces());
        transaction.watcher = Some(Watcher { task, batch, book: &book });
        let before = tallies::read(&self.session).await.map_err(unseen)?;
        let patience = (limits.lock_timeout / 4).min(Duration::from_millis(500));
        let watch = Watch::start(self.around.settings.clone(), transaction.pid, patience);
        let what = format!("running batch {}", job.batch.number);
        let known = self.made();
        transaction.declared = known.declared().to_vec();
        if self.task == Task::Undo {
            let made = known.of_batch(job.batch.number);
            let removing = companions::remove(&self.session, &known, &made);
            transaction.watched(removing).await.map_err(|error| (error, watch.seen()))?;
        }
        let ground = Ground { made: &known, writing: isolating, reader: reader.as_ref() };
        let ground = (self.task != Task::Undo || isolating == Writing::InTurn).then_some(ground);
        let performed = transaction.perform(&what, &job.steps, &job.batch.parts, ground).await;
        let xid = transaction.xid;
        self.reader = reader.or(self.reader.take());
        match performed {
            Ok(mut performed) => {
                for (part, keys) in job.batch.parts.iter().zip(&job.left_out) {
                    let word = || EXCLUDED.to_owned();
                    let left = keys.iter().cloned();
                    performed.reported.extend(left.map(|key| Reported {
                        table: part.table.clone(),
                        key,
                        word: word(),
                    }));
                }
                self.name_blockers(job, &mut performed).await.map_err(unseen)?;
                if self.task == Task::Undo {
                    performed.put_back = self.put_back_removed(job.batch.number).await.map_err(unseen)?;
                }
                self.look_aside(job, &mut performed, &before, isolating).await.map_err(unseen)?;
                performed.newest =
                    transaction::newest(&self.session, &xid, &job.batch.parts).await.map_err(unseen)?;
                Ok((performed, xid))
            }
            Err(error) => Err((error, watch.seen())),
        }
    }

    /// What is tried after an error about rows.
    fn next_writing(&self, job: &Job<'_>, isolating: Writing, error: &PgError) -> Option<Writing> {
        let parts = &job.batch.parts;
        let may_help = match self.task {
            Task::Undo => companions::may_help_to_move(parts, error),
            Task::Apply | Task::DryRun => companions::may_help(parts, error),
        };
        if may_help && isolating == Writing::Together {
            return Some(Writing::InTurn);
        }
        let next = match isolating {
            // Where no order of the tables helps either, a row may be the reason.
            Writing::InTurn if isolate_groups::inserts(parts) => Some(Writing::WithoutRefused),
            _ => isolating.next(),
        };
        next.filter(|_| self.may_isolate(job) && isolate::is_about_rows(error))
    }

    /// Rows that move, and rows of tables that refer to each other, are written group by group; taken back are updated ones.
    fn may_isolate(&self, job: &Job<'_>) -> bool {
        let parts = &job.batch.parts;
        let is_update = |part: &Part| part.action == Action::Update;
        isolate_groups::has_groups(parts) && (self.task != Task::Undo || parts.iter().all(is_update))
    }

    pub(super) async fn leave_transaction(&self, error: &PgError) {
        if matches!(error, PgError::Lost { .. }) {
            return;
        }
        let left = match self.task {
            Task::DryRun => self.session.execute("going back", "rollback to savepoint rowback").await,
            Task::Apply | Task::Undo => self.session.rollback().await,
        };
        // When even that fails, the connection is gone, and the server rolls back by itself.
        drop(left);
    }

    async fn pause(&self, job: &Job<'_>, error: &PgError, pause: Duration) {
        let why = error.db().map_or_else(|| error.to_string(), |db| db.message.clone());
        self.around.progress.note(&format!("batch {} is tried again: {why}", job.batch.number));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.around.cancel.cancelled() => {}
        }
    }

    fn stopped(&self, job: &Job<'_>, error: PgError, attempts: u32, seen: Seen) -> ApplyError {
        let place = Box::new(self.place(job.batch));
        // Rows of one table of which other columns are set are parts of their own.
        let tables: BTreeSet<String> =
            job.batch.parts.iter().map(|part| format!("\"{}\"", part.table)).collect();
        let tables = tables.into_iter().collect::<Vec<_>>().join(", ");
        let passing = error.sqlstate().is_some_and(is_worth_retrying);
        match error {
            PgError::Cancelled { .. } => ApplyError::Cancelled { place },
            PgError::Lost { .. } => ApplyError::ConnectionLost { place, source: Box::new(error) },
            PgError::Statement { db, .. } if passing => ApplyError::BatchBlocked {
                place,
                object: seen.relation.map_or(tables, |table| format!("\"{table}\"")),
                waited: self.around.limits.lock_timeout,
                attempts,
                db,
                holders: seen.holders,
            },
            other => ApplyError::BatchFailed { place, tables, source: Box::new(other) },
        }
    }
}

/// An error in one line.
fn told(error: &PgError) -> String {
    error.causes().into_iter().next().unwrap_or_else(|| error.to_string())
}

fn check_identity(plan: &Plan, confirm: &str, identity: &ServerIdentity) -> Result<(), ApplyError> {
    if identity.dbname != confirm {
        let (given, dbname) = (confirm.to_owned(), identity.dbname.clone());
        return Err(ApplyError::ConfirmationWrong { given, dbname });
    }
    let found = LiveIdentity {
        system_identifier: identity.system_identifier.clone(),
        dbname: identity.dbname.clone(),
        database_oid: identity.database_oid,
    };
    let other_cluster = match (&plan.live.system_identifier, &found.system_identifier) {
        (Some(planned), Some(found)) => planned != found,
        _ => false,
    };
    if other_cluster || plan.live.database_oid != found.database_oid || plan.live.dbname != found.dbname {
        let planned = Box::new(plan.live.clone());
        return Err(ApplyError::PlanForeign { planned, found: Box::new(found) });
    }
    if identity.in_recovery {
        return Err(ApplyError::Standby { dbname: found.dbname });
    }
    if identity.is_read_only {
        return Err(ApplyError::ReadOnly { dbname: found.dbname, role: identity.user.clone() });
    }
    Ok(())
}
