//! Columns of a batch's own rows that triggers change beside those that are written: a version, a time of change. Apply notes
//! how they were; undo sets them back where the triggers let it, and says where they do not. Tables without triggers cost one
//! question each.

mod statements;

use std::collections::{BTreeMap, BTreeSet};

use super::RowKey;
use super::place::Task;
use super::trace_book::TraceBook;
use super::traces::{FormerRow, LeftRow, Values};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, WriteSession, column};
use crate::plan::{Action, Part};
use crate::sql::registry::{APPLY_TRIGGERS, APPLY_TYPES};

const WHAT: &str = "looking for columns that triggers changed";

/// Rows that are set back in one statement.
const ROWS_AT_ONCE: usize = 10_000;

/// Who watches, and what is known from before.
#[derive(Clone, Copy)]
pub(super) struct Watcher<'a> {
    pub(super) task: Task,
    pub(super) batch: u32,
    pub(super) book: &'a TraceBook,
}

/// A part of which triggers may change rows.
pub(super) struct Watched<'a> {
    session: &'a WriteSession,
    watcher: Watcher<'a>,
    number: usize,
    part: &'a Part,
    /// Where the rows are once they are written.
    table: TableName,
    /// Columns that can be set, with their types; those of the key as well.
    types: BTreeMap<Ident, String>,
    /// Columns that are looked at.
    columns: Vec<Ident>,
}

/// A column that is not as it was: the value that it has, and the one that it had.
type Differing = BTreeMap<String, (Option<String>, Option<String>)>;

/// Rows that are not as they were.
type Rows = BTreeMap<RowKey, Differing>;

/// What came of setting back.
pub(super) struct SetBack {
    /// The table.
    pub(super) table: TableName,
    /// Rows updated for it.
    pub(super) updated: u64,
    /// What is not as it was.
    pub(super) left: Vec<LeftRow>,
}

/// Rows with which it is tried whether triggers let columns be set back.
const TRIED_FIRST: usize = 1000;

/// Before a batch writes: notes how its rows are, where triggers may change more of them than the batch does.
pub(super) async fn watch<'a>(
    session: &'a WriteSession,
    parts: &'a [Part],
    watcher: Watcher<'a>,
) -> Result<Vec<Watched<'a>>, PgError> {
    let mut found = Vec::new();
    if watcher.task == Task::DryRun {
        return Ok(found);
    }
    for (number, part) in (1..).zip(parts) {
        let table = match (part.action, watcher.task) {
            (Action::Update, _) => &part.table,
            // Rows that undo puts back are inserted whole; those that apply inserts go whole, too.
            (Action::Move, Task::Undo) => part.from.as_ref().unwrap_or(&part.table),
            (Action::Insert | Action::Move, _) => continue,
        };
        let fires = if part.action == Action::Update { "on_update" } else { "on_insert" };
        let triggers =
            session.query(&APPLY_TRIGGERS, &[&table.schema.as_str(), &table.name.as_str()]).await?;
        if !triggers.first().map_or(Ok(false), |row| column(row, fires, WHAT))? {
            continue;
        }
        let table = table.clone();
        let one =
            Watched { session, watcher, number, part, table, types: BTreeMap::new(), columns: Vec::new() };
        found.extend(one.begin().await?);
    }
    Ok(found)
}

