//! A batch that a row spoils: the rows are tried in ever smaller groups, each behind a savepoint, until the ones that
//! live refuses are alone. They are left out and named; all others are written, in one statement if live lets them.

use std::collections::VecDeque;
use std::fmt;

use crate::pg::{DbFacts, PgError, WriteSession};
use crate::plan::recall::staged_columns;
use crate::plan::{Part, row_key_json};

use super::RowKey;
use super::limits::{ZONE_OF_KEYS, ZONE_OF_TRIGGERS};
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

/// Writes the rows of the only part of a batch group by group. Returns how many were written, and the rows refused. The
/// temporary table holds all rows again afterwards.
pub(super) async fn write(
    session: &WriteSession,
    part: &Part,
    write_sql: &str,
    writing: Writing,
) -> Result<(u64, Vec<Refused>), PgError> {
    session
        .execute(
            WHAT,
            "create temporary table rowback_rows on commit drop as select r.*, pg_catalog.row_number() over () as rowback_n \
             from pg_temp.\"rowback_1\" as r where r.rowback_held is null",
        )
        .await?;
    let rows = session.text_rows(WHAT, "select pg_catalog.count(*) from pg_temp.rowback_rows").await?;
    let count: u64 = single(&rows).unwrap_or(0);
    session.execute(WHAT, "savepoint rowback_trial").await?;
    let (mut written, refused) = try_all(session, part, write_sql, count).await?;
    if let Some(error) = refuses_everything(count, &refused) {
        return Err(error);
    }
    let named = name(session, part, &refused).await?;
    if writing == Writing::WithoutRefused {
        let left: Vec<String> = refused.iter().map(|(row, _)| row.to_string()).collect();
        let rest = if left.is_empty() {
            "true".to_owned()
        } else {
            format!("rowback_n not in ({})", left.join(", "))
        };
        let back = "rollback to savepoint rowback_trial; release savepoint rowback_trial";
        session.execute(WHAT, &format!("{back}; {}", refill(part, &rest))).await?;
        let rows = session.text_rows(WHAT, write_sql).await?;
        session.execute(WHAT, "set constraints all immediate").await?;
        written = single(&rows).unwrap_or(0);
    }
    session.execute(WHAT, &format!("{}; drop table pg_temp.rowback_rows", refill(part, "true"))).await?;
    Ok((written, named))
}

/// Group by group; returns how many rows were written, and the numbers of those refused.
async fn try_all(
    session: &WriteSession,
    part: &Part,
    write_sql: &str,
    count: u64,
) -> Result<(u64, Vec<(u64, DbFacts)>), PgError> {
    let (mut written, mut waiting) = (0, vec![(1, count)]);
    let mut refused: Vec<(u64, DbFacts)> = Vec::new();
    // A row may need another one of its batch: what was refused is tried again as long as that helps.
    loop {
        let before = refused.len();
        let mut groups: VecDeque<(u64, u64)> = waiting.drain(..).collect();
        refused.clear();
        let so_far = written;
        while let Some((first, last)) = groups.pop_front() {
            match one_group(session, part, write_sql, first, last).await? {
                Ok(rows) => written += rows,
                Err(db) if first == last => refused.push((first, db)),
                Err(_) => {
                    let middle = first + (last - first) / 2;
                    groups.push_front((middle + 1, last));
                    groups.push_front((first, middle));
                }
            }
        }
        if refused.is_empty() || written == so_far || refused.len() == before {
            break;
        }
        waiting = refused.iter().map(|(row, _)| (*row, *row)).collect();
    }
    Ok((written, refused))
}

/// A trigger that raises for each of many rows speaks of something else than the rows (a freeze, a maintenance window):
/// then the batch waits for the next run instead of being committed without them.
pub(super) fn refuses_everything(count: u64, refused: &[(u64, DbFacts)]) -> Option<PgError> {
    let all = count > 1 && u64::try_from(refused.len()) == Ok(count);
    let raised = refused.iter().all(|(_, db)| db.sqlstate.starts_with("P0"));
    let (_, db) = refused.first().filter(|_| all && raised)?;
    Some(PgError::Statement { what: WHAT.to_owned(), db: Box::new(db.clone()) })
}

async fn one_group(
    session: &WriteSession,
    part: &Part,
    write_sql: &str,
    first: u64,
    last: u64,
) -> Result<Result<u64, DbFacts>, PgError> {
    let fill = refill(part, &format!("rowback_n between {first} and {last}"));
    session.execute(WHAT, &format!("savepoint rowback_row; {fill}")).await?;
    let tried = async {
        let rows = session.text_rows(WHAT, write_sql).await?;
        session.execute(WHAT, "set constraints all immediate; release savepoint rowback_row").await?;
        Ok(single(&rows).unwrap_or(0))
    };
    match tried.await {
        Ok(rows) => Ok(Ok(rows)),
        Err(error) if is_about_rows(&error) => {
            session.execute(WHAT, "rollback to savepoint rowback_row; release savepoint rowback_row").await?;
            Ok(Err(error.db().cloned().unwrap_or_default()))
        }
        Err(error) => Err(error),
    }
}

/// Fills the batch's temporary table with some of the rows.
fn refill(part: &Part, condition: &str) -> String {
    let columns = staged_columns(part);
    format!(
        "delete from pg_temp.\"rowback_1\" where rowback_held is null; insert into pg_temp.\"rowback_1\" ({columns}) \
         select {columns} from pg_temp.rowback_rows where {condition} order by rowback_n"
    )
}

async fn name(
    session: &WriteSession,
    part: &Part,
    refused: &[(u64, DbFacts)],
) -> Result<Vec<Refused>, PgError> {
    let mut named = Vec::new();
    session.execute(WHAT, ZONE_OF_KEYS).await?;
    for (row, db) in refused {
        let sql = format!(
            "select {}::text from pg_temp.rowback_rows as r where r.rowback_n = {row}",
            row_key_json(&part.key, part.action)
        );
        let rows = session.text_rows(WHAT, &sql).await?;
        let text =
            rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).unwrap_or_default();
        let key = RowKey::parse(&text).unwrap_or_default();
        named.push(Refused { table: part.table.clone(), key, message: db.message.clone() });
    }
    session.execute(WHAT, ZONE_OF_TRIGGERS).await?;
    Ok(named)
}

pub(super) fn single(rows: &[Vec<Option<String>>]) -> Option<u64> {
    rows.first()?.first()?.as_deref()?.parse().ok()
}
