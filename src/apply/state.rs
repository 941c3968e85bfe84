//! Where a case stands, read from its files alone: for verify and the report. Asks no server, takes no lock.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::batch_history::Standing;
use super::history::History;
use super::journal::Journal;
use super::named::{WHAT, asking_for_made, made_of, named_late};
use super::sealed::{Purpose, SealedCase, certified};
use super::summary::{held_rows, leftovers, of_others};
use super::tombstones::Tombstones;
use super::{ApplyError, HeldRow, Leftover, RowKey};
use crate::ident::TableName;
use crate::pg::ReadSession;
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
    /// Rows that undo left alone, or not as before in some columns.
    pub held: Vec<HeldRow>,
    /// Did triggers do anything beside the planned rows? Whether it is still there only `undo` knows, which looks.
    #[serde(default)]
    pub beside: bool,
    /// Planned rows that apply found in live, or did not write: whatever live holds of them is not for undo.
    #[serde(skip)]
    pub of_others: BTreeSet<(TableName, RowKey)>,
    /// Rows that apply wrote, or had triggers make, and that exclude_keys names by now, or what they hang on; filled by
    /// [`AppliedState::look_for_tombstones`].
    #[serde(skip)]
    pub named: Vec<Leftover>,
    /// Transactions of the plan that live's journal knows and the case's does not; filled by whoever asks live.
    #[serde(skip)]
    pub unknown: usize,
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
            beside: !history.traces.is_empty() || !history.made.is_empty(),
            of_others: of_others(&history),
            named: Vec::new(),
            unknown: 0,
            last: journal.lines().last().map(|line| line.at.clone()),
        })
    }

    /// Refuses to speak for a journal that has lost lines since `verify` ran last.
    pub fn check_against_certificate(&self, case: &Path, plan: &Plan) -> Result<(), ApplyError> {
        let known = [self.committed, self.undone, self.in_doubt].iter().map(|count| *count as usize).sum();
        let certified = certified(case, &plan.seal);
        if certified > known { Err(ApplyError::JournalLost { certified, known }) } else { Ok(()) }
    }

    /// Reads exclude_keys once more: rows that it came to name after they were written, whether or not live still has them, and
    /// rows of live that triggers made although it names them.
    pub async fn look_for_tombstones(
        &mut self,
        case: &Path,
        plan: &Plan,
        reader: &ReadSession,
    ) -> Result<(), ApplyError> {
        let journal = Journal::read(case)?;
        let history = History::of(plan, journal.lines())?;
        let committed = history.numbers(Standing::Committed).len();
        if committed == 0 {
            return Ok(());
        }
        let mut tombstones = Tombstones::of(plan);
        if let Some(lists) = tombstones.changed(plan, committed)? {
            let sealed = SealedCase::open(case, Purpose::Apply)?;
            tombstones.find(&sealed, reader, &lists, committed).await?;
        }
        self.named = named_late(&tombstones, plan, &history);
        for (table, sql) in asking_for_made(plan, &history, committed)? {
            let rows = reader.text_rows(WHAT, &sql).await?;
            self.named.extend(made_of(&history, &table, &rows)?);
        }
        Ok(())
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
