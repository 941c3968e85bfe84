//! Which tables of the backup are held against which tables of live. Rows of partitions are looked for in the table of
//! which live has them as partitions; where live has no table of a partition's name, in all of what it was a partition of.

use std::collections::{BTreeMap, BTreeSet};

use super::CompareError;
use super::feed::Part;
use crate::backup::definition::{bare_roots, is_own_journal, makes_table, partitions};
use crate::backup::{Backup, BackupError, Contents, TableData};
use crate::catalog::Catalog;
use crate::ident::TableName;
use crate::recipe::nearest;

/// Most partitions that a note names.
const NAMED: usize = 3;

/// Where the backup holds the rows that are held against one table of live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The backup's tables; partitions count as the table that they are partitions of.
    pub tables: BTreeSet<TableName>,
    /// Partitions of those whose rows are held against other tables of live.
    pub elsewhere: BTreeSet<TableName>,
}

impl Held {
    /// Is it one table of the backup, of this name?
    pub fn is_alike(&self, table: &TableName) -> bool {
        self.tables.len() == 1 && self.tables.contains(table)
    }
}

/// The parts of the backup for one table of live.
pub(super) struct Source {
    pub(super) parts: Vec<Part>,
    pub(super) held: Held,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// Where the backup's tables have their rows in live.
struct Lineage<'a> {
    contents: &'a Contents,
    live: &'a Catalog,
    /// What each partition of the backup is a partition of.
    above: BTreeMap<TableName, TableName>,
    /// By the backup's name: where live has the rows.
    homes: BTreeMap<&'a TableName, TableName>,
}

impl<'a> Lineage<'a> {
    fn of(contents: &'a Contents, live: &'a Catalog) -> Self {
        let mut lineage = Self { contents, live, above: partitions(contents), homes: BTreeMap::new() };
        lineage.homes = contents
            .tables
            .iter()
            .map(|(stored, rows)| (stored, lineage.home(stored, target(stored, rows))))
            .collect();
        lineage
    }

    /// The table and those above it in the backup, itself first.
    fn line<'b>(&'b self, stored: &'b TableName) -> impl Iterator<Item = &'b TableName> {
        // A damaged archive may tell of partitions in a circle.
        std::iter::successors(Some(stored), |name| self.above.get(name)).take(1 + self.above.len())
    }

    /// The table of live in which the rows belong, or the name under which live lacks it.
    fn home(&self, stored: &TableName, target: &TableName) -> TableName {
        let known = |name: &&TableName| {
            let of = self.live.root_of(name);
            of != *name || self.live.tables.contains_key(*name)
        };
        let found = self.line(stored).find(known).or_else(|| Some(target).filter(known));
        match found {
            Some(name) => self.live.root_of(name).clone(),
            None => self.root(stored, target).clone(),
        }
    }

