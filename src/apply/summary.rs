//! What apply and undo tell at their end. Plain data; keys are named, other values never.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::RowKey;
use super::batch_history::{BatchHistory, GONE, Standing};
use super::history::History;
use super::journal::Exception;
use super::removed::{Fate, RemovedRows};
use super::row_key::RowName;
use crate::ident::TableName;

/// Why a staged row did not end as staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Live had exactly this row already; nothing was written, nothing is left to do.
    Present,
    /// Live holds other values under this key, or changed them since the plan: left alone.
    Kept,
    /// Not written: its parent in live is not the one it belongs to, or is not there.
    HeldBack,
    /// Not written: rows that the batch does not write hang on the value, and the update would cut them off.
    HungOn,
    /// Not written: live refused the row when it was written by itself.
    Refused,
    /// Not moved: in live now, rows hang on it or go with it that cannot move.
    Stays,
    /// Not inserted, and not there: another unique constraint or a trigger stands in the way.
    Blocked,
    /// Written, and gone again before the commit: a trigger took it away.
    Swallowed,
    /// Written, but a trigger, or a column's type, left other values than the staged ones.
    Altered,
    /// The row to be repaired is not there any more.
    Missing,
    /// Live holds what the plan saw, and a trigger dropped the change.
    Dropped,
    /// Named in the recipe's tombstones since the plan was made, or hanging on such a row: not written.
    Excluded,
    /// Written before the recipe's tombstones named it, or what it hangs on, and in live.
    NamedLate,
    /// Named in the recipe's tombstones, and made again by a trigger while rows came back.
    MadeAgain,
    /// No part of the recovery: it was in live, and a trigger removed it while rows came back.
    Removed,
    /// The same of rows that can only be counted.
    RemovedUnseen,
    /// No part of the recovery: a trigger removed it, or moved it to another partition with other values.
    Departed,
}

/// The word for a row that was left out because a list of tombstones names it by now.
pub(super) const EXCLUDED: &str = "excluded";

impl Outcome {
    /// From the word that a report step returns.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "present" => Self::Present,
            "kept" => Self::Kept,
            "held_back" => Self::HeldBack,
            "hung_on" => Self::HungOn,
            "refused" => Self::Refused,
            "stays" => Self::Stays,
            "blocked" => Self::Blocked,
            "swallowed" => Self::Swallowed,
            "altered" => Self::Altered,
            "missing" => Self::Missing,
            "dropped" => Self::Dropped,
            EXCLUDED => Self::Excluded,
            _ => return None,
        })
    }

    /// What it means, in words for a person.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Present => "was already there, equal",
            Self::Kept => "live holds other values, left alone",
            Self::HeldBack => "held back: its parent in live is another one, or is not there",
            Self::HungOn => "not written: rows of others hang on the value that it has, and would be cut off",
            Self::Refused => "live refused it",
            Self::Stays => "not moved: a row that goes with it or hangs on it cannot",
            Self::Blocked => "not inserted: another unique constraint or a trigger stands in the way",
            Self::Swallowed => "written, then removed again by a trigger",
            Self::Altered => {
                "written, but live holds other values: a trigger, or the column's type, changed them"
            }
            Self::Missing => "the row to repair is not there any more",
            Self::Dropped => "not repaired: a trigger dropped the change",
            Self::Excluded => "not written: exclude_keys names it by now, or what it hangs on",
            Self::NamedLate => {
                "in live: exclude_keys names it, or what it hangs on, since it was written; it is not taken out again"
            }
            Self::MadeAgain => {
                "in live: exclude_keys names it, and a trigger made it again while rows came back"
            }
            Self::Removed => "was in live, and a trigger removed it while rows came back; undo puts it back",
            Self::RemovedUnseen => {
                "triggers removed rows while others came back, and undo cannot put them back"
            }
            Self::Departed => {
                "was in live, and a trigger removed it, or moved it to another partition, while rows came back; undo leaves it"
            }
        }
    }

    /// Did this transaction write the row, so that undo must take it back?
    pub(super) fn wrote(self) -> bool {
        self == Self::Altered
    }
}

