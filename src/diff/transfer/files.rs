//! The files in which the plan finds the rows that move, one for each table, in step by groups; and what moved rows mean
//! for the right tables' sequences.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::gather::{Mover, Movers};
use super::pairs::Pair;
use super::{Moves, Station};
use crate::catalog::graph::parents_first;
use crate::diff::DiffError;
use crate::diff::findings::sequences;
use crate::diff::judge::Judgement;
use crate::diff::lookup::{StagedRow, text};
use crate::diff::rows::DiffWriter;
use crate::diff::verdict::{Evidence, RowAction, Verdict};
use crate::ident::{Ident, TableName};
use crate::staging::{StagedFile, make_directory};

/// The rows that move from one table to another, in the diff's manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransferFiles {
    /// The directory of the files, inside that of the diff.
    pub directory: String,
    /// The tables, parents before children.
    pub tables: Vec<TransferTable>,
}

/// One table that rows leave, and the one that they come to. Its file is a diff file with the number of the row's group
/// before the key, ordered by group: `rowback_backup` is what is written, `rowback_live` what is deleted. Rows of one group
/// must move in one statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransferTable {
    /// The table that they come to.
    pub to: TableName,
    /// The table that they leave.
    pub from: TableName,
    /// Columns that name a row in both.
    pub key: Vec<Ident>,
    /// All columns that are written.
    pub columns: Vec<Ident>,
    /// The file.
    pub file: StagedFile,
    /// Rows that the recipe means.
    pub leading: u64,
    /// Rows that hang on them and that the diff file of the table they come to does not list: nothing of them is staged.
    pub unlisted: u64,
}

/// Writes the files.
pub(super) async fn write(
    station: &Station<'_, '_>,
    pairs: &[Pair<'_>],
    movers: &Movers,
    book: &mut Moves,
) -> Result<(), DiffError> {
    let moving: Vec<usize> = (0..movers.list.len()).filter(|&at| movers.held_with(at).is_none()).collect();
    if moving.is_empty() {
        return Ok(());
    }
    let directory = "transfers".to_owned();
    let path = station.input.directory.join(&directory);
    make_directory(&path)?;
    let mut tables = Vec::new();
    for number in in_order(station, pairs) {
        let pair = &pairs[number];
        let mut rows: Vec<(usize, &Mover)> = moving
            .iter()
            .map(|&at| (movers.group_of(at), &movers.list[at]))
            .filter(|(_, mover)| mover.pair == number)
            .collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by_key(|(group, _)| *group);
        // Two tables may come to one and the same.
        let place = path.join((number + 1).to_string());
        make_directory(&place)?;
        let mut writer = DiffWriter::create_grouped(&place, &pair.to, &[], station.input.format)?;
        for (group, mover) in &rows {
            let group = i64::try_from(*group).unwrap_or(i64::MAX);
            let after = StagedRow::of(mover.after(), String::new());
            writer.write_grouped(group, &pair.to, &after, Some(&mover.row), &judgement(mover, pair)).await?;
        }
        let mut file = writer.finish().await?;
        file.file = format!("{}/{}", number + 1, file.file);
        let leading = rows.iter().filter(|(_, mover)| mover.leads).count();
        let unlisted = rows.iter().filter(|(_, mover)| !mover.leads && !mover.staged).count();
        let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        let name_of = |at: &usize| pair.to.columns[*at].live.name.clone();
        book.notes.push(format!(
            "{} rows of {} go to {} and leave it",
            rows.len(),
            pair.from.live.name,
            pair.to.live.name
        ));
        let highest = highest(pair, &rows);
        book.sequences.extend(sequences(station.session, &pair.to, &highest).await?);
        tables.push(TransferTable {
            to: pair.to.live.name.clone(),
            from: pair.from.live.name.clone(),
            key: pair.to.key.iter().map(name_of).collect(),
            columns: (0..pair.to.columns.len()).map(|at| name_of(&at)).collect(),
            file,
            leading: count(leading),
            unlisted: count(unlisted),
        });
    }
    book.files = Some(TransferFiles { directory, tables });
    Ok(())
}

/// Parents before children, by what the tables are that rows come to.
fn in_order(station: &Station<'_, '_>, pairs: &[Pair<'_>]) -> Vec<usize> {
    let names: BTreeSet<TableName> =
        pairs.iter().flat_map(|pair| [&pair.to.live.name, &pair.from.live.name]).cloned().collect();
    let order: Vec<TableName> = parents_first(&names, &station.live.foreign_keys)
        .into_iter()
        .flat_map(|component| component.tables)
        .collect();
    let place = |name: &TableName| order.iter().position(|table| table == name);
    let mut numbers: Vec<usize> = (0..pairs.len()).collect();
    numbers.sort_by_key(|&number| (place(&pairs[number].from.live.name), number));
    numbers
}

fn judgement(mover: &Mover, pair: &Pair<'_>) -> Judgement {
    Judgement {
        verdict: Verdict::Misrouted,
        action: RowAction::Move,
        evidence: if mover.leads { Evidence::Predicate } else { Evidence::Cascade },
        reason: mover.why.clone(),
        columns: (0..pair.to.columns.len()).collect(),
        truth: Vec::new(),
        blocks: false,
        afterwards: false,
        comes_back: true,
        stand_in: None,
    }
}

/// The highest number of a moved row, by column that a sequence of the right table feeds.
fn highest(pair: &Pair<'_>, rows: &[(usize, &Mover)]) -> BTreeMap<Ident, i64> {
    let mut found = BTreeMap::new();
    for (at, column) in
        pair.to.columns.iter().enumerate().filter(|(_, column)| column.live.sequence.is_some())
    {
        let numbers = rows.iter().filter_map(|(_, mover)| text(&mover.after()[at])?.parse::<i64>().ok());
        if let Some(number) = numbers.max() {
            found.insert(column.live.name.clone(), number);
        }
    }
    found
}
