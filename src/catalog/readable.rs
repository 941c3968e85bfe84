//! May the role read tables whole? Asked before the first row, of all tables at once. Never asks for what writing needs.

use crate::ident::TableName;
use crate::pg::{PgError, ReadSession, Row, column};
use crate::sql::registry::CATALOG_READABLE;

const WHAT: &str = "asking what the role may read";

/// What keeps a role from reading a table whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// It may not look into the schema.
    Schema,
    /// It may not read all columns.
    Columns,
    /// It would see some of the rows.
    RowSecurity,
}

impl Bar {
    /// As a fact about the table.
    pub fn words(self) -> &'static str {
        match self {
            Self::Schema => "no USAGE on its schema",
            Self::Columns => "no SELECT",
            Self::RowSecurity => "row security hides rows from this role",
        }
    }

    /// What lifts it, for this role.
    pub fn remedy(self, role: &str) -> String {
        match self {
            Self::Schema => format!("grant \"{role}\" USAGE there and SELECT on the whole table"),
            Self::Columns => format!("grant \"{role}\" SELECT on the whole table"),
            Self::RowSecurity => "connect as one with BYPASSRLS, or as the table's owner".to_owned(),
        }
    }
}

/// Those of the tables that the role of this session cannot read whole, by name.
pub async fn unreadable(
    session: &ReadSession,
    tables: impl IntoIterator<Item = &TableName>,
) -> Result<Vec<(TableName, Bar)>, PgError> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.into_iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let mut denied = Vec::new();
    for row in session.query(&CATALOG_READABLE, &[&schemas, &names]).await? {
        let text = |name: &str| column::<String>(&row, name, WHAT);
        if let Some(bar) = bar(&row)? {
            denied.push((TableName::new(text("schema")?, text("name")?), bar));
        }
    }
    Ok(denied)
}

fn bar(row: &Row) -> Result<Option<Bar>, PgError> {
    let flag = |name: &str| column::<bool>(row, name, WHAT);
    Ok(if !flag("may_enter")? {
        Some(Bar::Schema)
    } else if !flag("may_select")? {
        Some(Bar::Columns)
    } else if flag("hides_rows")? {
        Some(Bar::RowSecurity)
    } else {
        None
    })
}
