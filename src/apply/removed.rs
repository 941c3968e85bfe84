//! Rows that live's triggers removed while a batch was written or taken back, with what hung on them: written down before the
//! commit with all their values, told as left for a human, and put back when the batch is taken back. PostgreSQL counts what a
//! transaction deleted; which rows these are tells a session that does not see the open transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::companions::primary_key;
use super::moved::{ROWS_AT_MOST, Tallies, tallies};
use super::place::Task;
use super::row_key::json_array;
use super::runner::{Job, Runner};
use super::summary::Remains;
use super::traces::{Fate, LeftRow, RemovedRows, TraceBook};
use super::transaction::Performed;
use super::{ApplyError, RowKey};
use crate::ident::{Ident, TableName};
use crate::pg::{DbFacts, PgError, ReadSession, WriteSession, column};
use crate::plan::{Action, Part, row_key_json};
use crate::sql::literal::literal;
use crate::sql::registry::{
    APPLY_LOOKABLE, APPLY_OWN_TRANSACTIONS, APPLY_PARTITION_KEY, APPLY_REWRITTEN, APPLY_TYPES,
};

const WHAT: &str = "looking for rows that triggers removed";

/// Rows of which the keys are told.
const KEYS: usize = 1000;

/// Where a row's last change may have been by any of several transactions, at most so many rows are asked for.
const CANDIDATES: usize = 100_000;

/// A row is named by no more columns.
const MOST_NAMED: usize = 45;

