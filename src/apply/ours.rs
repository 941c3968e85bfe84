//! Which rows this recovery puts back, read from the batch files when it is first asked. Reads files only.

use std::collections::{BTreeMap, HashMap};

use super::RowKey;
use super::sealed::SealedCase;
use crate::ident::{Ident, TableName};
use crate::plan::script::StepKind;
use crate::plan::{Action, Batch, Part};
use crate::value::copy_text::{fields, is_null, unescape};

/// Rows by table and key, with the batch and part that insert them.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    parts: BTreeMap<TableName, Vec<(u32, usize, Vec<Ident>)>>,
    rows: BTreeMap<TableName, HashMap<RowKey, (u32, usize)>>,
}

impl Recovered {
    /// Nothing is read yet but what tables the plan inserts into.
    pub(super) fn of(batches: &[Batch]) -> Self {
        let mut parts: BTreeMap<TableName, Vec<(u32, usize, Vec<Ident>)>> = BTreeMap::new();
        for batch in batches {
            for (at, part) in batch.parts.iter().enumerate().filter(|(_, part)| part.action == Action::Insert)
            {
                let list = parts.entry(part.table.clone()).or_default();
                list.push((batch.number, at, part.columns.clone()));
            }
        }
        Self { parts, rows: BTreeMap::new() }
    }

    /// Does the plan insert rows of this table?
    pub(super) fn is_planned(&self, table: &TableName) -> bool {
        self.parts.contains_key(table)
    }

    /// Reads the keys of a table's rows out of the batch files. A file that cannot be read makes its rows unknown: they
    /// are then treated like anybody's.
    pub(super) fn read(&mut self, case: &SealedCase, batches: &[Batch], table: &TableName) {
        if !self.is_planned(table) || self.rows.contains_key(table) {
            return;
        }
        let mut found = HashMap::new();
        for batch in batches.iter().filter(|batch| batch.parts.iter().any(|part| &part.table == table)) {
            let Ok(steps) = case.script(&batch.file, &batch.sha256) else { continue };
            let stages = steps.iter().filter(|step| step.kind == StepKind::Stage);
            for (at, (stage, part)) in stages.zip(&batch.parts).enumerate() {
                if &part.table != table || part.action != Action::Insert {
                    continue;
                }
                let rows = stage.copy.as_ref().map_or(&[][..], |copy| copy.rows.as_slice());
                let lines = rows.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
                found.extend(lines.map(|line| (key_of(line, part), (batch.number, at))));
            }
        }
        self.rows.insert(table.clone(), found);
    }

    /// The batch, part and columns of a recovered row.
    pub(super) fn find(&self, table: &TableName, key: &RowKey) -> Option<(u32, usize, &[Ident])> {
        let (batch, part) = *self.rows.get(table)?.get(key)?;
        let (_, _, columns) =
            self.parts.get(table)?.iter().find(|(number, at, _)| (*number, *at) == (batch, part))?;
        Some((batch, part, columns))
    }
}

fn key_of(row: &[u8], part: &Part) -> RowKey {
    let values: Vec<&[u8]> = fields(row).collect();
    let value = |name: &Ident| {
        let at = part.columns.iter().position(|column| column == name)?;
        let field = values.get(at).copied().filter(|field| !is_null(field))?;
        Some(String::from_utf8_lossy(&unescape(field)).into_owned())
    };
    RowKey(part.key.iter().map(|name| (name.as_str().to_owned(), value(name))).collect())
}
