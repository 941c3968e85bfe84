//! `diff/manifest.json`: what the diff found, table by table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::convoy_files::ConvoyFiles;
use super::transfer::TransferFiles;
use super::verdict::{Evidence, RowAction, Verdict};
use crate::catalog::Catalog;
use crate::extract::{LeftOut, Unfollowed};
use crate::ident::{Ident, TableName};
use crate::pg::ServerIdentity;
use crate::staging::StagedFile;

/// Version of `diff/manifest.json`.
pub const FORMAT: u32 = 2;

/// Folder inside that of the diff for files of rows that were looked for in live.
pub const FOUND: &str = "found";

/// `diff/manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Diffed {
    /// Always [`FORMAT`].
    pub format: u32,
    /// The live database that was read.
    pub live: ServerIdentity,
    /// SHA-256 of `staging/manifest.json`.
    pub staging_sha256: String,
    /// The tables, parents first.
    pub tables: Vec<DiffedTable>,
    /// Rows that must change together with rows of these tables.
    #[serde(default)]
    pub convoys: Vec<ConvoyFiles>,
    /// Rows that go from one table to another.
    #[serde(default)]
    pub transfers: Option<TransferFiles>,
    /// Lost rows by foreign key, as [`missing_key`] names them.
    pub missing: BTreeMap<String, u64>,
    /// Sequences of live that recovered rows touch.
    pub sequences: Vec<SequenceState>,
    /// Rows that are not part of the recovery although the recipe seems to mean them.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// References of live that were not followed.
    #[serde(default)]
    pub unfollowed: Vec<Unfollowed>,
    /// Rows of the backup that entries only look at and that live lacks, unless something tells that the accident left them.
    #[serde(default)]
    pub gone: u64,
    /// Live's structure, of the staged tables and what refers to them, with declared references.
    pub catalog: Catalog,
    /// The lists of rows that were deleted on purpose, as they were read.
    #[serde(default)]
    pub tombstones: Vec<TombstonesRead>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Those of the notes that tell where misrouted rows may be at which nobody looks: `verify` says them again.
    #[serde(default)]
    pub unseen: BTreeSet<String>,
}

/// A file of `exclude_keys` that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TombstonesRead {
    /// The table whose rows it lists.
    pub table: TableName,
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of what was read.
    pub sha256: String,
}

/// How [`Diffed::missing`] names a foreign key: names alone may be the same in many tables.
pub fn missing_key(child: &TableName, foreign_key: &str) -> String {
    format!("{child} {foreign_key}")
}

impl Diffed {
    /// Rows that are not part of the recovery although the recipe seems to mean them.
    pub fn rows_left_out(&self) -> u64 {
        self.gone + self.rows_of_heirs() + self.keys_not_followed()
    }

    /// References of live along which rows of the backup may be missed; how many rows is not known.
    pub fn keys_not_followed(&self) -> u64 {
        self.unfollowed.iter().map(|key| u64::from(key.in_backup)).sum()
    }

    /// Of them, those of tables that inherit from a table of the recipe.
    pub fn rows_of_heirs(&self) -> u64 {
        self.left_out.iter().map(|left| left.rows).sum()
    }

    /// Rows that move with others, by table: those that are updated, and those that PostgreSQL moves by ON UPDATE CASCADE.
    pub fn followers(&self) -> BTreeMap<TableName, (u64, u64)> {
        let mut found: BTreeMap<TableName, (u64, u64)> = BTreeMap::new();
        for table in self.convoys.iter().flat_map(|convoy| &convoy.following) {
            let (moved, cascaded) = found.entry(table.table.clone()).or_default();
            *moved += table.moved;
            *cascaded += table.cascaded;
        }
        for table in self.transfers.iter().flat_map(|transfers| &transfers.tables) {
            found.entry(table.to.clone()).or_default().0 += table.unlisted;
        }
        found.retain(|_, (moved, cascaded)| *moved + *cascaded > 0);
        found
    }
}

/// The diff of one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiffedTable {
    /// The table in live.
    pub table: TableName,
    /// The staged file it was made from.
    pub staged: StagedFile,
    /// The diff file.
    pub file: StagedFile,
    /// The diff file of rows that were looked for in live, in the folder [`FOUND`]; their counts are among the others.
    #[serde(default)]
    pub found: Option<StagedFile>,
    /// Live's column for each staged one; `None` for a column that is not compared.
    pub columns: Vec<Option<Ident>>,
    /// Rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Rows by action.
    pub actions: BTreeMap<RowAction, u64>,
    /// Rows that will be written, by evidence.
    pub written: BTreeMap<Evidence, u64>,
    /// Rows of a verdict that is a conflict, with which the recipe's policy knows what to do.
    #[serde(default)]
    pub by_policy: BTreeMap<Verdict, u64>,
}

impl DiffedTable {
    /// Rows that are left for a human.
    pub fn conflicts(&self) -> u64 {
        let conflicts = self.verdicts.iter().filter(|(verdict, _)| verdict.is_conflict());
        let settled = |verdict: &Verdict| self.by_policy.get(verdict).copied().unwrap_or(0);
        conflicts.map(|(verdict, rows)| rows.saturating_sub(settled(verdict))).sum()
    }
}

/// A sequence and what recovered rows mean for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    /// The sequence.
    pub sequence: TableName,
    /// The column that it feeds.
    pub column: Ident,
    /// The highest number of a recovered row.
    pub highest: i64,
    /// Its step.
    pub increment: i64,
    /// The last number it handed out; `None` when it never did.
    pub last_value: Option<i64>,
}
