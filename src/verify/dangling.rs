//! References that no server enforces may lead nowhere in the backup as well: such a row came back as it was, and nothing is
//! wrong with it. Whether the backup had the parent, staging knows: it holds every parent of a lost row that was there.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::VerifyError;
use super::certificate::{KeyCheck, Problem};
use super::checking::Checking;
use super::look::LiveFields;
use super::rows::PlannedRow;
use crate::apply::RowKey;
use crate::catalog::ForeignKey;
use crate::diff::DiffedTable;
use crate::ident::{Ident, TableName};
use crate::staging::StagingReader;
use crate::value::copy_text::{RawKey, fields, is_null};

/// Rows that are kept in memory until it is known; more are taken for orphans.
const MOST: usize = 200_000;

/// A recovered row whose parent live lacks, and perhaps the backup.
struct Suspect {
    /// Number of the reference in [`Suspects::keys`].
    fk: usize,
    /// The parent's key, raw fields joined by tabs.
    parent: RawKey,
    /// The row's table.
    table: TableName,
    /// The row.
    key: RowKey,
}

/// All of them.
#[derive(Default)]
pub(super) struct Suspects<'a> {
    keys: Vec<&'a ForeignKey>,
    rows: Vec<Suspect>,
}

/// What is known of them in the end.
#[derive(Default)]
struct Settled<'a> {
    /// Rows whose parent the backup has.
    orphans: Vec<(&'a ForeignKey, Suspect)>,
    /// Rows whose parent it lacks, by reference.
    dangling: Vec<(&'a ForeignKey, u64)>,
}

impl Checking<'_> {
    /// The key of the parent that live lacks, where the backup may have lacked it, too, and nobody enforces the reference.
    pub(super) fn parent_in_doubt(
        &self,
        fk: &ForeignKey,
        columns: &[Ident],
        row: &PlannedRow,
        found: &[LiveFields],
    ) -> Option<RawKey> {
        let dangles = || self.input.dangling.iter().any(|known| known.is_like(fk));
        let [live] = found else { return None };
        if !row.inserted || fk.is_enforced() || !dangles() {
            return None;
        }
        let catalog = &self.input.diffed.catalog;
        let (child, parent) = (catalog.tables.get(&fk.child)?, catalog.tables.get(&fk.parent)?);
        // Staging is asked by text.
        let is_told = |(at, (down, up)): (usize, &(Ident, Ident))| {
            let (Some(down), Some(up)) = (child.column(down), parent.column(up)) else { return false };
            if fk.path(at).is_some() {
                up.is_told_by_text_beside(up)
            } else {
                down.is_told_by_text_beside(up)
            }
        };
        if !fk.columns.iter().enumerate().all(is_told) {
            return None;
        }
        let place = |name| columns.iter().position(|column| column == name);
        let positions: Vec<usize> = fk.child_columns().map(place).collect::<Option<_>>()?;
        let as_staged = row.expected.values()?;
        let is_staged = positions.iter().all(|at| as_staged.get(at) == live.get(*at));
        is_staged.then(|| fk.key_in(live, &positions)).flatten()
    }

    /// Rows whose parent the backup lacks as well are as they were.
    pub(super) fn settle_suspects(&mut self) -> Result<(), VerifyError> {
        let staging = self.input.case.join("staging");
        let suspects = std::mem::take(&mut self.suspects);
        let Settled { orphans, dangling } = suspects.settle(&staging, &self.input.diffed.tables)?;
        for (fk, row) in orphans {
            let problem = Problem::Orphan { foreign_key: fk.name.clone() };
            self.mismatch((&row.table, &row.table), &row.key, problem);
        }
        for (fk, rows) in dangling {
            let (child, parent) = (&fk.child, &fk.parent);
            self.notes.push(format!(
                "{rows} rows of {child} refer by {} to rows of {parent} that the backup lacks as well: they are as they were.",
                fk.name
            ));
            let same = |check: &&mut KeyCheck| check.name == fk.name && check.child == fk.child;
            self.keys.iter_mut().filter(|check| same(check)).for_each(|check| check.orphans -= rows);
        }
        Ok(())
    }
}

impl<'a> Suspects<'a> {
    /// Keeps a row in mind; `false` when there are too many.
    pub(super) fn add(
        &mut self,
        fk: &'a ForeignKey,
        parent: RawKey,
        table: &TableName,
        key: &RowKey,
    ) -> bool {
        if self.rows.len() >= MOST {
            return false;
        }
        let fk = self.keys.iter().position(|known| std::ptr::eq(*known, fk)).unwrap_or_else(|| {
            self.keys.push(fk);
            self.keys.len() - 1
        });
        self.rows.push(Suspect { fk, parent, table: table.clone(), key: key.clone() });
        true
    }

    /// Looks the parents up in staging.
    fn settle(self, staging: &Path, tables: &[DiffedTable]) -> Result<Settled<'a>, VerifyError> {
        let mut rows: BTreeMap<usize, Vec<Suspect>> = BTreeMap::new();
        for row in self.rows {
            rows.entry(row.fk).or_default().push(row);
        }
        let mut settled = Settled::default();
        for (number, rows) in rows {
            let fk = self.keys[number];
            let mut wanted: HashSet<&RawKey> = rows.iter().map(|row| &row.parent).collect();
            for table in tables.iter().filter(|table| table.table == fk.parent) {
                strike_out_staged(staging, table, fk, &mut wanted)?;
            }
            let absent: HashSet<RawKey> = wanted.into_iter().cloned().collect();
            let (dangling, orphans): (Vec<_>, Vec<_>) =
                rows.into_iter().partition(|row| absent.contains(&row.parent));
            settled.orphans.extend(orphans.into_iter().map(|row| (fk, row)));
            if !dangling.is_empty() {
                settled.dangling.push((fk, u64::try_from(dangling.len()).unwrap_or(u64::MAX)));
            }
        }
        Ok(settled)
    }
}

/// Takes the keys that are staged out of `wanted`; all of them where staging cannot tell.
fn strike_out_staged(
    staging: &Path,
    table: &DiffedTable,
    fk: &ForeignKey,
    wanted: &mut HashSet<&RawKey>,
) -> Result<(), VerifyError> {
    let place = |name| table.columns.iter().position(|column| column.as_ref() == Some(name));
    let Some(positions) = fk.parent_columns().map(place).collect::<Option<Vec<usize>>>() else {
        wanted.clear();
        return Ok(());
    };
    let mut reader = StagingReader::open(staging, &table.staged)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if wanted.is_empty() || !reader.next_row(&mut line)? {
            return Ok(());
        }
        let row: Vec<&[u8]> = fields(&line).collect();
        let mut key = RawKey::new();
        for (at, position) in positions.iter().enumerate() {
            let Some(field) = row.get(*position).filter(|field| !is_null(field)) else { break };
            if at > 0 {
                key.push(b'\t');
            }
            key.extend_from_slice(field);
        }
        wanted.remove(&key);
    }
}
