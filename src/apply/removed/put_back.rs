//! Undo: rows that triggers removed come back as they were, where live lets them; what is still gone is told.

use std::collections::{BTreeMap, BTreeSet};

use super::WHAT;
use super::rows::{Fate, RemovedRows};
use super::shape::{Row, Shape, Wanted, columns_of, parse_key};
use crate::apply::companions::referrers;
use crate::apply::row_key::{RowName, json_array};
use crate::apply::runner::Runner;
use crate::apply::summary::Remains;
use crate::apply::tallies::{self, Tallies};
use crate::apply::traces::LeftRow;
use crate::apply::{ApplyError, RowKey};
use crate::ident::{Ident, TableName};
use crate::pg::PgError;

/// Rows of which the keys are told.
const KEYS: usize = 1000;

/// Rows that came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::apply) struct PutBack {
    /// By table.
    pub(in crate::apply) rows: BTreeMap<TableName, BTreeSet<RowKey>>,
    /// Rows that stay away because another row has their key, or that of their parent.
    pub(in crate::apply) taken: Vec<(TableName, RowKey)>,
    /// Those that triggers made otherwise.
    pub(in crate::apply) altered: Vec<LeftRow>,
}

/// A row whose place, or its parent's, another row has by now.
struct Stranger {
    table: TableName,
    columns: Vec<(Ident, String)>,
    row: Wanted,
}

impl Stranger {
    fn of(shape: &Shape, row: Wanted) -> Self {
        Self { table: shape.table.clone(), columns: shape.columns.clone(), row }
    }
}