/// A row that needs a person to look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The batch.
    pub batch: u32,
    /// The table.
    pub table: TableName,
    /// The row.
    pub key: RowKey,
    /// What became of it.
    pub outcome: Outcome,
    /// What the server said, where it refused the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Leftover {
    /// What became of it and why, in words for a person.
    pub fn reason(&self) -> String {
        match &self.because {
            Some(because) => format!("{}: {because}", self.outcome.meaning()),
            None => self.outcome.meaning().to_owned(),
        }
    }
}

/// Rows written to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCount {
    /// The table.
    pub table: TableName,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows moved here out of another table.
    #[serde(default)]
    pub moved: u64,
    /// Rows that were there already, equal.
    pub present: u64,
}

/// What apply did, this time and in earlier runs of the same plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplySummary {
    /// Was everything rolled back at the end? Then the numbers say what would have happened.
    pub dry_run: bool,
    /// The database.
    pub dbname: String,
    /// Batches of the plan.
    pub batches: u32,
    /// Batches that this run committed (in a dry run: tried).
    pub committed_now: u32,
    /// Batches that earlier runs committed.
    pub committed_before: u32,
    /// Rows inserted, by this run and earlier ones.
    pub inserted: u64,
    /// Rows updated, by this run and earlier ones.
    pub updated: u64,
    /// Rows moved from one table to another, by this run and earlier ones.
    pub moved: u64,
    /// The same by table, in the order of the plan.
    pub tables: Vec<TableCount>,
    /// Rows that the plan leaves to a human: it writes none of them.
    pub conflicts: u64,
    /// Rows that did not end as staged.
    pub leftovers: Vec<Leftover>,
    /// What else a person should know, one line each.
    pub notes: Vec<String>,
}

impl ApplySummary {
    /// Did every staged row end as staged?
    pub fn complete(&self) -> bool {
        self.leftovers.is_empty()
    }

    /// Had earlier runs done everything?
    pub fn was_done_before(&self) -> bool {
        self.batches > 0 && self.committed_now == 0 && self.committed_before == self.batches
    }
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_one(rows: &u64) -> bool {
    *rows == 1
}

/// A row that undo left alone, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRow {
    /// The batch.
    pub batch: u32,
    /// The table.
    pub table: TableName,
    /// The row.
    pub key: RowKey,
    /// `gone`, `changed since`, or `still referred to by <table>`.
    pub reason: String,
    /// How many rows these are: several where their table is not as it was, and then they are not named.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub rows: u64,
    /// Of a row that was taken back: the columns that triggers changed, so that they are not as before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// What triggers did beside the rows that were taken back, and what is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// The table.
    pub table: TableName,
    /// How many rows.
    pub rows: u64,
    /// The columns that are not as they were before apply; none where triggers made the rows.
    pub columns: Vec<String>,
    /// The rows, as far as they can be named, and at most a thousand.
    pub keys: Vec<RowKey>,
    /// Was the table looked at? One that is too large, or that may not be read, is not: then some of the rows may be gone.
    pub looked: bool,
    /// Of rows that triggers did not make: what they did to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// Why this undo could not put them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Rows taken back in one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoCount {
    /// The table.
    pub table: TableName,
    /// Inserted rows that were deleted again.
    pub removed: u64,
    /// Updated rows that got the values back that they had before apply, and moved rows that went back.
    pub restored: u64,
}

/// What undo did, this time and in earlier runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoSummary {
    /// The database.
    pub dbname: String,
    /// Batches that this run took back.
    pub undone_now: u32,
    /// Batches that earlier runs took back.
    pub undone_before: u32,
    /// Inserted rows deleted again, by this run and earlier ones.
    pub removed: u64,
    /// Updated rows with their former values again, by this run and earlier ones.
    pub restored: u64,
    /// The same by table, in the order of the plan.
    pub tables: Vec<UndoCount>,
    /// Rows left alone, or not as before in some columns.
    pub held: Vec<HeldRow>,
    /// What triggers left behind.
    pub remains: Vec<Remains>,
    /// What else a person should know, one line each.
    pub notes: Vec<String>,
}

impl UndoSummary {
    /// Is everything that apply wrote taken back?
    pub fn complete(&self) -> bool {
        self.held.is_empty() && self.remains.is_empty()
    }
}

