//! What the batches name and live has no longer: asked before the first of them, so that nothing stops midway.

use std::collections::{BTreeMap, BTreeSet};

use super::ApplyError;
use super::RowKey;
use super::runner::Runner;
use super::summary::HeldRow;
use crate::ident::TableName;
use crate::pg::{PgError, column};
use crate::plan::{Batch, Part};
use crate::sql::registry::APPLY_TYPES;

const WHAT: &str = "looking for the tables and columns of the batches";

/// Tables that are not as the batches name them, each with what is wrong.
pub(super) type Gone = BTreeMap<TableName, String>;

impl Runner<'_> {
    /// Tables and columns of these batches that live has not.
    pub(super) async fn gone(&self, batches: &[Batch]) -> Result<Gone, PgError> {
        let mut wanted: BTreeMap<&TableName, BTreeSet<&str>> = BTreeMap::new();
        for part in batches.iter().flat_map(|batch| &batch.parts) {
            for table in tables_of(part) {
                let names = part.key.iter().chain(&part.columns).map(crate::ident::Ident::as_str);
                wanted.entry(table).or_default().extend(names);
            }
        }
        let mut gone = Gone::new();
        for (table, names) in wanted {
            let rows =
                self.session.query(&APPLY_TYPES, &[&table.schema.as_str(), &table.name.as_str()]).await?;
            let there: Vec<String> =
                rows.iter().map(|row| column(row, "name", WHAT)).collect::<Result<_, _>>()?;
            let missing: Vec<&str> =
                names.into_iter().filter(|name| !there.iter().any(|known| known == name)).collect();
            if there.is_empty() {
                gone.insert(table.clone(), format!("live has no table {table} any more"));
            } else if !missing.is_empty() {
                let missing = missing.join(", ");
                gone.insert(table.clone(), format!("live's {table} has no {missing} any more"));
            }
        }
        Ok(gone)
    }

    /// Refuses to begin with batches that cannot be written.
    pub(super) async fn refuse_gone(&self, batches: &[Batch]) -> Result<(), ApplyError> {
        let lines: Vec<String> = self.gone(batches).await?.into_values().collect();
        if lines.is_empty() {
            Ok(())
        } else {
            Err(ApplyError::LiveChanged { lines, applied: self.committed() })
        }
    }

    /// Of batches that undo has to leave alone, how many rows of each table, and why.
    pub(super) fn held_back(&self, batches: &[Batch], gone: &Gone) -> Vec<HeldRow> {
        let mut held = Vec::new();
        for batch in batches {
            let history = self.history_of(batch.number);
            for (part, written) in batch.parts.iter().zip(&history.written) {
                let whys = batch.parts.iter().flat_map(tables_of).filter_map(|table| gone.get(table));
                let Some(why) = whys.into_iter().next() else { continue };
                held.push(HeldRow {
                    batch: batch.number,
                    table: part.table.clone(),
                    key: RowKey(BTreeMap::new()),
                    reason: why.clone(),
                    rows: written.rows,
                    columns: Vec::new(),
                });
            }
        }
        held
    }
}

/// Does the batch write to one of these tables?
pub(super) fn concerns(batch: &Batch, gone: &Gone) -> bool {
    batch.parts.iter().flat_map(tables_of).any(|table| gone.contains_key(table))
}

fn tables_of(part: &Part) -> impl Iterator<Item = &TableName> {
    std::iter::once(&part.table).chain(&part.from)
}
