//! Rows that carried their parent's owner in the backup, in a column of their own: where they carry its wrong owner in live, they
//! go home with it.

use std::path::Path;

use super::DiffError;
use super::lookup::{RawKey, key_of};
use crate::catalog::{Action, Catalog, ForeignKey, Origin};
use crate::extract::{Carried, Extracted};
use crate::ident::{Ident, TableName};
use crate::recipe::Recipe;
use crate::staging::{ReadAhead, verify_sha256};
use crate::value::copy_text::fields;

/// A reference beside which rows carry an owner, by live's names.
pub struct Carry {
    /// The reference, as the backup has it.
    pub foreign_key: ForeignKey,
    /// The column of the child that names the owner.
    pub owner: Ident,
    /// That of the parent.
    pub owner_above: Ident,
    /// Columns of the child: its key without the owner, then those that refer.
    pub names: Vec<Ident>,
    /// Their values in the rows that carried the owner in the backup: raw fields joined by tabs.
    rows: Keys,
}

/// Keys one behind the other, found by their bytes: there may be millions, and small pieces would take three times their size.
#[derive(Default)]
struct Keys {
    /// Each with a line feed, which no field of COPY text holds.
    text: Vec<u8>,
    /// Where each begins, in the order of the bytes.
    starts: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &[u8]) {
        self.starts.push(self.text.len());
        self.text.extend_from_slice(key);
        self.text.push(b'\n');
    }

    fn sort(&mut self) {
        self.text.shrink_to_fit();
        self.starts.shrink_to_fit();
        let Self { text, starts } = self;
        starts.sort_unstable_by(|one, other| key_at(text, *one).cmp(key_at(text, *other)));
    }

    fn contains(&self, key: &[u8]) -> bool {
        self.starts.binary_search_by(|start| key_at(&self.text, *start).cmp(key)).is_ok()
    }
}

fn key_at(text: &[u8], start: usize) -> &[u8] {
    let rest = &text[start..];
    &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())]
}

impl Carry {
    /// The reference as one that nobody enforces, where live dropped it and kept its columns: rows hang by it all the same.
    pub fn dropped_in(&self, live: &Catalog) -> Option<ForeignKey> {
        let fk = &self.foreign_key;
        let has_all = |table: &TableName, names: Vec<&Ident>| {
            live.tables.get(table).is_some_and(|table| names.iter().all(|name| table.column(name).is_some()))
        };
        let is_there = has_all(&fk.child, fk.child_columns().collect())
            && has_all(&fk.parent, fk.parent_columns().collect());
        let is_known = live.foreign_keys.iter().any(|known| known.is_like(fk));
        (is_there && !is_known).then(|| ForeignKey {
            operators: Vec::new(),
            origin: Origin::Declared { when: None },
            on_delete: Action::NoAction,
            on_update: Action::NoAction,
            set_columns: Vec::new(),
            carriers: Vec::new(),
            ..fk.clone()
        })
    }

    /// Did this row carry its owner in the backup, hung on the same parent? The fields are those of `names`.
    pub fn knows(&self, row: &[RawKey], positions: &[usize]) -> bool {
        key_of(row, positions).is_some_and(|key| self.rows.contains(&key))
    }
}

/// Reads what extraction found.
pub(super) fn load(staging: &Path, extracted: &Extracted, recipe: &Recipe) -> Result<Vec<Carry>, DiffError> {
    extracted.carried.iter().map(|carried| read(staging, carried, recipe)).collect()
}

fn read(staging: &Path, carried: &Carried, recipe: &Recipe) -> Result<Carry, DiffError> {
    let Carried { foreign_key: fk, owner, key, directory, file } = carried;
    let directory = staging.join(directory);
    verify_sha256(&directory, file)?;
    let names: Vec<&Ident> = key.iter().chain(fk.child_columns()).collect();
    let place = |name: &&Ident| file.table.columns.iter().position(|column| &column.name == *name);
    let positions: Vec<usize> = names.iter().filter_map(place).collect();
    let mut found = Keys::default();
    let mut rows = ReadAhead::open(&directory, file)?;
    while let Some(row) = rows.next_row()? {
        let row: Vec<&[u8]> = fields(row).collect();
        key_of(&row, &positions).iter().for_each(|key| found.push(key));
    }
    found.sort();
    let renamed = |table: &TableName, name: &Ident| {
        let map = recipe.columns.get(table);
        map.and_then(|columns| columns.map.get(name)).unwrap_or(name).clone()
    };
    Ok(Carry {
        owner: renamed(&fk.child, owner),
        owner_above: renamed(&fk.parent, owner),
        names: names.into_iter().map(|name| renamed(&fk.child, name)).collect(),
        foreign_key: super::as_in_live(fk, recipe),
        rows: found,
    })
}
