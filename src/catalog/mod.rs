//! Tables, columns, keys and foreign keys of one database as plain data, and the foreign-key graph over them.
//! `load` and `readable` ask through queries; everything else here is pure. Partitions appear through their root only.

mod foreign_key;
pub mod graph;
mod key;
pub mod load;
pub mod readable;
mod relation;
mod table;
pub mod telling;

pub use foreign_key::{Action, ForeignKey, Origin, same_across};
pub use key::UniqueKey;
pub use relation::{RawFields, Relation, fits_an_array, push_array};
pub use table::{Check, Column, Identity, Table, Trigger, TriggerMode};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ident::{Ident, TableName};

/// Everything that rowback knows about one database's structure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Ordinary tables and partition roots, by name.
    pub tables: BTreeMap<TableName, Table>,
    /// Leaf and middle partitions, each with the root through which it is handled.
    pub partitions: BTreeMap<TableName, TableName>,
    /// Tables that others inherit from, each with those; partitions are no heirs.
    #[serde(default)]
    pub heirs: BTreeMap<TableName, BTreeSet<TableName>>,
    /// Foreign keys between `tables`; those that only partitions have are lifted to the root. In the order of child
    /// and name.
    pub foreign_keys: Vec<ForeignKey>,
}

impl Catalog {
    /// The table of this name, or the root of the partition of this name.
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.tables.get(self.root_of(name))
    }

    /// The root of a partition; any other name is its own root.
    pub fn root_of<'a>(&'a self, name: &'a TableName) -> &'a TableName {
        self.partitions.get(name).unwrap_or(name)
    }

    /// The foreign keys whose parent is `parent`.
    pub fn children_of<'a>(&'a self, parent: &'a TableName) -> impl Iterator<Item = &'a ForeignKey> {
        self.foreign_keys.iter().filter(move |fk| &fk.parent == parent)
    }

    /// The foreign keys whose child is `child`.
    pub fn parents_of<'a>(&'a self, child: &'a TableName) -> impl Iterator<Item = &'a ForeignKey> {
        self.foreign_keys.iter().filter(move |fk| &fk.child == child)
    }

    /// Tells of partitions of a root of live that the backup does not know.
    pub fn note_on_new_partitions(
        &self,
        root: &TableName,
        is_known: impl Fn(&TableName) -> bool,
    ) -> Option<String> {
        const NAMED: usize = 5;
        let unknown = self.partitions_of(root).filter(|name| !is_known(name));
        let unknown: Vec<String> = unknown.map(ToString::to_string).collect();
        let more = unknown.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!unknown.is_empty()).then(|| {
            format!(
                "live has partitions of {root} that the backup has not: {}{more}. They were made since, or left out of the dump: \
                 what was lost from them cannot come out of it",
                unknown[..unknown.len().min(NAMED)].join(", ")
            )
        })
    }

    /// All partitions of a root, by name.
    pub fn partitions_of<'a>(&'a self, root: &'a TableName) -> impl Iterator<Item = &'a TableName> {
        self.partitions.iter().filter(move |(_, of)| *of == root).map(|(name, _)| name)
    }

    /// All tables that inherit from this one, to any depth.
    pub fn heirs_of(&self, table: &TableName) -> BTreeSet<TableName> {
        let mut found = BTreeSet::new();
        let mut open = vec![table];
        while let Some(parent) = open.pop() {
            let heirs = self.heirs.get(parent).into_iter().flatten();
            open.extend(heirs.filter(|heir| found.insert((*heir).clone())));
        }
        found
    }

    /// Adds references that the recipe declares; they come after the catalog's own.
    pub fn declare(&mut self, foreign_keys: impl IntoIterator<Item = ForeignKey>) {
        self.foreign_keys.extend(foreign_keys);
    }
}

/// Column names as text, for messages: `a, b`.
pub fn column_list(columns: &[Ident]) -> String {
    columns.iter().map(Ident::as_str).collect::<Vec<_>>().join(", ")
}

/// Column names quoted for SQL, with a prefix such as `l.` before each: `l."a", l."b"`.
pub fn quoted_list<'a>(prefix: &str, columns: impl IntoIterator<Item = &'a Ident>) -> String {
    columns.into_iter().map(|column| format!("{prefix}{}", column.quoted())).collect::<Vec<_>>().join(", ")
}
