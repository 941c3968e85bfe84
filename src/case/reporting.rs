//! Gathers what a report tells out of the files of a case. Asks no server.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::layout::{BackupIdentity, Layout};
use super::stages::load_extracted;
use super::{CaseError, Error, sources};
use crate::apply::{AppliedState, Event, Journal};
use crate::diff::{DiffReader, DiffRow, Diffed, DiffedTable, Evidence, RowAction, Verdict, missing_key};
use crate::extract::EdgeCount;
use crate::ident::{Ident, TableName};
use crate::pg::ServerIdentity;
use crate::plan::{Batch, Plan, SequenceMove};
use crate::report::{
    BatchState, BothValues, Report, ReportedBackup, ReportedBatch, ReportedColumn, ReportedEdge,
    ReportedLive, ReportedRow, ReportedSequence, ReportedTable, RowList, SCHEMA, State,
};
use crate::verify::Certificate;

/// Rows of one table that a report names, and lines about rows that did not end as planned.
const NAMED_ROWS: usize = 1000;

/// What the case in this directory found and did; values of rows only with `show_values`.
pub async fn report(case: &Path, show_values: bool) -> Result<Report, Error> {
    let layout = Layout::at(case);
    let gathered = tokio::task::spawn_blocking(move || gather(&layout, show_values));
    gathered.await.map_err(CaseError::Thread)?
}

/// Writes `report.html` anew, without values of rows.
pub(super) fn refresh(layout: &Layout) -> Result<(), Error> {
    let report = gather(layout, false)?;
    Ok(layout.write(&layout.report(), report.html().as_bytes())?)
}

fn gather(layout: &Layout, show_values: bool) -> Result<Report, Error> {
    let plan: Plan = layout.read_json(&layout.plan(), "plan")?;
    let diffed: Diffed = layout.read_json(&layout.diff().join("manifest.json"), "diff")?;
    let backup: BackupIdentity = layout.read_json(&layout.backup(), "extract")?;
    let (extracted, _) = load_extracted(layout)?;
    let applied = AppliedState::read(layout.root(), &plan)?;
    applied.check_against_certificate(layout.root(), &plan)?;
    // A certificate from before the last apply or undo says nothing about now.
    let certificate = Certificate::load(layout.root(), &plan.seal)
        .filter(|proof| (proof.committed, proof.undone) == (applied.committed, applied.undone))
        .filter(|proof| applied.last.as_ref().is_none_or(|last| proof.at >= *last));
    let state = state(&applied, certificate.as_ref());
    let case = layout.root().display().to_string();
    let journal = Journal::read(layout.root())?;
    let states = batch_states(&journal, &plan.seal);
    let tables = diffed.tables.iter().map(|table| reported_table(layout, table, show_values));
    let mut tables = tables.collect::<Result<Vec<_>, _>>()?;
    add_followers(&mut tables, &diffed);
    Ok(Report {
        schema: SCHEMA,
        standing: state.sentence(),
        next: state.next(&case, plan.totals.conflicts > 0),
        state,
        case,
        backup: reported_backup(backup),
        live: reported_live(&diffed.live),
        totals: plan.totals,
        evidence: plan.evidence.clone(),
        tables,
        edges: extracted.edges.iter().map(|edge| reported_edge(edge, &diffed.missing)).collect(),
        problems: problems(certificate.as_ref(), &applied),
        triggers: plan.triggers.clone(),
        sequences: plan.sequences.iter().map(|moved| reported_sequence(moved, &diffed)).collect(),
        notes: plan.notes.clone(),
        batches: plan.batches.iter().map(|batch| reported_batch(batch, &states)).collect(),
    })
}

fn reported_backup(backup: BackupIdentity) -> ReportedBackup {
    ReportedBackup {
        path: backup.path.display().to_string(),
        sha256: backup.sha256.unwrap_or_else(|| {
            format!("{} (of its ends: too large to be read whole)", backup.ends_sha256.unwrap_or_default())
        }),
        archive: format!("{} {}", backup.archive, backup.archive_version.unwrap_or_default())
            .trim_end()
            .to_owned(),
        dbname: backup.dbname,
        server_version: backup.server_version,
        dumped_at: backup.dumped_at,
    }
}

