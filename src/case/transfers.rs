//! Batches of rows that go from one table to another: reads the files of a transfer in step, group by group, and never
//! splits a group, since a row must not leave the one table without coming to the other.

use super::convoys::{Grouped, next_group};
use super::planning::Maker;
use super::{CaseError, Error};
use crate::catalog::Table;
use crate::diff::{DiffRow, TransferFiles, TransferTable};
use crate::plan::{Action, BatchTable};
use crate::value::copy_text::push_field;

/// One table of a transfer.
struct Track<'a> {
    planned: &'a TransferTable,
    to: &'a Table,
    from: &'a Table,
    rows: Grouped,
}

/// Makes the batches of all rows that move.
pub(super) fn plan<'a>(maker: &mut Maker<'a>, transfers: &'a TransferFiles) -> Result<(), Error> {
    let directory = maker.layout.diff().join(&transfers.directory);
    let mut tracks = Vec::new();
    for planned in &transfers.tables {
        let table = |name| maker.diffed.catalog.tables.get(name).ok_or(CaseError::Stale);
        let (to, from) = (table(&planned.to)?, table(&planned.from)?);
        super::planning::refuse_odd_names(to)?;
        super::planning::refuse_odd_names(from)?;
        let rows = Grouped::open(&directory, &planned.file)?;
        tracks.push(Track { planned, to, from, rows });
    }
    let mut parts: Vec<(Vec<u8>, u64)> = vec![(Vec::new(), 0); tracks.len()];
    let mut rows = 0;
    while let Some(group) = next_group(tracks.iter().map(|track| &track.rows)) {
        let mut next: Vec<(Vec<u8>, u64)> = vec![(Vec::new(), 0); tracks.len()];
        for (track, (text, count)) in tracks.iter_mut().zip(&mut next) {
            while let Some(row) = track.rows.take_of(group)? {
                push_move(text, track.planned, &row, group)?;
                *count += 1;
            }
        }
        let count = next.iter().map(|(_, count)| count).sum::<u64>();
        if rows > 0 && rows + count > maker.most as u64 {
            emit(maker, &tracks, std::mem::replace(&mut parts, vec![(Vec::new(), 0); tracks.len()]))?;
            rows = 0;
        }
        for ((all, sum), (text, count)) in parts.iter_mut().zip(next) {
            all.extend_from_slice(&text);
            *sum += count;
        }
        rows += count;
    }
    if rows > 0 { emit(maker, &tracks, parts) } else { Ok(()) }
}

/// New values, seen values, group.
fn push_move(text: &mut Vec<u8>, planned: &TransferTable, row: &DiffRow, group: i64) -> Result<(), Error> {
    let mut first = true;
    for values in [Some(&row.backup), row.live.as_ref()] {
        let values = values.ok_or(CaseError::Stale)?;
        for name in &planned.columns {
            let value = values.get(name.as_str()).ok_or(CaseError::Stale)?;
            push_field(text, first, value.as_str().map(str::as_bytes));
            first = false;
        }
    }
    push_field(text, first, Some(group.to_string().as_bytes()));
    text.push(b'\n');
    Ok(())
}

fn emit<'a>(maker: &mut Maker<'a>, tracks: &[Track<'a>], parts: Vec<(Vec<u8>, u64)>) -> Result<(), Error> {
    let parts = parts.into_iter().zip(tracks).filter(|((_, count), _)| *count > 0);
    let parts = parts.map(|((rows, count), track)| BatchTable {
        table: track.to,
        action: Action::Move,
        key: track.planned.key.clone(),
        columns: track.planned.columns.clone(),
        from: Some(track.from),
        rows,
        count,
        guards: Vec::new(),
    });
    maker.emit(parts.collect())
}
