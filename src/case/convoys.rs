//! Batches of rows that must change together: reads a convoy's files in step, group by group, and never splits a group.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::itself::Itself;
use super::layout::Layout;
use super::planning::Maker;
use super::target::push_update;
use super::{CaseError, Error};
use crate::catalog::{Catalog, ForeignKey, Table};
use crate::diff::{ConvoyFiles, DiffReader, DiffRow, Diffed, DiffedTable, OwnerBeside, RowAction};
use crate::ident::Ident;
use crate::plan::{Action, BatchTable, ParentGuard, Tells};
use crate::recipe::Triggers;
use crate::staging::{StagedFile, verify_sha256};
use crate::value::copy_text::{RawKey, push_field};

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
    beside: &'a [OwnerBeside],
}

/// The rows of a batch so far, by table of the convoy and list of columns.
type Parts<'a> = BTreeMap<(usize, Vec<Ident>), Rows<'a>>;

/// Rows of one table that set the same columns.
#[derive(Default)]
struct Rows<'a> {
    text: Vec<u8>,
    count: u64,
    /// What tells those that lead from strangers, where anything does.
    itself: Option<Itself<'a>>,
    /// The rows on which they hang beside their owner, by number in `Wagon::beside`.
    above: BTreeMap<usize, BTreeSet<Vec<u8>>>,
}

impl<'a> Rows<'a> {
    fn of(maker: &mut Maker<'a>, wagon: &Wagon<'a>, columns: &[Ident]) -> Result<Self, Error> {
        let itself = maker.parents.itself(wagon.table, columns)?;
        Ok(Self { itself: itself.filter(|itself| itself.is_by(&wagon.key)), ..Self::default() })
    }

    fn add(&mut self, other: Self) {
        match (&mut self.itself, other.itself) {
            (Some(own), Some(other)) => own.append(other),
            (own, other) => *own = own.take().or(other),
        }
        self.text.extend_from_slice(&other.text);
        self.count += other.count;
        for (at, rows) in other.above {
            self.above.entry(at).or_default().extend(rows);
        }
    }
}

/// Rows of a table that move with others, by their keys in the order of its diff file: the columns that change, with what they hold
/// then; `None` is NULL.
pub(super) type MovingRows = HashMap<Vec<String>, BTreeMap<Ident, Option<String>>>;

/// All such rows of a table.
pub(super) fn moving_rows(
    layout: &Layout,
    diffed: &Diffed,
    table: &DiffedTable,
) -> Result<MovingRows, Error> {
    let mut found = MovingRows::new();
    let key: Vec<Option<&Ident>> =
        table.staged.table.key.iter().map(|at| table.columns.get(*at)?.as_ref()).collect();
    for (directory, moved) in diffed.convoys.iter().flat_map(ConvoyFiles::tables) {
        let places: Option<Vec<usize>> =
            key.iter().map(|name| moved.key.iter().position(|own| Some(own) == *name)).collect();
        let Some(places) = places.filter(|_| moved.table == table.table && moved.file.rows > 0) else {
            continue;
        };
        let mut rows = Grouped::open(&layout.diff().join(directory), &moved.file)?;
        while let Some((_, row)) = rows.next.take() {
            rows.advance()?;
            let Some(key) = places.iter().map(|at| row.key.get(*at).cloned()).collect::<Option<Vec<_>>>()
            else {
                continue;
            };
            let changed = row.columns.iter().filter(|name| changes(&row, name));
            let value =
                |name: &Ident| row.backup.get(name.as_str()).and_then(Value::as_str).map(str::to_owned);
            found.entry(key).or_default().extend(changed.map(|name| (name.clone(), value(name))));
        }
    }
    Ok(found)
}

/// The keys that rows of convoys have only when they have moved, as the reference names them: raw fields joined by tabs.
pub(super) fn arrivals(
    layout: &Layout,
    convoys: &[&ConvoyFiles],
    fk: &ForeignKey,
) -> Result<HashSet<RawKey>, Error> {
    let mut found = HashSet::new();
    for (directory, moved) in convoys.iter().flat_map(|convoy| convoy.tables()) {
        if moved.table != fk.parent || moved.file.rows == 0 {
            continue;
        }
        let mut rows = Grouped::open(&layout.diff().join(directory), &moved.file)?;
        while let Some((_, row)) = rows.next.take() {
            rows.advance()?;
            let value = |name: &Ident| {
                if row.columns.contains(name) {
                    return row.backup.get(name.as_str())?.as_str();
                }
                row.key.get(moved.key.iter().position(|own| own == name)?).map(String::as_str)
            };
            let values: Option<Vec<&str>> = fk.parent_columns().map(value).collect();
            if let Some(values) = values.filter(|_| fk.parent_columns().any(|name| changes(&row, name))) {
                let mut key = Vec::new();
                for (at, value) in values.into_iter().enumerate() {
                    push_field(&mut key, at == 0, Some(value.as_bytes()));
                }
                found.insert(RawKey::from_slice(&key));
            }
        }
    }
    Ok(found)
}