/// Rows of applied batches that did not end as staged.
pub(super) fn leftovers(history: &History) -> Vec<Leftover> {
    let mut found = Vec::new();
    for (batch, of_batch) in history.all().filter(|(_, batch)| batch.standing == Standing::Committed) {
        for part in &of_batch.written {
            let left = part.exceptions.iter().filter(|exception| exception.outcome != Outcome::Present);
            found.extend(left.map(|exception| Leftover {
                batch,
                table: part.table.clone(),
                key: exception.key.clone(),
                outcome: exception.outcome,
                because: exception.because.clone(),
            }));
        }
        found.extend(moved_rows(batch, of_batch));
        found.extend(
            history
                .traces
                .removed_by(batch)
                .filter(|rows| rows.fate != Fate::Changed)
                .flat_map(|rows| removed_rows(batch, rows))
                .filter(|row| {
                    let is_row = |one: &Exception| one.key == row.key && one.outcome != Outcome::Present;
                    !of_batch
                        .written
                        .iter()
                        .any(|part| part.table == row.table && part.exceptions.iter().any(is_row))
                }),
        );
    }
    found
}

/// Rows that a trigger removed: such as this recovery had put back, and such as are none of its own.
fn removed_rows(batch: u32, rows: &RemovedRows) -> impl Iterator<Item = Leftover> + '_ {
    let outcome = match (rows.fate, rows.unseen) {
        (Fate::Removed, 0) => Outcome::Removed,
        (Fate::Recovered, _) => Outcome::Swallowed,
        (Fate::Departed, _) => Outcome::Departed,
        (Fate::Removed | Fate::Displaced | Fate::Back | Fate::Changed, _) => Outcome::RemovedUnseen,
    };
    let left = move |key, because| Leftover { batch, table: rows.table.clone(), key, outcome, because };
    let unseen = (rows.unseen > 0).then(|| left(RowKey::default(), Some(rows.why_unseen())));
    rows.keys().map(move |key| left(key, None)).chain(unseen)
}

/// Rows that a later batch's triggers left with other values, as far as they are not listed for something else.
fn moved_rows(number: u32, history: &BatchHistory) -> impl Iterator<Item = Leftover> + '_ {
    history.moved.iter().filter_map(move |(part, key)| {
        let record = history.written.get(*part)?;
        let known = record
            .exceptions
            .iter()
            .any(|exception| exception.key == *key && exception.outcome != Outcome::Present);
        let (table, key) = (record.table.clone(), key.clone());
        (!known).then_some(Leftover { batch: number, table, key, outcome: Outcome::Altered, because: None })
    })
}

/// Rows that the last transaction of apply did not write, nor an earlier one.
pub(super) fn of_others(history: &History) -> BTreeSet<RowName> {
    let parts = history.all().flat_map(|(_, batch)| &batch.written);
    let others = parts.flat_map(|part| {
        let exceptions = part.exceptions.iter().filter(|row| !row.ours && !row.outcome.wrote());
        exceptions.map(|row| (part.table.clone(), row.key.clone()))
    });
    others.collect()
}

/// Rows that undo left alone, of several attempts by the last one, and those that were gone already; and rows that it took
/// back, but not in all columns.
pub(super) fn held_rows(history: &History) -> Vec<HeldRow> {
    let mut found = Vec::new();
    for (batch, of_batch) in history.all() {
        let mut left = history.traces.left(batch);
        let (earlier, last) = of_batch.taken.split_at(of_batch.held_since);
        let gone = earlier.iter().map(|part| (part, true));
        for (part, is_earlier) in gone.chain(last.iter().map(|part| (part, false))) {
            for row in part.held.iter().filter(|row| !is_earlier || row.reason == GONE) {
                let name = (part.table.clone(), row.key.clone());
                let columns = left.remove(&name).cloned().unwrap_or_default();
                let reason = match columns.as_slice() {
                    [] => row.reason.clone(),
                    columns => format!("{} of {}", row.reason, columns.join(", ")),
                };
                found.push(HeldRow { batch, table: name.0, key: name.1, reason, rows: 1, columns });
            }
        }
        found.extend(left.into_iter().map(|((table, key), columns)| HeldRow {
            batch,
            table,
            key,
            reason: format!("taken back, but triggers changed {}", columns.join(", ")),
            rows: 1,
            columns: columns.clone(),
        }));
    }
    found
}
