//! What triggers did beside the rows of batches, over the committed transactions of a case: what undo puts back, and what is
//! left. Asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::RowKey;
use super::removed::{Fate, RemovedRows};
use super::row_key::RowName;
use super::traces::{Elsewhere, FormerRow, FormerRows, LeftRows, Traces, Values};
use crate::ident::TableName;

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
    use crate::apply::traces::tests::row;

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
