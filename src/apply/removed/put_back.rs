//! Undo: rows that triggers removed come back as they were, where live lets them; what is still gone is told.

use std::collections::{BTreeMap, BTreeSet};

use super::WHAT;
use super::shape::{Row, Shape, Wanted, columns_of, parse_key};
use crate::apply::moved::{Tallies, tallies};
use crate::apply::row_key::json_array;
use crate::apply::runner::Runner;
use crate::apply::summary::Remains;
use crate::apply::traces::{Fate, LeftRow, RemovedRows};
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
    /// Those that triggers made otherwise.
    pub(in crate::apply) altered: Vec<LeftRow>,
}

impl Runner<'_> {
    /// Puts rows back that triggers removed while the batch was written, and those of batches that this run has taken back
    /// before: what stood in their way may be gone by now. Returns their keys, and those that triggers altered. Where live
    /// refuses, `still_removed` tells.
    pub(in crate::apply) async fn put_back_removed(&self, batch: u32) -> Result<PutBack, PgError> {
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
    pub(in crate::apply) async fn still_removed(&self) -> Result<Vec<Remains>, ApplyError> {
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
