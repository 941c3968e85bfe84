//! How a batch is written that a row may spoil, and which errors are about rows; `isolate_groups` finds the rows.

use std::fmt;

use crate::pg::{DbFacts, PgError};

use super::RowKey;
use crate::ident::TableName;

const WHAT: &str = "finding the rows that live refuses";

/// How the rows of a batch are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// In one statement.
    Together,
    /// In one statement, but for those that are refused when they are tried by themselves. What the trial did, triggers
    /// included, is gone before the statement, which then counts as any other.
    WithoutRefused,
    /// As they were tried.
    RowByRow,
    /// Of several tables that refer to each other: one table after the other, so that rows that triggers of the first make in
    /// the others can give way.
    InTurn,
}

impl Writing {
    /// What is tried when live refuses rows.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Together => Some(Self::WithoutRefused),
            Self::WithoutRefused => Some(Self::RowByRow),
            Self::RowByRow | Self::InTurn => None,
        }
    }
}

impl fmt::Display for Writing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Together => "as a whole",
            Self::WithoutRefused | Self::RowByRow => "row by row",
            Self::InTurn => "table by table",
        })
    }
}

/// A row that live refuses, and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) table: TableName,
    pub(super) key: RowKey,
    pub(super) message: String,
}

/// Is the error about what is in a row (data, constraint, a trigger that raises)? Anything else spoils every row.
pub(super) fn is_about_rows(error: &PgError) -> bool {
    matches!(error, PgError::Statement { .. })
        && error
            .sqlstate()
            .is_some_and(|state| ["22", "23", "44", "P0"].iter().any(|class| state.starts_with(class)))
}

/// A trigger that raises for each of many rows speaks of something else than the rows (a freeze, a maintenance window):
/// then the batch waits for the next run instead of being committed without them.
pub(super) fn refuses_everything(count: u64, refused: &[(u64, DbFacts)]) -> Option<PgError> {
    let all = count > 1 && u64::try_from(refused.len()) == Ok(count);
    let raised = refused.iter().all(|(_, db)| db.sqlstate.starts_with("P0"));
    let (_, db) = refused.first().filter(|_| all && raised)?;
    Some(PgError::Statement { what: WHAT.to_owned(), db: Box::new(db.clone()) })
}

pub(super) fn single(rows: &[Vec<Option<String>>]) -> Option<u64> {
    rows.first()?.first()?.as_deref()?.parse().ok()
}