/// Does the row get another value there?
fn changes(row: &DiffRow, name: &Ident) -> bool {
    let of = |values: &Map<String, Value>| values.get(name.as_str()).cloned();
    row.columns.contains(name) && of(&row.backup) != row.live.as_ref().and_then(of)
}

/// Makes the batches of a convoy: leading rows are updated first, and all of a batch in one statement.
pub(super) fn plan<'a>(maker: &mut Maker<'a>, convoy: &'a ConvoyFiles) -> Result<(), Error> {
    let mut wagons = Vec::new();
    for (directory, table) in convoy.tables() {
        let directory = maker.layout.diff().join(directory);
        let live = maker.diffed.catalog.tables.get(&table.table).ok_or(CaseError::Stale)?;
        super::planning::refuse_odd_names(live)?;
        let rows = Grouped::open(&directory, &table.file)?;
        wagons.push(Wagon { table: live, key: table.key.clone(), rows, beside: &table.beside });
    }
    let cascades = maker.triggers != Triggers::Replica;
    let (mut parts, mut rows) = (Parts::new(), 0);
    while let Some(group) = next_group(wagons.iter().map(|wagon| &wagon.rows)) {
        let (mut next, mut count) = (Parts::new(), 0);
        for (number, wagon) in wagons.iter_mut().enumerate() {
            while let Some(row) = wagon.rows.take_of(group)? {
                // With session_replication_role = replica no ON UPDATE CASCADE moves anything.
                if row.action == RowAction::Update || !cascades {
                    let part = match next.entry((number, row.columns.clone())) {
                        Entry::Occupied(part) => part.into_mut(),
                        Entry::Vacant(part) => part.insert(Rows::of(maker, wagon, &row.columns)?),
                    };
                    push_update(&mut part.text, &row)?;
                    part.itself.iter_mut().for_each(|itself| itself.push(&row));
                    for (at, beside) in wagon.beside.iter().enumerate() {
                        let above = above(&row, &wagon.key, beside);
                        above.into_iter().for_each(|above| {
                            part.above.entry(at).or_default().insert(above);
                        });
                    }
                    part.count += 1;
                    count += 1;
                }
            }
        }
        if rows > 0 && rows + count > maker.most {
            emit(maker, &wagons, std::mem::take(&mut parts))?;
            rows = 0;
        }
        for (what, rows) in next {
            parts.entry(what).or_default().add(rows);
        }
        rows += count;
    }
    if rows > 0 {
        emit(maker, &wagons, parts)?;
    }
    maker.parents.have_moved(convoy);
    Ok(())
}

/// The row on which another hangs, by COPY text: what is referred to, then the owner that it has and the one that it gets, which
/// are those of the row that hangs. `None` where that did not come along by this reference.
fn above(row: &DiffRow, key: &[Ident], beside: &OwnerBeside) -> Option<Vec<u8>> {
    if !row.columns.contains(&beside.owner) {
        return None;
    }
    let mut text = Vec::new();
    for name in beside.foreign_key.child_columns() {
        let of_key = || key.iter().position(|column| column == name).and_then(|at| row.key.get(at));
        let written = row.columns.contains(name).then(|| row.backup.get(name.as_str())?.as_str()).flatten();
        let value = written.or_else(|| of_key().map(String::as_str))?;
        let is_first = text.is_empty();
        push_field(&mut text, is_first, Some(value.as_bytes()));
    }
    for values in [row.live.as_ref()?, &row.backup] {
        let value = values.get(beside.owner.as_str())?;
        push_field(&mut text, false, value.as_str().map(str::as_bytes));
    }
    text.push(b'\n');
    Some(text)
}

/// A row goes home only with the one on which it hangs: that has the owner which was seen, or the true one.
fn guard<'a>(
    catalog: &'a Catalog,
    beside: &'a OwnerBeside,
    rows: BTreeSet<Vec<u8>>,
) -> Result<ParentGuard<'a>, CaseError> {
    let OwnerBeside { foreign_key: fk, owner_above, .. } = beside;
    let parent = catalog.tables.get(&fk.parent).ok_or(CaseError::Stale)?;
    let columns = vec![owner_above.clone(), owner_above.clone()];
    let tells = Tells { columns, home: Some((0, 1)), ..Tells::default() };
    let rows = rows.into_iter().flatten().collect();
    Ok(ParentGuard { fk: Cow::Borrowed(fk), parent, tells, rows, itself: false })
}

fn emit<'a>(maker: &mut Maker<'a>, wagons: &[Wagon<'a>], parts: Parts<'a>) -> Result<(), Error> {
    let catalog = &maker.diffed.catalog;
    let parts = parts.into_iter().map(|((number, columns), mut rows)| {
        let beside = wagons[number].beside;
        let itself = rows.itself.as_mut().and_then(Itself::take);
        let above = rows.above.into_iter().map(|(at, rows)| guard(catalog, &beside[at], rows));
        let guards = above.chain(itself.map(Ok));
        Ok(BatchTable {
            table: wagons[number].table,
            action: Action::Update,
            key: wagons[number].key.clone(),
            columns,
            from: None,
            rows: rows.text,
            count: rows.count,
            guards: guards.collect::<Result<_, CaseError>>()?,
        })
    });
    maker.emit(parts.collect::<Result<_, Error>>()?)
}
