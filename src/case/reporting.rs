//! Gathers what a report tells out of the files of a case.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::Error;
use super::layout::{BackupIdentity, Layout};
use super::stages::load_extracted;
use crate::apply::AppliedState;
use crate::diff::{DiffReader, DiffRow, Diffed, Verdict};
use crate::plan::Plan;
use crate::report::{Report, ReportedColumn, ReportedConflict, ReportedEdge};
use crate::verify::Certificate;

/// Conflicts of one table that a report names.
const NAMED_ROWS: usize = 1000;

/// What the case in this directory found and did; values of rows only with `show_values`.
#[allow(
    clippy::unused_async,
    reason = "a command like the others; reading a few files need not leave the thread"
)]
pub async fn report(case: &Path, show_values: bool) -> Result<Report, Error> {
    gather(&Layout::at(case), show_values)
}

/// Writes `report.html` anew.
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
    // A certificate from before the last apply or undo says nothing about now.
    let certificate = Certificate::load(layout.root(), &plan.seal)
        .filter(|proof| proof.committed == applied.committed && proof.undone == applied.undone);
    let (mut conflicts, mut unnamed) = (Vec::new(), BTreeMap::new());
    for table in &diffed.tables {
        let mut rows = DiffReader::open(&layout.diff(), &table.file)?;
        let mut named = 0;
        while let Some(row) = rows.next_row()? {
            if !row.verdict.is_conflict() && row.verdict != Verdict::Excluded {
                continue;
            }
            if named == NAMED_ROWS {
                *unnamed.entry(table.table.clone()).or_default() += 1;
                continue;
            }
            named += 1;
            conflicts.push(conflict(&table.table, row, show_values));
        }
    }
    let edges = extracted
        .edges
        .iter()
        .map(|edge| ReportedEdge {
            name: edge.name.clone(),
            child: edge.child.clone(),
            parent: edge.parent.clone(),
            in_backup: edge.in_backup,
            staged: edge.staged,
            missing_in_live: diffed.missing.get(&edge.name).copied().unwrap_or(0),
        })
        .collect();
    let (state, next) = state(layout, &applied, certificate.as_ref());
    Ok(Report {
        backup: backup_lines(&backup),
        live: plan.live.dbname.clone(),
        totals: plan.totals,
        verdicts: plan.verdicts.clone(),
        evidence: plan.evidence.clone(),
        edges,
        conflicts,
        unnamed,
        triggers: plan.triggers.clone(),
        sequences: plan
            .sequences
            .iter()
            .map(|sequence| format!("{} forward to {}", sequence.sequence, sequence.at_least))
            .collect(),
        notes: plan.notes.clone(),
        state,
        unexplained: unexplained(certificate.as_ref(), &applied),
        next,
    })
}

fn conflict(table: &crate::ident::TableName, row: DiffRow, show_values: bool) -> ReportedConflict {
    let shown = |value: Option<&Value>| {
        show_values.then(|| value.and_then(Value::as_str).map_or("NULL".to_owned(), str::to_owned))
    };
    let columns = row
        .columns
        .iter()
        .map(|name| ReportedColumn {
            name: name.to_string(),
            backup: shown(row.backup.get(name.as_str())),
            live: row.live.as_ref().and_then(|live| shown(live.get(name.as_str()))),
        })
        .collect();
    ReportedConflict {
        table: table.clone(),
        key: row.key,
        verdict: row.verdict.word().to_owned(),
        reason: row.reason,
        columns,
    }
}

fn backup_lines(backup: &BackupIdentity) -> Vec<(String, String)> {
    let mut lines = vec![
        ("backup".to_owned(), backup.path.display().to_string()),
        ("sha256".to_owned(), backup.sha256.clone()),
        ("format".to_owned(), format!("{} {}", backup.archive, backup.archive_version)),
        ("database".to_owned(), format!("{} (PostgreSQL {})", backup.dbname, backup.server_version)),
    ];
    lines.extend(backup.dumped_at.iter().map(|at| ("dumped".to_owned(), at.clone())));
    lines
}

/// What the certificate says, and before there is one what apply and undo said.
fn unexplained(certificate: Option<&Certificate>, applied: &AppliedState) -> Option<Vec<String>> {
    if let Some(certificate) = certificate {
        return Some(certificate.complaints());
    }
    let leftovers = applied.leftovers.iter();
    let mut lines: Vec<String> =
        leftovers.map(|row| format!("{} ({}): {}", row.table, row.key, row.outcome.meaning())).collect();
    let held = applied.held.iter();
    lines.extend(held.map(|row| format!("{} ({}): undo left it: {}", row.table, row.key, row.reason)));
    (!lines.is_empty()).then_some(lines)
}

/// How far it is and what comes next.
fn state(layout: &Layout, applied: &AppliedState, certificate: Option<&Certificate>) -> (String, String) {
    let case = layout.root().display();
    let (all, committed) = (applied.batches, applied.committed);
    if applied.in_doubt > 0 {
        let state = format!("A run was interrupted: {committed} of {all} batches are known to be applied.");
        return (
            state,
            format!("rowback apply {case}, which asks the server how the interrupted batch ended"),
        );
    }
    match (committed, applied.undone, certificate) {
        (0, 0, _) if all == 0 => ("Nothing has to be written.".into(), "nothing".into()),
        (0, 0, _) => ("Nothing has been written.".into(), format!("rowback apply {case}")),
        (0, undone, _) => (format!("Taken back: {undone} batches."), "nothing, or apply again".into()),
        (committed, _, _) if committed < all => {
            (format!("{committed} of {all} batches are applied."), format!("rowback apply {case}"))
        }
        (_, _, None) => (format!("All {all} batches are applied."), format!("rowback verify {case}")),
        (_, _, Some(proof)) if proof.complete() => {
            ("Applied and verified.".into(), format!("nothing; rowback undo {case} takes it back"))
        }
        _ => ("Applied; verification found differences.".into(), "look at what is not as planned".into()),
    }
}
