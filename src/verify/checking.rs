//! The looking itself: planned rows against live's, table by table, and what was found of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::stream::{FuturesOrdered, StreamExt};

use super::certificate::{
    CERTIFICATE_FORMAT, Certificate, KeyCheck, Mismatch, Problem, SequenceCheck, TableCheck,
};
use super::dangling::Suspects;
use super::look::{Found, Looker};
use super::rows::{Expected, PlannedRow, PlannedRows, Side};
use super::{MOST_LISTED, VerifyError, VerifyInput};
use crate::apply::{Leftover, Outcome, RowKey};
use crate::catalog::{ForeignKey, Table};
use crate::clock;
use crate::diff::{ConvoyFiles, ConvoyTable, DiffedTable, TransferFiles, TransferTable};
use crate::ident::TableName;
use crate::pg::ReadSession;
use crate::progress::Step;

/// Rows that are looked up at once.
const AT_ONCE: usize = 2000;

pub(super) struct Checking<'a> {
    pub(super) input: &'a VerifyInput<'a>,
    undone: bool,
    reasons: BTreeMap<(TableName, RowKey), String>,
    /// Rows that must not be in live by now.
    named: BTreeMap<(TableName, RowKey), Outcome>,
    tables: Vec<TableCheck>,
    pub(super) keys: Vec<KeyCheck>,
    mismatches: Vec<Mismatch>,
    unlisted: u64,
    generated: BTreeMap<TableName, BTreeSet<String>>,
    /// Rows whose parent the backup may lack as well.
    pub(super) suspects: Suspects<'a>,
    pub(super) notes: Vec<String>,
}

impl<'a> Checking<'a> {
    pub(super) fn new(input: &'a VerifyInput<'a>) -> Self {
        let leftovers = input.applied.leftovers.iter();
        let held = input.applied.held.iter();
        let reasons =
            leftovers
                .chain(&input.applied.named)
                .map(|row| (name_of(row), row.reason()))
                .chain(held.map(|row| {
                    ((row.table.clone(), row.key.clone()), format!("undo left it: {}", row.reason))
                }))
                .collect();
        Self {
            input,
            undone: input.applied.is_undone(),
            reasons,
            named: input.applied.named.iter().map(|row| (name_of(row), row.outcome)).collect(),
            tables: Vec::new(),
            keys: Vec::new(),
            mismatches: Vec::new(),
            unlisted: 0,
            generated: BTreeMap::new(),
            suspects: Suspects::default(),
            notes: Vec::new(),
        }
    }

    pub(super) async fn table(
        &mut self,
        diffed: &DiffedTable,
        session: &ReadSession,
    ) -> Result<(), VerifyError> {
        let table = self.table_of(&diffed.table)?;
        let mut check = TableCheck::new(diffed);
        let rows = PlannedRows::open(self.input.case, diffed, table, self.undone)?;
        self.rows(rows, table, session, &mut check).await?;
        if let Some(found) = PlannedRows::open_found(self.input.case, diffed, table, self.undone)? {
            self.rows(found, table, session, &mut check).await?;
        }
        self.tables.push(check);
        Ok(())
    }

    /// Rows that move with others: counted with their table.
    pub(super) async fn moved(
        &mut self,
        convoy: &ConvoyFiles,
        moved: &ConvoyTable,
        session: &ReadSession,
    ) -> Result<(), VerifyError> {
        let table = self.table_of(&moved.table)?;
        let rows = PlannedRows::open_moved(self.input.case, convoy, moved, table, self.undone)?;
        self.beside(rows, moved.file.rows, table, session).await
    }

    /// Rows that no diff file of their own table names, counted with it.
    async fn beside(
        &mut self,
        rows: PlannedRows,
        count: u64,
        table: &'a Table,
        session: &ReadSession,
    ) -> Result<(), VerifyError> {
        let known = self.tables.iter().position(|check| check.table == table.name);
        let mut check = match known {
            Some(at) => self.tables.remove(at),
            None => TableCheck::empty(table.name.clone()),
        };
        check.planned += count;
        self.rows(rows, table, session, &mut check).await?;
        self.tables.insert(known.unwrap_or(self.tables.len()), check);
        Ok(())
    }

    /// Rows that go from one table to another: both tables are looked at.
    pub(super) async fn went(
        &mut self,
        transfers: &TransferFiles,
        moved: &TransferTable,
        side: Side,
        session: &ReadSession,
    ) -> Result<(), VerifyError> {
        let table = self.table_of(if side == Side::To { &moved.to } else { &moved.from })?;
        let rows = PlannedRows::open_transfer(self.input.case, transfers, moved, (side, table), self.undone)?;
        self.beside(rows, moved.file.rows, table, session).await
    }

