//! References between tables, from the catalog or declared in the recipe.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Column;
use crate::ident::{Ident, TableName};
use crate::value::BaseType;
use crate::value::copy_text::RawKey;
use crate::value::json_path::{self, JsonPath, Unfit};

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
    /// Where in the document of a child column the reference stands, pair by pair; empty where all columns refer as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Option<JsonPath>>,
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
    /// From the key of one table to the same columns of another, or of itself: no reference of anybody, but rows of the same
    /// key in the form of one.
    pub fn by_key(
        name: &str,
        (child, parent): (&TableName, &TableName),
        key: &[Ident],
        origin: Origin,
    ) -> Self {
        Self {
            name: name.to_owned(),
            child: child.clone(),
            parent: parent.clone(),
            columns: key.iter().map(|name| (name.clone(), name.clone())).collect(),
            operators: Vec::new(),
            paths: Vec::new(),
            on_delete: Action::NoAction,
            on_update: Action::NoAction,
            set_columns: Vec::new(),
            match_full: false,
            deferrable: false,
            origin,
            carriers: Vec::new(),
        }
    }

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

    /// The operator of the pair at this position that the catalog tells; the recipe's references have none.
    pub fn operator_told(&self, at: usize) -> Option<&str> {
        self.operators.get(at).map(String::as_str)
    }

    /// Does the last pair join periods (`PERIOD`)? Then every parent of the same key that overlaps counts, and together they
    /// must cover the child's period.
    pub fn is_over_time(&self) -> bool {
        self.operators.last().is_some_and(|operator| operator == "OPERATOR(pg_catalog.&&)")
    }

    /// SQL that a row has its parent, as the server asks it of an enforced reference. `from` are the rows that can be it, with
    /// an alias, `same` is the condition pair by pair; of the last pair `up` is the parent's value and `down` the child's.
    pub fn has_parent_sql(&self, (from, same): (&str, &str), (up, down): (&str, &str)) -> String {
        if self.is_enforced() && self.is_over_time() {
            format!(
                "coalesce({down} OPERATOR(pg_catalog.<@) (select pg_catalog.range_agg({up}) from {from} where {same}), false)"
            )
        } else {
            format!("exists (select from {from} where {same})")
        }
    }

    /// Where in the child column's document the reference of the pair at this position stands.
    pub fn path(&self, at: usize) -> Option<&JsonPath> {
        self.paths.get(at)?.as_ref()
    }

    /// Does it start inside of documents?
    pub fn has_paths(&self) -> bool {
        self.paths.iter().any(Option::is_some)
    }

    /// What refers in the pair at this position, as SQL over the child's column, itself SQL.
    pub fn referring_sql(&self, at: usize, column: &str) -> String {
        self.path(at).map_or_else(|| column.to_owned(), |path| path.to_sql(column))
    }

    /// What refers, pair by pair, as SQL over the child's columns with a prefix such as `c.`.
    pub fn child_sql(&self, prefix: &str) -> Vec<String> {
        let columns = self.child_columns().enumerate();
        columns.map(|(at, name)| self.referring_sql(at, &format!("{prefix}{}", name.quoted()))).collect()
    }

    /// What refers in the pair at this position: a raw COPY field, from that of the child's column; `None` for nothing.
    pub fn referring<'f>(&self, at: usize, field: &'f [u8]) -> Option<Cow<'f, [u8]>> {
        json_path::value_at(self.path(at), field)
    }

    /// The key to which a row of the child refers: raw COPY fields joined by tabs; `None` where one refers to nothing.
    /// `positions` are those of the child's columns in the row.
    pub fn key_in<F: AsRef<[u8]>>(&self, row: &[F], positions: &[usize]) -> Option<RawKey> {
        json_path::key_in(&self.paths, row, positions)
    }

    /// The raw field of the child's column that refers to `value` by the pair at this position.
    pub fn refer(&self, at: usize, field: &[u8], value: &[u8]) -> Result<RawKey, Unfit> {
        match self.path(at) {
            Some(path) => path.write(field, value),
            None => Ok(value.into()),
        }
    }

    /// What refers in the pair at this position, for messages: `owner_id`, `payload->>'owner'`.
    pub fn child_end(&self, at: usize) -> String {
        let mut text = self.columns.get(at).map(|(child, _)| child.to_string()).unwrap_or_default();
        text.extend(self.path(at).map(ToString::to_string));
        text
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
            Origin::Catalog | Origin::Live => None,
        }
    }

    /// Is it the same reference, whatever its name and what becomes of it?
    pub fn is_like(&self, other: &Self) -> bool {
        let mut pairs = [&self.columns, &other.columns].map(|columns| columns.iter().collect::<Vec<_>>());
        pairs.iter_mut().for_each(|pairs| pairs.sort());
        self.child == other.child && self.parent == other.parent && pairs[0] == pairs[1]
    }

    /// Does the server enforce it, the backup's on the backup's rows, live's on live's?
    pub fn is_enforced(&self) -> bool {
        self.origin == Origin::Catalog
    }
}

/// SQL that values of columns of different types, which a reference of the recipe joins, are the same: by their texts, and
/// where types print one value in several ways by what it is. Each side by itself, so that the server can hash.
pub fn same_across((parent, up): (&Column, &str), (child, down): (&Column, &str)) -> String {
    let by_text = parent.prints_alike() && child.prints_alike();
    let print = |column: &Column, value: &str| match column.base_type {
        _ if by_text => format!("{value}::text"),
        BaseType::Numeric { .. } | BaseType::UnboundedNumeric | BaseType::Float4 | BaseType::Float8 => {
            format!("pg_catalog.trim_scale({value}::text::pg_catalog.numeric)::text")
        }
        BaseType::Date | BaseType::Timestamp | BaseType::TimestampTz => {
            format!("({value}::text::pg_catalog.timestamptz)::text")
        }
        _ => format!("{value}::text"),
    };
    format!("{} = {}", print(parent, up), print(child, down))
}

/// Where a reference comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A constraint that the server enforces.
    Catalog,
    /// Live has the constraint and the backup has not: it was added since, and the accident went along it.
    Live,
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
