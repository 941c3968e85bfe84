//! Which rows of a table scratch asks the backup for: a superset of the rows that can matter, decided on the text of
//! the dump. PostgreSQL evaluates the real condition afterwards.

use std::collections::HashSet;
use std::sync::Arc;

use crate::backup::RowFilter;
use crate::ident::Ident;
use crate::value::copy_text::{fields, is_null};

/// Keys as they stand in COPY text: escaped fields joined by tabs.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: HashSet<Box<[u8]>>,
    bytes: usize,
}

impl KeySet {
    /// Adds one key, a row of COPY text holding the key's columns.
    pub fn insert(&mut self, row: &[u8]) {
        if self.keys.insert(row.into()) {
            self.bytes += row.len();
        }
    }

    /// Is this key among them?
    pub fn contains(&self, row: &[u8]) -> bool {
        self.keys.contains(row)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// About how many bytes of memory the set takes.
    pub fn memory_bytes(&self) -> usize {
        // One boxed slice and its hash-table slot take about 48 bytes beside the key itself.
        self.bytes + 48 * self.keys.len()
    }
}

/// Rows whose `columns` hold one of `keys`.
#[derive(Debug, Clone)]
pub struct KeyMatch {
    /// The columns, in the order of the keys' fields.
    pub columns: Vec<Ident>,
    /// The wanted keys.
    pub keys: Arc<KeySet>,
}

/// What to load of a table.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Every row.
    All,
    /// Rows that match at least one of these.
    AnyOf(Vec<KeyMatch>),
}

/// A choice made ready for one stream, whose column order it knows.
#[derive(Debug)]
pub struct ChoiceFilter {
    wanted: Wanted,
    earlier: Vec<Wanted>,
}

#[derive(Debug)]
enum Wanted {
    All,
    AnyOf(Vec<(Vec<usize>, Arc<KeySet>)>),
}

impl ChoiceFilter {
    /// Lets through what `choice` wants and none of the `earlier` choices wanted.
    pub fn new(choice: &Choice, earlier: &[Choice], columns: &[Ident]) -> Self {
        let ready = |choice: &Choice| Wanted::new(choice, columns);
        Self { wanted: ready(choice), earlier: earlier.iter().map(ready).collect() }
    }
}

impl Wanted {
    fn new(choice: &Choice, columns: &[Ident]) -> Self {
        let Choice::AnyOf(matches) = choice else { return Self::All };
        let mut ready = Vec::with_capacity(matches.len());
        for key_match in matches {
            let positions: Option<Vec<usize>> = key_match
                .columns
                .iter()
                .map(|wanted| columns.iter().position(|column| column == wanted))
                .collect();
            // A column that the stream does not have (generated) cannot be decided on: everything goes through.
            let Some(positions) = positions else { return Self::All };
            ready.push((positions, key_match.keys.clone()));
        }
        Self::AnyOf(ready)
    }

    fn keeps(&self, row: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::AnyOf(matches) => matches.iter().any(|(positions, keys)| key_is_in(row, positions, keys)),
        }
    }
}

fn key_is_in(row: &[u8], positions: &[usize], keys: &KeySet) -> bool {
    if let [position] = positions {
        return fields(row).nth(*position).is_some_and(|field| keys.contains(field));
    }
    let mut key = Vec::with_capacity(64);
    for (at, position) in positions.iter().enumerate() {
        let Some(field) = fields(row).nth(*position) else { return false };
        if is_null(field) {
            return false;
        }
        if at > 0 {
            key.push(b'\t');
        }
        key.extend_from_slice(field);
    }
    keys.contains(&key)
}

impl RowFilter for ChoiceFilter {
    fn keep(&self, row: &[u8]) -> bool {
        self.wanted.keeps(row) && !self.earlier.iter().any(|wanted| wanted.keeps(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(rows: &[&str]) -> Arc<KeySet> {
        let mut set = KeySet::default();
        rows.iter().for_each(|row| set.insert(row.as_bytes()));
        Arc::new(set)
    }

    fn idents(names: &[&str]) -> Vec<Ident> {
        names.iter().copied().map(Ident::from).collect()
    }

    #[test]
    fn keeps_wanted_rows_once() {
        let by_a = KeyMatch { columns: idents(&["a"]), keys: keys(&["7"]) };
        let by_pair = KeyMatch { columns: idents(&["c", "a"]), keys: keys(&["x\t8"]) };
        let columns = idents(&["a", "b", "c"]);
        let choice = Choice::AnyOf(vec![by_a.clone(), by_pair]);
        let filter = ChoiceFilter::new(&choice, &[], &columns);
        let kept = |filter: &ChoiceFilter| {
            ["7\t1\tz", "8\t1\tx", "8\t1\ty", "77\t1\tx", "\\N\t1\tx"].map(|row| filter.keep(row.as_bytes()))
        };
        assert_eq!(kept(&filter), [true, true, false, false, false]);
        let second = ChoiceFilter::new(&choice, &[Choice::AnyOf(vec![by_a])], &columns);
        assert_eq!(kept(&second), [false, true, false, false, false]);
        let undecidable = ChoiceFilter::new(&choice, &[], &idents(&["a", "b"]));
        assert_eq!(kept(&undecidable), [true; 5]);
    }
}
