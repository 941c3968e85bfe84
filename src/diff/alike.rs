//! Values by which rows are told apart, and of which text says less than the column's own equality: `citext` in another
//! case, `1.0` and `1.00`, a nondeterministic collation. Live is asked, about those alone whose texts differ. Only reads.

use std::collections::BTreeSet;

use super::DiffError;
use super::judge::Court;
use super::lookup::{LiveRow, Lookup, StagedRow};
use crate::catalog::Table;
use crate::ident::Ident;
use crate::pg::ReadSession;
use crate::value::copy_text::is_null;

/// Notes on each staged row where live's row of the same key has an equal value under another text, among the columns that
/// tell who is who. Where live cannot tell, text does.
pub async fn note(
    session: &ReadSession,
    court: &Court<'_>,
    rows: &mut [StagedRow],
    live: &[LiveRow],
) -> Result<(), DiffError> {
    let fit = court.fit;
    for at in court.identity.told_by_values() {
        let column = fit.columns[at].live;
        if column.is_told_by_text() {
            continue;
        }
        let is_open = |number: &usize| {
            let one = &rows[*number].fields[at];
            let other = live[*number].as_ref().map(|row| &row[at]);
            other.is_some_and(|other| one != other && !is_null(one) && !is_null(other))
        };
        let open: Vec<usize> = (0..rows.len()).filter(is_open).collect();
        if open.is_empty() {
            continue;
        }
        let condition = equal(fit.live, &column.name);
        let asked: BTreeSet<usize> = fit.key.iter().copied().chain([at]).collect();
        let asked: Vec<usize> = asked.into_iter().collect();
        let lookup = Lookup::by_key(fit).with_condition(fit, &condition, &asked);
        let holds = lookup.ask(session, open.iter().map(|&number| &rows[number])).await?.holds;
        let equal = open.into_iter().zip(holds.unwrap_or_default()).filter(|(_, holds)| *holds);
        equal.for_each(|(number, _)| rows[number].alike.push(at));
    }
    Ok(())
}

/// As the unique key has it; without one by the type's own equality, which arrays find wherever its operator is.
fn equal(table: &Table, column: &Ident) -> String {
    let name = column.quoted();
    match table.equality(column) {
        "=" => format!("array[live.{name}] operator(pg_catalog.=) array[backup.{name}]"),
        operator => format!("live.{name} {operator} backup.{name}"),
    }
}
