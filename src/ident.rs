//! Names of PostgreSQL objects as the catalog spells them. Quoting happens here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One identifier, unquoted, exactly as `pg_catalog` stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ident(String);

impl Ident {
    /// Takes the name as the catalog spells it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in double quotes, safe to place in SQL text.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<&str> for Ident {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// Schema and name of a table, sequence or index. Displays as `schema.name` without quotes, for messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TableName {
    /// The schema.
    pub schema: Ident,
    /// The name inside the schema.
    pub name: Ident,
}

impl TableName {
    /// Puts a schema and a name together, both as the catalog spells them.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: Ident::new(schema), name: Ident::new(name) }
    }

    /// Reads `schema.table` or `table` (then in `public`) as written by a person: parts may be in double quotes;
    /// unlike SQL, unquoted parts keep their case, because names come from listings as often as from SQL.
    /// `None` when it is neither one nor two parts.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = split_qualified(text)?;
        let name = parts.pop()?;
        match (parts.pop(), parts.is_empty()) {
            (None, _) => Some(Self::new("public", name)),
            (Some(schema), true) => Some(Self::new(schema, name)),
            _ => None,
        }
    }

    /// `"schema"."name"`, safe to place in SQL text.
    pub fn quoted(&self) -> String {
        format!("{}.{}", self.schema.quoted(), self.name.quoted())
    }
}

fn split_qualified(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.trim().chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                parts.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            other => parts.last_mut()?.push(other),
        }
    }
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |name: &Ident| {
            let odd = name.as_str().contains(['.', '"']) || name.as_str().trim() != name.as_str();
            if odd { name.quoted() } else { name.as_str().to_owned() }
        };
        write!(formatter, "{}.{}", part(&self.schema), part(&self.name))
    }
}

impl From<TableName> for String {
    fn from(table: TableName) -> Self {
        table.to_string()
    }
}

impl TryFrom<String> for TableName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no table name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_plain_quoted_and_bare_names() {
        assert_eq!(TableName::parse("app.orders"), Some(TableName::new("app", "orders")));
        assert_eq!(TableName::parse("orders"), Some(TableName::new("public", "orders")));
        let odd = TableName::new("app", "Préférences \"Client\".x");
        assert_eq!(TableName::parse(&odd.to_string()), Some(odd.clone()));
        assert_eq!(odd.quoted(), "\"app\".\"Préférences \"\"Client\"\".x\"");
        let blank = TableName::new(" app", "orders ");
        assert_eq!(TableName::parse(&blank.to_string()), Some(blank));
        for wrong in ["", "a.b.c", ".a", "a.", "\"a"] {
            assert_eq!(TableName::parse(wrong), None, "{wrong}");
        }
    }
}
