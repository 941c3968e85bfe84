//! Several sessions that write batches side by side, each its own transactions. All in one task: a session goes on where
//! the others wait for the server. Which batches may be written so is decided in `ties`.

use std::cell::Cell;
use std::ops::Range;

use futures_util::future::join_all;

use super::runner::{Job, Record, Runner};
use super::ties::Ties;
use super::{ApplyError, without};
use crate::plan::{Batch, Part};
use crate::progress::Step;

/// The sessions of a run.
pub(super) struct Lanes<'a> {
    /// The first one is always there; it does whatever must be done alone.
    sessions: Vec<Runner<'a>>,
    /// How many there may be.
    most: usize,
}

impl<'a> Lanes<'a> {
    /// One session, and at most so many when there is work for them.
    pub(super) fn new(first: Runner<'a>, most: usize) -> Self {
        Self { sessions: vec![first], most: most.max(1) }
    }

    /// The first session.
    pub(super) fn first(&self) -> &Runner<'a> {
        &self.sessions[0]
    }

    /// Writes batches, in the order of the plan as far as they have to do with each other. After an error no session begins
    /// another batch; those that are at one end it.
    pub(super) async fn run(&mut self, batches: &[Batch], record: Record) -> Result<(), ApplyError> {
        for stretch in self.stretches(batches).await? {
            let batches = &batches[stretch];
            self.open(batches.len()).await;
            self.side_by_side(batches, record).await?;
        }
        Ok(())
    }

    async fn stretches(&self, batches: &[Batch]) -> Result<Vec<Range<usize>>, ApplyError> {
        let one_by_one = || (0..batches.len()).map(|at| at..at + 1).collect();
        let neighbours = batches.windows(2).any(|pair| pair.iter().all(|batch| batch.parts.len() == 1));
        if self.most == 1 || !neighbours {
            return Ok(one_by_one());
        }
        let first = self.first();
        let mut ties = Ties::ask(&first.session, first.plan(), batches).await?;
        ties.look_for_doubles(batches, |batch| first.case.script(&batch.file, &batch.sha256))?;
        Ok(ties.stretches(batches))
    }

    /// Has as many sessions as there may be, and as there is work for.
    async fn open(&mut self, work: usize) {
        while self.sessions.len() < self.most.min(work) {
            match self.first().beside().await {
                Ok(another) => self.sessions.push(another),
                Err(why) => {
                    let count = self.sessions.len();
                    let with =
                        if count == 1 { "one connection".to_owned() } else { format!("{count} connections") };
                    self.first()
                        .tell(0, format!("live gives no further connection, so {with} did the work: {why}"));
                    self.most = count;
                }
            }
        }
    }

    async fn side_by_side(&mut self, batches: &[Batch], record: Record) -> Result<(), ApplyError> {
        let (next, stopped) = (Cell::new(0), Cell::new(false));
        let told = self.first().told();
        let lanes = self.sessions.iter_mut().take(batches.len()).map(|runner| {
            let (next, stopped) = (&next, &stopped);
            async move {
                while let Some(batch) = batches.get(next.get()).filter(|_| !stopped.get()) {
                    next.set(next.get() + 1);
                    if let Err(error) = runner.write(batch, record).await {
                        stopped.set(true);
                        return Some((batch, error));
                    }
                }
                None
            }
        });
        let errors = join_all(lanes).await.into_iter().flatten();
        let first = self.first();
        // Where it happened is said when all have ended, since others may be committed by now.
        let errors = errors.map(|(batch, error)| (batch.number, error.at(first.place(batch)))).collect();
        first.order_notes_since(told);
        ApplyError::of_several(errors, &first.done()).map_or(Ok(()), Err)
    }
}

impl Runner<'_> {
    /// Writes one batch as it is now to be written.
    async fn write(&mut self, batch: &Batch, record: Record) -> Result<(), ApplyError> {
        // The lists may have grown while the batch before was written.
        let left_out = self.look_for_tombstones(Some(batch)).await?;
        let steps = without(self.case.script(&batch.file, &batch.sha256)?, batch, &left_out);
        self.run(&Job { batch, steps, left_out }, record).await?;
        self.around.progress.advance(Step::Apply, batch.parts.iter().map(|part: &Part| part.rows).sum());
        Ok(())
    }
}
