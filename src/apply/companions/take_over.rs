//! Before a batch writes rows: what triggers made in their place gives way to them. A row under the key of an inserted one gets
//! the staged values; one that only holds a unique value that a row is to have goes, and so does one that will not take the
//! values.

use std::collections::{BTreeMap, BTreeSet};

use super::clear::{Going, clear, deletable};
use super::sql::{self, Unique};
use super::{Made, RowVersion, WHAT, answer, row_key, row_version, shape};
use crate::apply::RowKey;
use crate::apply::isolate::{Refused, Writing, is_about_rows, refuses_everything};
use crate::ident::Ident;
use crate::pg::{DbFacts, PgError, ReadSession, WriteSession, column};
use crate::plan::{Action, Part};
use crate::sql::registry::APPLY_UNIQUE;

/// What is known of rows that triggers made, and how rows are written.
#[derive(Clone, Copy)]
pub(in crate::apply) struct Ground<'a> {
    pub(in crate::apply) made: &'a Made,
    pub(in crate::apply) writing: Writing,
    /// A session that does not see the open transaction, where tables are written in turn.
    pub(in crate::apply) reader: Option<&'a ReadSession>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(in crate::apply) struct Taken {
    /// Rows that are in live now as the batch would have inserted them, by part.
    pub(in crate::apply) rows: Vec<u64>,
    /// Rows of which live refused the staged values.
    pub(in crate::apply) refused: Vec<Refused>,
}

/// Rows of triggers in the way of staged ones.
#[derive(Debug, Default)]
struct InTheWay {
    /// Under the same key, by the staged one.
    same: BTreeMap<RowKey, RowVersion>,
    /// Under another one, by the staged row's.
    doubles: BTreeMap<RowKey, BTreeSet<RowVersion>>,
}

impl InTheWay {
    fn is_empty(&self) -> bool {
        self.same.is_empty() && self.doubles.is_empty()
    }

    /// What is in the way of one staged row.
    fn of(&self, staged: &RowKey) -> Self {
        let pick = |(key, row): (&RowKey, &RowVersion)| (key.clone(), row.clone());
        let doubles = self.doubles.get_key_value(staged);
        Self {
            same: self.same.get_key_value(staged).map(pick).into_iter().collect(),
            doubles: doubles.map(|(key, rows)| (key.clone(), rows.clone())).into_iter().collect(),
        }
    }
}

/// Makes way for the rows of a batch, in its open transaction, behind its stages.
pub(in crate::apply) async fn take_over(
    session: &WriteSession,
    parts: &[Part],
    ground: Ground<'_>,
) -> Result<Taken, PgError> {
    let mut taken = Taken { rows: vec![0; parts.len()], refused: Vec::new() };
    for (at, part) in parts.iter().enumerate() {
        let place = Place { session, number: at + 1, part, made: ground.made };
        let found = place.in_the_way().await?;
        if found.is_empty() {
            continue;
        }
        taken.rows[at] = if matches!(ground.writing, Writing::Together | Writing::InTurn) {
            place.make_way(&found).await?
        } else {
            place.without_refused(found, ground.writing, &mut taken.refused).await?
        };
    }
    Ok(taken)
}

/// One part of the batch.
pub(super) struct Place<'a> {
    pub(super) session: &'a WriteSession,
    pub(super) number: usize,
    pub(super) part: &'a Part,
    pub(super) made: &'a Made,
}

