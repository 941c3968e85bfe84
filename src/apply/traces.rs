//! What triggers did beside the rows of a batch, as the journal keeps it: so that undo knows how live was before, and what it
//! leaves behind. Plain data; asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::RowKey;
use super::companions::MadeRows;
use super::removed::{Fate, RemovedRows};
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

/// All of it, over the committed transactions of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TraceBook {
    /// Transactions of apply and undo, as rows carry their numbers.
    own: BTreeSet<String>,
    /// Of transactions that are not known to be committed.
    pending: BTreeMap<u32, Traces>,
    /// By batch, later ones behind.
    shifted: BTreeMap<u32, Vec<FormerRows>>,
    /// Rows that were among these until their batch was taken back.
    undone: Vec<FormerRows>,
    /// `None` once somebody else has written the row.
    kept: BTreeMap<RowName, Option<Values>>,
    /// Those of them that triggers had made in a transaction of ours.
    born: BTreeSet<RowName>,
    elsewhere: BTreeMap<TableName, Vec<Elsewhere>>,
    left: BTreeMap<u32, Vec<LeftRows>>,
    /// What triggers removed while a batch was written, as long as it is applied, and once it is taken back.
    removed: BTreeMap<u32, Vec<RemovedRows>>,
    removed_and_undone: BTreeMap<u32, Vec<RemovedRows>>,
    /// What they removed while it was taken back.
    removed_by_undo: BTreeMap<u32, Vec<RemovedRows>>,
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
            self.undone.extend(self.shifted.remove(&batch).into_iter().flatten());
            let removed = self.removed.remove(&batch).into_iter().flatten();
            self.removed_and_undone.entry(batch).or_default().extend(removed);
        } else {
            self.left.remove(&batch);
            self.removed_and_undone.remove(&batch);
            self.removed_by_undo.remove(&batch);
        }
        if let Some(traces) = self.pending.remove(&batch) {
            self.absorb(batch, traces);
        }
        if undone {
            let removed = self.removed.remove(&batch).into_iter().flatten();
            self.removed_by_undo.entry(batch).or_default().extend(removed);
        }
    }

    fn absorb(&mut self, batch: u32, traces: Traces) {
        let name = |row: &FormerRow| (row.table.clone(), row.key.clone());
        self.shifted.entry(batch).or_default().extend(traces.shifted);
        for row in traces.kept {
            let is_own = self.own.contains(&row.version);
            match self.kept.get_mut(&name(&row)) {
                None => {
                    if is_own {
                        self.born.insert(name(&row));
                    }
                    self.kept.insert(name(&row), Some(row.before));
                }
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
        self.left.entry(batch).or_default().extend(traces.left);
        self.removed.entry(batch).or_default().extend(traces.removed);
    }

    /// Did triggers make the row in a transaction of ours, of which its version tells the last?
    pub(super) fn was_made(&self, table: &TableName, key: &RowKey, version: &str) -> bool {
        let name = (table.clone(), key.clone());
        self.is_own(version) && (!self.kept.contains_key(&name) || self.born.contains(&name))
    }

    /// The values that a row of others had before apply, in columns that triggers changed, as far as nobody else wrote it.
    pub(super) fn before(&self, table: &TableName, key: &RowKey) -> Option<&Values> {
        self.kept.get(&(table.clone(), key.clone()))?.as_ref()
    }

    /// Rows that triggers removed while the batch was written, as long as it is applied.
    pub(super) fn removed_by(&self, batch: u32) -> impl Iterator<Item = &RemovedRows> {
        self.removed.get(&batch).into_iter().flatten()
    }

    /// The same once it is taken back.
    pub(super) fn removed_and_undone_by(&self, batch: u32) -> impl Iterator<Item = &RemovedRows> {
        self.removed_and_undone.get(&batch).into_iter().flatten()
    }

    /// Rows that triggers removed while batches were written that are taken back now, or while these were taken back.
    pub(super) fn removed_and_undone(&self) -> impl Iterator<Item = &RemovedRows> {
        self.removed_and_undone.values().chain(self.removed_by_undo.values()).flatten()
    }

    /// Rows that undo has put back.
    pub(super) fn back(&self) -> BTreeSet<RowName> {
        let rows = self.removed_by_undo.values().flatten().filter(|rows| rows.fate == Fate::Back);
        rows.flat_map(|rows| rows.keys().map(|key| (rows.table.clone(), key))).collect()
    }

    /// Did triggers remove this row in a batch that is applied?
    pub(super) fn knows_removed(&self, table: &TableName, key: &RowKey) -> bool {
        let mut rows = self.removed.values().flatten().filter(|rows| rows.table == *table);
        rows.any(|rows| rows.keys().any(|known| known == *key))
    }

    /// Did a transaction of ours write this version of a row?
    pub(super) fn is_own(&self, version: &str) -> bool {
        self.own.contains(version)
    }

    /// The rows of a batch's table that triggers changed beside what apply wrote, each as the last attempt found it.
    pub(super) fn shifted_of(&self, batch: u32, table: &TableName) -> BTreeMap<RowKey, FormerRow> {
        let groups = self.shifted.get(&batch).into_iter().flatten().filter(|rows| rows.table == *table);
        groups.flat_map(FormerRows::each).map(|row| (row.key.clone(), row)).collect()
    }

    /// Rows that undo took back, but not in all columns, batch by batch.
    pub(super) fn left(&self, batch: u32) -> BTreeMap<RowName, &Vec<String>> {
        let left = self.left.get(&batch).into_iter().flatten().filter(|rows| !rows.stamped);
        left.flat_map(LeftRows::each).collect()
    }

    /// How many rows undo took back but for columns that tell when a row was changed last, by table and columns.
    pub(super) fn stamped(&self) -> BTreeMap<(&TableName, &Vec<String>), usize> {
        let mut found = BTreeMap::new();
        for rows in self.left.values().flatten().filter(|rows| rows.stamped) {
            *found.entry((&rows.table, &rows.columns)).or_default() += rows.rows.lines().count();
        }
        found
    }

    /// Rows of others, with the values that they had before apply.
    pub(super) fn kept(&self) -> BTreeMap<&TableName, Vec<(&RowKey, &Values)>> {
        // What became of a row of a batch was told when the batch was taken back.
        let of_batches = self.undone.iter().chain(self.shifted.values().flatten());
        let of_batches = of_batches.filter(|rows| self.kept.keys().any(|(table, _)| *table == rows.table));
        let of_batches: BTreeSet<RowName> =
            of_batches.flat_map(FormerRows::each).map(|row| (row.table, row.key)).collect();
        let is_of_batch = |name: &RowName| of_batches.contains(name);
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
        let all = [&self.removed, &self.removed_and_undone, &self.removed_by_undo];
        let mut removed = all.into_iter().flat_map(BTreeMap::values).flatten();
        self.kept.values().all(Option::is_none)
            && self.elsewhere.is_empty()
            && removed.all(|rows| rows.fate == Fate::Recovered)
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

    #[test]
    fn what_did_not_commit_is_forgotten_and_what_nobody_knows_is_not() {
        let traces = |n| Traces { shifted: FormerRows::gather(vec![row("5", n)]), ..Traces::default() };
        let table = TableName::new("public", "t");
        let mut book = TraceBook::default();
        book.announce(1, "4294967301", &traces("1"));
        book.forget(1);
        assert_eq!((book.shifted_of(1, &table).len(), book.is_own("5")), (0, true));
        book.announce(1, "6", &traces("2"));
        book.announce(1, "7", &Traces::default());
        assert_eq!(book.shifted_of(1, &table).len(), 1, "the outcome of 6 is not known");
        book.keep(1, false);
        book.announce(1, "8", &Traces::default());
        book.keep(1, true);
        assert_eq!(book.shifted_of(1, &table).len(), 0, "taken back");
    }
}
