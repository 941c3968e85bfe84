//! What the backup defines and scratch could not take, where rows are at stake: partitions of a table, and references along
//! which rows would have been found. Told from the definitions that failed, as pg_dump writes them.

use std::collections::BTreeSet;

use super::Scratch;
use super::restore::{RestoreFailure, reasons};
use super::restore_error::RestoreError;
use crate::backup::Entry;
use crate::backup::definition::{name_after, names_after, partition_of, parts_of, qualified};
use crate::ident::{Ident, TableName};
use crate::sql::lexer::{Lexeme, split};

/// A foreign key of the backup that scratch lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostReference {
    /// The constraint's name.
    pub name: Ident,
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
}

impl Scratch {
    /// Why a table of the backup is not in scratch whole: itself, or one of its partitions, however deep.
    pub fn why_not_whole(&self, table: &TableName) -> Option<RestoreError> {
        self.why_not_made(table).or_else(|| {
            let lost = self.failed().find_map(|(failure, entry)| {
                let (partition, of) = partition_of(entry)?;
                (self.catalog.root_of(&of) == table || of == *table).then_some((failure, partition))
            })?;
            Some(self.why_without_partition(lost))
        })
    }

    fn why_without_partition(&self, (failure, partition): (&RestoreFailure, TableName)) -> RestoreError {
        self.why_not_made(&partition).unwrap_or_else(|| {
            let reasons = reasons(&self.backup.contents().entries, &self.failures, failure.entry);
            RestoreError::TableNotRestored {
                table: partition,
                reasons: reasons.into_iter().map(told).collect(),
            }
        })
    }

    /// The foreign keys of the backup that scratch could not take.
    pub fn lost_references(&self) -> Vec<LostReference> {
        self.failed().filter_map(|(_, entry)| reference_of(entry)).collect()
    }

    /// Tables that scratch could not take and that inherit from this one, to any depth.
    pub fn lost_heirs(&self, table: &TableName) -> BTreeSet<TableName> {
        let heirs: Vec<(TableName, Vec<TableName>)> = self
            .failed()
            .filter(|(_, entry)| entry.kind == "TABLE")
            .filter_map(|(_, entry)| {
                let heir = TableName::new(entry.schema.clone()?, entry.name.clone());
                Some((heir, inherited(&entry.definition)?))
            })
            .collect();
        let mut found = BTreeSet::new();
        let mut open = self.catalog.heirs_of(table);
        open.insert(table.clone());
        while let Some(parent) = open.pop_first() {
            let below = heirs.iter().filter(|(_, parents)| parents.contains(&parent));
            open.extend(below.map(|(heir, _)| heir).filter(|heir| found.insert((*heir).clone())).cloned());
        }
        found
    }

    fn failed(&self) -> impl Iterator<Item = (&RestoreFailure, &Entry)> {
        let entries = &self.backup.contents().entries;
        self.failures
            .iter()
            .filter_map(|failure| Some((failure, entries.iter().find(|entry| entry.id == failure.entry)?)))
    }
}

/// One line about an object that could not be made.
pub(super) fn told(failure: &RestoreFailure) -> String {
    format!("{}: {}", failure.object, failure.message)
}

fn reference_of(entry: &Entry) -> Option<LostReference> {
    if entry.kind != "FK CONSTRAINT" {
        return None;
    }
    let table = |words: &[&str]| name_after(&entry.definition, words);
    let child = table(&["alter", "table", "only"]).or_else(|| table(&["alter", "table"]))?;
    let name = names_after(&entry.definition, &["add", "constraint"])?.into_iter().next()?;
    Some(LostReference { name, child, parent: table(&["references"])? })
}

/// The tables of `INHERITS (a.b, c.d)`, which stands behind the columns.
fn inherited(definition: &str) -> Option<Vec<TableName>> {
    let lexemes = split(definition).ok()?;
    let is_inherits = |(_, lexeme): &(usize, Lexeme<'_>)| matches!(lexeme, Lexeme::Word(word) if word.eq_ignore_ascii_case("inherits"));
    let start = lexemes.iter().rposition(is_inherits)?;
    let listed = lexemes.get(start + 1..)?;
    let mut tables = Vec::new();
    for name in listed.split(|(_, lexeme)| matches!(lexeme, Lexeme::Symbol('(' | ','))).skip(1) {
        tables.push(qualified(parts_of(name)?)?);
    }
    Some(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::definition::sample_entry as entry;

    #[test]
    fn tables_that_are_inherited_from_are_told() {
        let table = "CREATE TABLE app.kid (\n    inherits text DEFAULT 'inherits (x.y)'\n)\nINHERITS (app.a, \"App\".\"b c\");";
        assert_eq!(inherited(table), Some(vec![TableName::new("app", "a"), TableName::new("App", "b c")]));
        assert_eq!(inherited("CREATE TABLE app.kid (\n    id integer\n);"), None);
    }

    #[test]
    fn references_are_told_with_both_ends() {
        let key = "ALTER TABLE ONLY app.\"Kid\"\n    ADD CONSTRAINT \"kid fk\" FOREIGN KEY (a, b) REFERENCES app.par(a, b) ON DELETE CASCADE;";
        let expected = LostReference {
            name: Ident::new("kid fk"),
            child: TableName::new("app", "Kid"),
            parent: TableName::new("app", "par"),
        };
        assert_eq!(reference_of(&entry("FK CONSTRAINT", key)), Some(expected.clone()));
        let partitioned = key.replace("ALTER TABLE ONLY", "ALTER TABLE");
        assert_eq!(reference_of(&entry("FK CONSTRAINT", &partitioned)), Some(expected));
        assert_eq!(reference_of(&entry("CONSTRAINT", key)), None);
    }
}
