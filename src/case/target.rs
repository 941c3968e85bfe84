//! What the plan writes of one table: its columns, and its rows as text and as parts of batches.

use serde_json::Value;

use super::planning::refuse_odd_names;
use super::{CaseError, Error};
use crate::catalog::Table;
use crate::diff::{DiffRow, Diffed, DiffedTable, RowAction};
use crate::ident::Ident;
use crate::plan::{Action, BatchTable};
use crate::value::copy_text::{NULL, fields, push_field};

/// One table of the plan: what is written of its rows.
pub(super) struct Target<'a> {
    pub(super) table: &'a Table,
    pub(super) diffed: &'a DiffedTable,
    pub(super) key: Vec<Ident>,
    /// Position in the staged row, and live's column; generated columns are left out.
    pub(super) written: Vec<(usize, Ident)>,
}

impl<'a> Target<'a> {
    /// Of a table that was diffed.
    pub(super) fn of(diffed: &'a Diffed, table: &'a DiffedTable) -> Result<Self, Error> {
        let live = diffed.catalog.tables.get(&table.table).ok_or(CaseError::Stale)?;
        let mut written = Vec::new();
        for (position, name) in table.columns.iter().enumerate() {
            let Some(name) = name else { continue };
            let column = live.column(name).ok_or(CaseError::Stale)?;
            if !column.generated {
                written.push((position, name.clone()));
            }
        }
        let name_of = |at: &usize| table.columns.get(*at).cloned().flatten().ok_or(CaseError::Stale);
        let key = table.staged.table.key.iter().map(name_of).collect::<Result<Vec<_>, _>>()?;
        refuse_odd_names(live)?;
        Ok(Self { table: live, diffed: table, key, written })
    }

    /// Does anything become of a row that is done in this way?
    pub(super) fn has(&self, action: RowAction) -> bool {
        self.diffed.actions.get(&action).is_some_and(|rows| *rows > 0)
    }
}

/// The columns that are written, as staged or as the diff tells.
pub(super) fn push_insert(text: &mut Vec<u8>, target: &Target<'_>, staged: &[u8], diff: &DiffRow) {
    let raw: Vec<&[u8]> = fields(staged).collect();
    for (at, (position, name)) in target.written.iter().enumerate() {
        if at > 0 {
            text.push(b'\t');
        }
        match diff.backup.get(name.as_str()).filter(|_| diff.columns.contains(name)) {
            Some(told) => push_field(text, true, told.as_str().map(str::as_bytes)),
            None => text.extend_from_slice(raw.get(*position).copied().unwrap_or(NULL)),
        }
    }
    text.push(b'\n');
}

/// Key, new values, seen values.
pub(super) fn push_update(text: &mut Vec<u8>, diff: &DiffRow) -> Result<(), Error> {
    for (at, value) in diff.key.iter().enumerate() {
        push_field(text, at == 0, Some(value.as_bytes()));
    }
    for values in [Some(&diff.backup), diff.live.as_ref()] {
        let values = values.ok_or(CaseError::Stale)?;
        for name in &diff.columns {
            match values.get(name.as_str()) {
                Some(Value::String(value)) => push_field(text, false, Some(value.as_bytes())),
                Some(Value::Null) => push_field(text, false, None),
                _ => return Err(CaseError::Stale.into()),
            }
        }
    }
    text.push(b'\n');
    Ok(())
}

pub(super) fn insert_part<'t>(target: &Target<'t>, rows: Vec<u8>, count: usize) -> BatchTable<'t> {
    let columns = target.written.iter().map(|(_, name)| name.clone()).collect();
    part(target, Action::Insert, columns, rows, count)
}

pub(super) fn update_part<'t>(
    target: &Target<'t>,
    columns: Vec<Ident>,
    rows: Vec<u8>,
    count: usize,
) -> BatchTable<'t> {
    part(target, Action::Update, columns, rows, count)
}

fn part<'t>(
    target: &Target<'t>,
    action: Action,
    columns: Vec<Ident>,
    rows: Vec<u8>,
    count: usize,
) -> BatchTable<'t> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    BatchTable {
        table: target.table,
        action,
        key: target.key.clone(),
        columns,
        from: None,
        rows,
        count,
        guards: Vec::new(),
    }
}
