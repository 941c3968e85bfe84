//! Rows that live's triggers made while rows came back: the wallet of a new customer, the settings, the first line of a log.
//! A transaction of apply writes down which it made, and in which version, before it commits. Where such a row stands in
//! the way of a lost one, in that very version, nobody else has had a hand in it: it becomes the lost row. A row that
//! anybody else made or changed is never taken for one.

mod clear;
mod declared;
mod in_turn;
mod moves_in_turn;
mod sql;
mod take_over;

pub(super) use clear::{referrers, remove};
pub(super) use in_turn::{bonds, may_help, write_in_turn};
pub(super) use moves_in_turn::{may_help_to_move, move_in_turn};
pub(super) use sql::{Referrer, holding, key_json};
pub(super) use take_over::{Ground, Taken, take_over};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RowKey;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession, WriteSession, column};
use crate::plan::{Part, Plan, Reference};
use crate::sql::registry::APPLY_COLUMNS;

const WHAT: &str = "looking for rows that triggers made";

/// Rows that are named in one statement.
const ROWS_AT_ONCE: usize = 10_000;

/// Rows of one table that a transaction of apply had triggers make, in one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeRows {
    /// The table.
    pub table: TableName,
    /// The number of the transaction that wrote the rows, as PostgreSQL stores it with each of them (`xmin`): whoever
    /// writes such a row afterwards leaves another one.
    pub version: String,
    /// The rows.
    pub keys: Vec<RowKey>,
}

/// A row in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct RowVersion {
    pub(super) key: RowKey,
    pub(super) version: String,
}

/// All that the journal knows of such rows. What a transaction wrote that did not commit does no harm: no row has its number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Made {
    rows: BTreeMap<TableName, BTreeMap<RowKey, BTreeMap<String, u32>>>,
    /// References of the recipe, by which rows of others may hang on them.
    declared: Vec<Reference>,
}

impl Made {
    /// Nothing is known yet.
    pub(super) fn of(plan: &Plan) -> Self {
        Self { rows: BTreeMap::new(), declared: plan.declared.clone() }
    }

    /// References of the recipe.
    pub(super) fn declared(&self) -> &[Reference] {
        &self.declared
    }

    /// Takes in what a batch is about to commit.
    pub(super) fn remember(&mut self, batch: u32, made: &[MadeRows]) {
        for group in made {
            let rows = self.rows.entry(group.table.clone()).or_default();
            for key in &group.keys {
                rows.entry(key.clone()).or_default().insert(group.version.clone(), batch);
            }
        }
    }

    /// Is no row known?
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Is any row of the table known?
    pub(super) fn knows(&self, table: &TableName) -> bool {
        self.rows.contains_key(table)
    }

    /// Did triggers make this very version in a transaction of apply?
    pub(super) fn is_one(&self, table: &TableName, key: &RowKey, version: &str) -> bool {
        let versions = self.rows.get(table).and_then(|rows| rows.get(key));
        versions.is_some_and(|versions| versions.contains_key(version))
    }

    /// The last batch that made the row.
    pub(super) fn batch_of(&self, table: &TableName, key: &RowKey) -> Option<u32> {
        self.rows.get(table)?.get(key)?.values().max().copied()
    }

    /// The columns by which the rows of a table are known.
    pub(super) fn key_columns(&self, table: &TableName) -> Option<Vec<Ident>> {
        let (key, _) = self.rows.get(table)?.first_key_value()?;
        Some(columns_of(key))
    }

    /// All rows, in all versions.
    pub(super) fn by_table(&self) -> BTreeMap<TableName, Vec<RowVersion>> {
        self.pick(|_| true)
    }

    /// Rows that one batch made.
    pub(super) fn of_batch(&self, number: u32) -> BTreeMap<TableName, Vec<RowVersion>> {
        self.pick(|batch| batch == number)
    }

    fn pick(&self, wanted: impl Fn(u32) -> bool) -> BTreeMap<TableName, Vec<RowVersion>> {
        let mut found: BTreeMap<TableName, Vec<RowVersion>> = BTreeMap::new();
        for (table, rows) in &self.rows {
            for (key, versions) in rows {
                let versions = versions.iter().filter(|(_, batch)| wanted(**batch));
                let rows =
                    versions.map(|(version, _)| RowVersion { key: key.clone(), version: version.clone() });
                found.entry(table.clone()).or_default().extend(rows);
            }
        }
        found.retain(|_, rows| !rows.is_empty());
        found
    }
}

/// As they go into the journal.
pub(super) fn grouped(table: &TableName, rows: Vec<RowVersion>) -> Vec<MadeRows> {
    let mut versions: BTreeMap<String, Vec<RowKey>> = BTreeMap::new();
    rows.into_iter().for_each(|row| versions.entry(row.version).or_default().push(row.key));
    let group = |(version, keys)| MadeRows { table: table.clone(), version, keys };
    versions.into_iter().map(group).collect()
}

/// Rows of the table that the open transaction may have written, its savepoints included, but for the batch's own.
pub(super) async fn rows_of_transaction(
    session: &WriteSession,
    table: &TableName,
    key: &[Ident],
    parts: &[Part],
) -> Result<Vec<RowVersion>, PgError> {
    let rows = session.text_rows(WHAT, &sql::young_rows(table, key, parts)).await?;
    rows.iter().map(|row| row_version(row)).collect()
}

