//! What triggers did beside the rows of a batch, as the journal keeps it: so that undo knows how live was before, and what it
//! leaves behind. Plain data; asks nobody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RowKey;
use super::companions::MadeRows;
use super::removed::RemovedRows;
use super::row_key::RowName;
use crate::ident::TableName;
use crate::value::copy_text::{fields, push_field, text};

/// Values by column, as text.
pub(super) type Values = BTreeMap<String, Option<String>>;

/// What triggers did in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traces {
    /// Rows that the batch updated, as they were before in the columns that only triggers changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shifted: Vec<FormerRows>,
    /// Rows that are none of the batch's, as they were before in the columns that triggers changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<FormerRow>,
    /// Rows that triggers inserted in tables of which the plan writes none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// Of undo: rows that triggers inserted in tables of which the plan writes rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<MadeRows>,
    /// Of undo: rows that were taken back, and the columns in which they are not as before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftRows>,
    /// Rows that triggers removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedRows>,
}

impl Traces {
    /// Did triggers do nothing that is worth a word?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A row as it was before a transaction, in some of its columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerRow {
    /// The table.
    pub table: TableName,
    /// The row.
    pub key: RowKey,
    /// The number of a transaction (`xmin`). Of rows that the batch updated: the one that left the row so. Of others: the one
    /// before.
    pub version: String,
    /// The former values of columns that changed, as text.
    pub before: BTreeMap<String, Option<String>>,
}

impl FormerRow {
    /// The row by which rows that are kept together are alike.
    fn kin(&self) -> FormerRows {
        FormerRows {
            table: self.table.clone(),
            version: self.version.clone(),
            key: self.key.0.keys().cloned().collect(),
            columns: self.before.keys().cloned().collect(),
            rows: String::new(),
        }
    }
}

/// Such rows of one table and one version, in the same columns: a batch has thousands of them, and a million rows of a
/// recovery must fit into memory and journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerRows {
    /// The table.
    pub table: TableName,
    /// The number of a transaction, as for one row.
    pub version: String,
    /// The columns of the key.
    pub key: Vec<String>,
    /// The columns that changed.
    pub columns: Vec<String>,
    /// A line of COPY text for each row: its key, then its former values.
    pub rows: String,
}

impl FormerRows {
    /// Puts rows together that are alike.
    pub(super) fn gather(rows: Vec<FormerRow>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for row in rows {
            let kin = row.kin();
            let is_kin = |one: &Self| {
                (&one.table, &one.version, &one.key, &one.columns)
                    == (&kin.table, &kin.version, &kin.key, &kin.columns)
            };
            let at = found.iter().position(is_kin).unwrap_or_else(|| {
                found.push(kin);
                found.len() - 1
            });
            push_line(&mut found[at].rows, row.key.0.values().chain(row.before.values()));
        }
        found
    }

    /// The rows, one by one.
    pub(super) fn each(&self) -> impl Iterator<Item = FormerRow> + '_ {
        self.rows.lines().map(|line| {
            let mut values = values_of(line);
            let key = self.key.iter().cloned().zip(values.by_ref()).collect();
            FormerRow {
                table: self.table.clone(),
                key: RowKey(key),
                version: self.version.clone(),
                before: self.columns.iter().cloned().zip(values).collect(),
            }
        })
    }
}

/// Appends a line of COPY text.
pub(super) fn push_line<'v>(text: &mut String, values: impl Iterator<Item = &'v Option<String>>) {
    let mut line = Vec::new();
    for (at, value) in values.enumerate() {
        push_field(&mut line, at == 0, value.as_deref().map(str::as_bytes));
    }
    // Of text, escapes make text.
    text.push_str(&String::from_utf8_lossy(&line));
    text.push('\n');
}

pub(super) fn values_of(line: &str) -> impl Iterator<Item = Option<String>> + '_ {
    fields(line.as_bytes()).map(text)
}

/// How many rows triggers inserted into a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The table.
    pub table: TableName,
    /// The number of the transaction, as its rows carry it.
    pub version: String,
    /// As PostgreSQL counts it: rows that were deleted again included.
    pub rows: u64,
}

/// A row that undo took back, but not in these columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftRow {
    /// The table in which it is.
    pub(super) table: TableName,
    /// The row.
    pub(super) key: RowKey,
    /// Columns that triggers changed.
    pub(super) columns: Vec<String>,
    /// Do these columns only tell when the row was changed last?
    pub(super) stamped: bool,
}

/// Such rows of one table, with the same columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRows {
    /// The table in which they are.
    pub table: TableName,
    /// The columns of the key.
    pub key: Vec<String>,
    /// Columns that triggers changed.
    pub columns: Vec<String>,
    /// Do these columns only tell when the row was changed last? That they tell of undo is as it should be.
    #[serde(default)]
    pub stamped: bool,
    /// A line of COPY text for the key of each row.
    pub rows: String,
}

impl LeftRows {
    /// Puts rows together that are alike.
    pub(super) fn gather(rows: Vec<LeftRow>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for LeftRow { table, key, columns, stamped } in rows {
            let names: Vec<String> = key.0.keys().cloned().collect();
            let is_kin = |one: &Self| (&one.table, &one.key, &one.columns) == (&table, &names, &columns);
            let at = found.iter().position(is_kin).unwrap_or_else(|| {
                found.push(Self { table, key: names, columns, stamped, rows: String::new() });
                found.len() - 1
            });
            push_line(&mut found[at].rows, key.0.values());
        }
        found
    }

    /// The rows, one by one.
    pub(super) fn each(&self) -> impl Iterator<Item = (RowName, &Vec<String>)> + '_ {
        self.rows.lines().map(|line| {
            let key = self.key.iter().cloned().zip(values_of(line)).collect();
            ((self.table.clone(), RowKey(key)), &self.columns)
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn row(version: &str, n: &str) -> FormerRow {
        let key = RowKey::parse(r#"{"id":"7"}"#).unwrap();
        let before = BTreeMap::from([("n".to_owned(), Some(n.to_owned()))]);
        FormerRow { table: TableName::new("public", "t"), key, version: version.to_owned(), before }
    }

    #[test]
    fn rows_that_are_alike_are_kept_together_and_come_back() {
        let mut rows = vec![row("5", "1"), row("6", "2"), row("5", "a\tb\\N\n")];
        rows[2].before.insert("m".to_owned(), None);
        rows.push(FormerRow { key: RowKey::parse(r#"{"id":"it's"}"#).unwrap(), ..row("5", "") });
        let together = FormerRows::gather(rows.clone());
        assert_eq!(together.len(), 3, "{together:?}");
        assert_eq!(together[0].rows, "7\t1\nit's\t\n");
        let mut back: Vec<FormerRow> = together.iter().flat_map(FormerRows::each).collect();
        back.sort_by_key(|row| rows.iter().position(|one| one == row));
        assert_eq!(back, rows);
        let left = |id: &str| LeftRow {
            table: TableName::new("public", "t"),
            key: RowKey::parse(id).unwrap(),
            columns: vec!["n".to_owned()],
            stamped: false,
        };
        let left = LeftRows::gather(vec![left(r#"{"id":null}"#), left(r#"{"id":"8"}"#)]);
        assert_eq!((left.len(), left[0].rows.as_str()), (1, "\\N\n8\n"));
        assert_eq!(left[0].each().count(), 2);
    }
}