fn reported_live(live: &ServerIdentity) -> ReportedLive {
    ReportedLive {
        dbname: live.dbname.clone(),
        system_identifier: live.system_identifier.clone(),
        server_version: format!("{}.{}", live.major(), live.server_version_num % 10_000),
        role: live.user.clone(),
    }
}

/// Counts of a table, and its rows that somebody should look at.
fn reported_table(layout: &Layout, table: &DiffedTable, show_values: bool) -> Result<ReportedTable, Error> {
    let (mut left, mut partly) = (RowList::default(), RowList::default());
    let interesting = table.verdicts.iter().any(|(verdict, rows)| *verdict != Verdict::Same && *rows > 0);
    if interesting {
        let mut rows = DiffReader::open(&layout.diff(), &table.file)?;
        let mut found = sources::found_rows(layout, table)?;
        while let Some(row) = match (rows.next_noted()?, &mut found) {
            (None, Some(found)) => found.next_noted()?,
            (row, _) => row,
        } {
            if is_left(&row) {
                left.add(NAMED_ROWS, || reported_row(row, show_values));
            } else if row.action.writes() && !row.reason.is_empty() {
                partly.add(NAMED_ROWS, || reported_row(row, show_values));
            }
        }
    }
    let rows_of = |action| table.actions.get(&action).copied().unwrap_or(0);
    let keys = table.file.table.key.iter().filter_map(|&at| table.file.table.columns.get(at));
    Ok(ReportedTable {
        table: table.table.clone(),
        verdicts: table.verdicts.iter().map(|(verdict, rows)| (verdict.word().to_owned(), *rows)).collect(),
        insert: rows_of(RowAction::Insert),
        update: rows_of(RowAction::Update) + rows_of(RowAction::Move),
        key: keys.map(|column| column.name.to_string()).collect(),
        left,
        partly,
        diff_file: format!("diff/{}", table.file.file),
    })
}

/// Rows that move with others, which no diff file of their own table names.
fn add_followers(tables: &mut Vec<ReportedTable>, diffed: &Diffed) {
    for (name, (moved, cascaded)) in diffed.followers() {
        let at = tables.iter().position(|table| table.table == name).unwrap_or_else(|| {
            tables.push(ReportedTable {
                table: name.clone(),
                verdicts: BTreeMap::new(),
                insert: 0,
                update: 0,
                key: Vec::new(),
                left: RowList::default(),
                partly: RowList::default(),
                diff_file: if diffed.transfers.is_some() { "diff/transfers" } else { "diff/convoys" }
                    .to_owned(),
            });
            tables.len() - 1
        });
        let table = &mut tables[at];
        table.update += moved + cascaded;
        *table.verdicts.entry(Verdict::Misrouted.word().to_owned()).or_default() += moved + cascaded;
    }
}

/// Not written, and not because there is nothing to do. A lost parent that no recovered row needs is none of these.
fn is_left(row: &DiffRow) -> bool {
    let kept_out = row.verdict.is_conflict() || row.verdict == Verdict::Excluded;
    let not_asked_for = row.verdict == Verdict::Lost && row.evidence != Evidence::Needed.word();
    row.action == RowAction::None && (kept_out || not_asked_for)
}

fn reported_row(row: DiffRow, show_values: bool) -> ReportedRow {
    let text = |values: &Map<String, Value>, name: &Ident| {
        values.get(name.as_str()).and_then(Value::as_str).map(str::to_owned)
    };
    let values = |name: &Ident| BothValues {
        backup: text(&row.backup, name),
        live: row.live.as_ref().and_then(|live| text(live, name)),
        after: row.after.as_ref().map(|after| text(after, name)),
    };
    let column =
        |name: &Ident| ReportedColumn { name: name.to_string(), values: show_values.then(|| values(name)) };
    ReportedRow {
        columns: row.columns.iter().map(column).collect(),
        verdict: row.verdict.word().to_owned(),
        key: row.key,
        reason: row.reason,
    }
}