/// A table as far as its rows must be named and made again.
struct Shape {
    table: TableName,
    key: Vec<Ident>,
    /// Name and type of each column that can be written.
    columns: Vec<(Ident, String)>,
}

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
            if seen || known.is_one(table, &key, &version) {
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

    /// The numbers of the open transaction and its savepoints, for a list in SQL.
    async fn own_transactions(&self) -> Result<String, PgError> {
        let own = self.session.query(&APPLY_OWN_TRANSACTIONS, &[]).await?;
        let own = own.iter().map(|row| Ok(literal(&column::<String>(row, "version", WHAT)?)));
        Ok(own.collect::<Result<Vec<_>, PgError>>()?.join(", "))
    }

    /// A TRUNCATE is counted nowhere: a batch in which a trigger empties a table goes no further.
    pub(super) async fn refuse_truncated(&mut self) -> Result<(), PgError> {
        let rows = self.session.query(&APPLY_REWRITTEN, &[]).await?;
        let now = rows.iter().map(|row| Ok((column(row, "relation", WHAT)?, column(row, "file", WHAT)?)));
        let now: BTreeMap<u32, u32> = now.collect::<Result<_, PgError>>()?;
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

    /// May the table be read, and is it small enough for that?
    pub(super) async fn may_be_read(&self, table: &TableName) -> Result<bool, PgError> {
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

    /// Puts rows back that triggers removed while the batch was written, and those of batches that this run has taken back
    /// before: what stood in their way may be gone by now. Returns their keys, and those that triggers altered. Where live
    /// refuses, `still_removed` tells.
    pub(super) async fn put_back_removed(&self, batch: u32) -> Result<PutBack, PgError> {
        let (traces, undone) = (self.traces(), self.undone());
        let earlier = undone.iter().flat_map(|batch| traces.removed_and_undone_by(*batch));
        let mut waiting: Vec<(Shape, Vec<Wanted>)> = Vec::new();
        let to_put_back = |rows: &&RemovedRows| rows.fate == Fate::Removed && !rows.rows.is_empty();
        for rows in traces.removed_by(batch).chain(earlier).filter(to_put_back) {
            if let Some(shape) = self.shape_as_kept(rows).await? {
                let wanted = rows.each().map(|(key, values)| shape.as_before(&traces, key, values)).collect();
                waiting.push((shape, wanted));
            }
        }
        let mut done = PutBack::default();
        // A row may need one of another table first.
        loop {
            let before: usize = waiting.iter().map(|(_, rows)| rows.len()).sum();
            for (shape, rows) in &mut waiting {
                if rows.is_empty() || self.try_to_insert(shape, rows, &mut done).await? {
                    rows.clear();
                    continue;
                }
                let mut refused = Vec::new();
                for row in rows.drain(..) {
                    if !self.try_to_insert(shape, std::slice::from_ref(&row), &mut done).await? {
                        refused.push(row);
                    }
                }
                *rows = refused;
            }
            let now: usize = waiting.iter().map(|(_, rows)| rows.len()).sum();
            if now == 0 || now == before {
                return Ok(done);
            }
        }
    }

    /// The table with the columns that were kept; `None` where one has gone.
    async fn shape_as_kept(&self, rows: &RemovedRows) -> Result<Option<Shape>, PgError> {
        let there = columns_of(&self.session, &rows.table).await?;
        let type_of = |name: &String| there.iter().find(|(column, _)| column.as_str() == name).cloned();
        let columns: Option<Vec<_>> = rows.columns.iter().map(type_of).collect();
        let key = rows.key.iter().map(Ident::new).collect();
        Ok(columns.map(|columns| Shape { table: rows.table.clone(), key, columns }))
    }

    /// A row that live refuses stays away, and so does one for which triggers would remove others, or that they give another
    /// key.
    async fn try_to_insert(
        &self,
        shape: &Shape,
        rows: &[Wanted],
        done: &mut PutBack,
    ) -> Result<bool, PgError> {
        let deleted = |tallies: Tallies| tallies.values().map(|tally| tally.deleted).sum::<i64>();
        let before = deleted(tallies(&self.session).await?);
        self.session.execute(WHAT, "savepoint rowback_back").await?;
        let inserted = async {
            let keys = self.session.text_rows(WHAT, &shape.insert_sql(rows)).await?;
            self.session.execute(WHAT, "set constraints all immediate").await?;
            keys.iter().map(|row| parse_key(row.first())).collect::<Result<BTreeSet<RowKey>, _>>()
        };
        let inserted = match inserted.await {
            Ok(inserted) => Some(inserted),
            Err(PgError::Statement { .. }) => None,
            Err(error) => return Err(error),
        };
        let inserted = match inserted {
            Some(keys) if deleted(tallies(&self.session).await?) == before => Some(keys),
            _ => None,
        };
        let inserted = inserted.filter(|keys| keys.iter().all(|key| rows.iter().any(|row| row.key == *key)));
        let back = if inserted.is_some() { "" } else { "rollback to savepoint rowback_back; " };
        self.session.execute(WHAT, &format!("{back}release savepoint rowback_back")).await?;
        let Some(keys) = inserted else { return Ok(false) };
        done.altered.extend(self.altered(shape, rows, &keys).await?);
        done.rows.entry(shape.table.clone()).or_default().extend(keys);
        Ok(true)
    }

    /// Those of the rows just inserted that triggers made otherwise, with the columns.
    async fn altered(
        &self,
        shape: &Shape,
        rows: &[Wanted],
        keys: &BTreeSet<RowKey>,
    ) -> Result<Vec<LeftRow>, PgError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sql = shape.rows_sql(&shape.is_one_of(&json_array(keys.iter())));
        let mut found = Vec::new();
        for row in self.session.text_rows(WHAT, &sql).await? {
            let Row { key, values, .. } = Row::parse(row)?;
            let Some(wanted) = rows.iter().find(|row| row.key == key) else { continue };
            let pairs = shape.columns.iter().zip(values.iter().zip(&wanted.values));
            let columns: Vec<String> = pairs
                .filter(|(_, (now, wanted))| now != wanted)
                .map(|((name, _), _)| name.to_string())
                .collect();
            if !columns.is_empty() {
                found.push(LeftRow { table: shape.table.clone(), key, columns, stamped: false });
            }
        }
        Ok(found)
    }

    /// Rows that triggers removed, of batches that are taken back now, as far as they are not in live.
    pub(super) async fn still_removed(&self) -> Result<Vec<Remains>, ApplyError> {
        let mut found = Vec::new();
        for rows in self.traces().removed_and_undone().filter(|rows| rows.fate != Fate::Recovered) {
            let keys: Vec<RowKey> = rows.keys().collect();
            let there: BTreeSet<RowKey> = match self.shape_as_kept(rows).await? {
                Some(shape) if !keys.is_empty() => {
                    let sql = shape.there_sql(&json_array(keys.iter()));
                    let there = self.session.text_rows(WHAT, &sql).await?;
                    there.iter().map(|row| parse_key(row.first())).collect::<Result<_, _>>()?
                }
                _ => BTreeSet::new(),
            };
            let fate = rows.fate;
            let gone: Vec<RowKey> = keys.into_iter().filter(|key| !there.contains(key)).collect();
            let count = rows.unseen + u64::try_from(gone.len()).unwrap_or(u64::MAX);
            if count > 0 {
                found.push(Remains {
                    table: rows.table.clone(),
                    rows: count,
                    columns: Vec::new(),
                    keys: gone.into_iter().take(KEYS).collect(),
                    looked: rows.unseen == 0,
                    fate: Some(fate),
                });
            }
        }
        Ok(found)
    }
}

/// A row as it was.
struct Row {
    key: RowKey,
    version: String,
    values: Vec<Option<String>>,
}

impl Row {
    fn parse(row: Vec<Option<String>>) -> Result<Self, PgError> {
        let mut fields = row.into_iter();
        let key = parse_key(fields.next().as_ref())?;
        let version = fields.next().flatten().ok_or_else(|| answer("no version"))?;
        Ok(Self { key, version, values: fields.collect() })
    }
}

impl Shape {
    fn key_json(&self) -> String {
        super::companions::key_json("l", &self.key)
    }

    fn keys_sql(&self, condition: &str) -> String {
        format!("select ({})::text from {} as l where {condition}", self.key_json(), self.table.quoted())
    }

    /// Of these keys those that the open transaction does not see, but for those of `own` rows.
    fn gone_sql(&self, keys: &str, own: &str) -> String {
        format!(
            "select e.key::text from pg_catalog.jsonb_array_elements({}::jsonb) as e(key) \
             where not exists (select from {} as l where {} = e.key){own}",
            literal(keys),
            self.table.quoted(),
            self.key_json()
        )
    }

    fn there_sql(&self, keys: &str) -> String {
        self.keys_sql(&self.is_one_of(keys))
    }

    /// Are rows named by all that they hold?
    fn is_whole_row(&self) -> bool {
        self.columns.iter().all(|(name, _)| self.key.contains(name)) && self.columns.len() == self.key.len()
    }

    fn rows_sql(&self, condition: &str) -> String {
        let values = self.columns.iter().map(|(name, _)| format!(", l.{}::text", name.quoted()));
        format!(
            "select ({})::text, l.xmin::text{} from {} as l where {condition} order by l.ctid",
            self.key_json(),
            values.collect::<String>(),
            self.table.quoted()
        )
    }

    fn is_one_of(&self, keys: &str) -> String {
        format!(
            "{} in (select e.key from pg_catalog.jsonb_array_elements({}::jsonb) as e(key))",
            self.key_json(),
            literal(keys)
        )
    }

    /// A row as it was before apply: what triggers had changed of it before one removed it goes back as well.
    fn as_before(&self, traces: &TraceBook, key: RowKey, mut values: Vec<Option<String>>) -> Wanted {
        if let Some(before) = traces.before(&self.table, &key) {
            for ((name, _), value) in self.columns.iter().zip(&mut values) {
                if let Some(former) = before.get(name.as_str()) {
                    value.clone_from(former);
                }
            }
        }
        Wanted { key, values }
    }

    /// Inserts the rows, but for those whose key is there.
    fn insert_sql(&self, rows: &[Wanted]) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.quoted()).collect();
        let typed = |(at, (name, of)): (usize, &(Ident, String))| {
            format!("(e.one ->> {at})::{of} as {}", name.quoted())
        };
        let values: Vec<String> = self.columns.iter().enumerate().map(typed).collect();
        let same = self
            .key
            .iter()
            .map(|name| format!("l.{0}::text is not distinct from r.{0}::text", name.quoted()));
        let rows: serde_json::Value = rows.iter().map(|row| row.values.clone()).collect();
        format!(
            "insert into {table} as t ({names}) overriding system value select {names} from (select {values} \
             from pg_catalog.jsonb_array_elements({rows}::jsonb) as e(one)) as r \
             where not exists (select from {table} as l where {same}) returning ({key})::text",
            table = self.table.quoted(),
            names = names.join(", "),
            values = values.join(", "),
            rows = literal(&rows.to_string()),
            same = same.collect::<Vec<_>>().join(" and "),
            key = super::companions::key_json("t", &self.key)
        )
    }
}

