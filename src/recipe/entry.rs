//! One `[[recover]]` and one `[[foreign_key]]` as plain values.

use std::fmt;

use super::section::Choice;
use crate::ident::{Ident, TableName};
use crate::value::JsonPath;

/// What one entry of a recipe recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recover {
    /// The table, as the backup spells it.
    pub table: TableName,
    /// What the accident did to its rows.
    pub kind: Kind,
    /// Which rows of the backup.
    pub selection: Selection,
    /// Which foreign keys are followed downwards.
    pub children: Children,
    /// What is done about links that `ON DELETE SET NULL` or `SET DEFAULT` cut.
    pub links: Links,
    /// Columns that make a live row with the same key the same entity; empty: not said.
    pub identity: Vec<Ident>,
    /// Key columns for a table without a primary key; empty: the primary key.
    pub key: Vec<Ident>,
    /// Damaged columns (`corrupted`); empty: every column that differs, but the key.
    pub columns: Vec<Ident>,
    /// Condition over `live.` and `backup.` that tells a damaged row from a changed one.
    pub damaged: Option<String>,
    /// Column that names the owner (`misrouted`).
    pub owner: Option<Ident>,
    /// Expression or sub-select, evaluated in live, that gives the true owner.
    pub owner_from: Option<String>,
    /// The table that rows of `table` ended up in (`misrouted`, a schema for each tenant).
    pub misrouted_to: Option<TableName>,
}

impl Recover {
    /// An entry with every default, for the given rows.
    pub fn new(table: TableName, kind: Kind, selection: Selection) -> Self {
        Self {
            table,
            kind,
            selection,
            children: Children::All,
            links: Links::Repair,
            identity: Vec::new(),
            key: Vec::new(),
            columns: Vec::new(),
            damaged: None,
            owner: None,
            owner_from: None,
            misrouted_to: None,
        }
    }

    /// Are the entry's rows looked for in live, because it needs the backup neither for the truth nor to tell what is
    /// damaged? Then it also finds rows born after the backup.
    pub fn is_found_in_live(&self) -> bool {
        let reads_backup = self.damaged.as_deref().is_none_or(names_backup);
        self.kind == Kind::Misrouted
            && self.owner_from.is_some()
            && self.selection == Selection::Everything
            && !reads_backup
    }
}

/// May the condition be about the backup's row? The word alone counts: saying yes too often costs time, not rows.
fn names_backup(condition: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    condition.split(|letter| !is_part(letter)).any(|word| word.eq_ignore_ascii_case("backup"))
}

/// What the accident did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Kind {
    /// Rows are gone.
    #[default]
    Deleted,
    /// Columns hold wrong values.
    Corrupted,
    /// Rows belong to the wrong owner (tenant).
    Misrouted,
}

impl Kind {
    /// All kinds with the words the recipe and `--kind` use.
    pub const WORDS: &'static [(&'static str, Self)] = <Self as Choice>::WORDS;
}

impl Choice for Kind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("deleted", Self::Deleted), ("corrupted", Self::Corrupted), ("misrouted", Self::Misrouted)];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Which rows of the backup an entry is about. The texts passed the guard of [`crate::sql::predicate`] (but
/// `Replay`, which is a statement); a `where_file` has been read into `Where`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Rows for which the condition over the backup's row holds.
    Where(String),
    /// Rows whose key a `SELECT` in scratch returns.
    Query(String),
    /// Rows that the guilty statement touches when it is run again in scratch.
    Replay(String),
    /// Every row: `where` was left out. `recover` narrows it to the rows that a comparison finds missing or different.
    Everything,
}

/// Which foreign keys are followed downwards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Children {
    /// All.
    #[default]
    All,
    /// None.
    None,
    /// Those whose child is one of these tables.
    Only(Vec<TableName>),
}

/// What is done about links that the accident cut in surviving children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// Set them again where they are still NULL or the default.
    #[default]
    Repair,
    /// Leave them cut.
    Leave,
}

/// A reference that the catalog does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredForeignKey {
    /// The child's table.
    pub from_table: TableName,
    /// The child's columns, in pairs with `to_columns`.
    pub from_columns: Vec<ChildColumn>,
    /// The parent's table.
    pub to_table: TableName,
    /// The parent's columns.
    pub to_columns: Vec<Ident>,
    /// Condition over the child's row under which the reference counts.
    pub when: Option<String>,
}

/// What refers: a column, or a value inside of the JSON document that a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildColumn {
    /// The column.
    pub name: Ident,
    /// Where in its document the value stands.
    pub path: Option<JsonPath>,
}

impl fmt::Display for ChildColumn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(formatter)?;
        self.path.iter().try_for_each(|path| path.fmt(formatter))
    }
}

impl From<Ident> for ChildColumn {
    fn from(name: Ident) -> Self {
        Self { name, path: None }
    }
}

/// Reads `schema.table(a, "B c", d->>'e')`.
pub(super) fn parse_end(text: &str) -> Option<(TableName, Vec<ChildColumn>)> {
    let body = text.trim().strip_suffix(')')?;
    let open = unquoted_positions(body, '(', &['"']).next()?;
    let table = TableName::parse(&body[..open])?;
    let inside = &body[open + 1..];
    let mut columns = Vec::new();
    let mut start = 0;
    for comma in unquoted_positions(inside, ',', &['"', '\'']).chain([inside.len()]) {
        columns.push(parse_column(&inside[start..comma])?);
        start = comma + 1;
    }
    Some((table, columns))
}

