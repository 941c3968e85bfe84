//! Rows that live's triggers removed while a batch was written or taken back, with what hung on them: written down before the
//! commit with all their values, told as left for a human, and put back when the batch is taken back. PostgreSQL counts what a
//! transaction deleted; which rows these are tells a session that does not see the open transaction.

mod put_back;
mod rows;
mod shape;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::put_back::PutBack;
pub use self::rows::{Fate, RemovedRows};
use self::shape::{Row, Shape, columns_of, keys_of};
use super::RowKey;
use super::companions::primary_key;
use super::moved::ROWS_AT_MOST;
use super::place::Task;
use super::runner::{Job, Runner};
use super::tallies::Tallies;
use super::transaction::Performed;
use crate::ident::TableName;
use crate::pg::{DbFacts, PgError, ReadSession, column};
use crate::plan::{Action, Part, row_key_json};
use crate::sql::literal::literal;
use crate::sql::registry::{APPLY_LOOKABLE, APPLY_OWN_TRANSACTIONS, APPLY_PARTITION_KEY, APPLY_REWRITTEN};

const WHAT: &str = "looking for rows that triggers removed";

/// Where a row's last change may have been by any of several transactions, at most so many rows are asked for.
const CANDIDATES: usize = 100_000;

/// A row is named by no more columns.
const MOST_NAMED: usize = 45;

/// What a look beside the batch's own rows found.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) removed: Vec<RemovedRows>,
    /// Rows that only went to another partition, by their keys as they are now.
    pub(super) repartitioned: BTreeMap<TableName, BTreeSet<RowKey>>,
}

/// How many rows of a table were deleted and inserted that are none of the batch's.
#[derive(Debug, Clone, Copy)]
struct Extra {
    deleted: u64,
    inserted: u64,
}

