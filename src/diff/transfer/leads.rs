//! The rows that the recipe means: staged rows that live lacks, looked for in the other table. A row goes back only where
//! the other table holds it as the backup knew it, and had no row of that key before.

use std::collections::BTreeMap;

use super::gather::{Mover, Movers};
use super::pairs::Pair;
use super::{Moves, Outcome, Station, Transfer};
use crate::catalog::column_list;
use crate::diff::DiffError;
use crate::diff::charges::Charge;
use crate::diff::damage;
use crate::diff::drift::{Fit, FitColumn};
use crate::diff::identity::{Doubt, Entity};
use crate::diff::judge::Court;
use crate::diff::lookup::{RawRow, StagedRow, StagedRows, by_key};
use crate::diff::origin::Origin;
use crate::diff::verdict::Verdict;
use crate::ident::Ident;
use crate::pg::ReadSession;
use crate::recipe::{Changed, Kind};

/// Rows that are looked for together.
const CHUNK_ROWS: usize = 1000;

/// Lets PostgreSQL parse the entries' conditions before a row is read.
pub async fn check(session: &ReadSession, court: &Court<'_>) -> Result<(), DiffError> {
    for transfer in &court.transfers {
        if let (Some(condition), Some(view)) = (transfer.damaged, view(court.fit, transfer)) {
            damage::check_condition(session, &view, &charge_of(transfer), condition).await?;
        }
    }
    Ok(())
}

/// Looks for the rows of one table.
pub(super) async fn find(
    station: &Station<'_, '_>,
    court: &Court<'_>,
    pairs: &[Pair<'_>],
    movers: &mut Movers,
    book: &mut Moves,
) -> Result<(), DiffError> {
    let name = &court.fit.live.name;
    let Some(file) = station.input.extracted.files.iter().find(|file| &file.table.table == name) else {
        return Ok(());
    };
    let mut staged = StagedRows::open(station.input.staging, file, court.fit)?;
    loop {
        if station.input.cancel.is_cancelled() {
            return Err(DiffError::Cancelled);
        }
        let mut chunk = Vec::new();
        let mut read = 0;
        while read < CHUNK_ROWS {
            let Some(row) = staged.next()? else { break };
            read += 1;
            let entries = Origin::parse(&row.origin).entries;
            let meant = court.transfers.iter().any(|transfer| entries.contains(&transfer.number));
            if meant && !court.tombstones.is_some_and(|tombstones| tombstones.contains(&row)) {
                chunk.push(row);
            }
        }
        if read == 0 {
            return Ok(());
        }
        let rows: Vec<&StagedRow> = chunk.iter().collect();
        let live = by_key(station.session, court.fit, &rows).await?;
        let lacking: Vec<&StagedRow> =
            rows.iter().zip(&live).filter(|(_, live)| live.is_none()).map(|(row, _)| *row).collect();
        let mut found: BTreeMap<usize, Vec<(usize, Found)>> = BTreeMap::new();
        for (which, transfer) in court.transfers.iter().enumerate() {
            for (at, one) in look(station.session, court, transfer, &lacking).await? {
                found.entry(at).or_default().push((which, one));
            }
        }
        let mut here: Vec<Here<'_>> = Vec::new();
        for (at, all) in found {
            match (settle(court, all), lacking[at].key(&court.fit.key)) {
                ((_, Found::Told(outcome)), Some(key)) => book.tell(name, key, outcome),
                ((which, Found::Here(columns)), _) => here.push((lacking[at], which, columns)),
                _ => {}
            }
        }
        take(station.session, court, &here, pairs, movers).await?;
    }
}

/// What the other table says of a row.
enum Found {
    /// It holds the row, with the given columns to be written as the backup has them.
    Here(Vec<usize>),
    /// It is something else.
    Told(Outcome),
}

/// Of several tables that were asked, the one that holds the row.
fn settle(court: &Court<'_>, all: Vec<(usize, Found)>) -> (usize, Found) {
    let holding: Vec<usize> =
        all.iter().filter(|(_, found)| matches!(found, Found::Here(_))).map(|(which, _)| *which).collect();
    if holding.len() > 1 {
        let names: Vec<String> =
            holding.iter().map(|which| court.transfers[*which].other.name.to_string()).collect();
        let reason = format!("kept: it is in {} tables: {}", names.len(), names.join(", "));
        let outcome = Outcome::Stays { verdict: Verdict::Changed, reason, columns: Vec::new(), seen: None };
        return (holding[0], Found::Told(outcome));
    }
    let weight = |found: &Found| match found {
        Found::Here(_) => 0,
        Found::Told(Outcome::Nowhere(_)) => 2,
        Found::Told(_) => 1,
    };
    let least = all.into_iter().min_by_key(|(which, found)| (weight(found), *which));
    least.unwrap_or((0, Found::Told(Outcome::Nowhere(String::new()))))
}

/// A row that goes back: the staged row, which transfer it belongs to, and the columns that are written as the backup has
/// them.
type Here<'r> = (&'r StagedRow, usize, Vec<usize>);