fn reported_edge(edge: &EdgeCount, missing: &BTreeMap<String, u64>) -> ReportedEdge {
    ReportedEdge {
        name: edge.name.clone(),
        child: edge.child.clone(),
        parent: edge.parent.clone(),
        in_backup: edge.in_backup,
        staged: edge.staged,
        missing_in_live: missing.get(&missing_key(&edge.child, &edge.name)).copied().unwrap_or(0),
    }
}

fn reported_sequence(moved: &SequenceMove, diffed: &Diffed) -> ReportedSequence {
    let found = diffed.sequences.iter().find(|state| state.sequence == moved.sequence);
    ReportedSequence {
        sequence: moved.sequence.clone(),
        stood_at: found.and_then(|state| state.last_value),
        at_least: moved.at_least,
    }
}

fn reported_batch(batch: &Batch, states: &BTreeMap<u32, BatchState>) -> ReportedBatch {
    let part = |part: &crate::plan::Part| -> (TableName, crate::plan::Action, u64) {
        (part.table.clone(), part.action, part.rows)
    };
    ReportedBatch {
        number: batch.number,
        file: batch.file.clone(),
        undo_file: batch.undo_file.clone(),
        parts: batch.parts.iter().map(part).collect(),
        state: states.get(&batch.number).copied().unwrap_or(BatchState::Open),
    }
}

/// Where each batch stands, by its last settled transaction; one that is not settled is in doubt.
fn batch_states(journal: &Journal, plan_seal: &str) -> BTreeMap<u32, BatchState> {
    let mut settled: BTreeMap<u32, BatchState> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for line in journal.lines().iter().filter(|line| line.plan == plan_seal) {
        let last = settled.entry(line.batch).or_insert(BatchState::Open);
        match line.event {
            Event::Committed => *last = BatchState::Applied,
            Event::Undone => *last = BatchState::Undone,
            _ => {}
        }
        let pending = matches!(line.event, Event::Writing { .. } | Event::UndoWriting { .. });
        found.insert(line.batch, if pending { BatchState::InDoubt } else { *last });
    }
    found
}

/// What the certificate says, and before there is one what apply and undo said.
fn problems(certificate: Option<&Certificate>, applied: &AppliedState) -> Vec<String> {
    let mut lines = certificate.map_or_else(
        || {
            let leftovers = applied.leftovers.iter();
            let held = applied.held.iter();
            leftovers
                .map(|row| format!("{} ({}): {}", row.table, row.key, row.reason()))
                .chain(held.map(|row| format!("{} ({}): undo left it: {}", row.table, row.key, row.reason)))
                .collect()
        },
        Certificate::complaints,
    );
    if lines.len() > NAMED_ROWS {
        let more = lines.len() - NAMED_ROWS;
        lines.truncate(NAMED_ROWS);
        let file = if certificate.is_some() { "certificate.json" } else { "journal.jsonl" };
        lines.push(format!("… and {more} more, in {file}"));
    }
    lines
}

/// How far it is.
fn state(applied: &AppliedState, certificate: Option<&Certificate>) -> State {
    let (batches, committed, undone) = (applied.batches, applied.committed, applied.undone);
    if batches == 0 {
        return State::Nothing;
    }
    if applied.in_doubt > 0 {
        return State::InDoubt { committed, batches };
    }
    match (committed, undone) {
        (0, 0) => State::Planned,
        (0, _) => State::Undone {
            held: u64::try_from(applied.held.len()).unwrap_or(u64::MAX),
            beside: applied.beside,
            verified_at: certificate.filter(|proof| proof.complete()).map(|proof| proof.at.clone()),
        },
        (_, 1..) => State::Undoing { undone, committed },
        (_, 0) if committed < batches => State::Applying { committed, batches },
        _ => match certificate {
            None => State::Applied { batches },
            Some(proof) => State::Verified { complete: proof.complete(), at: proof.at.clone() },
        },
    }
}

#[cfg(test)]
mod tests;
