//! Names in the definitions of a backup's entries, as pg_dump writes them. Reads text; asks no server.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::is_partitioned;
use super::{Contents, Entry, TableData};
use crate::ident::{Ident, TableName};
use crate::sql::lexer::{Lexeme, split};

/// Partitions of the backup, each with the table that it is a partition of.
pub fn partitions(contents: &Contents) -> BTreeMap<TableName, TableName> {
    contents.entries.iter().filter_map(partition_of).collect()
}

/// Does the backup make the table, with or without rows?
pub fn makes_table(contents: &Contents, table: &TableName) -> bool {
    contents.entries.iter().any(|entry| is_table(entry, table))
}

/// Does the entry make this table?
fn is_table(entry: &Entry, table: &TableName) -> bool {
    entry.kind == "TABLE"
        && entry.name == table.name.as_str()
        && entry.schema.as_deref() == Some(table.schema.as_str())
}

/// The roots of partitions that the backup makes without a single partition that has rows: nothing tells what they held.
pub fn bare_roots(contents: &Contents) -> BTreeSet<TableName> {
    let is_root = |entry: &&Entry| entry.kind == "TABLE" && is_partitioned(&entry.definition);
    let roots = contents
        .entries
        .iter()
        .filter(is_root)
        .filter_map(|entry| Some(TableName::new(entry.schema.clone()?, entry.name.clone())));
    let (mut roots, above): (BTreeSet<TableName>, _) = (roots.collect(), partitions(contents));
    for stored in contents.tables.keys() {
        // A damaged archive may tell of partitions in a circle.
        for name in std::iter::successors(Some(stored), |name| above.get(name)).take(1 + above.len()) {
            roots.remove(name);
        }
    }
    roots.retain(|root| !above.contains_key(root));
    roots
}

/// The columns of the table in which `apply --journal live` keeps its journal.
const JOURNAL: [&str; 7] = ["id", "case_id", "plan", "batch", "xid", "written_at", "line"];

/// Is it the journal that `apply` keeps in live? Not a table that only has its name.
pub fn is_own_journal(contents: &Contents, table: &TableName) -> bool {
    if table != &TableName::new("rowback", "journal") {
        return false;
    }
    if let Some(TableData::Rows { columns, .. }) = contents.tables.get(table) {
        return columns.iter().map(Ident::as_str).eq(JOURNAL);
    }
    let made = contents.entries.iter().find(|entry| is_table(entry, table));
    let definition = made.map_or("", |entry| &entry.definition);
    JOURNAL.iter().all(|column| definition.contains(&format!("\n    {column} ")))
}

/// The partition that an entry makes or attaches, and the table that it is a partition of.
pub(crate) fn partition_of(entry: &Entry) -> Option<(TableName, TableName)> {
    match entry.kind.as_str() {
        "TABLE ATTACH" => attached(&entry.definition),
        "TABLE" => {
            let partition = TableName::new(entry.schema.clone()?, entry.name.clone());
            // As pg_dump 10 writes it, and as those after it did until attaching became an entry of its own.
            let of = name_after(&entry.definition, &["partition", "of"]);
            let of = of.or_else(|| Some(attached(&entry.definition)?.1));
            Some((partition, of?))
        }
        _ => None,
    }
}

/// The partition and the table of `ALTER TABLE ONLY a.b ATTACH PARTITION c.d …`, which may follow other commands.
fn attached(definition: &str) -> Option<(TableName, TableName)> {
    let lexemes = split(definition).ok()?;
    let end = behind(&lexemes, &["attach", "partition"])?;
    let before = lexemes.get(..end)?;
    let start = (0..before.len()).rev().find_map(|at| Some(at + behind_first(before.get(at..)?)?))?;
    Some((qualified(parts_of(lexemes.get(end..)?)?)?, qualified(parts_of(lexemes.get(start..)?)?)?))
}