/// Reads the whole rows of the other tables, of which staging may lack new columns.
async fn take(
    session: &ReadSession,
    court: &Court<'_>,
    here: &[Here<'_>],
    pairs: &[Pair<'_>],
    movers: &mut Movers,
) -> Result<(), DiffError> {
    for (which, transfer) in court.transfers.iter().enumerate() {
        let (name, other) = (&court.fit.live.name, &transfer.other.name);
        let is_pair = |pair: &Pair<'_>| &pair.to.live.name == name && &pair.from.live.name == other;
        let Some(number) = pairs.iter().position(is_pair) else { continue };
        let from = &pairs[number].from;
        let own: Vec<&Here<'_>> = here.iter().filter(|(_, of, _)| *of == which).collect();
        let named: Vec<StagedRow> = own
            .iter()
            .map(|(row, _, _)| StagedRow::named(&row.key(&court.fit.key).unwrap_or_default(), from))
            .collect();
        let live = by_key(session, from, &named.iter().collect::<Vec<_>>()).await?;
        for ((row, _, columns), live) in own.into_iter().zip(live) {
            let Some(live) = live else { continue };
            let name_of = |at: &usize| court.fit.columns[*at].live.name.clone();
            let place = |at: &usize| Some((from.position(&name_of(at))?, row.fields[*at].clone()));
            let truth = columns.iter().filter_map(place).collect();
            let overwritten: Vec<Ident> = columns.iter().map(name_of).collect();
            let why = if overwritten.is_empty() {
                format!("out of {other}")
            } else {
                format!(
                    "out of {other}, whose {} is overwritten with the backup's",
                    column_list(&overwritten)
                )
            };
            movers.add(Mover { pair: number, row: live, truth, leads: true, staged: true, why }, pairs);
        }
    }
    Ok(())
}

/// Asks one other table about rows that live lacks.
async fn look(
    session: &ReadSession,
    court: &Court<'_>,
    transfer: &Transfer<'_>,
    rows: &[&StagedRow],
) -> Result<Vec<(usize, Found)>, DiffError> {
    let Some(view) = view(court.fit, transfer) else { return Ok(Vec::new()) };
    let is_meant = |at: &usize| Origin::parse(&rows[*at].origin).entries.contains(&transfer.number);
    let asked: Vec<usize> = (0..rows.len()).filter(is_meant).collect();
    let meant: Vec<&StagedRow> = asked.iter().map(|&at| rows[at]).collect();
    let there = by_key(session, &view, &meant).await?;
    let present: Vec<usize> = (0..meant.len()).filter(|at| there[*at].is_some()).collect();
    let damaged = damage::damaged(session, &view, &charge_of(transfer), &meant, &present).await?;
    let mut found = Vec::new();
    for (at, (row, there)) in meant.iter().zip(&there).enumerate() {
        let told = match there {
            None => Found::Told(nowhere(court, transfer)),
            Some(other) if damaged.contains(&at) => compare(court, transfer, row, other),
            Some(_) => {
                let reason =
                    format!("the recipe's condition does not call {}'s row misrouted", transfer.other.name);
                Found::Told(Outcome::Nowhere(reason))
            }
        };
        found.push((asked[at], told));
    }
    Ok(found)
}

fn nowhere(court: &Court<'_>, transfer: &Transfer<'_>) -> Outcome {
    let (right, wrong) = (&court.fit.live.name, &transfer.other.name);
    Outcome::Nowhere(format!(
        "neither {right} nor {wrong} has it: an entry of kind \"deleted\" would bring it back"
    ))
}

/// Is the other table's row of this key the one that went astray?
fn compare(court: &Court<'_>, transfer: &Transfer<'_>, row: &StagedRow, other: &RawRow) -> Found {
    let name = &transfer.other.name;
    let origin = Origin::parse(&row.origin);
    if origin.twins.contains(&transfer.number) {
        let reason = format!("{name} had a row of this key of its own in the backup");
        return Found::Told(Outcome::Nowhere(reason));
    }
    if court.was_left(row) {
        let reason = "the accident left it: it went to the other table afterwards".to_owned();
        let verdict = Verdict::Excluded;
        return Found::Told(Outcome::Stays { verdict, reason, columns: Vec::new(), seen: None });
    }
    let written = court.fit.written().map(|(at, _)| at);
    let columns: Vec<usize> = written.filter(|&at| row.fields[at] != other[at]).collect();
    if columns.is_empty() {
        return Found::Here(columns);
    }
    let reason = match court.identity.judge(row, other, &[], &Doubt::default()) {
        Entity::Other(reason) => {
            let reason = format!("{name} has another row of its key: {reason}");
            return Found::Told(Outcome::Nowhere(reason));
        }
        Entity::Same if court.changed == Changed::Overwrite => return Found::Here(columns),
        Entity::Same => {
            let names: Vec<Ident> =
                columns.iter().map(|&at| court.fit.columns[at].live.name.clone()).collect();
            format!("{name} holds it, and its {} differs", column_list(&names))
        }
        Entity::Uncertain(reason) => format!("{name} holds its key: {reason}"),
    };
    let seen = Some(other.clone());
    Found::Told(Outcome::Stays { verdict: Verdict::Changed, reason, columns, seen })
}

/// The other table, seen through the staged columns.
fn view<'a>(fit: &Fit<'a>, transfer: &Transfer<'a>) -> Option<Fit<'a>> {
    let mut view = fit.clone();
    view.live = transfer.other;
    view.columns = fit
        .columns
        .iter()
        .map(|column| Some(FitColumn { live: transfer.other.column(&column.live.name)?, ..*column }))
        .collect::<Option<_>>()?;
    Some(view)
}

fn charge_of<'a>(transfer: &Transfer<'a>) -> Charge<'a> {
    Charge {
        number: transfer.number,
        kind: Kind::Misrouted,
        columns: Vec::new(),
        named: Vec::new(),
        damaged: transfer.damaged,
        owner_from: None,
        teller: None,
        in_live: false,
    }
}