/// Writes what [`parse_end`] reads.
pub(super) fn show_end(table: &TableName, columns: &[ChildColumn]) -> String {
    let columns: Vec<_> = columns.iter().map(show_column).collect();
    let plain = show_table(table);
    let table = if plain.contains(['(', ')']) { table.quoted() } else { plain };
    format!("{table}({})", columns.join(", "))
}

/// The table as a recipe names it, in quotes only where reading it back needs them.
pub(super) fn show_table(table: &TableName) -> String {
    let plain = table.to_string();
    if TableName::parse(&plain).as_ref() == Some(table) { plain } else { table.quoted() }
}

fn show_column(column: &ChildColumn) -> String {
    let name = column.name.as_str();
    let odd = name.contains(['"', '\'', ',', '(', ')', '[', ']'])
        || name.trim() != name
        || path_start(name).is_some();
    let shown = if odd { column.name.quoted() } else { name.to_owned() };
    match &column.path {
        Some(path) => format!("{shown}{path}"),
        None => shown,
    }
}

fn parse_column(text: &str) -> Option<ChildColumn> {
    let text = text.trim();
    let (name, path) = if let Some(rest) = text.strip_prefix('"') {
        let end = end_of_name(rest)?;
        (rest[..end].replace("\"\"", "\""), rest[end + 1..].trim())
    } else {
        let end = path_start(text).unwrap_or(text.len());
        (text[..end].trim().to_owned(), &text[end..])
    };
    let is_plain = text.starts_with('"') || !name.contains(['"', '\'', '[', ']']);
    let path = if path.is_empty() { None } else { Some(JsonPath::parse(path)?) };
    (is_plain && !name.is_empty()).then(|| ChildColumn { name: Ident::new(name), path })
}

/// Where a path into a document begins, behind a name without quotes.
fn path_start(text: &str) -> Option<usize> {
    ["->", "#>"].iter().filter_map(|operator| text.find(operator)).min()
}

/// Where the quote stands that ends a name.
fn end_of_name(text: &str) -> Option<usize> {
    let mut quotes = text.match_indices('"').map(|(at, _)| at).peekable();
    while let Some(at) = quotes.next() {
        if quotes.next_if_eq(&(at + 1)).is_none() {
            return Some(at);
        }
    }
    None
}

/// Names are quoted by `"`, the keys of a path behind them by `'`.
fn unquoted_positions<'t>(
    text: &'t str,
    wanted: char,
    quotes: &'static [char],
) -> impl Iterator<Item = usize> + 't {
    let mut quoted_by = None;
    text.char_indices().filter_map(move |(at, letter)| {
        match quoted_by {
            Some(quote) if quote == letter => quoted_by = None,
            None if quotes.contains(&letter) => quoted_by = Some(letter),
            _ => {}
        }
        (letter == wanted && quoted_by.is_none()).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_foreign_keys() {
        let odd = TableName::new("a(b", "c.d");
        let columns =
            ["x, y", "Z \"z\"", "plain name", "it's", "a->b"].map(|name| Ident::new(name).into()).to_vec();
        assert_eq!(
            show_end(&odd, &columns),
            "\"a(b\".\"c.d\"(\"x, y\", \"Z \"\"z\"\"\", plain name, \"it's\", \"a->b\")"
        );
        assert_eq!(parse_end(&show_end(&odd, &columns)), Some((odd, columns)));
        assert_eq!(show_table(&TableName::new(" a", "b")), "\" a\".b");
        let simple = TableName::new("public", "item_metadata");
        assert_eq!(
            parse_end("item_metadata( owner_id )"),
            Some((simple, vec![Ident::new("owner_id").into()]))
        );
        for wrong in ["t", "t()", "t(a,)", "(a)", "t(a", "t(a\"b)", "a.b.c(d)", "t(\"a\"b)"] {
            assert_eq!(parse_end(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_into_documents() {
        let path = |text: &str| JsonPath::parse(text);
        let column = |name: &str, path: Option<JsonPath>| ChildColumn { name: Ident::new(name), path };
        let read = |text: &str| parse_end(text).map(|(_, columns)| columns);
        assert_eq!(
            read("t(a, b ->> 'x, (y', \"c \"\"d\" #>>'{e,f}')"),
            Some(vec![
                column("a", None),
                column("b", path("->>'x, (y'")),
                column("c \"d", path("#>>'{e,f}'"))
            ])
        );
        let odd =
            vec![column("it's, ->", path("->'a)'->>'it''s \"x\"'")), column("plain", path("#>>'{a,b}'"))];
        let table = TableName::new("public", "t");
        assert_eq!(parse_end(&show_end(&table, &odd)), Some((table, odd)));
        for wrong in [
            "t(a->'b')",
            "t(a->>b)",
            "t(a['b'])",
            "t(a[0])",
            "t((a->>'b')::int)",
            "t(a->>'b'::int)",
            "t(->>'b')",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
