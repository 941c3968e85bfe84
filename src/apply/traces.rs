//! What triggers did beside the rows of a batch, as the journal keeps it: so that undo knows how live was before, and what it
//! leaves behind. Plain data; asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::RowKey;
use super::companions::MadeRows;
use super::row_key::RowName;
use crate::ident::TableName;

/// Values by column, as text.
pub(super) type Values = BTreeMap<String, Option<String>>;

/// What triggers did in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traces {
    /// Rows that the batch updated, as they were before in the columns that only triggers changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shifted: Vec<FormerRow>,
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
    pub left: Vec<LeftRow>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRow {
    /// The table in which it is.
    pub table: TableName,
    /// The row.
    pub key: RowKey,
    /// Columns that triggers changed.
    pub columns: Vec<String>,
}

/// All of it, over the committed transactions of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TraceBook {
    /// Transactions of apply and undo, as rows carry their numbers.
    own: BTreeSet<String>,
    /// Of transactions that are not known to be committed.
    pending: BTreeMap<u32, Traces>,
    shifted: BTreeMap<u32, BTreeMap<RowName, FormerRow>>,
    /// Rows that were among these until their batch was taken back.
    undone: BTreeSet<RowName>,
    /// `None` once somebody else has written the row.
    kept: BTreeMap<RowName, Option<Values>>,
    elsewhere: BTreeMap<TableName, Vec<Elsewhere>>,
    left: BTreeMap<u32, BTreeMap<RowName, Vec<String>>>,
}

impl TraceBook {
    /// A transaction is about to be committed.
    pub(super) fn announce(&mut self, batch: u32, xid: &str, traces: &Traces) {
        self.own.extend(short(xid));
        // Nobody knows how the one before ended; what was before it was before this one, too.
        if let Some(unknown) = self.pending.insert(batch, traces.clone()) {
            self.absorb(batch, unknown);
        }
    }

    /// It was not.
    pub(super) fn forget(&mut self, batch: u32) {
        self.pending.remove(&batch);
    }

    /// It is; `undone` says whether it took the batch back.
    pub(super) fn keep(&mut self, batch: u32, undone: bool) {
        if undone {
            self.undone.extend(self.shifted.remove(&batch).into_iter().flat_map(BTreeMap::into_keys));
        } else {
            self.left.remove(&batch);
        }
        if let Some(traces) = self.pending.remove(&batch) {
            self.absorb(batch, traces);
        }
    }

    fn absorb(&mut self, batch: u32, traces: Traces) {
        let name = |row: &FormerRow| (row.table.clone(), row.key.clone());
        let shifted = self.shifted.entry(batch).or_default();
        shifted.extend(traces.shifted.into_iter().map(|row| (name(&row), row)));
        for row in traces.kept {
            let is_own = self.own.contains(&row.version);
            match self.kept.get_mut(&name(&row)) {
                None => drop(self.kept.insert(name(&row), Some(row.before))),
                Some(known) if !is_own => *known = None,
                Some(Some(known)) => {
                    row.before.into_iter().for_each(|(column, value)| {
                        known.entry(column).or_insert(value);
                    });
                }
                Some(None) => {}
            }
        }
        for made in traces.elsewhere {
            self.elsewhere.entry(made.table.clone()).or_default().push(made);
        }
        let left = traces.left.into_iter().map(|row| ((row.table, row.key), row.columns));
        self.left.entry(batch).or_default().extend(left);
    }

    /// Did a transaction of ours write this version of a row?
    pub(super) fn is_own(&self, version: &str) -> bool {
        self.own.contains(version)
    }

