//! What a transaction did to each table, as PostgreSQL counts it: where that is what the batch itself did, no trigger touched
//! the table.

use std::collections::BTreeMap;

use crate::ident::TableName;
use crate::pg::{PgError, WriteSession, column};
use crate::plan::{Action, Part};
use crate::sql::registry::APPLY_TOUCHED;

const WHAT: &str = "counting what the transaction did";

/// What was done to a table so far, and its estimated size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: i64,
    pub(super) updated: i64,
    pub(super) inserted: i64,
    pub(super) deleted: i64,
}

/// By table.
pub(super) type Tallies = BTreeMap<TableName, Tally>;

/// What `session` has updated, inserted and deleted since PostgreSQL last collected its statistics. That may reach back behind the
/// open transaction, so only the difference of two readings inside one says what it did.
pub(super) async fn read(session: &WriteSession) -> Result<Tallies, PgError> {
    let mut found = Tallies::new();
    for row in session.query(&APPLY_TOUCHED, &[]).await? {
        let (schema, name): (String, String) = (column(&row, "schema", WHAT)?, column(&row, "name", WHAT)?);
        let tally = Tally {
            rows: column(&row, "rows", WHAT)?,
            updated: column(&row, "updated", WHAT)?,
            inserted: column(&row, "inserted", WHAT)?,
            deleted: column(&row, "deleted", WHAT)?,
        };
        found.insert(TableName::new(schema, name), tally);
    }
    Ok(found)
}

/// PostgreSQL counts an update that takes a row to another partition as a deletion and an insertion: what the batch itself
/// updated (`written`, by part) counts as updated.
pub(super) fn count_as_updates(before: &Tallies, after: &mut Tallies, parts: &[Part], written: &[u64]) {
    for (table, tally) in after {
        let updates = parts.iter().zip(written).filter(|(part, _)| part.action == Action::Update);
        let own: u64 = updates.filter(|(part, _)| part.table == *table).map(|(_, rows)| rows).sum();
        let earlier = before.get(table).copied().unwrap_or_default();
        let uncounted = i64::try_from(own).unwrap_or(0) - (tally.updated - earlier.updated);
        let crossed =
            uncounted.min(tally.deleted - earlier.deleted).min(tally.inserted - earlier.inserted).max(0);
        tally.updated += crossed;
        tally.deleted -= crossed;
        tally.inserted -= crossed;
    }
}

/// Tables of which more rows were updated between two readings than the batch itself updated (`written`, by part),
/// with their estimated size. Where the numbers are equal no trigger can have moved a row, and the table need not be
/// read.
pub(super) fn touched(
    before: &Tallies,
    after: &Tallies,
    parts: &[Part],
    written: &[u64],
    set_back: &BTreeMap<TableName, u64>,
) -> Vec<(TableName, i64)> {
    let beyond = |table: &TableName, updated: i64| {
        let earlier = before.get(table).map_or(0, |tally| tally.updated);
        let updates = parts.iter().zip(written).filter(|(part, _)| part.action == Action::Update);
        let own: u64 = updates.filter(|(part, _)| part.table == *table).map(|(_, rows)| rows).sum();
        let own = own + set_back.get(table).copied().unwrap_or(0);
        u64::try_from(updated - earlier) != Ok(own)
    };
    let found = after.iter().filter(|(table, tally)| beyond(table, tally.updated));
    found.map(|(table, tally)| (table.clone(), tally.rows)).collect()
}
