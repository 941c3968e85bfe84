//! What each stage found, as plain values for printing and JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::timing::Timings;
use crate::diff::{Diffed, Verdict};
use crate::ident::TableName;
use crate::plan::Plan;
use crate::scratch::Pass;

/// Rows by table and verdict.
pub type Verdicts = BTreeMap<TableName, BTreeMap<String, u64>>;

/// What was staged.
#[derive(Debug, Clone, Serialize)]
pub struct ExtractSummary {
    /// Staged rows by table.
    pub tables: BTreeMap<TableName, u64>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What was loaded into scratch, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<Pass>,
    /// Seconds by step.
    pub timings: Timings,
}

/// What the diff found.
#[derive(Debug, Clone, Serialize)]
pub struct DiffSummary {
    /// Rows by table and verdict.
    pub verdicts: Verdicts,
    /// Rows that need a human.
    pub conflicts: u64,
    /// Rows that are not part of the recovery although the recipe seems to mean them, and keys of live that were not followed.
    pub left_out: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl DiffSummary {
    pub(super) fn of(diffed: &Diffed) -> Self {
        let mut verdicts = Verdicts::new();
        let mut conflicts = 0;
        for table in &diffed.tables {
            let counts = verdicts.entry(table.table.clone()).or_default();
            conflicts += table.conflicts();
            for (verdict, count) in &table.verdicts {
                counts.insert(verdict.word().to_owned(), *count);
            }
        }
        for (table, (moved, cascaded)) in diffed.followers() {
            let counts = verdicts.entry(table).or_default();
            *counts.entry(Verdict::Misrouted.word().to_owned()).or_default() += moved + cascaded;
        }
        Self { verdicts, conflicts, left_out: diffed.rows_left_out(), notes: diffed.notes.clone() }
    }

    /// Is something left for a human?
    pub fn leftover(&self) -> bool {
        self.conflicts > 0 || self.left_out > 0
    }
}

/// What will be done.
#[derive(Debug, Clone, Serialize)]
pub struct PlanSummary {
    /// Rows by table and verdict.
    pub verdicts: Verdicts,
    /// Rows that will be written, by evidence.
    pub evidence: BTreeMap<String, u64>,
    /// Lost rows that come back.
    pub insert: u64,
    /// Rows whose damaged columns are set right.
    pub repair: u64,
    /// Rows whose cut link is set again.
    pub relink: u64,
    /// Rows that are left as they are and need a human.
    pub conflicts: u64,
    /// Rows that are not part of the recovery although the recipe seems to mean them, and keys of live that were not followed.
    pub left_out: u64,
    /// Triggers that will fire.
    pub triggers: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What was loaded into scratch, and why; only when the backup was read in the same run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<Pass>,
    /// Seconds by step, of the steps that ran.
    pub timings: Timings,
}

impl PlanSummary {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            verdicts: plan.verdicts.clone(),
            evidence: plan.evidence.clone(),
            insert: plan.totals.insert,
            repair: plan.totals.repair,
            relink: plan.totals.relink,
            conflicts: plan.totals.conflicts,
            left_out: plan.totals.left_out,
            triggers: plan.triggers.clone(),
            notes: plan.notes.clone(),
            passes: Vec::new(),
            timings: Timings::new(),
        }
    }

    /// Is something left for a human?
    pub fn leftover(&self) -> bool {
        self.conflicts > 0 || self.left_out > 0
    }
}
