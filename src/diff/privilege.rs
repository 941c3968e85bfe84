//! May the role read what the diff will read? Asked once, before the first row. Never asks for what apply will need:
//! a recovery may be planned by one role and applied by another.

use super::DiffError;
use crate::catalog::readable::unreadable;
use crate::ident::TableName;
use crate::pg::ReadSession;

/// An error that names the role and every table of these that it cannot read whole.
pub(super) async fn check(session: &ReadSession, tables: Vec<&TableName>) -> Result<(), DiffError> {
    let denied = unreadable(session, tables).await?;
    if denied.is_empty() {
        return Ok(());
    }
    let denied = denied.into_iter().map(|(table, bar)| (table, bar.words())).collect();
    Err(DiffError::NotReadable { role: session.identity().await?.user, denied })
}
