//! What a case found and did, for people: as text, as JSON and as one HTML file. Rendered from plain values; reads
//! nothing and asks nobody.

mod html;
mod markup;
mod row;
mod state;
pub mod table;
mod text;
mod words;

pub use row::ShownRow;
pub use state::State;
pub use words::{evidence_line, shell_word, visible};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::diff::Verdict;
use crate::ident::TableName;
use crate::plan::{Action, Totals};

/// Number of the shape of the JSON object; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Everything that a report tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// The case directory, as it was named.
    pub case: String,
    /// How far the recovery is.
    pub state: State,
    /// The same as a sentence.
    pub standing: String,
    /// What to do next, as sentences.
    pub next: String,
    /// What was recovered from.
    pub backup: ReportedBackup,
    /// What was recovered into.
    pub live: ReportedLive,
    /// What the plan comes to.
    pub totals: Totals,
    /// Rows that are written, by evidence.
    pub evidence: BTreeMap<String, u64>,
    /// The tables, parents first.
    pub tables: Vec<ReportedTable>,
    /// Children by foreign key.
    pub edges: Vec<ReportedEdge>,
    /// What did not end as planned, one line each: what verify found, before that what apply and undo said.
    pub problems: Vec<String>,
    /// Triggers that fire, one line each.
    pub triggers: Vec<String>,
    /// Sequences that are moved forward.
    pub sequences: Vec<ReportedSequence>,
    /// What a person should know, one line each.
    pub notes: Vec<String>,
    /// The batches, in the order of the plan.
    pub batches: Vec<ReportedBatch>,
}

/// The backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedBackup {
    /// Where it was.
    pub path: String,
    /// SHA-256 of the file, or over the listing of a directory.
    pub sha256: String,
    /// Format and version of the archive, such as `custom 1.14`.
    pub archive: String,
    /// Name of the dumped database, where the dump says it.
    pub dbname: Option<String>,
    /// Version of the dumped server.
    pub server_version: String,
    /// When it was dumped, by the clock of the dumping machine.
    pub dumped_at: Option<String>,
}

/// The live database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedLive {
    /// Its name.
    pub dbname: String,
    /// The number of its cluster, where the role may ask.
    pub system_identifier: Option<String>,
    /// Version of the server, such as `15.18`.
    pub server_version: String,
    /// The role that read it.
    pub role: String,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedTable {
    /// The table.
    pub table: TableName,
    /// Rows by verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Rows that the plan inserts.
    pub insert: u64,
    /// Rows that the plan updates.
    pub update: u64,
    /// Columns that name a row.
    pub key: Vec<String>,
    /// Rows that the plan leaves as they are and somebody should look at; those kept out on purpose as well.
    pub left: RowList,
    /// Rows that the plan writes, of which there is something to know.
    pub partly: RowList,
    /// Where all rows with their verdicts are, inside the case.
    pub diff_file: String,
}

/// Rows one by one, up to a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowList {
    /// All of them.
    pub total: u64,
    /// The first ones.
    pub rows: Vec<ReportedRow>,
}

impl RowList {
    /// Rows that are not listed.
    pub fn unlisted(&self) -> u64 {
        self.total.saturating_sub(u64::try_from(self.rows.len()).unwrap_or(u64::MAX))
    }

    /// Counts a row, and keeps it while fewer than `most` are kept.
    pub fn add(&mut self, most: usize, row: impl FnOnce() -> ReportedRow) {
        self.total += 1;
        if self.rows.len() < most {
            self.rows.push(row());
        }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedRow {
    /// The key's values, in the order of the table's key.
    pub key: Vec<String>,
    /// The verdict.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// The columns concerned, with the backup's and live's values where these were asked for.
    pub columns: Vec<ReportedColumn>,
}

/// A column of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedColumn {
    /// The column.
    pub name: String,
    /// Both values; absent unless they were asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub values: Option<BothValues>,
}

/// A column's values as text; null stays null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BothValues {
    /// The backup's.
    pub backup: Option<String>,
    /// Live's; `None` also where live has no such row.
    pub live: Option<String>,
    /// What the accident left, where a second backup or a replay tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Option<String>>,
}

/// Children of recovered rows by one foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedEdge {
    /// The foreign key.
    pub name: String,
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Children that the backup has for the chosen parents.
    pub in_backup: u64,
    /// Of them, those staged.
    pub staged: u64,
    /// Lost rows of the child that have a parent by this key.
    pub missing_in_live: u64,
}

/// A sequence that recovered rows outrun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedSequence {
    /// The sequence.
    pub sequence: TableName,
    /// The last number it had handed out when live was read; `None` when it never had.
    pub stood_at: Option<i64>,
    /// It must not hand out this number or a lower one.
    pub at_least: i64,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedBatch {
    /// From 1.
    pub number: u32,
    /// Its file inside the case.
    pub file: String,
    /// The file that takes it back; `None` for the batch that moves sequences.
    pub undo_file: Option<String>,
    /// What it writes: table, action, rows.
    pub parts: Vec<(TableName, Action, u64)>,
    /// Where it stands.
    pub state: BatchState,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Not applied.
    Open,
    /// A run was cut off at its commit: only the server knows.
    InDoubt,
    /// Applied.
    Applied,
    /// Applied and taken back.
    Undone,
}

impl BatchState {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "not applied",
            Self::InDoubt => "in doubt",
            Self::Applied => "applied",
            Self::Undone => "taken back",
        }
    }
}

impl Report {
    /// For a terminal: plain text without colour, control characters made visible.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// One HTML file that needs nothing else.
    pub fn html(&self) -> String {
        html::render(self)
    }

    /// Verdicts that occur, in the order of the design.
    fn verdicts(&self) -> Vec<Verdict> {
        let occurs = |verdict: &Verdict| {
            let count = |table: &ReportedTable| table.verdicts.get(verdict.word()).copied().unwrap_or(0);
            self.tables.iter().any(|table| count(table) > 0)
        };
        Verdict::ALL.into_iter().filter(occurs).collect()
    }

    /// `1,204 to insert, 37 to repair, 12 to re-link; 3 conflicts kept as they are`.
    fn plan_line(&self) -> String {
        use table::grouped;
        let Totals { insert, repair, relink, conflicts, left_out } = self.totals;
        let conflicts = match conflicts {
            0 => "no conflicts".to_owned(),
            1 => "1 conflict kept as it is".to_owned(),
            some => format!("{} conflicts kept as they are", grouped(some)),
        };
        let left_out =
            if left_out == 0 { String::new() } else { format!("; {} left out", grouped(left_out)) };
        format!(
            "{} to insert, {} to repair, {} to re-link; {conflicts}{left_out}",
            grouped(insert),
            grouped(repair),
            grouped(relink)
        )
    }
}

#[cfg(test)]
mod tests;
