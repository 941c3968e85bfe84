//! The end of a run: which rows are in live that must not be there, because a list of rows deleted on purpose names them by
//! now, or because a trigger made them again; and which rows of triggers stay beside recovered ones. Only reads.

use std::collections::BTreeSet;

use super::batch_history::Standing;
use super::companions;
use super::history::History;
use super::runner::Runner;
use super::tombstone_lists::{lists, values};
use super::tombstones::Tombstones;
use super::{ApplyError, Leftover, Outcome, RowKey};
use crate::ident::TableName;
use crate::pg::PgError;
use crate::plan::{Action, Plan};

pub(super) const WHAT: &str = "looking for rows that exclude_keys names";

/// Rows that apply wrote and that the lists name by now, or what they hang on.
pub(super) fn named_late(tombstones: &Tombstones, plan: &Plan, history: &History) -> Vec<Leftover> {
    let mut found = Vec::new();
    for (batch, part, rows) in tombstones.rows() {
        let history = history.batch(batch);
        let Some(record) = history.written.get(part) else { continue };
        let is_listed = plan.tombstones.files.iter().any(|file| file.table == record.table);
        // A link that was set again is there for as long as its parent, which is listed itself.
        let only_linked = record.action == Action::Update && !is_listed;
        if history.standing != Standing::Committed || only_linked {
            continue;
        }
        let ours = rows.iter().filter(|key| history.ours.contains(&record.table, key));
        let late = |key: &RowKey| leftover(batch, &record.table, key.clone(), Outcome::NamedLate);
        found.extend(ours.map(late));
    }
    found
}

/// Asks for the rows that the lists name, in each table in which triggers made some while rows came back.
pub(super) fn asking_for_made(
    plan: &Plan,
    history: &History,
    committed: usize,
) -> Result<Vec<(TableName, String)>, ApplyError> {
    let made = |table: &TableName| history.made.key_columns(table);
    let mut asking = Vec::new();
    if !plan.tombstones.files.iter().any(|file| made(&file.table).is_some()) {
        return Ok(asking);
    }
    let lists = lists(plan, committed)?;
    for (file, list) in plan.tombstones.files.iter().zip(&lists) {
        let values = values(file, list);
        if let Some(key) = made(&file.table).filter(|_| !values.is_empty()) {
            let sql = companions::holding(&file.table, &key, &list.columns, &values);
            asking.push((file.table.clone(), sql));
        }
    }
    Ok(asking)
}

/// Those of the answers that are as triggers left them.
pub(super) fn made_of(
    history: &History,
    table: &TableName,
    rows: &[Vec<Option<String>>],
) -> Result<Vec<Leftover>, PgError> {
    let mut found = Vec::new();
    for row in rows {
        let row = companions::row_version(row)?;
        if history.made.is_one(table, &row.key, &row.version) {
            let batch = history.made.batch_of(table, &row.key).unwrap_or_default();
            found.push(leftover(batch, table, row.key, Outcome::MadeAgain));
        }
    }
    Ok(found)
}

fn leftover(batch: u32, table: &TableName, key: RowKey, outcome: Outcome) -> Leftover {
    Leftover { batch, table: table.clone(), key, outcome, because: None }
}

impl Runner<'_> {
    /// Looks at what is in live now that everything is written.
    pub(super) async fn look_back(&self) -> Result<(), ApplyError> {
        // The lists may have grown while the last batch was written.
        drop(self.look_for_tombstones(None).await?);
        let late = {
            let tombstones = self.tombstones.lock().await;
            named_late(&tombstones, self.plan(), &self.history())
        };
        self.name(self.still_in_live(late).await?);
        let again = self.made_again().await?;
        self.name(again.into_iter().filter(|row| !self.is_named(&row.table, &row.key)).collect());
        Ok(self.tell_of_doubles().await?)
    }

    /// Who reads the list may have taken rows out by hand.
    async fn still_in_live(&self, rows: Vec<Leftover>) -> Result<Vec<Leftover>, PgError> {
        let mut found = Vec::new();
        for group in rows.chunk_by(|one, next| one.batch == next.batch && one.table == next.table) {
            let Some(first) = group.first() else { continue };
            let keys = group.iter().map(|row| row.key.clone()).collect();
            let there = companions::in_live(&self.session, &first.table, keys).await?;
            let late = |key| leftover(first.batch, &first.table, key, Outcome::NamedLate);
            found.extend(there.into_iter().map(late));
        }
        Ok(found)
    }

    async fn made_again(&self) -> Result<Vec<Leftover>, ApplyError> {
        let mut found = Vec::new();
        let asking = asking_for_made(self.plan(), &self.history(), self.committed())?;
        for (table, sql) in asking {
            let rows = self.session.text_rows(WHAT, &sql).await?;
            found.extend(made_of(&self.history(), &table, &rows)?);
        }
        Ok(found)
    }

    /// Says which rows of triggers stay beside recovered ones. One under the key of a recovered row has become that row, or
    /// that row is listed.
    async fn tell_of_doubles(&self) -> Result<(), PgError> {
        for (table, rows) in self.made().by_table() {
            let parts = self.case.plan().batches.iter().flat_map(|batch| &batch.parts);
            if !parts.into_iter().any(|part| part.table == table) {
                continue;
            }
            let recovered = self.recovered_in(std::iter::once(&table));
            let there: BTreeSet<RowKey> =
                companions::still_there(&self.session, &table, &rows).await?.into_iter().collect();
            let beside = there.iter().filter(|key| recovered.find(&table, key).is_none());
            let left: Vec<&RowKey> = beside.filter(|key| !self.is_named(&table, key)).collect();
            if let Some(first) = left.first() {
                let note = format!(
                    "triggers made rows of their own in {table}, of which rows came back: {} of them stay beside these, such as {first}; \
                     no unique key says which would be the same, or they could not be taken away",
                    left.len()
                );
                self.tell(u32::MAX, note);
            }
        }
        Ok(())
    }
}
