//! Unique keys and exclusion constraints.

use serde::{Deserialize, Serialize};

use crate::ident::Ident;

/// A unique index (constraint or not) or an exclusion constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueKey {
    /// The index's name, which is the constraint's where there is one.
    pub name: Ident,
    /// Is it the primary key?
    pub primary: bool,
    /// Is it an exclusion constraint?
    pub exclusion: bool,
    /// Is it checked only at the end of the statement or transaction?
    pub deferrable: bool,
    /// NULLS NOT DISTINCT.
    pub nulls_not_distinct: bool,
    /// The plain columns, in order; elements that are expressions are left out.
    pub columns: Vec<Ident>,
    /// Text of every element, plain columns included, as it stands in the index.
    pub expressions: Vec<String>,
    /// The operator that tells a collision, one for each element: `OPERATOR(pg_catalog.=)`.
    pub operators: Vec<String>,
    /// WHERE of a partial index.
    pub predicate: Option<String>,
}

impl UniqueKey {
    /// Does it cover every row by plain columns only, so that it can name one?
    pub fn identifies_rows(&self) -> bool {
        !self.exclusion && self.predicate.is_none() && self.columns.len() == self.expressions.len()
    }

    /// Is every element a plain column?
    pub fn is_plain(&self) -> bool {
        self.columns.len() == self.expressions.len()
    }
}
