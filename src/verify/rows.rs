//! Row by row: is what was planned what live holds now?

use std::collections::BTreeMap;
use std::path::Path;

use super::VerifyError;
use super::certificate::{CertifiedTable, Mismatch, NAMED_ROWS};
use crate::catalog::column_list;
use crate::diff::{DiffReader, DiffRow, DiffedTable, RowAction, Verdict};
use crate::ident::Ident;

/// Compares the planned rows of one table with the diff of now, which has the same rows in the same order.
pub(super) fn compare(
    planned: &DiffedTable,
    planned_dir: &Path,
    now: &DiffedTable,
    now_dir: &Path,
) -> Result<CertifiedTable, VerifyError> {
    let mut certified = CertifiedTable {
        table: planned.table.clone(),
        staged: planned.file.rows,
        planned: 0,
        equal: 0,
        left_out: BTreeMap::new(),
        mismatches: Vec::new(),
        orphans: 0,
    };
    let mut before = DiffReader::open(planned_dir, &planned.file)?;
    let mut after = DiffReader::open(now_dir, &now.file)?;
    let other = || VerifyError::OtherStaging { table: planned.table.clone() };
    while let Some(wanted) = before.next_row()? {
        let found = after.next_row()?.filter(|found| found.key == wanted.key).ok_or_else(other)?;
        if wanted.action == RowAction::None {
            *certified.left_out.entry(wanted.verdict.word().to_owned()).or_default() += 1;
            continue;
        }
        certified.planned += 1;
        certified.orphans += u64::from(found.verdict == Verdict::Orphan);
        match problem(&wanted, &found) {
            None => certified.equal += 1,
            Some(problem) if certified.mismatches.len() < NAMED_ROWS => {
                certified.mismatches.push(Mismatch { key: wanted.key, problem });
            }
            Some(_) => {}
        }
    }
    if after.next_row()?.is_some() {
        return Err(other());
    }
    Ok(certified)
}

/// What is wrong with a planned row, by the columns in which live still differs from the backup.
fn problem(wanted: &DiffRow, found: &DiffRow) -> Option<String> {
    if found.live.is_none() {
        return Some(format!("not in live ({})", found.verdict));
    }
    let differs: Vec<Ident> = found
        .columns
        .iter()
        .filter(|column| match wanted.action {
            // Columns of an insert that the plan names are those that it leaves null.
            RowAction::Insert => !wanted.columns.contains(column),
            _ => wanted.columns.contains(column),
        })
        .filter(|column| differs(found, column))
        .cloned()
        .collect();
    (!differs.is_empty()).then(|| format!("live differs in {}", column_list(&differs)))
}

fn differs(found: &DiffRow, column: &Ident) -> bool {
    let live = found.live.as_ref().and_then(|live| live.get(column.as_str()));
    found.backup.get(column.as_str()) != live
}
