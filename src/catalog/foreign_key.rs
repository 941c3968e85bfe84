//! References between tables, from the catalog or declared in the recipe.

use serde::{Deserialize, Serialize};

use crate::ident::{Ident, TableName};

/// A reference from child columns to parent columns, as pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The constraint's name; for a declared one `child(a, b) -> parent(c, d)`.
    pub name: String,
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Child column and parent column, pair by pair.
    pub columns: Vec<(Ident, Ident)>,
    /// The operator that tells whether a parent's value (left) is the child's (right), pair by pair:
    /// `OPERATOR(pg_catalog.=)`. Empty for a declared reference.
    #[serde(default)]
    pub operators: Vec<String>,
    /// What happens to the child when the parent goes.
    pub on_delete: Action,
    /// What happens to the child when the parent's columns change.
    #[serde(default)]
    pub on_update: Action,
    /// The columns that SET NULL or SET DEFAULT changes; all child columns unless PostgreSQL 15's column list is used.
    pub set_columns: Vec<Ident>,
    /// MATCH FULL: either all columns are null or none.
    pub match_full: bool,
    /// Can it be checked at the end of the transaction?
    pub deferrable: bool,
    /// Where the reference comes from.
    pub origin: Origin,
    /// The tables on which the server enforces it: the child itself, or those of its partitions that have it of their
    /// own. Empty for a declared reference.
    pub carriers: Vec<TableName>,
}

impl ForeignKey {
    /// The child's columns, in order.
    pub fn child_columns(&self) -> impl Iterator<Item = &Ident> {
        self.columns.iter().map(|(child, _)| child)
    }

    /// The parent's columns, in order.
    pub fn parent_columns(&self) -> impl Iterator<Item = &Ident> {
        self.columns.iter().map(|(_, parent)| parent)
    }

    /// The operator of the pair at this position.
    pub fn operator(&self, at: usize) -> &str {
        self.operators.get(at).map_or("=", String::as_str)
    }

    /// Does the table refer to itself?
    pub fn is_self_reference(&self) -> bool {
        self.child == self.parent
    }

    /// Does deleting the parent leave the child with a cut link?
    pub fn cuts_link(&self) -> bool {
        matches!(self.on_delete, Action::SetNull | Action::SetDefault)
    }

    /// The condition over the child's row under which a declared reference holds.
    pub fn when(&self) -> Option<&str> {
        match &self.origin {
            Origin::Declared { when } => when.as_deref(),
            Origin::Catalog => None,
        }
    }

    /// Does the server enforce it?
    pub fn is_enforced(&self) -> bool {
        self.origin == Origin::Catalog
    }
}

/// Where a reference comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A constraint that the server enforces.
    Catalog,
    /// The recipe says so; nobody enforces it.
    Declared {
        /// Condition over the child's row, for polymorphic references.
        when: Option<String>,
    },
}

/// ON DELETE and ON UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// NO ACTION.
    #[default]
    NoAction,
    /// RESTRICT.
    Restrict,
    /// CASCADE.
    Cascade,
    /// SET NULL.
    SetNull,
    /// SET DEFAULT.
    SetDefault,
}

impl Action {
    /// From `pg_constraint.confdeltype` or `confupdtype`.
    pub fn from_letter(letter: &str) -> Self {
        match letter {
            "r" => Self::Restrict,
            "c" => Self::Cascade,
            "n" => Self::SetNull,
            "d" => Self::SetDefault,
            _ => Self::NoAction,
        }
    }
}
