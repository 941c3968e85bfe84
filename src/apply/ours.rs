//! Which rows this recovery puts back, read from the batch files when it is first asked. Reads files only.

use std::collections::{BTreeMap, HashMap};

use super::RowKey;
use super::sealed::SealedCase;
use crate::ident::{Ident, TableName};
use crate::plan::script::StepKind;
use crate::plan::{Action, Batch, Part};
use crate::value::copy_text::{fields, is_null, text, unescape};

/// Rows by table and key, with the batch and part that insert them; and rows of which columns are set right.
#[derive(Debug, Clone, Default)]
pub(super) struct Recovered {
    parts: BTreeMap<TableName, Vec<(u32, usize, Vec<Ident>)>>,
    rows: BTreeMap<TableName, HashMap<RowKey, (u32, usize)>>,
    repaired: BTreeMap<TableName, HashMap<RowKey, Repaired>>,
}

/// What the plan sets in a row that it updates, and what it saw there, by column.
type Repaired = BTreeMap<Ident, (Option<String>, Option<String>)>;

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
        Self { parts, ..Self::default() }
    }

    /// Does the plan insert rows of this table?
    pub(super) fn is_planned(&self, table: &TableName) -> bool {
        self.parts.contains_key(table)
    }

    /// Are the table's rows known?
    pub(super) fn has_read(&self, table: &TableName) -> bool {
        self.rows.contains_key(table)
    }

    /// Reads the keys of a table's rows out of the batch files. A file that cannot be read makes its rows unknown: they
    /// are then treated like anybody's.
    pub(super) fn read(&mut self, case: &SealedCase, batches: &[Batch], table: &TableName) {
        if self.has_read(table) {
            return;
        }
        let mut found = HashMap::new();
        let mut repaired: HashMap<RowKey, Repaired> = HashMap::new();
        for batch in batches.iter().filter(|batch| batch.parts.iter().any(|part| &part.table == table)) {
            let Ok(steps) = case.script(&batch.file, &batch.sha256) else { continue };
            let stages = steps.iter().filter(|step| step.kind == StepKind::Stage);
            for (at, (stage, part)) in stages.zip(&batch.parts).enumerate() {
                if &part.table != table {
                    continue;
                }
                let rows = stage.copy.as_ref().map_or(&[][..], |copy| copy.rows.as_slice());
                let lines = rows.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
                match part.action {
                    Action::Insert => {
                        let names: Vec<&Ident> = part.columns.iter().collect();
                        found.extend(lines.map(|line| (key_of(line, &names, part), (batch.number, at))));
                    }
                    Action::Update => {
                        let names: Vec<&Ident> = part.key.iter().collect();
                        for line in lines {
                            let columns = repaired.entry(key_of(line, &names, part)).or_default();
                            let values: Vec<_> = fields(line).skip(part.key.len()).map(text).collect();
                            let (new, seen) = values.split_at(part.columns.len().min(values.len()));
                            let pairs = new.iter().cloned().zip(seen.iter().cloned());
                            columns.extend(part.columns.iter().cloned().zip(pairs));
                        }
                    }
                    Action::Move => {}
                }
            }
        }
        self.rows.insert(table.clone(), found);
        self.repaired.insert(table.clone(), repaired);
    }

    /// What an update of the plan sets this column of the row to; for undo, what the row had before.
    pub(super) fn repaired(
        &self,
        (table, key, column): (&TableName, &RowKey, &Ident),
        undo: bool,
    ) -> Option<&Option<String>> {
        let (new, seen) = self.repaired.get(table)?.get(key)?.get(column)?;
        Some(if undo { seen } else { new })
    }

    /// The batch, part and columns of a recovered row.
    pub(super) fn find(&self, table: &TableName, key: &RowKey) -> Option<(u32, usize, &[Ident])> {
        let (batch, part) = *self.rows.get(table)?.get(key)?;
        let (_, _, columns) =
            self.parts.get(table)?.iter().find(|(number, at, _)| (*number, *at) == (batch, part))?;
        Some((batch, part, columns))
    }
}

/// The key in a row that begins with the values of `names`.
fn key_of(row: &[u8], names: &[&Ident], part: &Part) -> RowKey {
    let values: Vec<&[u8]> = fields(row).collect();
    let value = |name: &Ident| {
        let at = names.iter().position(|column| *column == name)?;
        let field = values.get(at).copied().filter(|field| !is_null(field))?;
        Some(String::from_utf8_lossy(&unescape(field)).into_owned())
    };
    RowKey(part.key.iter().map(|name| (name.as_str().to_owned(), value(name))).collect())
}
