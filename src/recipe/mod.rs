//! What to recover: the recipe as a file, its defaults and its checks. Asks no database: tables and columns are held
//! against the catalog later, with [`nearest`] for the hints.

mod check;
mod entry;
mod error;
mod nearest;
mod parse;
mod password;
mod policy;
mod section;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use entry::{ChildColumn, Children, DeclaredForeignKey, Kind, Links, Recover, Selection};
pub use error::{Place, RecipeError};
pub use nearest::nearest;
pub use password::without_password;
pub use policy::{
    BackupLocation, BackupSource, Changed, ColumnMap, LiveSource, Parents, Policy, Recreated, Triggers,
};

use crate::ident::{Ident, TableName};

/// A checked recipe; every default is filled in, every path is absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Where the backup is.
    pub backup: BackupSource,
    /// Where live is.
    pub live: LiveSource,
    /// What to recover, in the order of the file; at least one.
    pub recover: Vec<Recover>,
    /// References that the catalog does not know.
    pub foreign_keys: Vec<DeclaredForeignKey>,
    /// What is done with rows that are not simply lost.
    pub policy: Policy,
    /// Columns that are called differently in live, and keys of tables without one.
    pub columns: BTreeMap<TableName, ColumnMap>,
}

impl Recipe {
    /// Reads a recipe file; relative paths in it start from its folder.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        let unreadable =
            |source| RecipeError::Unreadable { what: "the recipe", path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        parse::recipe(&text, &path.display().to_string(), base)
    }

    /// Reads the text of a recipe; relative paths in it start from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, RecipeError> {
        parse::recipe(text, "recipe", base)
    }

    /// The recipe that `--table`, `--where` and `--kind` stand for.
    pub fn single_table(table: TableName, condition: &str, kind: Kind) -> Result<Self, RecipeError> {
        let entry = Recover::new(table, kind, Selection::Where(condition.to_owned()));
        let backup = BackupSource::default();
        check::entry(&entry, &backup, &|_| Place::Flags)?;
        Ok(Self::of(vec![entry]))
    }

    /// These entries, and every default.
    pub fn of(recover: Vec<Recover>) -> Self {
        Self {
            backup: BackupSource::default(),
            live: LiveSource::default(),
            recover,
            foreign_keys: Vec::new(),
            policy: Policy::default(),
            columns: BTreeMap::new(),
        }
    }

    /// The recipe as run: every default written out, passwords left out, a `where_file` in place.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        write::recipe(self)
    }

    /// The number of the first entry, from 0, that runs the same statement again as this one; `None` when it runs none.
    /// Entries with one statement are about one accident: it is run once for all of them.
    pub fn replay_of(&self, entry: &Recover) -> Option<u16> {
        let Selection::Replay(text) = &entry.selection else { return None };
        let is_same = |other: &Recover| matches!(&other.selection, Selection::Replay(same) if same == text);
        (0u16..).zip(&self.recover).find(|(_, other)| is_same(other)).map(|(number, _)| number)
    }

    /// Tables with misrouted rows that stay in them, and the columns of live that say to whom these belong.
    pub fn owners(&self) -> BTreeSet<(TableName, Ident)> {
        self.owners_told().map(|(table, owner, _)| (table, owner)).collect()
    }

    /// The same for each entry, with its `owner_from`.
    pub fn owners_told(&self) -> impl Iterator<Item = (TableName, Ident, Option<&str>)> {
        let misrouted =
            self.recover.iter().filter(|entry| entry.kind == Kind::Misrouted && entry.misrouted_to.is_none());
        misrouted.filter_map(|entry| {
            let owner = entry.owner.as_ref()?;
            let map = self.columns.get(&entry.table);
            let owner = map.and_then(|map| map.map.get(owner)).unwrap_or(owner);
            Some((entry.table.clone(), owner.clone(), entry.owner_from.as_deref()))
        })
    }

    /// The key that the recipe gives a table; `None` leaves it to the catalog.
    pub fn key_of(&self, table: &TableName) -> Option<&[Ident]> {
        let entries = self.recover.iter().filter(|entry| entry.table == *table).map(|entry| &entry.key);
        entries
            .chain(self.columns.get(table).map(|map| &map.key))
            .find(|key| !key.is_empty())
            .map(Vec::as_slice)
    }
}

/// PostgreSQL's names and texts cannot hold a NUL.
fn without_nul(text: &str) -> bool {
    !text.contains('\0')
}