    /// The table of the backup whose rows they are.
    fn root<'b>(&'b self, stored: &'b TableName, target: &'b TableName) -> &'b TableName {
        self.line(stored).last().filter(|root| *root != stored).unwrap_or(target)
    }

    /// The tables of live that a name asks for: its own, or those of all its partitions in the backup.
    fn asked(&self, name: &TableName) -> Result<Vec<TableName>, CompareError> {
        let of = self.live.root_of(name);
        let is_meant = |stored: &TableName, home: &TableName| {
            home == name || home == of || self.line(stored).any(|above| above == name)
        };
        let homes: Vec<TableName> = self
            .homes
            .iter()
            .filter(|(stored, home)| is_meant(stored, home))
            .map(|(_, home)| home.clone())
            .collect();
        if !homes.is_empty() {
            return Ok(homes);
        }
        if let Some(table) = [name, of].into_iter().find(|table| makes_table(self.contents, table)) {
            return Err(BackupError::WithoutRows { table: table.clone() }.into());
        }
        let names: BTreeSet<&TableName> = self.contents.tables.keys().chain(self.above.values()).collect();
        let names: Vec<String> = names.into_iter().map(TableName::to_string).collect();
        let nearest = nearest(&name.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
        Err(CompareError::UnknownTable { table: name.clone(), nearest })
    }

    /// What is not where the backup had it.
    fn source(&self, home: &TableName, parts: Vec<Part>) -> Source {
        let root_of = |stored: &TableName| {
            let rows = self.contents.tables.get(stored);
            self.root(stored, rows.map_or(stored, |rows| target(stored, rows))).clone()
        };
        let tables: BTreeSet<TableName> = parts.iter().map(|part| root_of(&part.stored_as)).collect();
        let elsewhere: BTreeSet<TableName> = self
            .homes
            .iter()
            .filter(|(stored, other)| *other != home && tables.contains(&root_of(stored)))
            .map(|(stored, _)| (*stored).clone())
            .collect();
        let is_gone = |stored: &&TableName| {
            *stored != home && self.live.root_of(stored) == *stored && !self.live.tables.contains_key(*stored)
        };
        let gone: Vec<&TableName> = parts.iter().map(|part| &part.stored_as).filter(is_gone).collect();
        let mut notes = Vec::new();
        if self.live.tables.contains_key(home) && !gone.is_empty() {
            let whose = if gone.len() == 1 { "its" } else { "their" };
            notes
                .push(format!("live has no {}: {whose} rows are looked for in all of {home}", listed(&gone)));
        }
        let held = Held { tables, elsewhere };
        if !held.is_alike(home) {
            let tables: Vec<&TableName> = held.tables.iter().collect();
            notes.push(format!("in the backup these are rows of {}", listed(&tables)));
        } else if !held.elsewhere.is_empty() {
            let names: Vec<&TableName> = held.elsewhere.iter().collect();
            notes.push(format!(
                "live has {}, in the backup part of {home}, outside of it: compared there",
                listed(&names)
            ));
        }
        if self.above.values().any(|root| root == home) {
            let is_known =
                |name: &TableName| self.above.contains_key(name) || self.contents.tables.contains_key(name);
            notes.extend(self.live.note_on_new_partitions(home, is_known));
        }
        Source { parts, held, notes }
    }

    /// Partitioned tables of which the backup holds no partition, and live does.
    fn without_parts(&self) -> impl Iterator<Item = TableName> {
        let has_rows = |root: &TableName| match self.live.tables.get(root) {
            Some(table) => !table.partitioned || self.live.partitions_of(root).next().is_some(),
            None => false,
        };
        bare_roots(self.contents).into_iter().filter(has_rows)
    }
}

const WITHOUT_ROWS: &str = "the backup does not hold its rows";

/// The table that the COPY command of the rows names.
fn target<'a>(stored: &'a TableName, rows: &'a TableData) -> &'a TableName {
    match rows {
        TableData::Rows { target, .. } => target,
        TableData::Inserts { .. } | TableData::Missing => stored,
    }
}

/// `a, b, c and 4 more`.
fn listed(names: &[&TableName]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The backup's tables by the name that live has for them, with the parts that hold their rows.
pub(super) fn wanted(
    backup: &Backup,
    live: &Catalog,
    named: &[TableName],
    skipped: &mut BTreeMap<TableName, String>,
) -> Result<BTreeMap<TableName, Source>, CompareError> {
    let lineage = Lineage::of(backup.contents(), live);
    let mut asked = BTreeSet::new();
    for name in named {
        asked.extend(lineage.asked(name)?);
    }
    let mut found: BTreeMap<TableName, Vec<Part>> = BTreeMap::new();
    for (stored, rows) in &backup.contents().tables {
        let table = &lineage.homes[stored];
        if !named.is_empty() && !asked.contains(table) {
            continue;
        }
        if is_own_journal(backup.contents(), stored) {
            if !named.is_empty() {
                skipped
                    .insert(table.clone(), "it is the journal that rowback itself keeps in live".to_owned());
            }
            continue;
        }
        let reason = match rows {
            TableData::Rows { columns, .. } => {
                let part = Part { stored_as: stored.clone(), columns: columns.clone() };
                found.entry(table.clone()).or_default().push(part);
                continue;
            }
            TableData::Inserts { .. } => "the backup holds its rows as INSERT commands",
            TableData::Missing => WITHOUT_ROWS,
        };
        skipped.insert(table.clone(), reason.to_owned());
    }
    if named.is_empty() {
        skipped.extend(lineage.without_parts().map(|root| (root, WITHOUT_ROWS.to_owned())));
    }
    // A table of which a part is missing is not compared at all: its rows would look new.
    found.retain(|table, _| !skipped.contains_key(table));
    let source = |(table, parts): (TableName, Vec<Part>)| {
        let source = lineage.source(&table, parts);
        (table, source)
    };
    Ok(found.into_iter().map(source).collect())
}
