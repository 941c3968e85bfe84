//! The end of a batch's transaction: journal, commit, journal, and what to do when nobody can tell whether the commit came
//! through. A dry run ends in the same place, without a line in the journal.

use std::time::Duration;

use tokio::time::Instant;

use super::ApplyError;
use super::journal::Event;
use super::place::Task;
use super::runner::{Announced, Job, Record, Runner};
use super::settle::Fate;
use super::transaction::Performed;
use crate::ident::Ident;
use crate::pg::{PgError, WriteSession};
use crate::plan::Batch;

/// How a batch's transaction ended.
pub(super) enum Conclusion {
    /// It is committed.
    Done,
    /// It is not.
    NotCommitted(PgError),
}

impl Runner<'_> {
    /// Journal, commit, journal.
    pub(super) async fn conclude(
        &mut self,
        job: &Job<'_>,
        performed: Performed,
        xid: String,
        record: Record,
    ) -> Result<Conclusion, ApplyError> {
        let number = job.batch.number;
        let before = self.history_of(number);
        let announced =
            Announced { xid: xid.clone(), system_identifier: self.identity.system_identifier.clone() };
        let event = match record(job.batch, performed, &before, announced) {
            Ok(event) => event,
            Err(error) => {
                self.leave_transaction(&error).await;
                return Ok(Conclusion::NotCommitted(error));
            }
        };
        if self.task == Task::DryRun {
            return self.conclude_trial(job, event).await;
        }
        let line = self.line(number, event);
        if let Err(error) = self.write(line.clone()) {
            // The journal's error is the one to tell.
            drop(self.session.rollback().await);
            return Err(error);
        }
        if let Err(error) = self.tell_live(&line).await {
            self.leave_transaction(&error).await;
            self.record(number, self.endings().1)?;
            return Ok(Conclusion::NotCommitted(error));
        }
        self.commit_announced(job, &xid).await
    }

    /// The commit, once the journal has announced it.
    async fn commit_announced(&mut self, job: &Job<'_>, xid: &str) -> Result<Conclusion, ApplyError> {
        let number = job.batch.number;
        let (yes, no) = self.endings();
        match self.session.commit().await {
            Ok(()) => {
                self.record(number, yes)?;
                Ok(Conclusion::Done)
            }
            Err(error @ (PgError::Statement { .. } | PgError::Cancelled { .. })) => {
                self.record(number, no)?;
                Ok(Conclusion::NotCommitted(error))
            }
            Err(error) => {
                self.around
                    .progress
                    .note(&format!("the connection was lost while committing batch {number}"));
                match self.ask_again(job.batch, xid).await? {
                    Fate::Committed => {
                        self.record(number, yes)?;
                        Ok(Conclusion::Done)
                    }
                    Fate::Aborted => {
                        self.record(number, no)?;
                        Ok(Conclusion::NotCommitted(error))
                    }
                    Fate::Forgotten => Ok(Conclusion::NotCommitted(error)),
                }
            }
        }
    }

    /// The next batch makes temporary tables of the same names.
    async fn conclude_trial(&mut self, job: &Job<'_>, event: Event) -> Result<Conclusion, ApplyError> {
        let made = job.steps.iter().flat_map(|step| step.sql.split("create temporary table \"").skip(1));
        let names = made.filter_map(|text| text.split_once('"'));
        let names = names.map(|(name, _)| format!("pg_temp.{}", Ident::new(name).quoted()));
        let names = names.collect::<Vec<_>>().join(", ");
        if !names.is_empty() {
            self.session.execute("clearing up", &format!("drop table {names}")).await?;
        }
        let line = self.line(job.batch.number, event);
        self.tell_live(&line).await?;
        self.session.execute("releasing the savepoint", "release savepoint rowback").await?;
        // Nothing of a dry run goes into the case's journal.
        self.write(line)?;
        self.record(job.batch.number, Event::Committed)?;
        Ok(Conclusion::Done)
    }

    fn endings(&self) -> (Event, Event) {
        match self.task {
            Task::Undo => (Event::Undone, Event::UndoRolledBack),
            Task::Apply | Task::DryRun => (Event::Committed, Event::RolledBack),
        }
    }

    /// Connects anew, for as long as an outcome may be waited for, and asks.
    async fn ask_again(&mut self, batch: &Batch, xid: &str) -> Result<Fate, ApplyError> {
        let deadline = Instant::now() + self.around.limits.settle_within;
        let in_doubt = |holder, place| ApplyError::InDoubt {
            batch: batch.number,
            xid: xid.to_owned(),
            holder,
            place: Some(Box::new(place)),
        };
        loop {
            match WriteSession::connect(self.around.settings, &self.around.limits.session_options()).await {
                Ok(session) => {
                    self.session = session;
                    return self.fate(batch.number, xid).await.map_err(|error| match error {
                        ApplyError::InDoubt { holder, .. } => in_doubt(holder, self.place(batch)),
                        other => other,
                    });
                }
                Err(_) if Instant::now() < deadline && !self.around.cancel.is_cancelled() => {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(_unreachable) => return Err(in_doubt(None, self.place(batch))),
            }
        }
    }
}