impl Place<'_> {
    async fn in_the_way(&self) -> Result<InTheWay, PgError> {
        let mut found = InTheWay::default();
        let Some(key) = self.made.key_columns(&self.part.table) else { return Ok(found) };
        let updates = self.part.action == Action::Update;
        if !updates {
            for (staged, row) in self.found(&sql::under_same_key(self.number, self.part)).await? {
                found.same.insert(staged, row);
            }
        }
        for unique in self.unique_keys().await? {
            let sql = if updates {
                sql::under_unique_key_of_update(self.number, self.part, &unique, &key)
            } else {
                sql::under_unique_key(self.number, self.part, &unique)
            };
            for (staged, row) in self.found(&sql).await? {
                found.doubles.entry(staged).or_default().insert(row);
            }
        }
        Ok(found)
    }

    /// Takes away what can be taken away of what is in the way of the staged rows, and makes of the rest the staged rows.
    pub(super) async fn make_room(&self) -> Result<(), PgError> {
        let found = self.in_the_way().await?;
        if !found.is_empty() {
            self.make_way(&found).await?;
        }
        Ok(())
    }

    /// Why staged rows cannot be written, by their keys: triggers made rows in their place, which cannot be taken away.
    pub(super) async fn reasons(&self) -> Result<BTreeMap<RowKey, String>, PgError> {
        let found = self.in_the_way().await?;
        if found.is_empty() {
            return Ok(BTreeMap::new());
        }
        let table = &self.part.table;
        let why = if deletable(self.session, table).await? {
            "other rows hang on it".to_owned()
        } else {
            format!("this role may not delete it (ask for: grant delete on {})", table.quoted())
        };
        let same = found.same.iter();
        let doubles = found.doubles.iter();
        let doubles = doubles.filter_map(|(staged, rows)| rows.first().map(|row| (staged, row)));
        let reason = |(staged, row): (&RowKey, &RowVersion)| {
            let row = &row.key;
            let reason = format!(
                "a trigger made {table} ({row}) in its place while rows came back, and that row could not be taken away: {why}"
            );
            (staged.clone(), reason)
        };
        Ok(same.chain(doubles).map(reason).collect())
    }

    /// The staged key and the row in its way, where triggers made it.
    async fn found(&self, sql: &str) -> Result<Vec<(RowKey, RowVersion)>, PgError> {
        let mut found = Vec::new();
        for row in self.session.text_rows(WHAT, sql).await? {
            let [Some(staged), Some(key), Some(version)] = row.as_slice() else {
                return Err(answer("a row in the way without a key"));
            };
            let row = RowVersion { key: row_key(key)?, version: version.clone() };
            if self.made.is_one(&self.part.table, &row.key, &row.version) {
                found.push((row_key(staged)?, row));
            }
        }
        Ok(found)
    }

    /// The unique keys of live that can be told from the staged columns.
    async fn unique_keys(&self) -> Result<Vec<Unique>, PgError> {
        let (schema, name) = (self.part.table.schema.as_str(), self.part.table.name.as_str());
        let mut found = Vec::new();
        for row in self.session.query(&APPLY_UNIQUE, &[&schema, &name]).await? {
            let needs: Vec<String> = column::<Option<_>>(&row, "needs", WHAT)?.unwrap_or_default();
            let staged = |name: &String| self.part.columns.iter().any(|column| column.as_str() == name);
            // An update leaves the other columns as live has them; a key that it does not touch cannot collide.
            let told = match self.part.action {
                Action::Update => needs.iter().any(staged),
                Action::Insert | Action::Move => needs.iter().all(staged),
            };
            if told {
                found.push(Unique {
                    needs: needs.iter().map(Ident::new).collect(),
                    expressions: column(&row, "expressions", WHAT)?,
                    operators: column(&row, "operators", WHAT)?,
                    predicate: column(&row, "predicate", WHAT)?,
                });
            }
        }
        Ok(found)
    }

    /// Doubles first: two rows that triggers made may hold each other's values.
    async fn make_way(&self, found: &InTheWay) -> Result<u64, PgError> {
        let doubles: BTreeSet<RowVersion> = found.doubles.values().flatten().cloned().collect();
        let doubles: Vec<RowVersion> = doubles.into_iter().collect();
        let gone = clear(self.session, self.made, &self.part.table, &doubles, Going::ForGood).await?;
        if self.part.action == Action::Move {
            // A row that moves is inserted whole, whatever stands under its key.
            let same: Vec<RowVersion> = found.same.values().cloned().collect();
            clear(self.session, self.made, &self.part.table, &same, Going::AndComing).await?;
            return Ok(0);
        }
        let there = found.same.iter().filter(|(_, row)| !gone.contains(&row.key));
        self.set(&there.map(|(staged, row)| (staged.clone(), row.clone())).collect()).await
    }

    /// Gives rows their staged values; returns how many are the recovered ones now.
    async fn set(&self, rows: &BTreeMap<RowKey, RowVersion>) -> Result<u64, PgError> {
        let table = &self.part.table;
        let Some(shape) = shape(self.session, table, &self.part.key).await? else { return Ok(0) };
        let versions: Vec<RowVersion> = rows.values().cloned().collect();
        let locked = self.keys(&shape.lock_sql(&versions)).await?;
        let locked: BTreeSet<RowKey> = locked.into_iter().collect();
        let ours = rows.iter().filter(|(_, row)| locked.contains(&row.key));
        let mut keys: Vec<RowKey> = ours.map(|(staged, _)| staged.clone()).collect();
        if keys.is_empty() {
            return Ok(0);
        }
        if let Some(sql) = sql::set_to_staged(self.number, self.part, &shape.settable, &keys) {
            self.session.execute(WHAT, &sql).await?;
        }
        let unset: Vec<RowKey> = self.keys(&sql::not_as_staged(self.number, self.part, &keys)).await?;
        if !unset.is_empty() {
            // A trigger on updates insists on values of its own: inserted, the row may take the staged ones.
            let named: Vec<RowVersion> =
                unset.iter().filter_map(|staged| rows.get(staged).cloned()).collect();
            let now = self.session.text_rows(WHAT, &shape.versions_sql(&named)).await?;
            let now = now.iter().map(|row| row_version(row)).collect::<Result<Vec<_>, _>>()?;
            let gone = clear(self.session, self.made, table, &now, Going::AndComing).await?;
            keys.retain(|staged| rows.get(staged).is_some_and(|row| !gone.contains(&row.key)));
        }
        if !keys.is_empty() {
            self.session.execute(WHAT, &sql::mark_done(self.number, self.part, &keys)).await?;
        }
        Ok(u64::try_from(keys.len()).unwrap_or(u64::MAX))
    }

    /// Live refuses what all of them together would be: each is tried by itself, behind a savepoint. A row that is refused
    /// stays as it is and is told with the server's words. What triggers move behind a savepoint cannot be told from the work
    /// of others, so the rest is done together once more unless that was refused, too.
    async fn without_refused(
        &self,
        mut found: InTheWay,
        writing: Writing,
        refused: &mut Vec<Refused>,
    ) -> Result<u64, PgError> {
        self.session.execute(WHAT, "savepoint rowback_companions").await?;
        let staged: BTreeSet<RowKey> = found.same.keys().chain(found.doubles.keys()).cloned().collect();
        let (mut rows, mut words) = (0, Vec::new());
        for (at, key) in (0u64..).zip(&staged) {
            match self.alone(found.of(key)).await? {
                Ok(taken) => rows += taken,
                Err(db) => {
                    let (table, message) = (self.part.table.clone(), db.message.clone());
                    refused.push(Refused { table, key: key.clone(), message });
                    words.push((at, db));
                    found.same.remove(key);
                    found.doubles.remove(key);
                }
            }
        }
        let all = u64::try_from(staged.len()).unwrap_or(u64::MAX);
        if let Some(error) = refuses_everything(all, &words) {
            return Err(error);
        }
        if writing == Writing::WithoutRefused {
            let back = "rollback to savepoint rowback_companions; release savepoint rowback_companions";
            self.session.execute(WHAT, back).await?;
            rows = self.make_way(&found).await?;
        }
        Ok(rows)
    }

    /// What one staged row comes to, or why live refuses it.
    async fn alone(&self, found: InTheWay) -> Result<Result<u64, DbFacts>, PgError> {
        self.session.execute(WHAT, "savepoint rowback_companion").await?;
        match self.make_way_for_good(&found).await {
            Ok(rows) => {
                self.session.execute(WHAT, "release savepoint rowback_companion").await?;
                Ok(Ok(rows))
            }
            Err(error) if is_about_rows(&error) => {
                let back = "rollback to savepoint rowback_companion; release savepoint rowback_companion";
                self.session.execute(WHAT, back).await?;
                error.db().cloned().map_or(Err(error), |db| Ok(Err(db)))
            }
            Err(error) => Err(error),
        }
    }

    async fn make_way_for_good(&self, found: &InTheWay) -> Result<u64, PgError> {
        let rows = self.make_way(found).await?;
        self.session.execute(WHAT, "set constraints all immediate").await?;
        Ok(rows)
    }

    /// The keys that a statement returns.
    async fn keys(&self, sql: &str) -> Result<Vec<RowKey>, PgError> {
        let rows = self.session.text_rows(WHAT, sql).await?;
        let keys = rows.into_iter().filter_map(|row| row.into_iter().next().flatten());
        keys.map(|key| row_key(&key)).collect()
    }
}