/// A row that is to come back.
struct Wanted {
    key: RowKey,
    values: Vec<Option<String>>,
}

/// Rows that came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PutBack {
    /// By table.
    pub(super) rows: BTreeMap<TableName, BTreeSet<RowKey>>,
    /// Those that triggers made otherwise.
    pub(super) altered: Vec<LeftRow>,
}

async fn columns_of(session: &WriteSession, table: &TableName) -> Result<Vec<(Ident, String)>, PgError> {
    let mut columns = Vec::new();
    for row in session.query(&APPLY_TYPES, &[&table.schema.as_str(), &table.name.as_str()]).await? {
        if !column::<bool>(&row, "generated", WHAT)? {
            columns
                .push((Ident::new(column::<String>(&row, "name", WHAT)?), column(&row, "type_name", WHAT)?));
        }
    }
    Ok(columns)
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

fn keys_of(rows: &[Vec<Option<String>>]) -> Result<String, PgError> {
    if rows.is_empty() {
        return Ok(String::new());
    }
    let keys = rows.iter().map(|row| parse_key(row.first())).collect::<Result<Vec<_>, _>>()?;
    Ok(json_array(keys.iter()))
}

fn parse_key(field: Option<&Option<String>>) -> Result<RowKey, PgError> {
    let text = field.and_then(Option::as_deref).ok_or_else(|| answer("no key"))?;
    RowKey::parse(text).map_err(answer)
}

fn answer(cause: impl std::fmt::Display) -> PgError {
    PgError::Answer { what: WHAT.to_owned(), cause: cause.to_string() }
}
