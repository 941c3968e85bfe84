//! How a row is named in reports, in the journal and in messages: by its key, every value as text.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ident::TableName;

/// Key columns and their values as PostgreSQL prints them; `{"id": "7"}` as JSON, `id = 7` in messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowKey(pub BTreeMap<String, Option<String>>);

impl RowKey {
    /// Reads the JSON object that a report step returns.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Are these the columns of the key?
    pub(super) fn has_columns<'a>(&self, mut columns: impl ExactSizeIterator<Item = &'a str>) -> bool {
        columns.len() == self.0.len() && columns.all(|name| self.0.contains_key(name))
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (column, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(formatter, "{comma}{column} = {}", value.as_deref().unwrap_or("NULL"))?;
        }
        Ok(())
    }
}

/// One row of one table.
pub(super) type RowName = (TableName, RowKey);

/// Keys as the JSON array that the SQL of `plan::recall` takes.
pub(super) fn json_array<'a>(keys: impl Iterator<Item = &'a RowKey>) -> String {
    let keys: Vec<&RowKey> = keys.collect();
    // Maps of strings always become JSON.
    serde_json::to_string(&keys).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_like_a_condition() {
        let key = RowKey::parse(r#"{"line": "2", "order_id": "10", "part": null}"#).unwrap();
        assert_eq!(key.to_string(), "line = 2, order_id = 10, part = NULL");
        assert!(key.has_columns(["order_id", "line", "part"].into_iter()));
        assert!(!key.has_columns(["order_id", "line"].into_iter()));
        assert_eq!(json_array([&key].into_iter()), r#"[{"line":"2","order_id":"10","part":null}]"#);
    }
}