impl Runner<'_> {
    /// Puts rows back that triggers removed while the batch was written, also where an earlier undo could not, and those of
    /// batches that this run has taken back before: what stood in their way may be gone by now. Returns their keys, and those
    /// that triggers altered. Where live refuses, `still_removed` tells.
    pub(in crate::apply) async fn put_back_removed(&self, batch: u32) -> Result<PutBack, PgError> {
        let (traces, undone) = (self.traces(), self.undone());
        let known = traces.back();
        let earlier = undone.iter().flat_map(|batch| traces.removed_and_undone_by(*batch));
        let mut waiting: Vec<(Shape, Vec<Wanted>)> = Vec::new();
        let own = traces.removed_by(batch).chain(traces.removed_and_undone_by(batch));
        for rows in own.chain(earlier).filter(|rows| rows.can_be_put_back()) {
            if let Some(shape) = self.shape_as_kept(rows).await? {
                let waits =
                    rows.each().filter(|(key, _)| !known.contains(&(rows.table.clone(), key.clone())));
                let wanted = waits.map(|(key, values)| shape.as_before(&traces, key, values)).collect();
                waiting.push((shape, wanted));
            }
        }
        let mut done = PutBack::default();
        self.leave_taken(&mut waiting, &mut done).await?;
        // A row may need one of another table first.
        loop {
            let before: usize = waiting.iter().map(|(_, rows)| rows.len()).sum();
            for (shape, rows) in &mut waiting {
                if rows.is_empty() || self.try_to_insert(shape, rows, &mut done).await?.is_ok() {
                    rows.clear();
                    continue;
                }
                let mut refused = Vec::new();
                for row in rows.drain(..) {
                    if let Err(why) = self.try_to_insert(shape, std::slice::from_ref(&row), &mut done).await?
                    {
                        self.note_stuck((shape.table.clone(), row.key.clone()), why);
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

    /// Takes out rows that are there already, as they were, and those whose key another row has by now, with what would hang
    /// on that stranger.
    async fn leave_taken(
        &self,
        waiting: &mut [(Shape, Vec<Wanted>)],
        done: &mut PutBack,
    ) -> Result<(), PgError> {
        let mut taken: Vec<Stranger> = Vec::new();
        let now: BTreeSet<String> = self.own_versions().await?.into_iter().collect();
        for (shape, rows) in waiting.iter_mut() {
            let keys = json_array(rows.iter().map(|row| &row.key));
            let there = self.session.text_rows(WHAT, &shape.rows_sql(&shape.is_one_of(&keys))).await?;
            let there: Vec<Row> = there.into_iter().map(Row::parse).collect::<Result<_, _>>()?;
            let there: BTreeMap<&RowKey, &Row> = there.iter().map(|row| (&row.key, row)).collect();
            for row in std::mem::take(rows) {
                match there.get(&row.key) {
                    None => rows.push(row),
                    Some(live) if live.values == row.values && now.contains(&live.version) => {
                        done.rows.entry(shape.table.clone()).or_default().insert(row.key);
                    }
                    Some(live) if live.values == row.values => {}
                    Some(_other) => taken.push(Stranger::of(shape, row)),
                }
            }
        }
        while let Some(Stranger { table, columns, row: stranger }) = taken.pop() {
            for referrer in referrers(&self.session, &table).await? {
                for (shape, rows) in waiting.iter_mut().filter(|(shape, _)| shape.table == referrer.child) {
                    let hangs = |row: &Wanted| {
                        referrer.columns.iter().all(|(child, parent)| {
                            let value = row.value(&shape.columns, child);
                            value.is_some() && value == stranger.value(&columns, parent)
                        })
                    };
                    let (away, stays): (Vec<Wanted>, Vec<Wanted>) =
                        std::mem::take(rows).into_iter().partition(hangs);
                    *rows = stays;
                    taken.extend(away.into_iter().map(|row| Stranger::of(shape, row)));
                }
            }
            done.taken.push((table, stranger.key));
        }
        Ok(())
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
    /// key; says why.
    async fn try_to_insert(
        &self,
        shape: &Shape,
        rows: &[Wanted],
        done: &mut PutBack,
    ) -> Result<Result<(), String>, PgError> {
        let deleted = |tallies: Tallies| tallies.values().map(|tally| tally.deleted).sum::<i64>();
        let before = deleted(tallies::read(&self.session).await?);
        self.session.execute(WHAT, "savepoint rowback_back").await?;
        let inserted = async {
            let keys = self.session.text_rows(WHAT, &shape.insert_sql(rows)).await?;
            self.session.execute(WHAT, "set constraints all immediate").await?;
            keys.iter().map(|row| parse_key(row.first())).collect::<Result<BTreeSet<RowKey>, _>>()
        };
        let inserted = match inserted.await {
            Ok(inserted) => Ok(inserted),
            Err(PgError::Statement { db, .. }) => Err(db.message.clone()),
            Err(error) => return Err(error),
        };
        let wanted: BTreeSet<&RowKey> = rows.iter().map(|row| &row.key).collect();
        let inserted = match inserted {
            Ok(_) if deleted(tallies::read(&self.session).await?) != before => {
                Err("triggers would remove other rows for it".to_owned())
            }
            Ok(keys) if !keys.iter().all(|key| wanted.contains(key)) => {
                Err("triggers would give it another key".to_owned())
            }
            other => other,
        };
        let back = if inserted.is_ok() { "" } else { "rollback to savepoint rowback_back; " };
        self.session.execute(WHAT, &format!("{back}release savepoint rowback_back")).await?;
        let keys = match inserted {
            Ok(keys) => keys,
            Err(why) => return Ok(Err(why)),
        };
        done.altered.extend(self.altered(shape, rows, &keys).await?);
        done.rows.entry(shape.table.clone()).or_default().extend(keys);
        Ok(Ok(()))
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
        let by_key: BTreeMap<&RowKey, &Wanted> = rows.iter().map(|row| (&row.key, row)).collect();
        let mut found = Vec::new();
        for row in self.session.text_rows(WHAT, &sql).await? {
            let Row { key, values, .. } = Row::parse(row)?;
            let Some(wanted) = by_key.get(&key) else { continue };
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

    /// Rows that triggers removed, of batches that are taken back now, as far as they are not in live; one for each table,
    /// fate and reason.
    pub(in crate::apply) async fn still_removed(&self) -> Result<Vec<Remains>, ApplyError> {
        let mut found: BTreeMap<(&TableName, Fate), (BTreeSet<RowKey>, u64)> = BTreeMap::new();
        let mut back: BTreeSet<RowName> = BTreeSet::new();
        let traces = self.traces();
        let known = traces.back();
        for rows in
            traces.removed_and_undone().filter(|rows| !matches!(rows.fate, Fate::Recovered | Fate::Back))
        {
            let keys: Vec<RowKey> = rows.keys().collect();
            let shape = self.shape_as_kept(rows).await?;
            if shape.is_none() {
                let why = "live has its table, or a column of it, no more or under another name";
                keys.iter()
                    .for_each(|key| self.note_stuck((rows.table.clone(), key.clone()), why.to_owned()));
            }
            let there: BTreeSet<RowKey> = match shape {
                Some(shape) if !keys.is_empty() && rows.fate != Fate::Displaced => {
                    let sql = shape.there_sql(&json_array(keys.iter()));
                    let there = self.session.text_rows(WHAT, &sql).await?;
                    if rows.can_be_put_back() {
                        back.extend(self.as_kept(&shape, rows).await?);
                    }
                    there.iter().map(|row| parse_key(row.first())).collect::<Result<_, _>>()?
                }
                _ => BTreeSet::new(),
            };
            let (gone, unseen) = found.entry((&rows.table, rows.fate)).or_default();
            let is_gone =
                |key: &RowKey| !there.contains(key) && !known.contains(&(rows.table.clone(), key.clone()));
            gone.extend(keys.into_iter().filter(is_gone));
            *unseen += rows.unseen;
        }
        // What hangs on a stranger's key is not in live either, and told once.
        let displaced: BTreeSet<RowName> = found
            .iter()
            .filter(|((_, fate), _)| *fate == Fate::Displaced)
            .flat_map(|((table, _), (keys, _))| keys.iter().map(|key| ((*table).clone(), key.clone())))
            .filter(|row| !back.contains(row))
            .collect();
        let mut remains = Vec::new();
        for ((table, fate), (gone, unseen)) in found {
            let mut gone: BTreeSet<RowName> = gone.into_iter().map(|key| (table.clone(), key)).collect();
            gone.retain(|row| displaced.contains(row) == (fate == Fate::Displaced));
            let mut by_reason: BTreeMap<Option<String>, Vec<RowKey>> = BTreeMap::new();
            if unseen > 0 {
                by_reason.insert(None, Vec::new());
            }
            for row in gone {
                let why = if fate == Fate::Removed { self.why_stuck(&row) } else { None };
                by_reason.entry(why).or_default().push(row.1);
            }
            remains.extend(by_reason.into_iter().map(|(because, mut keys)| {
                let unseen = if because.is_none() { unseen } else { 0 };
                let rows = unseen + u64::try_from(keys.len()).unwrap_or(u64::MAX);
                keys.truncate(KEYS);
                let (table, looked) = (table.clone(), unseen == 0);
                Remains { table, rows, columns: Vec::new(), keys, looked, fate: Some(fate), because }
            }));
        }
        Ok(remains)
    }

    /// Those of the rows that live has just as they are to come back.
    async fn as_kept(&self, shape: &Shape, rows: &RemovedRows) -> Result<Vec<RowName>, PgError> {
        let traces = self.traces();
        let wanted: BTreeMap<RowKey, Vec<Option<String>>> = rows
            .each()
            .map(|(key, values)| shape.as_before(&traces, key, values))
            .map(|row| (row.key, row.values))
            .collect();
        let sql = shape.rows_sql(&shape.is_one_of(&json_array(wanted.keys())));
        let mut found = Vec::new();
        for row in self.session.text_rows(WHAT, &sql).await? {
            let Row { key, values, .. } = Row::parse(row)?;
            if wanted.get(&key) == Some(&values) {
                found.push((shape.table.clone(), key));
            }
        }
        Ok(found)
    }

    /// Batches taken back earlier, latest first, that cost rows which undo could not put back then, and which live does not have
    /// by now.
    pub(in crate::apply) async fn waiting_for_rows(&self) -> Result<Vec<u32>, ApplyError> {
        let traces = self.traces();
        let known = traces.back();
        let mut found = Vec::new();
        for batch in self.plan().batches.iter().rev().map(|batch| batch.number) {
            for rows in traces.removed_and_undone_by(batch).filter(|rows| rows.can_be_put_back()) {
                let Some(shape) = self.shape_as_kept(rows).await? else { continue };
                let there: BTreeSet<RowName> = self.as_kept(&shape, rows).await?.into_iter().collect();
                let mut names = rows.keys().map(|key| (rows.table.clone(), key));
                if !names.all(|row| known.contains(&row) || there.contains(&row)) && !found.contains(&batch) {
                    found.push(batch);
                }
            }
        }
        Ok(found)
    }
}
