//! The entries of the recipe, held against the backup's catalog.

use std::collections::BTreeSet;

use super::ExtractError;
use crate::catalog::{Catalog, ForeignKey, Table};
use crate::ident::TableName;
use crate::recipe::{Children, Kind, Recipe, Recover, Selection};
use crate::sql::predicate::{Predicate, Query};

/// The user's SQL for one entry, guarded.
#[derive(Debug, Clone)]
pub(super) enum Selected {
    Everything,
    Where(String),
    Query(String),
    /// Rows that a replay touches; the number of the first entry with that statement.
    Replay(u16),
}

impl Selected {
    pub fn replay(&self) -> Option<u16> {
        match self {
            Self::Replay(number) => Some(*number),
            Self::Everything | Self::Where(_) | Self::Query(_) => None,
        }
    }
}

/// Which foreign keys are followed downwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Following {
    All,
    Nothing,
    Into(BTreeSet<TableName>),
}

impl Following {
    pub fn of(children: &Children) -> Self {
        match children {
            Children::All => Self::All,
            Children::None => Self::Nothing,
            Children::Only(tables) => Self::Into(tables.iter().cloned().collect()),
        }
    }

    pub fn follows(&self, fk: &ForeignKey) -> bool {
        self.leads_to(&fk.child)
    }

    pub fn leads_to(&self, child: &TableName) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Into(tables) => tables.contains(child),
        }
    }
}

/// One entry of the recipe, held against the catalog.
pub(super) struct Entry<'a> {
    pub number: u16,
    pub recover: &'a Recover,
    pub table: &'a Table,
    pub selected: Selected,
    pub following: Following,
    /// Does another entry name the same table? Then a row may be selected more than once.
    pub shares_table: bool,
}

impl Entry<'_> {
    /// Are its rows found in the backup? Rows whose owner live itself knows are looked for there.
    pub fn reads_backup(&self) -> bool {
        !(matches!(self.selected, Selected::Everything) && self.recover.is_found_in_live())
    }

    /// Are its rows gone from their table, so that what hung on them is looked for?
    pub fn is_followed(&self) -> bool {
        self.recover.kind == Kind::Deleted || self.recover.misrouted_to.is_some()
    }
}

/// The entries in the order of the recipe; tables that the backup does not know are refused.
pub(super) fn entries<'a>(recipe: &'a Recipe, catalog: &'a Catalog) -> Result<Vec<Entry<'a>>, ExtractError> {
    let mut found = Vec::new();
    for (number, recover) in (0u16..).zip(&recipe.recover) {
        let table = catalog
            .tables
            .get(&recover.table)
            .ok_or_else(|| ExtractError::unknown_table(&recover.table, catalog))?;
        let selected = match &recover.selection {
            Selection::Where(text) => Selected::Where(
                Predicate::parse(text)
                    .map_err(|source| ExtractError::refused(recover, source))?
                    .text()
                    .to_owned(),
            ),
            Selection::Query(text) => Selected::Query(
                Query::parse(text)
                    .map_err(|source| ExtractError::refused(recover, source))?
                    .text()
                    .to_owned(),
            ),
            Selection::Everything => Selected::Everything,
            Selection::Replay(_) => Selected::Replay(recipe.replay_of(recover).unwrap_or(number)),
        };
        let shares_table = shares_table(recipe, recover);
        let following = Following::of(&recover.children);
        found.push(Entry { number, recover, table, selected, following, shares_table });
    }
    Ok(found)
}

/// May a row be selected more than once? A replay selects rows of any table.
fn shares_table(recipe: &Recipe, recover: &Recover) -> bool {
    let is_replay = |entry: &Recover| matches!(entry.selection, Selection::Replay(_));
    recipe.recover.iter().any(is_replay)
        || recipe.recover.iter().filter(|other| other.table == recover.table).count() > 1
}
