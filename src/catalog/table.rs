//! One table: its columns, unique and exclusion constraints, and triggers.

use serde::{Deserialize, Serialize};

use super::UniqueKey;
use crate::ident::{Ident, TableName};
use crate::value::BaseType;

/// An ordinary table or the root of a partitioned one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Schema and name.
    pub name: TableName,
    /// The table's oid in the database that it was read from.
    pub oid: u32,
    /// Is it the root of partitions? Then it is read without ONLY.
    pub partitioned: bool,
    /// Columns in table order, dropped ones left out.
    pub columns: Vec<Column>,
    /// Unique keys and exclusion constraints, the primary key first.
    pub keys: Vec<UniqueKey>,
    /// CHECK constraints, by name.
    pub checks: Vec<Check>,
    /// User triggers, by name.
    pub triggers: Vec<Trigger>,
    /// Is row security enabled here?
    pub row_security: bool,
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| &column.name == name)
    }

    /// Position of a column in `columns`.
    pub fn position(&self, name: &Ident) -> Option<usize> {
        self.columns.iter().position(|column| &column.name == name)
    }

    /// The primary key.
    pub fn primary_key(&self) -> Option<&UniqueKey> {
        self.keys.iter().find(|key| key.primary)
    }

    /// Columns that identify a row: the primary key, else the first unique key over not-null columns without
    /// condition or expression. `None` when the table has neither.
    pub fn key_columns(&self) -> Option<Vec<Ident>> {
        if let Some(primary) = self.primary_key() {
            return Some(primary.columns.clone());
        }
        let not_null = |name: &Ident| self.column(name).is_some_and(|column| column.not_null);
        self.keys
            .iter()
            .find(|key| key.identifies_rows() && key.columns.iter().all(not_null))
            .map(|key| key.columns.clone())
    }

    /// What stands behind FROM to read exactly this table's rows.
    pub fn from_sql(&self) -> String {
        if self.partitioned { self.name.quoted() } else { format!("only {}", self.name.quoted()) }
    }

    /// The operator that tells equality of a column's values: that of a unique key over it, else `=`.
    pub fn equality(&self, column: &Ident) -> &str {
        let plain = self.keys.iter().filter(|key| !key.exclusion && key.is_plain());
        let mut pairs = plain.flat_map(|key| key.columns.iter().zip(&key.operators));
        pairs.find(|(name, _)| *name == column).map_or("=", |(_, operator)| operator.as_str())
    }

    /// Names of all columns, in order.
    pub fn column_names(&self) -> impl Iterator<Item = &Ident> {
        self.columns.iter().map(|column| &column.name)
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name.
    pub name: Ident,
    /// As `format_type` prints it with an empty search path, such as `numeric(12,2)` or `app.tier`.
    pub type_name: String,
    /// The type under all domains, by which values are stored and compared.
    pub base_type: BaseType,
    /// Is the type under all domains an enum?
    pub is_enum: bool,
    /// NOT NULL on the column itself.
    pub not_null: bool,
    /// The default's expression; `None` for generated columns.
    pub default: Option<String>,
    /// GENERATED … AS IDENTITY.
    pub identity: Option<Identity>,
    /// GENERATED: never written.
    pub generated: bool,
    /// GENERATED … VIRTUAL, from PostgreSQL 18 on: not stored, so that reading it may fail.
    #[serde(default)]
    pub is_virtual: bool,
    /// The expression of a generated column, over unqualified columns.
    #[serde(default)]
    pub generated_as: Option<String>,
    /// The sequence that feeds the column, owned by it or named in its default.
    pub sequence: Option<TableName>,
    /// Does equality of texts decide equality (no nondeterministic collation)?
    pub deterministic: bool,
}

impl Column {
    /// Does it hold JSON documents?
    pub fn is_document(&self) -> bool {
        matches!(self.base_type, BaseType::Json | BaseType::Jsonb)
    }

    /// Does another type that holds the same value print it in the same way?
    pub(super) fn prints_alike(&self) -> bool {
        !matches!(
            self.base_type,
            BaseType::Numeric { .. }
                | BaseType::UnboundedNumeric
                | BaseType::Float4
                | BaseType::Float8
                | BaseType::Date
                | BaseType::Timestamp
                | BaseType::TimestampTz
        )
    }

    /// Does equality with a column of this type say the same as equality of their texts?
    pub fn is_told_by_text_beside(&self, other: &Self) -> bool {
        let alike = self.base_type == other.base_type || (self.prints_alike() && other.prints_alike());
        alike && self.is_told_by_text() && other.is_told_by_text()
    }

    /// Does the type's equality say the same as equality of the texts that one session prints? What is not in the list may
    /// differ, extension types among them.
    pub fn is_told_by_text(&self) -> bool {
        let by_type = matches!(
            self.base_type,
            BaseType::Bool
                | BaseType::Int2
                | BaseType::Int4
                | BaseType::Int8
                | BaseType::Uuid
                | BaseType::Bytea
                | BaseType::Date
                | BaseType::Timestamp
                | BaseType::TimestampTz
        );
        let is_text = matches!(self.base_type, BaseType::Text | BaseType::Varchar | BaseType::Name);
        by_type || self.is_enum || (is_text && self.deterministic)
    }
}

/// The two sorts of identity columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// GENERATED ALWAYS: an explicit value needs OVERRIDING SYSTEM VALUE.
    Always,
    /// GENERATED BY DEFAULT.
    ByDefault,
}

/// One CHECK constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The constraint's name.
    pub name: Ident,
    /// The condition, over unqualified columns.
    pub expression: String,
}

/// One user trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The trigger's name.
    pub name: Ident,
    /// When it fires by `session_replication_role`.
    pub mode: TriggerMode,
    /// FOR EACH ROW.
    pub row_level: bool,
    /// BEFORE the row is written.
    pub before: bool,
    /// Fires for INSERT.
    pub on_insert: bool,
    /// Fires for UPDATE.
    pub on_update: bool,
    /// Fires for DELETE.
    pub on_delete: bool,
    /// The function, quoted where needed.
    pub function: String,
    /// The whole CREATE TRIGGER statement.
    pub definition: String,
    /// The function's source text.
    pub source: String,
}

/// When a trigger fires, by `session_replication_role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerMode {
    /// In ordinary sessions.
    Origin,
    /// Only with the role `replica`.
    Replica,
    /// Always.
    Always,
    /// Never.
    Disabled,
}
