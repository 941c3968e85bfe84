//! Counts and samples of what a comparison finds in one table.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::Serialize;

use super::pending::{Key, Side};
use crate::ident::Ident;
use crate::value::copy_text::{fields, is_null, unescape};

/// Texts of key columns by name.
pub type KeyTexts = BTreeMap<Ident, Option<String>>;

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedSample {
    /// Its key.
    pub key: KeyTexts,
    /// What differs.
    pub columns: Vec<ColumnChange>,
}

/// A column of a row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnChange {
    /// The column.
    pub column: Ident,
    /// The backup's and live's value; only where values were asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub values: Option<BothValues>,
}

/// One value on both sides; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BothValues {
    /// In the backup.
    pub backup: Option<String>,
    /// In live.
    pub live: Option<String>,
}

/// A few rows of each sort: those with the smallest keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Samples {
    /// In the backup only.
    pub missing: Vec<KeyTexts>,
    /// On both sides, different.
    pub changed: Vec<ChangedSample>,
    /// In live only.
    pub new: Vec<KeyTexts>,
}

/// The smallest keys of many: shorter ones first, so that numbers stand in their order.
#[derive(Debug)]
pub(super) struct Smallest<T: Ord> {
    most: usize,
    heap: BinaryHeap<(usize, Box<[u8]>, T)>,
}

impl<T: Ord> Smallest<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new() }
    }

    pub(super) fn offer(&mut self, key: &[u8], with: impl FnOnce() -> T) {
        let full = self.heap.len() >= self.most;
        if full
            && self.heap.peek().is_none_or(|(length, largest, _)| (*length, &**largest) <= (key.len(), key))
        {
            return;
        }
        self.heap.push((key.len(), key.into(), with()));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    pub(super) fn into_sorted(self) -> Vec<(Box<[u8]>, T)> {
        self.heap.into_sorted_vec().into_iter().map(|(_, key, with)| (key, with)).collect()
    }
}

/// What differs in one row: position, backup's raw field, live's.
pub(super) type Fields = Vec<(usize, Box<[u8]>, Box<[u8]>)>;

/// All of one table.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) missing: u64,
    pub(super) changed: u64,
    pub(super) new: u64,
    /// Rows by changed column.
    pub(super) columns: BTreeMap<usize, u64>,
    pub(super) missing_keys: Smallest<()>,
    pub(super) changed_keys: Smallest<Fields>,
    pub(super) new_keys: Smallest<()>,
    most_keys: usize,
    /// Keys of rows that a recovery would look at.
    wanted: Option<Vec<Box<[u8]>>>,
}

impl Tally {
    pub(super) fn new(samples: usize, most_keys: usize) -> Self {
        Self {
            most_keys,
            wanted: Some(Vec::new()),
            missing: 0,
            changed: 0,
            new: 0,
            columns: BTreeMap::new(),
            missing_keys: Smallest::new(samples),
            changed_keys: Smallest::new(samples),
            new_keys: Smallest::new(samples),
        }
    }

    /// A row on both sides that differs in these columns.
    pub(super) fn change(&mut self, key: &[u8], columns: &BTreeSet<usize>, backup: &[&[u8]], live: &[&[u8]]) {
        self.changed += 1;
        self.want(key);
        for column in columns {
            *self.columns.entry(*column).or_default() += 1;
        }
        let field = |row: &[&[u8]], at: usize| Box::from(row.get(at).copied().unwrap_or_default());
        self.changed_keys
            .offer(key, || columns.iter().map(|&at| (at, field(backup, at), field(live, at))).collect());
    }

    fn want(&mut self, key: &[u8]) {
        if self.wanted.as_ref().is_some_and(|keys| keys.len() >= self.most_keys) {
            self.wanted = None;
        }
        if let Some(keys) = &mut self.wanted {
            keys.push(key.into());
        }
    }

    /// The keys, sorted, unless they were too many.
    pub(super) fn take_keys(&mut self) -> Option<Vec<Box<[u8]>>> {
        let mut keys = self.wanted.take()?;
        keys.sort();
        Some(keys)
    }

    /// A row on one side only.
    pub(super) fn alone(&mut self, side: Side, key: &Key, row: &[u8]) {
        let (count, keys) = match side {
            Side::Backup => (&mut self.missing, &mut self.missing_keys),
            Side::Live => (&mut self.new, &mut self.new_keys),
        };
        *count += 1;
        if !matches!(key, Key::Row) {
            let key = key.of(row);
            keys.offer(&key, || ());
            if side == Side::Backup {
                self.want(&key);
            }
        }
    }

    /// The samples in words.
    pub(super) fn samples(self, key: &[Ident], columns: &[Ident], show_values: bool) -> Samples {
        let keys =
            |found: Smallest<()>| found.into_sorted().iter().map(|(row, ())| texts(key, row)).collect();
        let values = |one: &[u8], other: &[u8]| {
            show_values.then(|| BothValues { backup: text(one), live: text(other) })
        };
        let changed = |(row, fields): (Box<[u8]>, Fields)| ChangedSample {
            key: texts(key, &row),
            columns: fields
                .iter()
                .map(|(at, one, other)| ColumnChange {
                    column: columns[*at].clone(),
                    values: values(one, other),
                })
                .collect(),
        };
        Samples {
            changed: self.changed_keys.into_sorted().into_iter().map(changed).collect(),
            missing: keys(self.missing_keys),
            new: keys(self.new_keys),
        }
    }
}

fn texts(key: &[Ident], row: &[u8]) -> KeyTexts {
    key.iter().cloned().zip(fields(row).map(text)).collect()
}

fn text(field: &[u8]) -> Option<String> {
    (!is_null(field)).then(|| String::from_utf8_lossy(&unescape(field)).into_owned())
}
