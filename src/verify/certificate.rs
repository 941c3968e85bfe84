//! `certificate.json`: what verify found. Keys are named, other values never.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::VerifyError;
use crate::apply::RowKey;
use crate::catalog::ForeignKey;
use crate::diff::{DiffedTable, RowAction};
use crate::ident::TableName;
use crate::staging::write_atomic;

/// Format number of the file.
pub const CERTIFICATE_FORMAT: u32 = 1;

/// What verify found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Always [`CERTIFICATE_FORMAT`].
    pub format: u32,
    /// Seal of the plan.
    pub plan: String,
    /// The database.
    pub dbname: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Batches of the plan.
    pub batches: u32,
    /// Batches that are applied.
    pub committed: u32,
    /// Batches that were taken back.
    pub undone: u32,
    /// By table, parents first.
    pub tables: Vec<TableCheck>,
    /// By foreign key of a table with planned rows.
    pub foreign_keys: Vec<KeyCheck>,
    /// Sequences that feed columns of recovered rows.
    pub sequences: Vec<SequenceCheck>,
    /// Planned rows that are not as planned.
    pub mismatches: Vec<Mismatch>,
    /// Mismatches that are not listed because there are too many.
    pub unlisted: u64,
    /// What else a person should know, one line each.
    pub notes: Vec<String>,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCheck {
    /// The table.
    pub table: TableName,
    /// Staged rows.
    pub staged: u64,
    /// Staged rows that the plan writes.
    pub planned: u64,
    /// Planned rows that are in live as planned.
    pub equal: u64,
    /// Planned rows that are not.
    pub mismatched: u64,
    /// Staged rows that the plan leaves out, by verdict.
    pub left_out: BTreeMap<String, u64>,
}

impl TableCheck {
    pub(super) fn new(diffed: &DiffedTable) -> Self {
        // Rows that move are counted where both of their tables are looked at.
        let written = |action: &RowAction| action.writes() && *action != RowAction::Move;
        let planned = diffed.actions.iter().filter(|(action, _)| written(action));
        let planned: u64 = planned.map(|(_, rows)| *rows).sum();
        Self { staged: diffed.staged.rows, planned, ..Self::empty(diffed.table.clone()) }
    }

    /// A table of which nothing is staged.
    pub(super) fn empty(table: TableName) -> Self {
        Self { table, staged: 0, planned: 0, equal: 0, mismatched: 0, left_out: BTreeMap::new() }
    }
}

/// One foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCheck {
    /// Its name.
    pub name: String,
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Planned rows that were looked at.
    pub rows: u64,
    /// Of them, those in live that refer to a parent that is not there.
    pub orphans: u64,
}

impl KeyCheck {
    pub(super) fn new(fk: &ForeignKey) -> Self {
        let (name, child, parent) = (fk.name.clone(), fk.child.clone(), fk.parent.clone());
        Self { name, child, parent, rows: 0, orphans: 0 }
    }
}

/// One sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceCheck {
    /// The sequence.
    pub sequence: TableName,
    /// The highest number of a recovered row.
    pub highest: i64,
    /// The last number it handed out; `None` when it never did.
    pub last_value: Option<i64>,
}

impl SequenceCheck {
    /// Will it never hand out a recovered number again?
    pub fn is_ahead(&self) -> bool {
        self.last_value.is_some_and(|last| last >= self.highest)
    }
}

/// A planned row that is not as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The table.
    pub table: TableName,
    /// The row.
    pub key: RowKey,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: Problem,
    /// What apply or undo said about the row; `None` when nobody knows why.
    pub explained: Option<String>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// Not in live.
    Missing,
    /// In live with other values.
    Differs {
        /// The columns.
        columns: Vec<String>,
    },
    /// A row under its key is as planned, but may be another one: apply left the planned row alone.
    Untold,
    /// In live although it was taken back.
    StillThere,
    /// In the table that it was to leave.
    NotGone,
    /// In live although exclude_keys names it, or what it hangs on.
    Named,
    /// It refers to a parent that is not there.
    Orphan {
        /// Name of the foreign key.
        foreign_key: String,
    },
    /// It hangs on a row whose owner was set right, and has the owner that this had.
    Across {
        /// Name of the foreign key.
        foreign_key: String,
        /// The owner's column.
        owner: String,
    },
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({}): ", self.table, self.key)?;
        match &self.problem {
            Problem::Missing => formatter.write_str("not in live"),
            Problem::Differs { columns } => write!(formatter, "live differs in {}", columns.join(", ")),
            Problem::Untold => {
                formatter.write_str("live has such a row, of which nothing tells that it is this one")
            }
            Problem::StillThere => formatter.write_str("in live although it was taken back"),
            Problem::NotGone => formatter.write_str("still here, which it was to leave"),
            Problem::Named => formatter.write_str("must not be in live"),
            Problem::Orphan { foreign_key } => {
                write!(formatter, "its parent by {foreign_key} is not in live")
            }
            Problem::Across { foreign_key, owner } => write!(
                formatter,
                "its {owner} is the one that its parent by {foreign_key} had, which was set right; an entry of kind \"misrouted\" about the table \
                 decides whose it is"
            ),
        }?;
        match &self.explained {
            Some(reason) => write!(formatter, " ({reason})"),
            None => Ok(()),
        }
    }
}

impl Certificate {
    /// Is everything as it should be?
    pub fn complete(&self) -> bool {
        self.mismatches.is_empty() && self.unlisted == 0 && self.sequences.iter().all(SequenceCheck::is_ahead)
    }

    /// Is everything that was planned as it should be, whatever hangs on it?
    pub fn is_as_planned(&self) -> bool {
        let is_beside = |mismatch: &Mismatch| matches!(mismatch.problem, Problem::Across { .. });
        let sequences = self.sequences.iter().all(SequenceCheck::is_ahead);
        self.mismatches.iter().all(is_beside) && self.unlisted == 0 && sequences
    }

    /// What is wrong, one line each.
    pub fn complaints(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.mismatches.iter().map(ToString::to_string).collect();
        if self.unlisted > 0 {
            lines.push(format!("{} rows more are not listed", self.unlisted));
        }
        let behind = self.sequences.iter().filter(|sequence| !sequence.is_ahead());
        lines.extend(behind.map(|sequence| {
            format!("{} could hand out {} or a lower number again", sequence.sequence, sequence.highest)
        }));
        lines
    }

    /// Writes `certificate.json`.
    pub(super) fn store(&self, case: &Path) -> Result<(), VerifyError> {
        let path = case.join("certificate.json");
        let unwritable = |cause: io::Error| VerifyError::CertificateUnwritable { path: path.clone(), cause };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| unwritable(error.into()))?;
        text.push(b'\n');
        write_atomic(&path, &text).map_err(unwritable)
    }

    /// Reads `certificate.json`; `None` when there is none, or one of another plan.
    pub fn load(case: &Path, plan: &str) -> Option<Self> {
        let text = std::fs::read(case.join("certificate.json")).ok()?;
        let certificate: Self = serde_json::from_slice(&text).ok()?;
        (certificate.format == CERTIFICATE_FORMAT && certificate.plan == plan).then_some(certificate)
    }
}