    fn table_of(&self, name: &TableName) -> Result<&'a Table, VerifyError> {
        let found = self.input.diffed.catalog.tables.get(name);
        found.ok_or_else(|| VerifyError::CaseStale { table: name.clone() })
    }

    async fn rows(
        &mut self,
        mut rows: PlannedRows,
        table: &'a Table,
        session: &ReadSession,
        check: &mut TableCheck,
    ) -> Result<(), VerifyError> {
        let catalog = &self.input.diffed.catalog;
        let must_hang = !self.undone && !rows.must_leave();
        let keys: Vec<&ForeignKey> = catalog.parents_of(&table.name).filter(|_| must_hang).collect();
        let mut orphans: Vec<KeyCheck> = keys.iter().map(|fk| KeyCheck::new(fk)).collect();
        let progress = self.input.progress;
        progress.start(Step::Verify, &table.name.to_string(), Some(check.planned));
        let looker = Looker::new(catalog, table, &rows, keys);
        let helpers: Vec<&ReadSession> = self.input.lookups.iter().map(|session| &**session).collect();
        let sessions = if helpers.is_empty() { vec![session] } else { helpers };
        let mut free = sessions.into_iter().collect::<VecDeque<_>>();
        let (mut asked, mut ended) = (FuturesOrdered::new(), false);
        loop {
            if self.input.cancel.is_cancelled() {
                return Err(VerifyError::Cancelled);
            }
            while !ended && let Some(session) = free.pop_front() {
                let chunk = rows.next_chunk(AT_ONCE)?;
                ended = chunk.is_empty();
                if ended {
                    break;
                }
                let looker = &looker;
                asked.push_back(async move {
                    let found = looker.look(session, &chunk).await;
                    (session, chunk, found)
                });
            }
            let Some((session, chunk, found)) = asked.next().await else { break };
            free.push_back(session);
            self.compare(&looker, (table, &rows), (&chunk, found?), (check, &mut orphans));
            progress.advance(Step::Verify, u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        }
        drop(asked);
        progress.finish(Step::Verify);
        for (verdict, count) in rows.left_out {
            *check.left_out.entry(verdict).or_default() += count;
        }
        for orphans in orphans.into_iter().filter(|check| check.rows > 0) {
            let same = |known: &&mut KeyCheck| known.name == orphans.name && known.child == orphans.child;
            match self.keys.iter_mut().find(same) {
                Some(known) => {
                    known.rows += orphans.rows;
                    known.orphans += orphans.orphans;
                }
                None => self.keys.push(orphans),
            }
        }
        Ok(())
    }

    fn compare(
        &mut self,
        looker: &Looker<'a>,
        (table, rows): (&Table, &PlannedRows),
        (chunk, found): (&[PlannedRow], Vec<Found>),
        (check, orphans): (&mut TableCheck, &mut [KeyCheck]),
    ) {
        for (row, found) in chunk.iter().zip(found) {
            for ((fk, count), orphaned) in looker.foreign_keys().iter().zip(&mut *orphans).zip(found.orphaned)
            {
                count.rows += 1;
                if orphaned {
                    count.orphans += 1;
                    let name = &table.name;
                    let parent = self.parent_in_doubt(fk, looker.columns(), row, &found.rows);
                    if !parent.is_some_and(|parent| self.suspects.add(fk, parent, name, &row.key)) {
                        self.mismatch(
                            (name, name),
                            &row.key,
                            Problem::Orphan { foreign_key: fk.name.clone() },
                        );
                    }
                }
            }
            if self.undone && self.input.applied.is_of_others(&rows.written_as, &row.key) {
                check.equal += 1;
                continue;
            }
            let problem = match (&row.expected, row.among(found.rows)) {
                (Expected::Absent, None) => None,
                (Expected::Absent, Some(_)) if rows.must_leave() => Some(Problem::NotGone),
                (Expected::Absent, Some(_)) => Some(Problem::StillThere),
                (Expected::Values(_), None) => Some(Problem::Missing),
                (Expected::Values(_), Some(_)) if self.is_named(&rows.written_as, &row.key) => {
                    Some(Problem::Named)
                }
                (Expected::Values(values), Some(live)) => {
                    let different = values.iter().filter(|(at, value)| live[**at] != **value);
                    let (generated, written): (Vec<_>, Vec<_>) = different
                        .map(|(at, _)| &looker.columns()[*at])
                        .partition(|name| table.column(name).is_some_and(|column| column.generated));
                    let generated = generated.into_iter().map(ToString::to_string);
                    self.generated.entry(table.name.clone()).or_default().extend(generated);
                    let columns: Vec<String> = written.into_iter().map(ToString::to_string).collect();
                    let is_stranger =
                        columns.is_empty() && self.may_be_stranger(looker, &rows.written_as, row);
                    if columns.is_empty() {
                        is_stranger.then_some(Problem::Untold)
                    } else {
                        Some(Problem::Differs { columns })
                    }
                }
            };
            match problem {
                None => check.equal += 1,
                Some(problem) => {
                    check.mismatched += 1;
                    self.mismatch((&table.name, &rows.written_as), &row.key, problem);
                }
            }
        }
    }

    /// May a row that is as planned be somebody else's? It may where apply left the planned one alone, and the key, which
    /// lost its owner, names others as well.
    fn may_be_stranger(&self, looker: &Looker<'_>, written_as: &TableName, row: &PlannedRow) -> bool {
        let applied = self.input.applied;
        !self.undone
            && !row.seen.is_empty()
            && !looker.is_unique()
            && applied.is_of_others(written_as, &row.key)
            && self.reasons.contains_key(&(written_as.clone(), row.key.clone()))
    }

    /// Did exclude_keys come to name this row after it was written?
    fn is_named(&self, table: &TableName, key: &RowKey) -> bool {
        self.named.get(&(table.clone(), key.clone())) == Some(&Outcome::NamedLate)
    }

    /// Rows of triggers are not among the planned ones.
    pub(super) fn made_again(&mut self) {
        for row in self.input.applied.named.iter().filter(|row| row.outcome == Outcome::MadeAgain) {
            let (table, key, explained) = (row.table.clone(), row.key.clone(), Some(row.reason()));
            self.mismatches.push(Mismatch { table, key, problem: Problem::Named, explained });
        }
    }

    /// Rows that nobody planned anything for, and that are gone because rows came back.
    pub(super) fn removed(&mut self) {
        let mut gone: BTreeMap<&TableName, usize> = BTreeMap::new();
        for row in self.input.applied.leftovers.iter().filter(|row| {
            matches!(row.outcome, Outcome::Removed | Outcome::RemovedUnseen | Outcome::Departed)
        }) {
            *gone.entry(&row.table).or_default() += 1;
        }
        self.notes.extend(gone.into_iter().map(|(table, rows)| {
            format!("while rows came back, triggers removed rows of {table} that the plan says nothing of ({rows} listed by the report)")
        }));
    }

    /// `written_as` is the table under which the journal names the row.
    pub(super) fn mismatch(
        &mut self,
        (table, written_as): (&TableName, &TableName),
        key: &RowKey,
        problem: Problem,
    ) {
        if self.mismatches.len() >= MOST_LISTED {
            self.unlisted += 1;
            return;
        }
        let explained = self.reasons.get(&(written_as.clone(), key.clone())).cloned();
        self.mismatches.push(Mismatch { table: table.clone(), key: key.clone(), problem, explained });
    }

    pub(super) fn certificate(self, dbname: String, sequences: Vec<SequenceCheck>) -> Certificate {
        let mut notes: Vec<String> = self
            .generated
            .iter()
            .filter(|(_, columns)| !columns.is_empty())
            .map(|(table, columns)| {
                let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                format!(
                    "{table}: the generated column {} has other values in live than in the restored backup.",
                    columns.join(", ")
                )
            })
            .chain(self.notes)
            .collect();
        let applied = self.input.applied;
        if applied.unknown > 0 {
            notes.push(
                "Live's journal tells of transactions that journal.jsonl lacks: what was applied or taken back is told wrong here \
                 until `rowback apply` or `rowback undo` has taken them in."
                    .to_owned(),
            );
        }
        if self.undone {
            notes.push("The recovery was taken back: what it wrote must not be in live any more.".to_owned());
        } else {
            notes.extend(self.input.diffed.unseen.iter().cloned());
        }
        if !self.undone && applied.committed < applied.batches {
            notes.push(format!("{} of {} batches are applied.", applied.committed, applied.batches));
        }
        Certificate {
            format: CERTIFICATE_FORMAT,
            plan: self.input.plan.seal.clone(),
            dbname,
            at: clock::now_utc(),
            batches: applied.batches,
            committed: applied.committed,
            undone: applied.undone,
            tables: self.tables,
            foreign_keys: self.keys,
            sequences,
            mismatches: self.mismatches,
            unlisted: self.unlisted,
            notes,
        }
    }
}

fn name_of(row: &Leftover) -> (TableName, RowKey) {
    (row.table.clone(), row.key.clone())
}
