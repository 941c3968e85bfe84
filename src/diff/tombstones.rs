//! Rows that were deleted on purpose: the recipe's `exclude_keys` files. CSV with a header of column names; values are
//! brought into live's canonical text before they are compared.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::drift::{Fit, Fits};
use super::lookup::{RawKey, StagedRow};
use super::{DiffError, TombstonesRead};
use crate::catalog::column_list;
use crate::ident::TableName;
use crate::pg::ReadSession;
use crate::recipe::Recipe;
use crate::staging::KeyList;

/// Tombstones of one table.
#[derive(Debug, Default)]
pub struct Tombstones {
    positions: Vec<usize>,
    keys: HashSet<RawKey>,
    /// Those of them that named a row.
    met: Mutex<HashSet<RawKey>>,
    /// SHA-256 of the file as it was read.
    pub sha256: String,
}

impl Tombstones {
    /// Is the row named?
    pub fn contains(&self, row: &StagedRow) -> bool {
        let keys = [row.key(&self.positions), row.key_before(&self.positions)];
        let named = keys.into_iter().flatten().find(|key| self.keys.contains(key));
        let found = named.is_some();
        if let (Some(key), Ok(mut met)) = (named, self.met.lock()) {
            met.insert(key);
        }
        found
    }

    /// Keys that named no row: rows that are not a part of this recovery, or a misspelt key, whose row would come back.
    fn idle(&self) -> usize {
        self.met.lock().map_or(0, |met| self.keys.len() - met.len())
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
    let list = KeyList::read(path, table).map_err(wrong)?;
    let mut positions = Vec::new();
    for name in &list.columns {
        let position = fit
            .position(name)
            .ok_or_else(|| wrong(format!("its header names \"{name}\", which is no column of {table}")))?;
        positions.push(position);
    }
    if let Some(keys) = keys_missed(fit, &positions) {
        let names = column_list(&list.columns);
        return Err(wrong(format!(
            "its header names {names}, which is no key: rows of {table} are told by {keys}"
        )));
    }
    let types: Vec<&str> = positions.iter().map(|&at| fit.columns[at].live.type_name.as_str()).collect();
    let sql = list.values(&types);
    let mut found = Tombstones { positions, sha256: list.sha256, ..Tombstones::default() };
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

/// The keys that could have been named, where these columns have all of none: what others share with a row names them, too.
fn keys_missed(fit: &Fit<'_>, positions: &[usize]) -> Option<String> {
    let unique = fit.live.keys.iter().filter(|key| key.identifies_rows());
    let unique = unique.filter_map(|key| fit.positions(&key.columns));
    let mut keys: Vec<Vec<usize>> = std::iter::once(fit.key.clone()).chain(unique).collect();
    if keys.iter().any(|key| key.iter().all(|at| positions.contains(at))) {
        return None;
    }
    keys.dedup();
    let names = |key: &Vec<usize>| {
        let names: Vec<&str> = key.iter().map(|&at| fit.columns[at].live.name.as_str()).collect();
        format!("({})", names.join(", "))
    };
    Some(keys.iter().map(names).collect::<Vec<_>>().join(" or "))
}

/// Which files were read, for whoever reads them again.
pub fn read_of(recipe: &Recipe, read: &BTreeMap<TableName, Tombstones>) -> Vec<TombstonesRead> {
    let of = |(table, path): (&TableName, &PathBuf)| {
        let sha256 = read.get(table)?.sha256.clone();
        let path = std::path::absolute(path).unwrap_or_else(|_unknown| path.clone());
        Some(TombstonesRead { table: table.clone(), path, sha256 })
    };
    recipe.policy.exclude_keys.iter().filter_map(of).collect()
}

/// What a person should know of keys that named nothing.
pub fn notes(read: &BTreeMap<TableName, Tombstones>) -> Vec<String> {
    let of = |(table, tombstones): (&TableName, &Tombstones)| {
        let (idle, all) = (tombstones.idle(), tombstones.keys.len());
        (idle > 0).then(|| {
            format!("{idle} of {all} keys that exclude_keys gives for {table} name no row of this recovery: are they spelt right?")
        })
    };
    read.iter().filter_map(of).collect()
}