impl<'a> Watched<'a> {
    async fn begin(mut self) -> Result<Option<Watched<'a>>, PgError> {
        let (schema, name) = (self.table.schema.as_str(), self.table.name.as_str());
        for row in self.session.query(&APPLY_TYPES, &[&schema, &name]).await? {
            let ident = Ident::new(column::<String>(&row, "name", WHAT)?);
            let is_key = self.part.key.contains(&ident);
            let settable = column::<bool>(&row, "settable", WHAT)?;
            if settable && (!is_key || self.part.columns.contains(&ident)) && self.is_looked_at(&ident) {
                self.columns.push(ident.clone());
            }
            self.types.insert(ident, column(&row, "type_name", WHAT)?);
        }
        if self.columns.is_empty() || !self.part.key.iter().all(|name| self.types.contains_key(name)) {
            return Ok(None);
        }
        if self.part.action == Action::Update {
            self.session.execute(WHAT, &self.capture_sql()).await?;
        }
        Ok(Some(self))
    }

    /// Apply looks at what it does not write; undo at everything.
    fn is_looked_at(&self, name: &Ident) -> bool {
        match (self.part.action, self.watcher.task) {
            (Action::Update, Task::Undo) => true,
            (Action::Update, _) => !self.part.columns.contains(name),
            (Action::Insert | Action::Move, _) => {
                self.part.columns.contains(name) && !self.part.key.contains(name)
            }
        }
    }

    /// After apply has written: the rows that triggers changed beside what was written.
    pub(super) async fn shifted(&self) -> Result<Vec<FormerRow>, PgError> {
        let differing = self.differing_columns().await?;
        if differing.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for row in self.session.text_rows(WHAT, &self.rows_sql(&differing, "[]")).await? {
            let [Some(key), Some(version), _, Some(before), _, Some(now)] = row.as_slice() else { continue };
            let (key, before, now) = (row_key(key)?, values(before)?, values(now)?);
            let before: Values =
                before.into_iter().filter(|(name, value)| now.get(name) != Some(value)).collect();
            if !before.is_empty() {
                let (table, version) = (self.table.clone(), version.clone());
                found.push(FormerRow { table, key, version, before });
            }
        }
        Ok(found)
    }

    /// After undo has written: sets back what triggers changed beside it, as far as they let it stay.
    pub(super) async fn set_back(&self) -> Result<SetBack, PgError> {
        let rows = self.not_as_before(None).await?;
        let mut done = SetBack { table: self.table.clone(), updated: 0, left: Vec::new() };
        // Triggers that insist on values of their own insist on all rows: a few tell whether it is worth trying.
        let few: Rows = rows.iter().take(TRIED_FIRST).map(|(key, row)| (key.clone(), row.clone())).collect();
        let mut come = self.what_stays(&few, &mut done.updated).await?;
        if !come.is_empty() && few.len() < rows.len() {
            come = self.what_stays(&rows, &mut done.updated).await?;
        }
        let rows = if come.is_empty() {
            rows
        } else {
            done.updated += self.write(&come).await?;
            self.not_as_before(None).await?
        };
        let left = |(key, row): (RowKey, Differing)| LeftRow {
            table: self.part.table.clone(),
            key,
            stamped: row.keys().all(|name| tells_time(self.type_of(&Ident::new(name.as_str())))),
            columns: row.into_keys().collect(),
        };
        done.left = rows.into_iter().map(left).collect();
        Ok(done)
    }

    /// Which of these columns keep their former value when they get it. An attempt that comes to nothing would only fire the
    /// triggers once more, so it is rolled back; what it updated is counted nevertheless, as PostgreSQL does.
    async fn what_stays(&self, rows: &Rows, updated: &mut u64) -> Result<Rows, PgError> {
        let mut come = Rows::new();
        if rows.is_empty() {
            return Ok(come);
        }
        self.session.execute(WHAT, "savepoint rowback_beside").await?;
        let after = match self.write(rows).await {
            Ok(count) => {
                *updated += count;
                Some(self.not_as_before(Some(rows)).await?)
            }
            Err(PgError::Statement { .. }) => None,
            Err(error) => return Err(error),
        };
        let back = "rollback to savepoint rowback_beside; release savepoint rowback_beside";
        self.session.execute(WHAT, back).await?;
        let Some(after) = after else { return Ok(come) };
        let differs = |key: &RowKey, name: &String| after.get(key).is_some_and(|row| row.contains_key(name));
        for (key, row) in rows {
            let row = row.iter().filter(|(name, _)| !differs(key, name));
            let row: Differing = row.map(|(name, values)| (name.clone(), values.clone())).collect();
            if !row.is_empty() {
                come.insert(key.clone(), row);
            }
        }
        Ok(come)
    }

    /// `only` narrows the rows that are looked at.
    async fn not_as_before(&self, only: Option<&Rows>) -> Result<Rows, PgError> {
        let known = self.watcher.book.shifted_of(self.watcher.batch, &self.table);
        let named: BTreeSet<&String> = known.values().flat_map(|row| row.before.keys()).collect();
        let mut columns = self.differing_columns().await?;
        let more = self.columns.iter().filter(|name| named.contains(&name.as_str().to_owned()));
        let more: Vec<Ident> = more.filter(|name| !columns.contains(name)).cloned().collect();
        columns.extend(more);
        let mut found = Rows::new();
        if columns.is_empty() {
            return Ok(found);
        }
        let former: Vec<&FormerRow> = known.values().collect();
        let former = serde_json::to_string(&former).unwrap_or_default();
        for row in self.session.text_rows(WHAT, &self.rows_sql(&columns, &former)).await? {
            let [Some(key), _, version, Some(before), former, Some(now)] = row.as_slice() else { continue };
            let key = row_key(key)?;
            if only.is_some_and(|only| !only.contains_key(&key)) {
                continue;
            }
            let (mut before, now) = (values(before)?, values(now)?);
            let version = version.as_deref().unwrap_or_default();
            // What others have done to the row since apply is not for undo.
            if let Some(known) = known.get(&key)
                && (known.version == version || self.watcher.book.is_own(version))
                && let Some(former) = former
            {
                let former = values(former)?;
                before.extend(former.into_iter().filter(|(name, _)| known.before.contains_key(name)));
            }
            let differing = before.into_iter().filter_map(|(name, before)| {
                let now = now.get(&name).cloned().flatten();
                (now != before).then_some((name, (now, before)))
            });
            let differing: Differing = differing.collect();
            if !differing.is_empty() {
                found.insert(key, differing);
            }
        }
        Ok(found)
    }

    /// Columns in which any row is not as it was right before the batch.
    async fn differing_columns(&self) -> Result<Vec<Ident>, PgError> {
        let counts = self.columns.iter().map(|name| {
            let (now, before) = (format!("l.{}", name.quoted()), self.before(name));
            format!("pg_catalog.count(*) filter (where {now}::text is distinct from {before}::text)")
        });
        let sql = format!("select {} {}", counts.collect::<Vec<_>>().join(", "), self.joined(""));
        let rows = self.session.text_rows(WHAT, &sql).await?;
        let counts = rows.first().into_iter().flatten();
        let counts = counts.zip(&self.columns).filter(|(count, _)| count.as_deref() != Some("0"));
        Ok(counts.map(|(_, name)| name.clone()).collect())
    }

    /// Sets columns to their former values, rows of the same columns in one statement. Guarded by what was seen in this very
    /// transaction.
    async fn write(&self, rows: &Rows) -> Result<u64, PgError> {
        let mut updated = 0;
        let mut groups: BTreeMap<Vec<&String>, Vec<(&RowKey, &Differing)>> = BTreeMap::new();
        for (key, row) in rows {
            groups.entry(row.keys().collect()).or_default().push((key, row));
        }
        for (columns, rows) in &groups {
            for rows in rows.chunks(ROWS_AT_ONCE) {
                let rows = self.session.text_rows(WHAT, &self.write_sql(columns, rows)).await?;
                updated += super::isolate::single(&rows).unwrap_or(0);
            }
        }
        Ok(updated)
    }
}

fn answer(cause: impl std::fmt::Display) -> PgError {
    PgError::Answer { what: WHAT.to_owned(), cause: cause.to_string() }
}

/// A date or a time, by the name of its type.
fn tells_time(type_name: &str) -> bool {
    type_name == "date" || type_name.starts_with("timestamp") || type_name.starts_with("time ")
}

fn row_key(text: &str) -> Result<RowKey, PgError> {
    RowKey::parse(text).map_err(answer)
}

fn values(text: &str) -> Result<Values, PgError> {
    serde_json::from_str(text).map_err(answer)
}
