//! What a batch did beside its own rows, looked at before the commit: rows that triggers moved are set back where they must
//! not have moved, rows that triggers made in the place of rows still to come are written down.

use std::collections::{BTreeMap, BTreeSet};

use super::RowKey;
use super::companions::{self, MadeRows};
use super::isolate::{self, Writing};
use super::moved::{self, Moves, ROWS_AT_MOST};
use super::place::Task;
use super::removed::{Fate, RemovedRows, deleted_by_batch};
use super::runner::{Job, Runner};
use super::tallies::{self, Tallies};
use super::traces::{Elsewhere, LeftRows};
use super::transaction::Performed;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession, SessionOptions, WriteSession};
use crate::plan::{Action, Part};
use crate::sql::literal::literal;

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
        // A table that was emptied is locked for whoever else would read it.
        self.refuse_truncated().await?;
        let mut after = tallies::read(&self.session).await?;
        tallies::count_as_updates(before, &mut after, &job.batch.parts, &performed.counts);
        if isolating == Writing::RowByRow {
            // Rows written behind savepoints carry other numbers than the transaction: they cannot be told apart.
            let number = job.batch.number;
            let note =
                "could only be written row by row: what triggers moved beside its rows was not set back";
            self.tell(number, format!("batch {number} {note}"));
        } else {
            performed.moves = self.set_back(job, performed, before, &after).await?;
        }
        let (task, comes) = (self.task, coming(&job.batch.parts, self.task));
        let inserts = |table: &TableName| inserted_by_batch(&comes, performed, table, task);
        let beside = self.look_for_removed(job, performed, (before, &after), inserts).await?;
        let keyless = self.look_for_changed(job, performed, before, &after).await?;
        let (made, elsewhere) =
            self.look_for_made(job, performed, (before, &after), &beside.repartitioned).await?;
        performed.traces.elsewhere = elsewhere;
        let displaced = RemovedRows::displaced(&std::mem::take(&mut performed.put_back.taken));
        let back = RemovedRows::back(&performed.put_back.rows);
        let removed = beside.removed.into_iter().chain(keyless).chain(displaced).chain(back);
        performed.traces.removed = removed.collect();
        performed.traces.left.extend(LeftRows::gather(std::mem::take(&mut performed.put_back.altered)));
        let list = if self.task == Task::Undo { &mut performed.traces.made } else { &mut performed.made };
        *list = made;
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
        let mut touched = self.touched(job, performed, before, after);
        touched.retain(|(table, _)| !self.locked.contains(table));
        if touched.is_empty() {
            return Ok(Moves::default());
        }
        let reader = self.take_reader().await?;
        let recovered = self.recovered_in(touched.iter().map(|(table, _)| table));
        let how = (performed.settled > 0, self.task == Task::Undo);
        let found = moved::set_back(&self.session, &reader, &recovered, touched, &job.batch.parts, how).await;
        self.reader = Some(reader);
        let found = found?;
        for note in &found.notes {
            let doing = if self.task == Task::Undo { "taking back batch" } else { "batch" };
            self.tell(job.batch.number, format!("{doing} {}: {note}", job.batch.number));
        }
        Ok(found)
    }

    /// Tables in which triggers updated rows, or replaced them by others of the same key.
    fn touched(
        &self,
        job: &Job<'_>,
        performed: &Performed,
        before: &Tallies,
        after: &Tallies,
    ) -> Vec<(TableName, i64)> {
        let (parts, counts) = (&job.batch.parts, &performed.counts);
        let mut touched = tallies::touched(before, after, parts, counts, &performed.set_back);
        let comes = coming(parts, self.task);
        for (table, tally) in after {
            let earlier = before.get(table).copied().unwrap_or_default();
            let differs = |more: i64, own: u64| u64::try_from(more) != Ok(own);
            let inserted = inserted_by_batch(&comes, performed, table, self.task);
            let replaced = differs(tally.inserted - earlier.inserted, inserted)
                && differs(
                    tally.deleted - earlier.deleted,
                    deleted_by_batch(parts, counts, table, self.task),
                );
            if replaced && !touched.iter().any(|(known, _)| known == table) {
                touched.push((table.clone(), tally.rows));
            }
        }
        touched
    }

    /// How many rows triggers changed in tables that cannot be looked at, or whose rows nothing tells apart, and that the plan
    /// does not write.
    async fn look_for_changed(
        &self,
        job: &Job<'_>,
        performed: &Performed,
        before: &Tallies,
        after: &Tallies,
    ) -> Result<Vec<RemovedRows>, PgError> {
        let mut found = Vec::new();
        let (parts, counts) = (&job.batch.parts, &performed.counts);
        for (table, _) in tallies::touched(before, after, parts, counts, &performed.set_back) {
            let planned =
                self.plan().batches.iter().flat_map(|batch| &batch.parts).any(|part| part.table == table);
            let keyless = || companions::primary_key(&self.session, &table);
            if !planned && (!self.may_be_read(&table).await? || keyless().await?.is_none()) {
                let updated = |tallies: &Tallies| tallies.get(&table).map_or(0, |tally| tally.updated);
                let rows = u64::try_from(updated(after) - updated(before)).unwrap_or(0);
                let changed = RemovedRows::unseen(&table, Fate::Changed, rows);
                let why = changed.why_unseen();
                self.tell(
                    job.batch.number,
                    format!("triggers changed rows of {table}, and undo leaves them: {why}"),
                );
                found.push(changed);
            }
        }
        Ok(found)
    }

    /// Rows that triggers made, or touched again, in tables of which the plan writes rows or exclude_keys names some; and how
    /// many they made in others.
    async fn look_for_made(
        &mut self,
        job: &Job<'_>,
        performed: &Performed,
        (before, after): (&Tallies, &Tallies),
        repartitioned: &BTreeMap<TableName, BTreeSet<RowKey>>,
    ) -> Result<(Vec<MadeRows>, Vec<Elsewhere>), PgError> {
        let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
        let comes = coming(&job.batch.parts, self.task);
        for (table, tally) in after {
            let earlier = before.get(table).copied().unwrap_or_default();
            let inserted = u64::try_from(tally.inserted - earlier.inserted).unwrap_or(0);
            let known = [performed.put_back.rows.get(table), repartitioned.get(table)];
            let known: BTreeSet<&RowKey> = known.into_iter().flatten().flatten().collect();
            let own = inserted_by_batch(&comes, performed, table, self.task);
            let made = inserted.abs_diff(own + u64::try_from(known.len()).unwrap_or(0));
            let touched = tally.updated != earlier.updated && self.made().knows(table);
            if made == 0 && !touched {
                continue;
            }
            let key = self.key_of_rows_to_know(table).await?;
            if let Some(key) = key.filter(|_| tally.rows <= ROWS_AT_MOST && !self.locked.contains(table)) {
                found.extend(self.made_in(table, &key, job, (&comes, &known)).await?);
                continue;
            }
            if made > 0 && self.task != Task::DryRun {
                let version = own_version(&self.session).await?;
                elsewhere.push(Elsewhere { table: table.clone(), version, rows: made });
            }
            if tally.rows > ROWS_AT_MOST && self.task != Task::Undo {
                let note = format!(
                    "{table} is too large to be searched for rows that triggers made: where one stands in the way of a recovered \
                     row, it stays and is listed"
                );
                self.tell(job.batch.number, note);
            }
        }
        Ok((found, elsewhere))
    }

    /// What triggers made in one table. Another session looks afterwards: what it does not see was not committed by anybody.
    async fn made_in(
        &mut self,
        table: &TableName,
        key: &[Ident],
        job: &Job<'_>,
        (comes, not_made): (&[Part], &BTreeSet<&RowKey>),
    ) -> Result<Vec<MadeRows>, PgError> {
        let (recovered, known) = (self.recovered_in(std::iter::once(table)), self.made());
        let mut rows = companions::rows_of_transaction(&self.session, table, key, comes).await?;
        rows.retain(|row| {
            let back = recovered.find(table, &row.key).filter(|(batch, _, _)| *batch <= job.batch.number);
            back.is_none() && !known.is_one(table, &row.key, &row.version) && !not_made.contains(&row.key)
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

    /// The columns that name a row of the table, where the plan writes rows of it, rows of it may hang on such rows, or
    /// exclude_keys names some.
    async fn key_of_rows_to_know(&self, table: &TableName) -> Result<Option<Vec<Ident>>, PgError> {
        let parts = || self.plan().batches.iter().flat_map(|batch| &batch.parts);
        let mut whole = parts().filter(|part| part.action.writes_whole_rows());
        if let Some(part) = whole.find(|part| part.table == *table) {
            return Ok(Some(part.key.clone()));
        }
        let mut listed = self.plan().tombstones.files.iter().map(|file| &file.table);
        if let Some(part) = parts().find(|part| part.from.as_ref() == Some(table)) {
            return Ok(Some(part.key.clone()));
        }
        let written = parts().any(|part| part.table == *table);
        if !written && !listed.any(|name| name == table) && !self.hangs_on_the_plan(table).await? {
            return Ok(None);
        }
        match self.made().key_columns(table) {
            Some(key) => Ok(Some(key)),
            None => companions::primary_key(&self.session, table).await,
        }
    }

    /// May rows of the table hang on rows that the plan inserts? They must go before undo can take these back.
    async fn hangs_on_the_plan(&self, table: &TableName) -> Result<bool, PgError> {
        let parts = self.plan().batches.iter().flat_map(|batch| &batch.parts);
        let whole = parts.filter(|part| part.action.writes_whole_rows());
        let parents: BTreeSet<String> = whole.map(|part| literal(&part.table.quoted())).collect();
        let parents: Vec<String> =
            parents.iter().map(|name| format!("pg_catalog.to_regclass({name})::oid")).collect();
        let sql = format!(
            "select count(*) from pg_catalog.pg_constraint where contype = 'f' and conrelid = {}::pg_catalog.regclass \
             and confrelid in ({})",
            literal(&table.quoted()),
            if parents.is_empty() { "0::oid".to_owned() } else { parents.join(", ") }
        );
        let rows = self.session.text_rows("asking who refers to recovered rows", &sql).await?;
        Ok(isolate::single(&rows).is_some_and(|keys| keys > 0))
    }

    /// The session that does not see the open transaction, with a view of this moment.
    pub(super) async fn take_reader(&mut self) -> Result<ReadSession, PgError> {
        if let Some(reader) = self.reader.take() {
            reader.restart().await?;
            return Ok(reader);
        }
        let lock_timeout = Some(self.around.limits.lock_timeout);
        let options = SessionOptions { lock_timeout, ..SessionOptions::named("rowback apply") };
        ReadSession::connect(self.around.settings, &options).await
    }
}

/// The parts, each as one of the table that its rows come to.
fn coming(parts: &[Part], task: Task) -> Vec<Part> {
    let place = |part: &Part| match (&part.from, task) {
        (Some(from), Task::Undo) => from.clone(),
        _ => part.table.clone(),
    };
    parts.iter().map(|part| Part { table: place(part), ..part.clone() }).collect()
}

/// Rows that the batch itself inserted, of those that came to their tables; undo only inserts rows that move back.
fn inserted_by_batch(comes: &[Part], performed: &Performed, table: &TableName, task: Task) -> u64 {
    let inserts = comes.iter().enumerate().filter(|(_, part)| part.table == *table);
    let comes =
        |part: &Part| part.action == Action::Move || (part.action == Action::Insert && task != Task::Undo);
    let rows = |list: &[u64], at: usize| list.get(at).copied().unwrap_or(0);
    let written = |at: usize| rows(&performed.counts, at).saturating_sub(rows(&performed.taken, at));
    inserts.filter(|(_, part)| comes(part)).map(|(at, _)| written(at)).sum()
}

/// The number of the open transaction as its rows carry it.
async fn own_version(session: &WriteSession) -> Result<String, PgError> {
    const WHAT: &str = "asking for the number of the transaction";
    let sql = "select (pg_catalog.txid_current() % 4294967296)::text";
    let rows = session.text_rows(WHAT, sql).await?;
    let version = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    version.ok_or_else(|| PgError::Answer { what: WHAT.to_owned(), cause: "no number".to_owned() })
}
