//! Which tables a replay can touch or read: those that its text names, all that can be reached from them downwards over
//! foreign keys, and what the triggers on these name in turn. Names are looked for as words, so rather one table too many
//! than one too few; where a text can hide a name, everything is loaded, and that is said.

use std::collections::{BTreeMap, BTreeSet};

use super::ExtractError;
use crate::catalog::Catalog;
use crate::ident::TableName;
use crate::pg::{PgError, Row, column};
use crate::scratch::Scratch;
use crate::sql::registry;

/// What a replay can touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Tables, partitions named by their root.
    pub tables: BTreeSet<TableName>,
    /// Why it could be any table.
    pub anything: Option<String>,
}

/// What stands around the tables, read while they are empty.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// Functions that a table's triggers call; `None` for a rule, whose text nobody looks into.
    triggers: BTreeMap<TableName, Vec<Option<String>>>,
    /// Language and text of the backup's functions, by name without schema.
    functions: BTreeMap<String, Vec<(String, String)>>,
    views: BTreeSet<String>,
    /// Tables that inherit, by the table that they inherit from.
    heirs: BTreeMap<TableName, Vec<TableName>>,
}

impl Surroundings {
    /// Asks scratch, in a transaction that is given up.
    pub(super) async fn read(scratch: &Scratch) -> Result<Self, ExtractError> {
        let what = "reading triggers and functions";
        let rehearsal = scratch.rehearse(&BTreeSet::new()).await?;
        let session = &rehearsal.session;
        let text = |row: &Row, name: &str| column::<String>(row, name, what);
        let table = |row: &Row, schema: &str, name: &str| -> Result<TableName, PgError> {
            Ok(TableName::new(text(row, schema)?, text(row, name)?))
        };
        let catalog = scratch.catalog();
        let mut found = Self::default();
        for row in session.query(&registry::EXTRACT_TRIGGERS, &[]).await? {
            let name = table(&row, "schema", "name")?;
            let function = (text(&row, "kind")? == "t").then_some(text(&row, "function")?);
            found.triggers.entry(catalog.root_of(&name).clone()).or_default().push(function);
        }
        for row in session.query(&registry::EXTRACT_FUNCTIONS, &[]).await? {
            let body = (text(&row, "language")?, text(&row, "source")?.to_lowercase());
            found.functions.entry(text(&row, "name")?.to_lowercase()).or_default().push(body);
        }
        for row in session.query(&registry::EXTRACT_RELATIVES, &[]).await? {
            if text(&row, "kind")? == "v" {
                found.views.insert(text(&row, "name")?.to_lowercase());
            } else {
                let (heir, parent) =
                    (table(&row, "schema", "name")?, table(&row, "parent_schema", "parent")?);
                found.heirs.entry(parent).or_default().push(heir);
            }
        }
        session.rollback().await?;
        Ok(found)
    }

    /// What the statement `replay` on `table` can touch.
    pub(super) fn reach(&self, catalog: &Catalog, table: &TableName, replay: &str) -> Reach {
        let mut search = Search { around: self, catalog, reach: Reach::default(), seen: BTreeSet::new() };
        search.add(table);
        search.look_into("the statement", &replay.to_lowercase());
        search.reach
    }
}

struct Search<'a> {
    around: &'a Surroundings,
    catalog: &'a Catalog,
    reach: Reach,
    seen: BTreeSet<String>,
}

impl Search<'_> {
    /// Adds a table with all that hangs on it.
    fn add(&mut self, table: &TableName) {
        let table = self.catalog.root_of(table).clone();
        if !self.catalog.tables.contains_key(&table) || !self.reach.tables.insert(table.clone()) {
            return;
        }
        let children: Vec<TableName> = self
            .catalog
            .children_of(&table)
            .filter(|fk| fk.is_enforced())
            .map(|fk| fk.child.clone())
            .chain(self.around.heirs.get(&table).into_iter().flatten().cloned())
            .collect();
        children.iter().for_each(|child| self.add(child));
        for function in self.around.triggers.get(&table).into_iter().flatten() {
            match function {
                Some(function) => self.call(function),
                None => self.anything(format!("{table} has a rule")),
            }
        }
    }

    fn anything(&mut self, why: String) {
        self.reach.anything.get_or_insert(why);
    }

    /// A function of the backup, or one that PostgreSQL brings along, which touches nothing but its own row.
    fn call(&mut self, function: &str) {
        let name = function.to_lowercase();
        let around = self.around;
        let Some(bodies) = around.functions.get(&name) else { return };
        if !self.seen.insert(name) {
            return;
        }
        for (language, source) in bodies {
            match language.as_str() {
                "internal" => {}
                // The text of a function whose body was parsed when it was made is empty.
                "plpgsql" | "sql" if !source.trim().is_empty() => {
                    self.look_into(&format!("{function}()"), source);
                }
                _ => self.anything(format!("{function}() cannot be looked into")),
            }
        }
    }

    /// `text` is in lower case.
    fn look_into(&mut self, whose: &str, text: &str) {
        let around = self.around;
        if has_word(text, "execute") {
            self.anything(format!("{whose} runs statements that it puts together itself"));
        }
        if let Some(view) = around.views.iter().find(|view| has_word(text, view)) {
            self.anything(format!("{whose} names the view {view}"));
        }
        if text.contains("u&\"") {
            self.anything(format!("{whose} spells names with escapes"));
        }
        let catalog = self.catalog;
        let all = catalog.tables.keys().chain(catalog.partitions.keys());
        for table in all.filter(|table| has_word(text, &table.name.as_str().to_lowercase())) {
            self.add(table);
        }
        for function in around.functions.keys().filter(|function| has_word(text, function)) {
            self.call(function);
        }
    }
}

/// Does `word` stand in `text`, not as a part of a longer name? Quotes in a quoted name are doubled.
fn has_word(text: &str, word: &str) -> bool {
    has_spelling(text, word) || (word.contains('"') && has_spelling(text, &word.replace('"', "\"\"")))
}

fn has_spelling(text: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn names_are_found_as_words() {
        assert!(has_word("delete from orders;", "orders"));
        assert!(has_word("delete from app.\"my orders\"", "my orders"));
        assert!(has_word("delete from \"a\"\"b\"", "a\"b"));
        assert!(!has_word("delete from orders_old", "orders"));
        assert!(!has_word("delete from preorders", "orders"));
        assert!(!has_word("", "orders") && !has_word("x", ""));
    }
}