impl Runner<'_> {
    /// What triggers removed beside the batch's own rows. `inserted` says how many rows of a table the batch inserts itself.
    pub(super) async fn look_for_removed(
        &mut self,
        job: &Job<'_>,
        performed: &Performed,
        (before, after): (&Tallies, &Tallies),
        inserted: impl Fn(&TableName) -> u64,
    ) -> Result<Beside, PgError> {
        let mut found = Beside::default();
        for (table, tally) in after {
            let earlier = before.get(table).copied().unwrap_or_default();
            let more = |now: i64, then: i64| u64::try_from(now - then).unwrap_or(0);
            let deleted = more(tally.deleted, earlier.deleted);
            let own = deleted_by_batch(&job.batch.parts, &performed.counts, table, self.task);
            // In a dry run nobody sees what earlier batches took away from where it was.
            if deleted != own && !(self.task == Task::DryRun && self.leaves(table)) {
                let inserted = more(tally.inserted, earlier.inserted).saturating_sub(inserted(table));
                let extra = Extra { deleted: deleted.saturating_sub(own), inserted };
                self.removed_in(table, extra, job, &mut found).await?;
            }
        }
        Ok(found)
    }

    /// Does the plan move rows out of the table?
    fn leaves(&self, table: &TableName) -> bool {
        self.plan()
            .batches
            .iter()
            .flat_map(|batch| &batch.parts)
            .any(|part| part.from.as_ref() == Some(table))
    }

    async fn removed_in(
        &mut self,
        table: &TableName,
        extra: Extra,
        job: &Job<'_>,
        found: &mut Beside,
    ) -> Result<(), PgError> {
        let shape = self.shape(table).await?;
        if !self.may_be_read(table).await? || shape.key.len() > MOST_NAMED {
            if extra.deleted > 0 {
                found.removed.push(RemovedRows::unseen(table, Fate::Removed, extra.deleted));
            }
            return Ok(());
        }
        let reader = self.take_reader().await?;
        let looked = self.look_with(&reader, &shape, extra.deleted, job).await;
        self.reader = Some(reader);
        let mut looked = looked?;
        let (partitions, cascades) = self.partition_key(table).await?;
        let mut fate = Fate::Removed;
        let mut moved = Vec::new();
        if extra.inserted > 0 && !partitions.is_empty() {
            let keys;
            (moved, keys) = self.repartitioned(&shape, &partitions, &mut looked).await?;
            found.repartitioned.insert(table.clone(), keys);
            fate = Fate::Departed;
            if cascades && job.batch.parts.iter().any(|part| part.action == Action::Update) {
                // The plan is about the rows on which they hang.
                moved.clear();
            }
        }
        if u64::try_from(looked.len()).is_ok_and(|count| count > extra.deleted) {
            // Some of them have another key now.
            fate = Fate::Departed;
        }
        let several = u64::try_from(looked.len()).unwrap_or(u64::MAX);
        if shape.is_whole_row() && extra.inserted == 0 && several < extra.deleted {
            found.removed.push(RemovedRows::unseen(table, Fate::Removed, extra.deleted - several));
        }
        let recovered = self.recovered_in(std::iter::once(table));
        let (known, traces) = (self.made(), self.traces());
        let mut theirs = RemovedRows { fate, ..RemovedRows::of(table, &shape.key, &shape.columns) };
        let mut ours = Vec::new();
        for Row { key, version, values } in looked.into_iter().chain(moved) {
            let seen = self.task == Task::DryRun && traces.knows_removed(table, &key);
            // What apply's triggers made was not there before.
            let made = self.task == Task::Undo
                && traces.was_made(table, &key, &version)
                && recovered.find(table, &key).is_none();
            if seen || made || known.is_one(table, &key, &version) {
                continue;
            }
            if recovered.find(table, &key).is_some() {
                ours.push(key);
            } else {
                theirs.push(&key, &values);
            }
        }
        let ours = RemovedRows::recovered(table, &ours);
        found.removed.extend([theirs, ours].into_iter().filter(|rows| !rows.is_empty()));
        Ok(())
    }

    /// The columns by which the table is partitioned, `None` for an expression; none at all where it is not. And whether rows
    /// may move between partitions by ON UPDATE CASCADE.
    async fn partition_key(&self, table: &TableName) -> Result<(BTreeSet<Option<String>>, bool), PgError> {
        let name = [table.schema.as_str(), table.name.as_str()];
        let (mut columns, mut cascades) = (BTreeSet::new(), false);
        for row in self.session.query(&APPLY_PARTITION_KEY, &[&name[0], &name[1]]).await? {
            columns.insert(column(&row, "name", WHAT)?);
            cascades |= column::<bool>(&row, "cascades", WHAT)?;
        }
        Ok((columns, cascades))
    }

    /// Takes out those of the rows that stand in another partition now, otherwise as they were; returns them, and their keys
    /// there.
    async fn repartitioned(
        &self,
        shape: &Shape,
        partitions: &BTreeSet<Option<String>>,
        rows: &mut Vec<Row>,
    ) -> Result<(Vec<Row>, BTreeSet<RowKey>), PgError> {
        let own = self.own_transactions().await?;
        let now = self.session.text_rows(WHAT, &shape.rows_sql(&format!("l.xmin::text in ({own})"))).await?;
        let stays: Vec<bool> =
            shape.columns.iter().map(|(name, _)| !partitions.contains(&Some(name.to_string()))).collect();
        let rest = |values: &[Option<String>]| -> Vec<Option<String>> {
            values.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(value, _)| value.clone()).collect()
        };
        let mut there: BTreeMap<Vec<Option<String>>, Vec<RowKey>> = BTreeMap::new();
        for row in now {
            let Row { key, values, .. } = Row::parse(row)?;
            there.entry(rest(&values)).or_default().push(key);
        }
        let (mut moved, mut keys) = (Vec::new(), BTreeSet::new());
        for row in std::mem::take(rows) {
            match there.get_mut(&rest(&row.values)).and_then(Vec::pop) {
                Some(key) => {
                    keys.insert(key);
                    moved.push(row);
                }
                None => rows.push(row),
            }
        }
        Ok((moved, keys))
    }

    /// The numbers of the open transaction and its savepoints, as rows carry them.
    async fn own_versions(&self) -> Result<Vec<String>, PgError> {
        let own = self.session.query(&APPLY_OWN_TRANSACTIONS, &[]).await?;
        own.iter().map(|row| column(row, "version", WHAT)).collect()
    }

    /// The same for a list in SQL.
    async fn own_transactions(&self) -> Result<String, PgError> {
        let own: Vec<String> = self.own_versions().await?.iter().map(|version| literal(version)).collect();
        Ok(own.join(", "))
    }

    /// A TRUNCATE is counted nowhere: a batch in which a trigger empties a table goes no further. Remembers the tables that
    /// nobody else can read before the open transaction has ended.
    pub(super) async fn refuse_truncated(&mut self) -> Result<(), PgError> {
        let (mut now, mut locked) = (BTreeMap::<u32, u32>::new(), BTreeSet::new());
        for row in self.session.query(&APPLY_REWRITTEN, &[]).await? {
            now.insert(column(&row, "relation", WHAT)?, column(&row, "file", WHAT)?);
            let (schema, name): (String, String) =
                (column(&row, "schema", WHAT)?, column(&row, "name", WHAT)?);
            locked.insert(TableName::new(schema, name));
        }
        self.locked = locked;
        if now.is_empty() || self.task == Task::DryRun {
            return Ok(());
        }
        let reader = self.take_reader().await?;
        let list: Vec<String> = now.keys().map(ToString::to_string).collect();
        let sql = format!(
            "select c.oid::text, c.relfilenode::text, n.nspname || '.' || c.relname from pg_catalog.pg_class as c \
             join pg_catalog.pg_namespace as n on n.oid = c.relnamespace where c.oid in ({})",
            list.join(", ")
        );
        let before = reader.text_rows(WHAT, &sql).await;
        self.reader = Some(reader);
        for row in before? {
            let [Some(relation), Some(file), Some(name)] = row.as_slice() else { continue };
            let is_same =
                |(other, now): (&u32, &u32)| other.to_string() != *relation || now.to_string() == *file;
            if !now.iter().all(is_same) {
                let cause = format!("a trigger empties or rewrites {name}, which nobody could take back");
                // As if live had refused it: object_not_in_prerequisite_state.
                let db = DbFacts { message: cause, sqlstate: "55000".to_owned(), ..DbFacts::default() };
                return Err(PgError::Statement { what: WHAT.to_owned(), db: Box::new(db) });
            }
        }
        Ok(())
    }

    /// May the table be read, also by who does not see the open transaction, and is it small enough for that?
    pub(super) async fn may_be_read(&self, table: &TableName) -> Result<bool, PgError> {
        if self.locked.contains(table) {
            return Ok(false);
        }
        let name = [table.schema.as_str(), table.name.as_str()];
        let rows = self.session.query(&APPLY_LOOKABLE, &[&name[0], &name[1]]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        Ok(column::<bool>(row, "readable", WHAT)? && column::<i64>(row, "rows", WHAT)? <= ROWS_AT_MOST)
    }

    /// By what the plan names its rows, else the primary key, else all columns together.
    async fn shape(&self, table: &TableName) -> Result<Shape, PgError> {
        let columns = columns_of(&self.session, table).await?;
        let mut parts = self.plan().batches.iter().flat_map(|batch| &batch.parts);
        let planned = parts.find(|part| part.table == *table || part.from.as_ref() == Some(table));
        let key = match planned {
            Some(part) => Some(part.key.clone()),
            None => primary_key(&self.session, table).await?,
        };
        let all = || columns.iter().map(|(name, _)| name.clone()).collect();
        Ok(Shape { table: table.clone(), key: key.unwrap_or_else(all), columns })
    }

    /// Rows that the reader sees and the open transaction does not, and that nobody else can have deleted: the reader sees
    /// them once more afterwards.
    async fn look_with(
        &self,
        reader: &ReadSession,
        shape: &Shape,
        missing: u64,
        job: &Job<'_>,
    ) -> Result<Vec<Row>, PgError> {
        let own = self.own_transactions().await?;
        let plainly = format!("l.xmax::text in ({own})");
        let mut candidates = reader.text_rows(WHAT, &shape.keys_sql(&plainly)).await?;
        if u64::try_from(candidates.len()).is_ok_and(|count| count < missing) {
            // A row that several savepoints changed names none of them.
            let widely = format!("l.xmax::text <> '0' limit {CANDIDATES}");
            candidates = reader.text_rows(WHAT, &shape.keys_sql(&widely)).await?;
        }
        let keys = keys_of(&candidates)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let own = exclusions(&job.batch.parts, &shape.table, self.task);
        let gone = self.session.text_rows(WHAT, &shape.gone_sql(&keys, &own)).await?;
        let keys = keys_of(&gone)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        reader.restart().await?;
        reader
            .text_rows(WHAT, &shape.rows_sql(&shape.is_one_of(&keys)))
            .await?
            .into_iter()
            .map(Row::parse)
            .collect()
    }
}

/// Rows that the batch itself takes out of the table: apply those that move away, undo those that it had put there.
fn takes_away(part: &Part, table: &TableName, task: Task) -> bool {
    match (part.action, task) {
        (Action::Move, Task::Apply | Task::DryRun) => part.from.as_ref() == Some(table),
        (Action::Move | Action::Insert, Task::Undo) => part.table == *table,
        _ => false,
    }
}

/// How many rows the batch itself takes out of the table.
pub(super) fn deleted_by_batch(parts: &[Part], counts: &[u64], table: &TableName, task: Task) -> u64 {
    let own = parts.iter().zip(counts).filter(|(part, _)| takes_away(part, table, task));
    own.map(|(_, rows)| rows).sum()
}

fn exclusions(parts: &[Part], table: &TableName, task: Task) -> String {
    let own = parts.iter().enumerate().filter(|(_, part)| takes_away(part, table, task));
    let conditions = own.map(|(at, part)| {
        let key = row_key_json(&part.key, part.action);
        format!(" and e.key not in (select {key} from pg_temp.\"rowback_{}\" as r)", at + 1)
    });
    conditions.collect()
}