/// The versions of these rows that a session sees from outside.
pub(super) async fn committed(
    session: &WriteSession,
    reader: &ReadSession,
    table: &TableName,
    rows: &[RowVersion],
) -> Result<BTreeMap<RowKey, String>, PgError> {
    let Some(shape) = shape_of(session, table, rows).await? else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
    for chunk in rows.chunks(ROWS_AT_ONCE) {
        for row in reader.text_rows(WHAT, &shape.versions_sql(chunk)).await? {
            let row = row_version(&row)?;
            found.insert(row.key, row.version);
        }
    }
    Ok(found)
}

/// Those of the rows that are in live, in whatever version; all of them where they cannot be told apart any more.
pub(super) async fn in_live(
    session: &WriteSession,
    table: &TableName,
    keys: Vec<RowKey>,
) -> Result<Vec<RowKey>, PgError> {
    let rows = keys.into_iter().map(|key| RowVersion { key, version: String::new() });
    let rows: Vec<RowVersion> = rows.collect();
    let Some(shape) = shape_of(session, table, &rows).await? else {
        return Ok(rows.into_iter().map(|row| row.key).collect());
    };
    let mut found = Vec::new();
    for chunk in rows.chunks(ROWS_AT_ONCE) {
        for row in session.text_rows(WHAT, &shape.versions_sql(chunk)).await? {
            found.push(row_version(&row)?.key);
        }
    }
    Ok(found)
}

/// Why rows of a part cannot be written: triggers made rows in their place that could not be taken away. By their keys.
pub(super) async fn in_the_way_of(
    session: &WriteSession,
    number: usize,
    part: &Part,
    made: &Made,
) -> Result<BTreeMap<RowKey, String>, PgError> {
    take_over::Place { session, number, part, made }.reasons().await
}

/// The primary key of a table of live; `None` without one.
pub(super) async fn primary_key(
    session: &WriteSession,
    table: &TableName,
) -> Result<Option<Vec<Ident>>, PgError> {
    let mut key = Vec::new();
    for row in session.query(&APPLY_COLUMNS, &[&table.schema.as_str(), &table.name.as_str()]).await? {
        if column::<bool>(&row, "in_key", WHAT)? {
            key.push(Ident::new(column::<String>(&row, "name", WHAT)?));
        }
    }
    Ok((!key.is_empty()).then_some(key))
}

/// Those of the rows that are in live in that version.
pub(super) async fn still_there(
    session: &WriteSession,
    table: &TableName,
    rows: &[RowVersion],
) -> Result<Vec<RowKey>, PgError> {
    let Some(shape) = shape_of(session, table, rows).await? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for chunk in rows.chunks(ROWS_AT_ONCE) {
        for row in session.text_rows(WHAT, &shape.versions_sql(chunk)).await? {
            let row = row_version(&row)?;
            if chunk.binary_search(&row).is_ok() {
                found.push(row.key);
            }
        }
    }
    Ok(found)
}

/// A table as far as its rows must be found and set.
struct Shape {
    table: TableName,
    key: Vec<(Ident, String)>,
    settable: Vec<Ident>,
    nullable: Vec<Ident>,
}

/// `None` where there are no rows, or where a column of their key has gone or cannot be written by hand.
async fn shape_of(
    session: &WriteSession,
    table: &TableName,
    rows: &[RowVersion],
) -> Result<Option<Shape>, PgError> {
    match rows.first() {
        Some(row) => shape(session, table, &columns_of(&row.key)).await,
        None => Ok(None),
    }
}

async fn shape(session: &WriteSession, table: &TableName, key: &[Ident]) -> Result<Option<Shape>, PgError> {
    let mut types: BTreeMap<Ident, String> = BTreeMap::new();
    let (mut settable, mut nullable) = (Vec::new(), Vec::new());
    for row in session.query(&APPLY_COLUMNS, &[&table.schema.as_str(), &table.name.as_str()]).await? {
        let name = Ident::new(column::<String>(&row, "name", WHAT)?);
        if !column::<bool>(&row, "in_key", WHAT)? {
            settable.push(name.clone());
        }
        if column::<bool>(&row, "nullable", WHAT)? {
            nullable.push(name.clone());
        }
        types.insert(name, column(&row, "type_name", WHAT)?);
    }
    let key: Option<Vec<(Ident, String)>> =
        key.iter().map(|name| Some((name.clone(), types.get(name)?.clone()))).collect();
    Ok(key.map(|key| Shape { table: table.clone(), key, settable, nullable }))
}

fn columns_of(key: &RowKey) -> Vec<Ident> {
    key.0.keys().map(Ident::new).collect()
}

fn answer(cause: impl std::fmt::Display) -> PgError {
    PgError::Answer { what: WHAT.to_owned(), cause: cause.to_string() }
}

/// A key as JSON.
fn row_key(text: &str) -> Result<RowKey, PgError> {
    RowKey::parse(text).map_err(answer)
}

/// A key as JSON, then the version.
pub(super) fn row_version(row: &[Option<String>]) -> Result<RowVersion, PgError> {
    let [Some(key), Some(version)] = row else { return Err(answer("no key and version")) };
    Ok(RowVersion { key: row_key(key)?, version: version.clone() })
}
