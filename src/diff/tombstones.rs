//! Rows that were deleted on purpose: the recipe's `exclude_keys` files. CSV with a header of column names; values are
//! brought into live's canonical text before they are compared.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::DiffError;
use super::drift::{Fit, Fits};
use super::lookup::StagedRow;
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::recipe::Recipe;
use crate::sql::literal::push_literal;

/// Tombstones of one table.
#[derive(Debug, Default)]
pub struct Tombstones {
    positions: Vec<usize>,
    keys: HashSet<Box<[u8]>>,
}

impl Tombstones {
    /// Is the row named?
    pub fn contains(&self, row: &StagedRow) -> bool {
        let keys = [row.key(&self.positions), row.key_before(&self.positions)];
        keys.into_iter().flatten().any(|key| self.keys.contains(&key))
    }
}

/// Reads all files that the recipe names.
pub async fn load(
    session: &ReadSession,
    recipe: &Recipe,
    fits: &Fits<'_>,
) -> Result<BTreeMap<TableName, Tombstones>, DiffError> {
    let mut found = BTreeMap::new();
    for (table, path) in &recipe.policy.exclude_keys {
        // A table of which nothing is staged has nothing to exclude.
        if let Some(fit) = fits.get(table) {
            found.insert(table.clone(), read(session, table, fit, path).await?);
        }
    }
    Ok(found)
}

async fn read(
    session: &ReadSession,
    table: &TableName,
    fit: &Fit<'_>,
    path: &Path,
) -> Result<Tombstones, DiffError> {
    let wrong =
        |problem: String| DiffError::Tombstones { path: path.to_owned(), table: table.clone(), problem };
    let mut file = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let header = file.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let names: Vec<Ident> = header.iter().map(Ident::new).collect();
    let mut positions = Vec::new();
    for name in &names {
        let position = fit
            .position(name)
            .ok_or_else(|| wrong(format!("its header names \"{name}\", which is no column of {table}")))?;
        positions.push(position);
    }
    if positions.is_empty() {
        return Err(wrong("it has no header of column names".into()));
    }
    let mut sql = String::new();
    for record in file.records() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        sql.push_str(if sql.is_empty() { "(" } else { ",\n(" });
        for (at, value) in record.iter().enumerate() {
            sql.push_str(if at > 0 { "," } else { "" });
            push_literal(&mut sql, value);
            sql.push_str("::");
            sql.push_str(&fit.columns[positions[at]].live.type_name);
        }
        sql.push(')');
    }
    let mut found = Tombstones { positions, keys: HashSet::new() };
    if !sql.is_empty() {
        let mut rows = session
            .copy_out(
                "reading the tombstones",
                &format!("copy (select * from (values {sql}) as t) to stdout"),
            )
            .await
            .map_err(|source| {
                wrong(source.db().map_or_else(|| source.to_string(), |db| db.message.clone()))
            })?;
        while let Some(row) = rows.next_row().await? {
            found.keys.insert(row.as_ref().into());
        }
    }
    Ok(found)
}
