//! Staged rows as something a statement can select from.

use super::drift::Fit;
use super::lookup::StagedRow;
use crate::catalog::{RawFields, Relation};

impl RawFields for StagedRow {
    fn raw(&self, position: usize) -> Option<&[u8]> {
        self.fields.get(position).map(|field| &**field)
    }
}

/// The columns at these positions of `Fit::columns`.
pub fn relation(fit: &Fit<'_>, positions: &[usize]) -> Relation {
    Relation::of(positions.iter().map(|&at| (at, fit.columns[at].live)))
}

/// As [`Relation::push`], for columns that are only asked about once.
pub fn push_relation(sql: &mut String, rows: &[&StagedRow], positions: &[usize], fit: &Fit<'_>) {
    relation(fit, positions).push(sql, rows.iter().copied());
}
