//! `certificate.json`: what is proven, and the rest by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::ForeignKey;
use crate::ident::TableName;
use crate::plan::{LiveIdentity, Plan};

/// Version of `certificate.json`.
const FORMAT: u32 = 1;

/// At most this many mismatching rows are named for one table; all are counted.
pub(super) const NAMED_ROWS: usize = 1000;

/// The proof of a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Always 1.
    pub format: u32,
    /// Seal of the plan that this is about.
    pub plan_seal: String,
    /// The live database.
    pub live: LiveIdentity,
    /// Is everything that was planned in live?
    pub complete: bool,
    /// Table by table.
    pub tables: Vec<CertifiedTable>,
    /// Foreign keys between the tables, with recovered rows whose parent is missing.
    pub foreign_keys: Vec<CertifiedForeignKey>,
    /// Sequences that had to move.
    pub sequences: Vec<CertifiedSequence>,
    /// What is not as planned, one line each.
    pub unexplained: Vec<String>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedTable {
    /// The table.
    pub table: TableName,
    /// Staged rows.
    pub staged: u64,
    /// Rows that the plan writes.
    pub planned: u64,
    /// Of them, rows that are in live with every planned value.
    pub equal: u64,
    /// Rows that the plan leaves out, by verdict.
    pub left_out: BTreeMap<String, u64>,
    /// Planned rows that are not as planned; the first 1,000.
    pub mismatches: Vec<Mismatch>,
    /// Planned rows whose parent is missing, by what the diff says of them.
    pub orphans: u64,
}

/// A row that is not as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The key's values.
    pub key: Vec<String>,
    /// What is wrong.
    pub problem: String,
}

/// One foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedForeignKey {
    /// Its name.
    pub name: String,
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Does live itself enforce it?
    pub enforced: bool,
    /// Recovered children without a parent.
    pub orphans: u64,
}

/// One sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedSequence {
    /// The sequence.
    pub sequence: TableName,
    /// It must be here or further.
    pub at_least: i64,
    /// Where it is.
    pub last_value: Option<i64>,
}

impl Certificate {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            format: FORMAT,
            plan_seal: plan.seal.clone(),
            live: plan.live.clone(),
            complete: false,
            tables: Vec::new(),
            foreign_keys: Vec::new(),
            sequences: Vec::new(),
            unexplained: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, table: CertifiedTable) {
        self.tables.push(table);
    }

    /// Orphans that the diff of now found among the child's planned rows; an enforced key cannot have any.
    pub(super) fn orphans_of(&self, fk: &ForeignKey) -> u64 {
        if fk.is_enforced() {
            return 0;
        }
        self.tables.iter().filter(|table| table.table == fk.child).map(|table| table.orphans).sum()
    }

    /// Draws the conclusion.
    pub(super) fn closed(mut self) -> Self {
        for table in &self.tables {
            if table.equal < table.planned {
                self.unexplained.push(format!(
                    "{}: {} of {} planned rows are not in live as planned",
                    table.table,
                    table.planned - table.equal,
                    table.planned
                ));
                let named = table.mismatches.iter().take(20);
                self.unexplained.extend(
                    named.map(|row| format!("{} ({}): {}", table.table, row.key.join(", "), row.problem)),
                );
            }
        }
        for fk in self.foreign_keys.iter().filter(|fk| fk.orphans > 0) {
            self.unexplained.push(format!("{}: {} recovered rows have no parent", fk.name, fk.orphans));
        }
        for sequence in &self.sequences {
            if sequence.last_value.is_none_or(|last| last < sequence.at_least) {
                self.unexplained.push(format!(
                    "sequence {} is behind {}: it would hand out a recovered number again",
                    sequence.sequence, sequence.at_least
                ));
            }
        }
        self.complete = self.unexplained.is_empty();
        self
    }
}
