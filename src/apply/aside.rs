//! What a batch did beside its own rows, looked at before the commit: rows that triggers moved are set back where they must
//! not have moved, rows that triggers made in the place of rows still to come are written down.

use super::companions::{self, MadeRows};
use super::isolate::Writing;
use super::moved::{self, Moves, ROWS_AT_MOST, Tallies};
use super::place::Task;
use super::runner::{Job, Runner};
use super::transaction::Performed;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession, SessionOptions};
use crate::plan::Part;

impl Runner<'_> {
    /// Sets back and writes down. `before` are the tallies from the beginning of the transaction.
    pub(super) async fn look_aside(
        &mut self,
        job: &Job<'_>,
        performed: &mut Performed,
        before: &Tallies,
        isolating: Writing,
    ) -> Result<(), PgError> {
        if job.batch.parts.is_empty() {
            return Ok(());
        }
        let after = moved::tallies(&self.session).await?;
        if isolating == Writing::RowByRow {
            // Rows written behind savepoints carry other numbers than the transaction: they cannot be told apart.
            let number = job.batch.number;
            let note =
                "could only be written row by row: what triggers moved beside its rows was not set back";
            self.tell(number, format!("batch {number} {note}"));
        } else {
            performed.moves = self.set_back(job, performed, before, &after).await?;
        }
        if self.task != Task::Undo {
            performed.made = self.look_for_companions(job, performed, before, &after).await?;
        }
        Ok(())
    }

    /// What triggers moved beside the batch's rows. A dry run is one transaction over all batches, in which nobody can
    /// see how rows were before: it leaves this out.
    async fn set_back(
        &mut self,
        job: &Job<'_>,
        performed: &Performed,
        before: &Tallies,
        after: &Tallies,
    ) -> Result<Moves, PgError> {
        if self.task == Task::DryRun {
            return Ok(Moves::default());
        }
        let touched = moved::touched(before, after, &job.batch.parts, &performed.counts);
        if touched.is_empty() {
            return Ok(Moves::default());
        }
        let reader = self.take_reader().await?;
        let recovered = self.recovered_in(touched.iter().map(|(table, _)| table));
        let altered = performed.settled > 0;
        let found =
            moved::set_back(&self.session, &reader, &recovered, touched, &job.batch.parts, altered).await;
        self.reader = Some(reader);
        let found = found?;
        for note in &found.notes {
            let doing = if self.task == Task::Undo { "taking back batch" } else { "batch" };
            self.tell(job.batch.number, format!("{doing} {}: {note}", job.batch.number));
        }
        Ok(found)
    }

    /// Rows that triggers made, or touched again, in tables of which the plan writes rows or exclude_keys names some.
    async fn look_for_companions(
        &mut self,
        job: &Job<'_>,
        performed: &Performed,
        before: &Tallies,
        after: &Tallies,
    ) -> Result<Vec<MadeRows>, PgError> {
        let mut found = Vec::new();
        for (table, tally) in after {
            let earlier = before.get(table).copied().unwrap_or_default();
            let own = inserted(&job.batch.parts, performed, table);
            let made = u64::try_from(tally.inserted - earlier.inserted) != Ok(own);
            let touched = tally.updated != earlier.updated && self.made().knows(table);
            if !(made || touched) {
                continue;
            }
            let Some(key) = self.key_of_rows_to_know(table).await? else { continue };
            if tally.rows > ROWS_AT_MOST {
                let note = format!(
                    "{table} is too large to be searched for rows that triggers made: where one stands in the way of a recovered \
                     row, it stays and is listed"
                );
                self.tell(job.batch.number, note);
                continue;
            }
            found.extend(self.made_in(table, &key, job).await?);
        }
        Ok(found)
    }

    /// What triggers made in one table. Another session looks afterwards: what it does not see was not committed by anybody.
    async fn made_in(
        &mut self,
        table: &TableName,
        key: &[Ident],
        job: &Job<'_>,
    ) -> Result<Vec<MadeRows>, PgError> {
        let (recovered, known) = (self.recovered_in(std::iter::once(table)), self.made());
        let mut rows = companions::rows_of_transaction(&self.session, table, key, &job.batch.parts).await?;
        rows.retain(|row| {
            let back = recovered.find(table, &row.key).filter(|(batch, _, _)| *batch <= job.batch.number);
            back.is_none() && !known.is_one(table, &row.key, &row.version)
        });
        let reader = self.take_reader().await?;
        let others = companions::committed(&self.session, &reader, table, &rows).await;
        self.reader = Some(reader);
        let others = others?;
        rows.retain(|row| {
            let seen = others.get(&row.key);
            seen.is_none_or(|seen| *seen != row.version && known.is_one(table, &row.key, seen))
        });
        Ok(companions::grouped(table, rows))
    }

    /// The columns that name a row of the table, where the plan writes rows of it, or exclude_keys names some.
    async fn key_of_rows_to_know(&self, table: &TableName) -> Result<Option<Vec<Ident>>, PgError> {
        let parts = || self.plan().batches.iter().flat_map(|batch| &batch.parts);
        let mut whole = parts().filter(|part| part.action.writes_whole_rows());
        if let Some(part) = whole.find(|part| part.table == *table) {
            return Ok(Some(part.key.clone()));
        }
        let mut listed = self.plan().tombstones.files.iter().map(|file| &file.table);
        let written = parts().any(|part| part.table == *table);
        if !written && !listed.any(|name| name == table) {
            return Ok(None);
        }
        match self.made().key_columns(table) {
            Some(key) => Ok(Some(key)),
            None => companions::primary_key(&self.session, table).await,
        }
    }

    /// The session that does not see the open transaction, with a view of this moment.
    pub(super) async fn take_reader(&mut self) -> Result<ReadSession, PgError> {
        match self.reader.take() {
            Some(reader) => {
                reader.restart().await?;
                Ok(reader)
            }
            None => ReadSession::connect(self.around.settings, &SessionOptions::named("rowback apply")).await,
        }
    }
}

/// Rows that the batch itself inserted.
fn inserted(parts: &[Part], performed: &Performed, table: &TableName) -> u64 {
    let inserts = parts.iter().enumerate();
    let inserts = inserts.filter(|(_, part)| part.action.writes_whole_rows() && part.table == *table);
    let rows = |list: &[u64], at: usize| list.get(at).copied().unwrap_or(0);
    inserts.map(|(at, _)| rows(&performed.counts, at).saturating_sub(rows(&performed.taken, at))).sum()
}
