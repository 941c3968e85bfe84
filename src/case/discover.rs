//! Recipes that leave `where` out: the rows that live lacks or holds differently are found by comparing whole tables, and
//! only those are asked of the backup. What is written is decided by the diff, which reads the rows themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Context, Error, RecoverOptions};
use crate::backup::Backup;
use crate::backup::definition::partitions;
use crate::compare::{self, CompareError, CompareInput, CompareOptions, Comparison, TableComparison};
use crate::ident::{Ident, TableName};
use crate::pg::ConnectSettings;
use crate::recipe::{Children, Kind, Recipe, Recover, Selection};
use crate::scratch::RestoreError;
use crate::sql::literal::literal;
use crate::value::copy_text::{fields, unescape};

/// Keys beyond which a table is read whole; a list of them is part of a statement.
pub const MOST_KEYS: usize = 100_000;

/// The recipe with every `where` that was left out filled in, and what a person should know about it.
pub(super) async fn narrow(
    options: &RecoverOptions,
    backup: &Arc<Backup>,
    context: &Context,
) -> Result<(Recipe, Vec<String>), Error> {
    let tables: Vec<TableName> = options
        .recipe
        .recover
        .iter()
        .filter(|entry| is_open(entry))
        .map(|entry| entry.table.clone())
        .collect();
    let partitioned: BTreeSet<TableName> = partitions(backup.contents()).into_values().collect();
    let held =
        |table: &TableName| backup.contents().tables.contains_key(table) || partitioned.contains(table);
    if tables.is_empty() || !tables.iter().all(held) {
        // A wrong name is extraction's to judge.
        return Ok(fill_in(&options.recipe, &[]));
    }
    let compared = CompareOptions {
        tables,
        memory_bytes: options.scratch.loading.memory_bytes,
        samples: 0,
        most_keys: MOST_KEYS,
        show_values: false,
    };
    let found = compare(backup, &options.live, &compared, context).await?;
    if let Some((table, bar)) = found.unreadable.first() {
        let (role, table, reason) = (found.live.user.clone(), table.clone(), bar.words());
        return Err(CompareError::NotReadable { role, table, reason }.into());
    }
    Ok(fill_in(&options.recipe, &found.tables))
}

/// Runs a comparison.
pub(super) async fn compare(
    backup: &Arc<Backup>,
    live: &ConnectSettings,
    options: &CompareOptions,
    context: &Context,
) -> Result<Comparison, Error> {
    if backup.contents().tables.is_empty() && backup.contents().missing_schema() {
        return Err(RestoreError::NoStructure.into());
    }
    let (progress, cancel) = (&context.progress, &context.cancel);
    let input = CompareInput { backup: backup.clone(), live, progress, cancel };
    Ok(compare::run(&input, options).await?)
}

/// Does the entry ask for every row of its table in the backup, and are those that live holds unchanged nothing to it?
/// The true owner of a row may be told by neither of its versions, so misrouted rows are all looked at.
fn is_open(entry: &Recover) -> bool {
    let misses_rows = entry.kind == Kind::Deleted || entry.misrouted_to.is_some();
    entry.selection == Selection::Everything && (misses_rows || entry.kind == Kind::Corrupted)
}

/// A column that was not compared (renamed, say) may be the damaged one. Of a table of which live holds a part elsewhere, the
/// entry asks for that part as well.
fn is_told_by(entry: &Recover, table: &TableComparison) -> bool {
    if !table.held.is_alike(&entry.table) || !table.held.elsewhere.is_empty() {
        return false;
    }
    entry.kind == Kind::Deleted || entry.misrouted_to.is_some() || table.not_compared.is_empty()
}

/// The recipe with what was found; the entry of a table that could not be compared goes on asking for every row.
fn fill_in(recipe: &Recipe, found: &[TableComparison]) -> (Recipe, Vec<String>) {
    let by_name: BTreeMap<_, _> = found.iter().map(|one| (&one.table, one)).collect();
    let mut recipe = recipe.clone();
    let mut notes = Vec::new();
    // A second backup tells what the accident took.
    let told = recipe.backup.after.is_some();
    for entry in recipe.recover.iter_mut().filter(|entry| is_open(entry)) {
        let table = by_name.get(&entry.table);
        if entry.kind == Kind::Deleted && !told && table.is_none_or(|table| table.missing > 0) {
            notes.push(format!(
                "no condition for {}: each of its rows that live lacks counts as lost, also those that were deleted on purpose",
                entry.table
            ));
        }
        let rows = table.filter(|table| is_told_by(entry, table)).and_then(|table| selection(table));
        entry.selection = rows.unwrap_or(Selection::Everything);
    }
    (recipe, notes)
}

/// The keys as a condition; a key of several columns as a query. `None` where there are too many, or there is none.
fn selection(table: &TableComparison) -> Option<Selection> {
    let keys = table.keys.as_ref()?;
    let value = |field: &[u8]| literal(&String::from_utf8_lossy(&unescape(field)));
    if keys.is_empty() {
        return Some(Selection::Where("false".to_owned()));
    }
    if let [column] = table.key.as_slice() {
        let values: Vec<String> = keys.iter().map(|key| value(key)).collect();
        return Some(Selection::Where(format!("{} in ({})", column.quoted(), values.join(", "))));
    }
    let names: Vec<String> = table.key.iter().map(Ident::quoted).collect();
    let rows: Vec<String> = keys
        .iter()
        .map(|key| format!("({})", fields(key).map(value).collect::<Vec<_>>().join(", ")))
        .collect();
    // Comparing with the table's own columns gives the values their types.
    let equal: Vec<String> =
        (1..=names.len()).map(|at| format!("wanted.k{at}::text = t.{}::text", names[at - 1])).collect();
    let (columns, picked): (Vec<String>, Vec<String>) =
        names.iter().enumerate().map(|(at, name)| (format!("k{}", at + 1), format!("t.{name}"))).unzip();
    Some(Selection::Query(format!(
        "select {} from {} as t join (values {}) as wanted ({}) on {}",
        picked.join(", "),
        table.table.quoted(),
        rows.join(", "),
        columns.join(", "),
        equal.join(" and ")
    )))
}

/// A recipe that recovers what a comparison found, but for what no entry can be about. Of a table of which live holds a part
/// elsewhere, only the rows that were found are asked for.
pub(super) fn entries(found: &Comparison) -> Vec<Recover> {
    let unplanned = found.unplanned();
    found
        .tables
        .iter()
        .filter(|table| table.missing + table.changed > 0 && !unplanned.contains_key(&table.table))
        .map(|table| {
            let part = Some(table).filter(|table| !table.held.elsewhere.is_empty()).and_then(selection);
            Recover {
                children: found.followed.clone().map_or(Children::All, Children::Only),
                ..Recover::new(table.table.clone(), Kind::Deleted, part.unwrap_or(Selection::Everything))
            }
        })
        .collect()
}
