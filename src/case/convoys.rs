//! Batches of rows that must change together: reads a convoy's files in step, group by group, and never splits a group.

use std::collections::BTreeMap;

use super::planning::{Maker, push_update};
use super::{CaseError, Error};
use crate::catalog::Table;
use crate::diff::{ConvoyFiles, DiffReader, DiffRow, RowAction};
use crate::ident::Ident;
use crate::plan::{Action, BatchTable};
use crate::recipe::Triggers;
use crate::staging::verify_sha256;

/// One file of a convoy, read by groups.
struct Wagon<'a> {
    table: &'a Table,
    key: Vec<Ident>,
    reader: DiffReader,
    next: Option<(i64, DiffRow)>,
}

impl Wagon<'_> {
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

/// The rows of a batch so far, by table of the convoy and list of columns.
type Parts = BTreeMap<(usize, Vec<Ident>), (Vec<u8>, u64)>;

/// Makes the batches of a convoy: the leading table's rows are updated first, and all of a batch in one statement.
pub(super) fn plan<'a>(maker: &mut Maker<'a>, convoy: &'a ConvoyFiles) -> Result<(), Error> {
    let directory = maker.layout.diff().join(&convoy.directory);
    let mut wagons = Vec::new();
    for table in &convoy.tables {
        verify_sha256(&directory, &table.file)?;
        let live = maker.diffed.catalog.tables.get(&table.table).ok_or(CaseError::Stale)?;
        super::planning::refuse_odd_names(live)?;
        let reader = DiffReader::open(&directory, &table.file)?;
        let mut wagon = Wagon { table: live, key: table.key.clone(), reader, next: None };
        wagon.advance()?;
        wagons.push(wagon);
    }
    let cascades = maker.triggers != Triggers::Replica;
    let (mut parts, mut rows) = (Parts::new(), 0);
    while let Some(group) = wagons.iter().filter_map(|wagon| Some(wagon.next.as_ref()?.0)).min() {
        let (mut next, mut count) = (Parts::new(), 0);
        for (number, wagon) in wagons.iter_mut().enumerate() {
            while let Some((_, row)) = wagon.next.take_if(|(of, _)| *of == group) {
                // With session_replication_role = replica no ON UPDATE CASCADE moves anything.
                if row.action == RowAction::Update || !cascades {
                    let (text, of) = next.entry((number, row.columns.clone())).or_default();
                    push_update(text, &row)?;
                    *of += 1;
                    count += 1;
                }
                wagon.advance()?;
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
        rows,
        count,
        guards: Vec::new(),
    });
    maker.emit(parts.collect())
}
