//! What a case found and did, for people: as text, as JSON and as one HTML file. Rendered from plain values; reads
//! nothing and asks nobody.

mod html;
pub mod table;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ident::TableName;
use crate::plan::Totals;

/// Everything that a report tells.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The backup: file, SHA-256, versions, dump time.
    pub backup: Vec<(String, String)>,
    /// The live database.
    pub live: String,
    /// What the plan comes to.
    pub totals: Totals,
    /// Rows by table and verdict.
    pub verdicts: BTreeMap<TableName, BTreeMap<String, u64>>,
    /// Rows that are written, by evidence.
    pub evidence: BTreeMap<String, u64>,
    /// Children by foreign key.
    pub edges: Vec<ReportedEdge>,
    /// Rows that need a human, by table.
    pub conflicts: Vec<ReportedConflict>,
    /// Conflicts that are not named, by table: more than a report can hold.
    pub unnamed: BTreeMap<TableName, u64>,
    /// Triggers that fire.
    pub triggers: Vec<String>,
    /// Sequences that are moved.
    pub sequences: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// How far the recovery is, in words.
    pub state: String,
    /// What the certificate leaves unexplained; `None` before verification.
    pub unexplained: Option<Vec<String>>,
    /// What to do next.
    pub next: String,
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

/// A row that needs a human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedConflict {
    /// The table.
    pub table: TableName,
    /// The key's values.
    pub key: Vec<String>,
    /// The verdict.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// The columns concerned, with the backup's and live's values where these were asked for.
    pub columns: Vec<ReportedColumn>,
}

/// A column of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedColumn {
    /// The column.
    pub name: String,
    /// The backup's value; absent unless values were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// Live's value; absent unless values were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
}

impl Report {
    /// For a terminal.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// One HTML file that needs nothing else.
    pub fn html(&self) -> String {
        html::render(self)
    }

    /// Verdicts that occur, in the order of the design.
    fn columns(&self) -> Vec<String> {
        let occurs = |word: &str| {
            self.verdicts.values().any(|counts| counts.get(word).is_some_and(|count| *count > 0))
        };
        let all = crate::diff::Verdict::ALL.into_iter().map(crate::diff::Verdict::word);
        all.filter(|word| occurs(word)).map(str::to_owned).collect()
    }
}