/// Where a name begins in lexemes that begin with `ALTER TABLE`.
fn behind_first(lexemes: &[(usize, Lexeme<'_>)]) -> Option<usize> {
    let starts = |words: &[&str]| begins(lexemes, words).then_some(words.len());
    starts(&["alter", "table", "only"]).or_else(|| starts(&["alter", "table"]))
}

/// The qualified name behind these words.
pub(crate) fn name_after(definition: &str, words: &[&str]) -> Option<TableName> {
    qualified(names_after(definition, words)?)
}

/// A table's name of its two parts.
pub(crate) fn qualified(parts: Vec<Ident>) -> Option<TableName> {
    let mut parts = parts.into_iter();
    let (schema, name) = (parts.next()?, parts.next()?);
    Some(TableName { schema, name })
}

/// The parts of the name behind these words, in lower case, where they stand for the first time.
pub(crate) fn names_after(definition: &str, words: &[&str]) -> Option<Vec<Ident>> {
    let lexemes = split(definition).ok()?;
    parts_of(lexemes.get(behind(&lexemes, words)?..)?)
}

/// Where the words end that stand there for the first time.
fn behind(lexemes: &[(usize, Lexeme<'_>)], words: &[&str]) -> Option<usize> {
    let starts = |at: &usize| begins(&lexemes[*at..], words);
    Some((0..lexemes.len()).find(starts)? + words.len())
}

fn begins(lexemes: &[(usize, Lexeme<'_>)], words: &[&str]) -> bool {
    let is_word = |(_, lexeme): &(usize, Lexeme<'_>), word: &str| matches!(lexeme, Lexeme::Word(found) if found.eq_ignore_ascii_case(word));
    let here = lexemes.get(..words.len());
    here.is_some_and(|here| here.iter().zip(words).all(|(lexeme, word)| is_word(lexeme, word)))
}

/// The parts of the name with which these lexemes begin.
pub(crate) fn parts_of(lexemes: &[(usize, Lexeme<'_>)]) -> Option<Vec<Ident>> {
    let mut parts = Vec::new();
    for pair in lexemes.chunks(2) {
        parts.push(match pair.first()?.1 {
            Lexeme::Word(word) => Ident::new(word),
            Lexeme::Quoted(quoted) => Ident::new(quoted.get(1..quoted.len() - 1)?.replace("\"\"", "\"")),
            _ => return None,
        });
        if !matches!(pair.get(1), Some((_, Lexeme::Symbol('.')))) {
            break;
        }
    }
    Some(parts)
}

/// An entry of a table `app.o2`.
#[cfg(test)]
pub(crate) fn sample_entry(kind: &str, definition: &str) -> Entry {
    Entry {
        kind: kind.to_owned(),
        schema: Some("app".to_owned()),
        name: "o2".to_owned(),
        definition: definition.to_owned(),
        section: super::Section::PreData,
        id: 1,
        owner: None,
        dependencies: Vec::new(),
        has_data: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_told_with_their_tables() {
        let attach =
            "ALTER TABLE ONLY app.o ATTACH PARTITION \"App\".\"o \"\"2\" FOR VALUES FROM ('a.b') TO ('c');";
        let found = partition_of(&sample_entry("TABLE ATTACH", attach));
        assert_eq!(found, Some((TableName::new("App", "o \"2"), TableName::new("app", "o"))));
        let old =
            "CREATE TABLE app.o2 PARTITION OF app.\"O\" (v DEFAULT 'partition of x.y')\nFOR VALUES IN (1);";
        let expected = Some((TableName::new("app", "o2"), TableName::new("app", "O")));
        assert_eq!(partition_of(&sample_entry("TABLE", old)), expected);
        let both = "CREATE TABLE app.o2 (\n    id integer\n);\nALTER TABLE ONLY app.o2 ALTER COLUMN id SET STATISTICS 9;\n\
                    ALTER TABLE ONLY app.\"O\" ATTACH PARTITION app.o2 FOR VALUES IN (1);";
        assert_eq!(partition_of(&sample_entry("TABLE", both)), expected);
        assert_eq!(partition_of(&sample_entry("TABLE", "CREATE TABLE app.o2 (\n    id integer\n);")), None);
        assert_eq!(partition_of(&sample_entry("INDEX ATTACH", attach)), None);
    }
}
