//! The sealed list of batches. Pure: the same input gives the same bytes; no async, no files, no clock, no random.

mod declared;
mod firing;
mod hanging;
mod moves;
mod order;
mod parents;
pub mod recall;
pub mod script;
mod sequence;
mod sql;
mod stages;
mod tombstones;
mod triggers;
mod undo;

pub use declared::{OLDEST_TRANSACTION, OWN_TRANSACTIONS};
pub use firing::{Firing, needs_and_risks};
pub use order::{RowOrder, pack};
pub use parents::{ParentGuard, Tells};
pub use sequence::SequenceMove;
pub use sql::{BatchTable, YIELDING, batch_script, batch_script_with, row_key_json, sequence_script};
pub use tombstones::{Reference, TombstoneFile, Tombstones};
pub use triggers::{triggers_that_fire, triggers_that_fire_on_leaving};
pub use undo::{
    NEWEST_TRANSACTION, NOT_TAKEN, OVERRULED, PUT_BACK, REWRITTEN, undo_script, undo_script_with,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ident::{Ident, TableName};

/// Version of `plan.json` and of the batch files.
pub const FORMAT: u32 = 1;

/// `plan.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Always [`FORMAT`].
    pub format: u32,
    /// The live database that the plan was made for.
    pub live: LiveIdentity,
    /// SHA-256 of `staging/manifest.json`.
    pub staging_sha256: String,
    /// SHA-256 of `diff/manifest.json`.
    pub diff_sha256: String,
    /// The batches, in the order in which they are applied.
    pub batches: Vec<Batch>,
    /// Sequences that are moved forward by the last batch.
    pub sequences: Vec<SequenceMove>,
    /// Rows by table and verdict, all of the diff.
    pub verdicts: BTreeMap<TableName, BTreeMap<String, u64>>,
    /// Rows by evidence, of those that will be written.
    pub evidence: BTreeMap<String, u64>,
    /// What the plan comes to.
    pub totals: Totals,
    /// User triggers that will fire, one line each.
    pub triggers: Vec<String>,
    /// What a person should know before applying, one line each.
    pub notes: Vec<String>,
    /// Lists of rows that were deleted on purpose, which apply reads again.
    #[serde(default, skip_serializing_if = "Tombstones::is_empty")]
    pub tombstones: Tombstones,
    /// References of the recipe to tables into which the plan inserts, or of which rows move with those of others: the server does
    /// not know who refers by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<Reference>,
    /// SHA-256 over all of the above.
    pub seal: String,
}

/// What a plan comes to, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Lost rows that come back.
    pub insert: u64,
    /// Rows whose damaged columns are set right.
    pub repair: u64,
    /// Rows whose cut link is set again.
    pub relink: u64,
    /// Rows that are left as they are and need a human.
    pub conflicts: u64,
    /// Rows that are not part of the recovery although the recipe seems to mean them, and keys of live that were not followed.
    #[serde(default)]
    pub left_out: u64,
}

/// Which database a plan is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveIdentity {
    /// From the control file; `None` where the role may not read it.
    pub system_identifier: Option<String>,
    /// The database's name.
    pub dbname: String,
    /// The database's oid.
    pub database_oid: u32,
}

impl LiveIdentity {
    /// In words, with all that tells it from others.
    pub fn describe(&self) -> String {
        let system = self.system_identifier.as_deref().unwrap_or("unknown");
        format!("\"{}\" (oid {}, system identifier {system})", self.dbname, self.database_oid)
    }

    /// Is it the same database, which had the other name before?
    pub fn was_renamed_to(&self, other: &Self) -> bool {
        let is_same =
            self.database_oid == other.database_oid && self.system_identifier == other.system_identifier;
        is_same && self.system_identifier.is_some() && self.dbname != other.dbname
    }

    /// What to do where the plan is for this database and the connection leads to the other.
    pub fn way_to(&self, other: &Self) -> String {
        if self.was_renamed_to(other) {
            let (old, new) = (Ident::new(&self.dbname).quoted(), Ident::new(&other.dbname).quoted());
            return format!(
                "The database was renamed after the plan was made: give it its old name back (alter database {new} rename to {old}), or \
                 run `rowback recover` in a new case."
            );
        }
        "Connect to the database that the plan was made for, or run `rowback recover` against this one."
            .to_owned()
    }
}

/// One batch: one transaction, one file, one undo file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// From 1.
    pub number: u32,
    /// Path inside the case: `batches/0001-public.customers-insert.sql`.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Path of the undo file; `None` for the batch that moves sequences.
    pub undo_file: Option<String>,
    /// SHA-256 of the undo file.
    pub undo_sha256: Option<String>,
    /// What it writes, in the order of its temporary tables `rowback_1`, `rowback_2`, …
    pub parts: Vec<Part>,
}

/// What a batch does to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The table.
    pub table: TableName,
    /// What is done to them.
    pub action: Action,
    /// Columns that name a row.
    pub key: Vec<Ident>,
    /// Columns that are written.
    pub columns: Vec<Ident>,
    /// Number of rows.
    pub rows: u64,
    /// For rows that move: the table that they leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TableName>,
}

/// What is done to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Lost rows come back.
    Insert,
    /// Damaged, unlinked or misrouted columns get their value back.
    Update,
    /// Rows that ended up in another tenant's table come back: inserted here, deleted there.
    Move,
}

impl Action {
    /// Is a row of the temporary table named by the columns of the row itself, because the whole row is written?
    pub fn writes_whole_rows(self) -> bool {
        matches!(self, Self::Insert | Self::Move)
    }

    /// As it stands in file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Move => "move",
        }
    }
}

impl Plan {
    /// Puts the seal on: everything after this that changes the plan is noticed.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.seal = self.expected_seal();
        self
    }

    /// Is the plan as it was sealed?
    pub fn is_intact(&self) -> bool {
        self.seal == self.expected_seal()
    }

    fn expected_seal(&self) -> String {
        let open = Self { seal: String::new(), ..self.clone() };
        let bytes = serde_json::to_vec(&open).unwrap_or_default();
        sha256_hex(&bytes)
    }

    /// Rows that will be written by an action.
    pub fn rows(&self, action: Action) -> u64 {
        let parts = self.batches.iter().flat_map(|batch| &batch.parts);
        parts.filter(|part| part.action == action).map(|part| part.rows).sum()
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}
