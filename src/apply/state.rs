//! Where a case stands, read from its files alone: for verify and the report. Asks no server, takes no lock.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::history::{History, Standing};
use super::journal::Journal;
use super::summary::{held_rows, leftovers, of_others};
use super::{ApplyError, HeldRow, Leftover, RowKey};
use crate::ident::TableName;
use crate::plan::Plan;

/// What the journal says about a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedState {
    /// Batches of the plan.
    pub batches: u32,
    /// Batches that are applied.
    pub committed: u32,
    /// Batches that were applied and taken back.
    pub undone: u32,
    /// Batches of which it is not known whether they are committed.
    pub in_doubt: u32,
    /// Rows of applied batches that did not end as staged.
    pub leftovers: Vec<Leftover>,
    /// Rows that undo left alone.
    pub held: Vec<HeldRow>,
    /// Planned rows that apply found in live, or did not write: whatever live holds of them is not for undo.
    #[serde(skip)]
    pub of_others: BTreeSet<(TableName, RowKey)>,
    /// When the journal was last written, RFC 3339 in UTC.
    pub last: Option<String>,
}

impl AppliedState {
    /// Reads the journal of a case.
    pub fn read(case: &Path, plan: &Plan) -> Result<Self, ApplyError> {
        let journal = Journal::read(case)?;
        let history = History::of(plan, journal.lines())?;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Self {
            batches: number(plan.batches.len()),
            committed: number(history.numbers(Standing::Committed).len()),
            undone: number(history.numbers(Standing::Undone).len()),
            in_doubt: number(history.all().filter(|(_, batch)| batch.pending.is_some()).count()),
            leftovers: leftovers(&history),
            held: held_rows(&history),
            of_others: of_others(&history),
            last: journal.lines().last().map(|line| line.at.clone()),
        })
    }

    /// Is this planned row somebody else's, or was it never written?
    pub fn is_of_others(&self, table: &TableName, key: &RowKey) -> bool {
        self.of_others.contains(&(table.clone(), key.clone()))
    }

    /// Was everything that was applied taken back again?
    pub fn is_undone(&self) -> bool {
        self.undone > 0 && self.committed == 0
    }
}
