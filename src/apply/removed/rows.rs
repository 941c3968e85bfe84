//! Rows that triggers removed, as the journal keeps them. Plain data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::apply::RowKey;
use crate::apply::traces::{push_line, values_of};
use crate::ident::{Ident, TableName};

/// Rows of one table that triggers removed in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRows {
    /// The table.
    pub table: TableName,
    /// The columns by which its rows are named.
    pub key: Vec<String>,
    /// The columns whose values are kept.
    pub columns: Vec<String>,
    /// A line of COPY text for each row: its key, then these values, as text.
    pub rows: String,
    /// What became of them.
    pub fate: Fate,
    /// Instead of the rows how many PostgreSQL counted, where they cannot be told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unseen: u64,
}

/// What triggers did to rows that are none of the batch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Removed: undo puts them back.
    Removed,
    /// Removed, and this recovery had put them there: undo need not.
    Recovered,
    /// Removed, or gone to another partition with other values: undo cannot know.
    Departed,
    /// Removed, and undo found another row under its key, or that of its parent.
    Displaced,
    /// Removed, and undo has put it back: what became of it since is not ours.
    Back,
    /// Changed, in a table that cannot be looked at, or whose rows cannot be told apart.
    Changed,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(rows: &u64) -> bool {
    *rows == 0
}

impl RemovedRows {
    /// None yet.
    pub(in crate::apply) fn of(table: &TableName, key: &[Ident], columns: &[(Ident, String)]) -> Self {
        let mut key: Vec<String> = key.iter().map(ToString::to_string).collect();
        // As the key of a row lists them.
        key.sort();
        let columns = columns.iter().map(|(name, _)| name.to_string()).collect();
        Self { table: table.clone(), key, columns, rows: String::new(), fate: Fate::Removed, unseen: 0 }
    }

    /// Rows of which nothing but the key is kept, one table after the other.
    pub(in crate::apply) fn displaced(rows: &[(TableName, RowKey)]) -> Vec<Self> {
        let mut found: BTreeMap<&TableName, Self> = BTreeMap::new();
        for (table, key) in rows {
            let names: Vec<Ident> = key.0.keys().map(Ident::new).collect();
            let of_table = || Self { fate: Fate::Displaced, ..Self::of(table, &names, &[]) };
            found.entry(table).or_insert_with(of_table).push(key, &[]);
        }
        found.into_values().collect()
    }

    /// Rows that are back, of which nothing but the key is kept.
    pub(in crate::apply) fn back(rows: &BTreeMap<TableName, BTreeSet<RowKey>>) -> Vec<Self> {
        let of_table = |(table, keys): (&TableName, &BTreeSet<RowKey>)| {
            let keys: Vec<RowKey> = keys.iter().cloned().collect();
            Self { fate: Fate::Back, ..Self::recovered(table, &keys) }
        };
        rows.iter().filter(|(_, keys)| !keys.is_empty()).map(of_table).collect()
    }

    /// Rows of recovered ones, of which nothing but the key is kept.
    pub(in crate::apply) fn recovered(table: &TableName, keys: &[RowKey]) -> Self {
        let key: Vec<Ident> = keys.first().into_iter().flat_map(|key| key.0.keys().map(Ident::new)).collect();
        let mut rows = Self { fate: Fate::Recovered, ..Self::of(table, &key, &[]) };
        keys.iter().for_each(|key| rows.push(key, &[]));
        rows
    }

    /// Rows that are only counted.
    pub(in crate::apply) fn unseen(table: &TableName, fate: Fate, rows: u64) -> Self {
        Self { unseen: rows, fate, ..Self::of(table, &[], &[]) }
    }

    /// Adds a row: `values` in the order of the columns.
    pub(in crate::apply) fn push(&mut self, key: &RowKey, values: &[Option<String>]) {
        push_line(&mut self.rows, key.0.values().chain(values));
    }

    /// How many there are, and why nobody knows which.
    pub(in crate::apply) fn why_unseen(&self) -> String {
        let rows = if self.unseen == 1 { "1 row".to_owned() } else { format!("{} rows", self.unseen) };
        let why = match self.fate {
            Fate::Changed => {
                "the table has no primary key, is too large to be looked through, or may not be read"
            }
            _ => {
                "the table is too large to be looked through, may not be read, is locked by the trigger, or holds the same row several times"
            }
        };
        format!("{rows}; {why}")
    }

    /// Is there no row?
    pub(in crate::apply) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.unseen == 0
    }

    /// Are their values kept, and is it for undo to put them back?
    pub(in crate::apply) fn can_be_put_back(&self) -> bool {
        self.fate == Fate::Removed && !self.rows.is_empty()
    }

    /// The rows' keys.
    pub(in crate::apply) fn keys(&self) -> impl Iterator<Item = RowKey> + '_ {
        self.rows.lines().map(|line| RowKey(self.key.iter().cloned().zip(values_of(line)).collect()))
    }

    /// Each row with its values, in the order of the columns.
    pub(in crate::apply) fn each(&self) -> impl Iterator<Item = (RowKey, Vec<Option<String>>)> + '_ {
        let values = |line| values_of(line).skip(self.key.len()).collect();
        self.keys().zip(self.rows.lines().map(values))
    }
}
