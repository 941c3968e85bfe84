//! Rows that live's triggers removed while a batch was written or taken back, with what hung on them: written down before the
//! commit with all their values, told as left for a human, and put back when the batch is taken back. PostgreSQL counts what a
//! transaction deleted; which rows these are tells a session that does not see the open transaction.

use std::collections::BTreeSet;

use super::companions::primary_key;
use super::moved::{ROWS_AT_MOST, Tallies, tallies};
use super::place::Task;
use super::row_key::json_array;
use super::runner::{Job, Runner};
use super::summary::Remains;
use super::traces::RemovedRows;
use super::transaction::Performed;
use super::{ApplyError, RowKey};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession, WriteSession, column};
use crate::plan::{Action, Part, row_key_json};
use crate::sql::literal::literal;
use crate::sql::registry::{APPLY_LOOKABLE, APPLY_OWN_TRANSACTIONS, APPLY_TYPES};

const WHAT: &str = "looking for rows that triggers removed";

/// Rows of which the keys are told.
const KEYS: usize = 1000;

/// Where a row's last change may have been by any of several transactions, at most so many rows are asked for.
const CANDIDATES: usize = 100_000;

/// A table as far as its rows must be named and made again.
struct Shape {
    table: TableName,
    key: Vec<Ident>,
    /// Name and type of each column that can be written.
    columns: Vec<(Ident, String)>,
}

