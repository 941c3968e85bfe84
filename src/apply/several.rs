//! Batches that were written side by side and stopped together: what is said of all of them, once all have ended.

use super::ApplyError;
use super::place::{Place, Task};
use crate::error::Explain;

/// A run stopped at a batch for a reason that would have kept it from beginning, but others are through.
#[derive(Debug, thiserror::Error)]
#[error("{place}")]
pub struct Midway {
    /// Where it stopped.
    pub place: Place,
    /// Why.
    pub source: ApplyError,
}

impl Midway {
    pub(super) fn causes(&self) -> Vec<String> {
        let mut lines = vec![self.source.to_string()];
        lines.extend(self.source.causes());
        lines
    }

    /// That of the error, which knows nothing of other batches.
    pub(super) fn hint(&self) -> String {
        let hint = self.source.hint();
        let advice = hint.strip_suffix(" Nothing was changed.").unwrap_or(&hint);
        let done = if self.place.task == Task::Undo { "taken back" } else { "committed" };
        format!("{advice} Batches that are {done} stay so.")
    }
}

/// Several batches stopped; the error that needs a person most speaks for all.
#[derive(Debug, thiserror::Error)]
#[error("{first}")]
pub struct Several {
    /// That error.
    pub first: ApplyError,
    /// The other batches, each with its error.
    pub others: Vec<(u32, ApplyError)>,
}

impl Several {
    /// Those of the first error, then one line for each other batch.
    pub(super) fn causes(&self) -> Vec<String> {
        let mut lines = self.first.causes();
        lines.extend(self.others.iter().map(|(batch, error)| {
            let why = match error {
                ApplyError::Cancelled { .. } => "on request".to_owned(),
                ApplyError::ConnectionLost { .. } => "the connection was lost".to_owned(),
                ApplyError::BatchFailed { source, .. } => {
                    source.causes().into_iter().next().unwrap_or_else(|| source.to_string())
                }
                _ => error.causes().into_iter().next().unwrap_or_else(|| error.to_string()),
            };
            let left = if error.leaves_doubt() {
                "whether it is committed is not known now"
            } else {
                "it was rolled back"
            };
            format!("batch {batch} stopped as well: {why}; {left}")
        }));
        lines
    }
}

impl ApplyError {
    /// One error for batches that were written side by side and stopped, now that all have ended and `done` are through.
    pub(super) fn of_several(errors: Vec<(u32, Self)>, done: &[u32]) -> Option<Self> {
        let mut errors = errors;
        errors.sort_by_key(|(batch, error)| (error.rank(), *batch));
        for (_, error) in &mut errors {
            error.now_done(done);
        }
        let mut errors = errors.into_iter();
        let (_, first) = errors.next()?;
        let others: Vec<(u32, Self)> = errors.collect();
        Some(if others.is_empty() { first } else { Self::Several(Box::new(Several { first, others })) })
    }

    /// Says where it happened, if other batches are through and the error does not know of them.
    pub(super) fn at(self, place: Place) -> Self {
        let knows_nothing = matches!(
            self,
            Self::CaseUnreadable { .. }
                | Self::FileEdited { .. }
                | Self::JournalUnwritable { .. }
                | Self::Server(_)
        );
        if !knows_nothing || place.done.is_empty() {
            return self;
        }
        Self::Midway(Box::new(Midway { place, source: self }))
    }

    /// What needs a person most comes first.
    fn rank(&self) -> u8 {
        match self {
            Self::InDoubt { .. } => 0,
            Self::BatchFailed { .. } | Self::BatchBlocked { .. } => 2,
            Self::ConnectionLost { .. } => 3,
            Self::Cancelled { .. } => 4,
            _ => 1,
        }
    }

    /// Batches that were at work beside this one may have been committed since the error was made.
    fn now_done(&mut self, done: &[u32]) {
        match self {
            Self::BatchBlocked { place, .. }
            | Self::BatchFailed { place, .. }
            | Self::Cancelled { place }
            | Self::ConnectionLost { place, .. }
            | Self::InDoubt { place: Some(place), .. } => done.clone_into(&mut place.done),
            Self::Midway(midway) => done.clone_into(&mut midway.place.done),
            Self::Tombstones(error) => error.committed = done.len(),
            _ => {}
        }
    }

    /// Is it not known whether the batch is committed?
    fn leaves_doubt(&self) -> bool {
        match self {
            Self::Midway(midway) => midway.source.leaves_doubt(),
            other => matches!(other, Self::InDoubt { .. } | Self::JournalUnwritable { .. } | Self::Server(_)),
        }
    }
}
