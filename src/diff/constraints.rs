//! Would live's constraints take the rows of a chunk as they are judged? What stands in the way changes the judgement.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{Court, Judgement};
use super::lookup::{LiveRow, RawRow, StagedRow};
use super::pass::Bench;
use super::probe::{Obstacle, Questions};
use super::verdict::{RowAction, Verdict};
use super::{DiffError, repoint};
use crate::recipe::Recreated;
use crate::value::copy_text::is_null;

/// Rows to insert are asked about as they would be inserted, rows to update as they would be afterwards.
pub(super) async fn ask(
    court: &Court<'_>,
    bench: &Bench<'_>,
    rows: &[&StagedRow],
    live: &[LiveRow],
    judgements: &mut [Judgement],
) -> Result<(), DiffError> {
    let inserted = of_action(judgements, RowAction::Insert);
    let updated = of_action(judgements, RowAction::Update);
    let mut found: Vec<(usize, Vec<Obstacle>)> = Vec::new();
    if !inserted.is_empty() {
        let after: Vec<StagedRow> =
            inserted.iter().map(|&at| inserted_row(rows[at], &judgements[at])).collect();
        let questions = Questions::of_inserts(court.fit);
        let obstacles = questions.ask(bench.session, court.fit, &after.iter().collect::<Vec<_>>()).await?;
        found.extend(inserted.into_iter().zip(obstacles));
    }
    if !updated.is_empty() {
        let changed = updated.iter().flat_map(|&at| judgements[at].columns.iter().copied()).collect();
        let questions = Questions::of_updates(court.fit, &changed);
        let obstacles = if questions.are_none() {
            updated.iter().map(|&at| nulled(court, rows[at], &judgements[at])).collect()
        } else {
            let after: Vec<StagedRow> =
                updated.iter().map(|&at| updated_row(rows[at], live[at].as_ref(), &judgements[at])).collect();
            questions.ask(bench.session, court.fit, &after.iter().collect::<Vec<_>>()).await?
        };
        found.extend(updated.iter().copied().zip(obstacles));
        found.sort_by_key(|(at, _)| *at);
    }
    settle(court, bench, rows, (updated.into_iter().collect(), found), judgements).await
}

fn of_action(judgements: &[Judgement], action: RowAction) -> Vec<usize> {
    (0..judgements.len()).filter(|&at| judgements[at].action == action).collect()
}

fn inserted_row(row: &StagedRow, judgement: &Judgement) -> StagedRow {
    with_truth(row.clone(), judgement)
}

fn updated_row(row: &StagedRow, live: Option<&RawRow>, judgement: &Judgement) -> StagedRow {
    let mut after = row.clone();
    let kept =
        live.into_iter().flatten().enumerate().filter(|(column, _)| !judgement.columns.contains(column));
    kept.for_each(|(column, value)| after.fields[column].clone_from(value));
    with_truth(after, judgement)
}

fn with_truth(mut row: StagedRow, judgement: &Judgement) -> StagedRow {
    for (column, value) in &judgement.truth {
        row.fields[*column].clone_from(value);
    }
    row
}

/// Of a row of live only what is set can be null where none may be.
fn nulled(court: &Court<'_>, row: &StagedRow, judgement: &Judgement) -> Vec<Obstacle> {
    let is_null_then = |at: &usize| {
        let truth = judgement.truth.iter().find(|(column, _)| column == at);
        is_null(truth.map_or(&row.fields[*at], |(_, value)| value))
    };
    let columns = judgement.columns.iter().filter(|&&at| court.fit.columns[at].live.not_null);
    let column = columns.copied().find(|at| is_null_then(at));
    column.map(|at| Obstacle::Null { column: court.fit.columns[at].live.name.clone() }).into_iter().collect()
}

/// What stands in the way becomes part of the judgements.
async fn settle(
    court: &Court<'_>,
    bench: &Bench<'_>,
    rows: &[&StagedRow],
    (updated, found): (BTreeSet<usize>, Vec<(usize, Vec<Obstacle>)>),
    judgements: &mut [Judgement],
) -> Result<(), DiffError> {
    let stands: BTreeSet<usize> =
        found.iter().filter(|(_, found)| !found.is_empty()).map(|(at, _)| *at).collect();
    let mut held = BTreeMap::new();
    for (at, obstacles) in found {
        let holder = obstacles.iter().find(|obstacle| matches!(obstacle, Obstacle::Held { .. }));
        let replaces = court.recreated == Recreated::Repoint && judgements[at].action == RowAction::Insert;
        match (holder.filter(|_| replaces), obstacles.first()) {
            (Some(holder), _) => {
                stop_by(&mut judgements[at], holder);
                held.insert(at, obstacles);
            }
            (None, Some(first)) => {
                stop_by(&mut judgements[at], first);
                if let Some(holder) =
                    updated.iter().find(|holder| first.is_held_by(court.fit, rows[**holder]))
                {
                    judgements[at].reason.push_str(if stands.contains(holder) { SWAPPED } else { FOLLOWS });
                }
            }
            (None, None) => {}
        }
    }
    repoint::stand_ins(court, bench, rows, &held, judgements).await
}

/// Why a row is kept whose value another row of the same plan holds: unique values are checked row by row.
const SWAPPED: &str = ", which waits for a value of another row, too: none of them can be first; set one of these values by hand";
const FOLLOWS: &str = ", which this plan sets right: run `rowback recover` again when it is applied";

fn stop_by(judgement: &mut Judgement, obstacle: &Obstacle) {
    let reason = obstacle.reason();
    if judgement.action == RowAction::Update {
        judgement.verdict = Verdict::Changed;
        judgement.reason = format!("kept: {reason}");
    } else {
        let held = matches!(obstacle, Obstacle::Held { .. });
        judgement.stop(if held { Verdict::Recreated } else { Verdict::Unfit }, reason);
    }
    judgement.action = RowAction::None;
}