impl Runner<'_> {
    /// What triggers removed beside the batch's own rows.
    pub(super) async fn look_for_removed(
        &mut self,
        job: &Job<'_>,
        performed: &Performed,
        before: &Tallies,
        after: &Tallies,
    ) -> Result<Vec<RemovedRows>, PgError> {
        let mut found = Vec::new();
        for (table, tally) in after {
            let earlier = before.get(table).copied().unwrap_or_default();
            let deleted = u64::try_from(tally.deleted - earlier.deleted).unwrap_or(0);
            let own = deleted_by_batch(&job.batch.parts, &performed.counts, table, self.task);
            // In a dry run nobody sees what earlier batches took away from where it was.
            if deleted != own && !(self.task == Task::DryRun && self.leaves(table)) {
                found.extend(self.removed_in(table, deleted.saturating_sub(own), job).await?);
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
        missing: u64,
        job: &Job<'_>,
    ) -> Result<Vec<RemovedRows>, PgError> {
        if !self.may_be_read(table).await? {
            return Ok(RemovedRows::unseen(table, missing).into_iter().collect());
        }
        let shape = self.shape(table).await?;
        let reader = self.take_reader().await?;
        let looked = self.look_with(&reader, &shape, missing, job).await;
        self.reader = Some(reader);
        let recovered = self.recovered_in(std::iter::once(table));
        let (known, traces) = (self.made(), self.traces());
        let (mut theirs, mut ours) = (RemovedRows::of(table, &shape.key, &shape.columns), Vec::new());
        for Row { key, version, values } in looked? {
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
        Ok([theirs, ours].into_iter().filter(|rows| !rows.is_empty()).collect())
    }

    /// May the table be read, and is it small enough for that?
    async fn may_be_read(&self, table: &TableName) -> Result<bool, PgError> {
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
        let own = self.session.query(&APPLY_OWN_TRANSACTIONS, &[]).await?;
        let own = own.iter().map(|row| Ok(literal(&column::<String>(row, "version", WHAT)?)));
        let own = own.collect::<Result<Vec<_>, PgError>>()?.join(", ");
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
        reader.text_rows(WHAT, &shape.rows_sql(&keys)).await?.into_iter().map(Row::parse).collect()
    }

    /// Puts rows back that triggers removed while the batch was written, and those of batches that this run has taken back
    /// before: what stood in their way may be gone by now. Where live refuses, `still_removed` tells.
    pub(super) async fn put_back_removed(&self, batch: u32) -> Result<(), PgError> {
        let (traces, undone) = (self.traces(), self.undone());
        let earlier = undone.iter().flat_map(|batch| traces.removed_and_undone_by(*batch));
        let mut waiting: Vec<(String, Vec<String>)> = Vec::new();
        for rows in traces.removed_by(batch).chain(earlier).filter(|rows| !rows.ours) {
            if let Some(shape) = self.shape_as_kept(rows).await? {
                waiting.push((shape.insert_sql(), rows.lines_as_json()));
            }
        }
        // A row may need one of another table first.
        loop {
            let before: usize = waiting.iter().map(|(_, rows)| rows.len()).sum();
            for (sql, rows) in &mut waiting {
                let all = format!("[{}]", rows.join(","));
                if rows.is_empty() || self.try_to_insert(sql, &all).await? {
                    rows.clear();
                    continue;
                }
                let mut refused = Vec::new();
                for row in rows.drain(..) {
                    if !self.try_to_insert(sql, &format!("[{row}]")).await? {
                        refused.push(row);
                    }
                }
                *rows = refused;
            }
            let now: usize = waiting.iter().map(|(_, rows)| rows.len()).sum();
            if now == 0 || now == before {
                return Ok(());
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

    /// A row that live refuses stays away, and so does one for which triggers would remove others.
    async fn try_to_insert(&self, sql: &str, rows: &str) -> Result<bool, PgError> {
        let deleted = |tallies: Tallies| tallies.values().map(|tally| tally.deleted).sum::<i64>();
        let before = deleted(tallies(&self.session).await?);
        let sql = sql.replace(ROWS, &literal(rows));
        let sql = format!("savepoint rowback_back; {sql}; set constraints all immediate");
        let taken = match self.session.execute(WHAT, &sql).await {
            Ok(()) => deleted(tallies(&self.session).await?) == before,
            Err(PgError::Statement { .. }) => false,
            Err(error) => return Err(error),
        };
        let back = if taken { "" } else { "rollback to savepoint rowback_back; " };
        self.session.execute(WHAT, &format!("{back}release savepoint rowback_back")).await?;
        Ok(taken)
    }

    /// Rows that triggers removed, of batches that are taken back now, as far as they are not in live.
    pub(super) async fn still_removed(&self) -> Result<Vec<Remains>, ApplyError> {
        let mut found = Vec::new();
        for rows in self.traces().removed_and_undone().filter(|rows| !rows.ours) {
            let keys: Vec<RowKey> = rows.keys().collect();
            let there: BTreeSet<RowKey> = match self.shape_as_kept(rows).await? {
                Some(shape) if !keys.is_empty() => {
                    let sql = shape.there_sql(&json_array(keys.iter()));
                    let there = self.session.text_rows(WHAT, &sql).await?;
                    there.iter().map(|row| parse_key(row.first())).collect::<Result<_, _>>()?
                }
                _ => BTreeSet::new(),
            };
            let gone: Vec<RowKey> = keys.into_iter().filter(|key| !there.contains(key)).collect();
            let count = rows.unseen + u64::try_from(gone.len()).unwrap_or(u64::MAX);
            if count > 0 {
                found.push(Remains {
                    table: rows.table.clone(),
                    rows: count,
                    columns: Vec::new(),
                    keys: gone.into_iter().take(KEYS).collect(),
                    looked: rows.unseen == 0,
                    removed: true,
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

    fn rows_sql(&self, keys: &str) -> String {
        let values = self.columns.iter().map(|(name, _)| format!(", l.{}::text", name.quoted()));
        format!(
            "select ({})::text, l.xmin::text{} from {} as l where {} order by l.ctid",
            self.key_json(),
            values.collect::<String>(),
            self.table.quoted(),
            self.is_one_of(keys)
        )
    }

    fn is_one_of(&self, keys: &str) -> String {
        format!(
            "{} in (select e.key from pg_catalog.jsonb_array_elements({}::jsonb) as e(key))",
            self.key_json(),
            literal(keys)
        )
    }

    /// Inserts the rows of [`ROWS`], a JSON array of arrays of text, but for those whose key is there.
    fn insert_sql(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.quoted()).collect();
        let typed = |(at, (name, of)): (usize, &(Ident, String))| {
            format!("(e.one ->> {at})::{of} as {}", name.quoted())
        };
        let values: Vec<String> = self.columns.iter().enumerate().map(typed).collect();
        let same = self
            .key
            .iter()
            .map(|name| format!("l.{0}::text is not distinct from r.{0}::text", name.quoted()));
        format!(
            "insert into {table} ({names}) overriding system value select {names} from (select {values} \
             from pg_catalog.jsonb_array_elements({ROWS}::jsonb) as e(one)) as r \
             where not exists (select from {table} as l where {same})",
            table = self.table.quoted(),
            names = names.join(", "),
            values = values.join(", "),
            same = same.collect::<Vec<_>>().join(" and ")
        )
    }
}

/// Stands for the rows in a statement that is made once.
const ROWS: &str = ":rowback_rows";

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

fn deleted_by_batch(parts: &[Part], counts: &[u64], table: &TableName, task: Task) -> u64 {
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
