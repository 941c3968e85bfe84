//! Sequences that feed columns of recovered rows.

use super::{SequenceCheck, VerifyError, VerifyInput};
use crate::diff::{DiffedTable, RowAction};
use crate::pg::{ReadSession, column};
use crate::sql::registry::DIFF_SEQUENCE;

/// Does each sequence stand behind the recovered numbers? After an undo it does not matter any more.
pub(super) async fn check(
    input: &VerifyInput<'_>,
    session: &ReadSession,
) -> Result<Vec<SequenceCheck>, VerifyError> {
    const WHAT: &str = "reading a sequence";
    let mut found = Vec::new();
    if input.applied.is_undone() {
        return Ok(found);
    }
    let inserted = |table: &DiffedTable| table.actions.get(&RowAction::Insert).is_some_and(|rows| *rows > 0);
    if input.diffed.transfers.is_none() && !input.diffed.tables.iter().any(inserted) {
        return Ok(found);
    }
    for state in input.diffed.sequences.iter().filter(|state| state.increment > 0) {
        let (schema, name) = (state.sequence.schema.as_str(), state.sequence.name.as_str());
        let rows = session.query(&DIFF_SEQUENCE, &[&schema, &name]).await?;
        let last_value: Option<i64> = match rows.first() {
            Some(row) => column(row, "last_value", WHAT)?,
            None => None,
        };
        found.push(SequenceCheck { sequence: state.sequence.clone(), highest: state.highest, last_value });
    }
    Ok(found)
}
