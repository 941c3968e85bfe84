//! Batches of rows that must change together: reads a convoy's files in step, group by group, and never splits a group.

use std::collections::BTreeMap;
use std::path::Path;

use super::planning::Maker;
use super::target::push_update;
use super::{CaseError, Error};
use crate::catalog::Table;
use crate::diff::{ConvoyFiles, DiffReader, DiffRow, RowAction};
use crate::ident::Ident;
use crate::plan::{Action, BatchTable};
use crate::recipe::Triggers;
use crate::staging::{StagedFile, verify_sha256};

/// A file of rows with the number of their group before the key, read by groups.
pub(super) struct Grouped {
    reader: DiffReader,
    next: Option<(i64, DiffRow)>,
}

/// The lowest group that has rows left in any of the files.
pub(super) fn next_group<'g>(files: impl Iterator<Item = &'g Grouped>) -> Option<i64> {
    files.filter_map(|file| Some(file.next.as_ref()?.0)).min()
}

impl Grouped {
    /// Opens the file, after its digest was found to be that of the diff.
    pub(super) fn open(directory: &Path, file: &StagedFile) -> Result<Self, Error> {
        verify_sha256(directory, file)?;
        let mut found = Self { reader: DiffReader::open(directory, file)?, next: None };
        found.advance()?;
        Ok(found)
    }

    /// The next row of this group; `None` when there is no more.
    pub(super) fn take_of(&mut self, group: i64) -> Result<Option<DiffRow>, Error> {
        let taken = self.next.take_if(|(of, _)| *of == group);
        if taken.is_some() {
            self.advance()?;
        }
        Ok(taken.map(|(_, row)| row))
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.next = match self.reader.next_row()? {
            None => None,
            Some(mut row) => {
                let group = if row.key.is_empty() { None } else { row.key.remove(0).parse().ok() };
                Some((group.ok_or(CaseError::Stale)?, row))
            }
        };
        Ok(())
    }
}

/// One table of a convoy.
struct Wagon<'a> {
    table: &'a Table,
    key: Vec<Ident>,
    rows: Grouped,
}

/// The rows of a batch so far, by table of the convoy and list of columns.
type Parts = BTreeMap<(usize, Vec<Ident>), (Vec<u8>, u64)>;

/// Makes the batches of a convoy: the leading table's rows are updated first, and all of a batch in one statement.
pub(super) fn plan<'a>(maker: &mut Maker<'a>, convoy: &'a ConvoyFiles) -> Result<(), Error> {
    let directory = maker.layout.diff().join(&convoy.directory);
    let mut wagons = Vec::new();
    for table in &convoy.tables {
        let live = maker.diffed.catalog.tables.get(&table.table).ok_or(CaseError::Stale)?;
        super::planning::refuse_odd_names(live)?;
        let rows = Grouped::open(&directory, &table.file)?;
        wagons.push(Wagon { table: live, key: table.key.clone(), rows });
    }
    let cascades = maker.triggers != Triggers::Replica;
    let (mut parts, mut rows) = (Parts::new(), 0);
    while let Some(group) = next_group(wagons.iter().map(|wagon| &wagon.rows)) {
        let (mut next, mut count) = (Parts::new(), 0);
        for (number, wagon) in wagons.iter_mut().enumerate() {
            while let Some(row) = wagon.rows.take_of(group)? {
                // With session_replication_role = replica no ON UPDATE CASCADE moves anything.
                if row.action == RowAction::Update || !cascades {
                    let (text, of) = next.entry((number, row.columns.clone())).or_default();
                    push_update(text, &row)?;
                    *of += 1;
                    count += 1;
                }
            }
        }
        if rows > 0 && rows + count > maker.most {
            emit(maker, &wagons, std::mem::take(&mut parts))?;
            rows = 0;
        }
        for (what, (text, of)) in next {
            let (all, count) = parts.entry(what).or_default();
            all.extend_from_slice(&text);
            *count += of;
        }
        rows += count;
    }
    if rows > 0 { emit(maker, &wagons, parts) } else { Ok(()) }
}

fn emit<'a>(maker: &mut Maker<'a>, wagons: &[Wagon<'a>], parts: Parts) -> Result<(), Error> {
    let parts = parts.into_iter().map(|((number, columns), (rows, count))| BatchTable {
        table: wagons[number].table,
        action: Action::Update,
        key: wagons[number].key.clone(),
        columns,
        from: None,
        rows,
        count,
        guards: Vec::new(),
    });
    maker.emit(parts.collect())
}