    /// The rows of a batch's table that triggers changed beside what apply wrote.
    pub(super) fn shifted_of<'a>(
        &'a self,
        batch: u32,
        table: &'a TableName,
    ) -> impl Iterator<Item = &'a FormerRow> {
        let rows = self.shifted.get(&batch).into_iter().flatten();
        rows.filter(move |((name, _), _)| name == table).map(|(_, row)| row)
    }

    /// Rows that undo took back, but not in all columns, batch by batch.
    pub(super) fn left(&self, batch: u32) -> impl Iterator<Item = (&RowName, &Vec<String>)> {
        self.left.get(&batch).into_iter().flatten()
    }

    /// Rows of others, with the values that they had before apply.
    pub(super) fn kept(&self) -> BTreeMap<&TableName, Vec<(&RowKey, &Values)>> {
        // What became of a row of a batch was told when the batch was taken back.
        let is_of_batch = |name: &RowName| {
            self.undone.contains(name) || self.shifted.values().any(|rows| rows.contains_key(name))
        };
        let mut found: BTreeMap<&TableName, Vec<(&RowKey, &Values)>> = BTreeMap::new();
        for (name, values) in &self.kept {
            if let Some(values) = values.as_ref().filter(|_| !is_of_batch(name)) {
                found.entry(&name.0).or_default().push((&name.1, values));
            }
        }
        found
    }

    /// Does it know of this row, whatever became of it?
    pub(super) fn knows_kept(&self, table: &TableName) -> BTreeSet<&RowKey> {
        self.kept.keys().filter(|(name, _)| name == table).map(|(_, key)| key).collect()
    }

    /// Tables of which the plan writes no rows, and in which triggers inserted some.
    pub(super) fn elsewhere(&self) -> &BTreeMap<TableName, Vec<Elsewhere>> {
        &self.elsewhere
    }

    /// Did triggers do anything beside the rows that the plan names?
    pub(super) fn is_empty(&self) -> bool {
        self.kept.values().all(Option::is_none) && self.elsewhere.is_empty()
    }
}

/// Rows carry the lower 32 bits of a transaction's number.
pub(super) fn short(xid: &str) -> Option<String> {
    xid.parse::<u64>().ok().map(|xid| (xid & u64::from(u32::MAX)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: &str, n: &str) -> FormerRow {
        let key = RowKey::parse(r#"{"id":"7"}"#).unwrap();
        let before = BTreeMap::from([("n".to_owned(), Some(n.to_owned()))]);
        FormerRow { table: TableName::new("public", "t"), key, version: version.to_owned(), before }
    }

    fn kept(rows: &[(&str, &str)]) -> TraceBook {
        let mut book = TraceBook::default();
        for (xid, (version, n)) in (100..).zip(rows) {
            let traces = Traces { kept: vec![row(version, n)], ..Traces::default() };
            book.announce(xid, &u64::from(xid).to_string(), &traces);
            book.keep(xid, false);
        }
        book
    }

    fn known(book: &TraceBook) -> Vec<Option<String>> {
        let rows: Vec<_> = book.kept().into_values().flatten().collect();
        rows.into_iter().flat_map(|(_, values)| values.values().cloned()).collect()
    }

    #[test]
    fn the_first_value_counts_unless_somebody_else_has_written_in_between() {
        assert_eq!(known(&kept(&[("7", "1"), ("100", "2"), ("101", "3")])), [Some("1".to_owned())]);
        let foreign = kept(&[("7", "1"), ("8", "2")]);
        assert_eq!((known(&foreign), foreign.is_empty()), (vec![], true));
        assert_eq!(foreign.knows_kept(&TableName::new("public", "t")).len(), 1);
    }

    #[test]
    fn what_did_not_commit_is_forgotten_and_what_nobody_knows_is_not() {
        let traces = |n| Traces { shifted: vec![row("5", n)], ..Traces::default() };
        let table = TableName::new("public", "t");
        let mut book = TraceBook::default();
        book.announce(1, "4294967301", &traces("1"));
        book.forget(1);
        assert_eq!((book.shifted_of(1, &table).count(), book.is_own("5")), (0, true));
        book.announce(1, "6", &traces("2"));
        book.announce(1, "7", &Traces::default());
        assert_eq!(book.shifted_of(1, &table).count(), 1, "the outcome of 6 is not known");
        book.keep(1, false);
        book.announce(1, "8", &Traces::default());
        book.keep(1, true);
        assert_eq!(book.shifted_of(1, &table).count(), 0, "taken back");
    }
}
