//! May the role read what the diff will read? Asked once, before the first row. Never asks for what apply will need:
//! a recovery may be planned by one role and applied by another.

use super::DiffError;
use crate::ident::TableName;
use crate::pg::{ReadSession, Row, column};
use crate::sql::registry::DIFF_READABLE;

const WHAT: &str = "asking what the role may read";

/// An error that names the role and every table of these that it cannot read whole.
pub(super) async fn check(session: &ReadSession, tables: Vec<&TableName>) -> Result<(), DiffError> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let mut denied = Vec::new();
    for row in session.query(&DIFF_READABLE, &[&schemas, &names]).await? {
        let text = |name: &str| column::<String>(&row, name, WHAT);
        if let Some(reason) = reason(&row)? {
            denied.push((TableName::new(text("schema")?, text("name")?), reason));
        }
    }
    if denied.is_empty() {
        return Ok(());
    }
    Err(DiffError::NotReadable { role: session.identity().await?.user, denied })
}

fn reason(row: &Row) -> Result<Option<&'static str>, DiffError> {
    let flag = |name: &str| column::<bool>(row, name, WHAT);
    Ok(if !flag("may_enter")? {
        Some("no USAGE on its schema")
    } else if !flag("may_select")? {
        Some("no SELECT")
    } else if flag("hides_rows")? {
        Some("row security hides rows from this role")
    } else {
        None
    })
}
