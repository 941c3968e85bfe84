//! The planned rows of a table, read from staging and diff in step, each with what live should hold under its key.

use std::collections::BTreeMap;
use std::path::Path;

use super::VerifyError;
use crate::apply::RowKey;
use crate::catalog::Table;
use crate::diff::{DiffReader, DiffRow, DiffedTable, RowAction};
use crate::ident::{Ident, TableName};
use crate::staging::{StagingReader, verify_sha256};
use crate::value::copy_text::{NULL, fields, push_escaped};

/// A row that the plan writes.
pub(super) struct PlannedRow {
    /// How it is named.
    pub(super) key: RowKey,
    /// The raw fields of its key.
    pub(super) key_fields: Vec<Box<[u8]>>,
    /// What live should hold.
    pub(super) expected: Expected,
}

/// What live should hold under a key.
pub(super) enum Expected {
    /// No row.
    Absent,
    /// Raw COPY fields by position in [`PlannedRows::columns`].
    Values(BTreeMap<usize, Box<[u8]>>),
}

/// Reads a table's planned rows.
pub(super) struct PlannedRows {
    table: TableName,
    staged: StagingReader,
    diff: DiffReader,
    /// Positions of the staged key.
    key: Vec<usize>,
    /// The key's columns in live.
    pub(super) key_names: Vec<Ident>,
    /// Position in the staged row, by position in `columns`.
    sources: Vec<usize>,
    /// The columns of live that are compared.
    pub(super) columns: Vec<Ident>,
    /// Rows that the plan does not write, by verdict; whole when the end is reached.
    pub(super) left_out: BTreeMap<String, u64>,
    undone: bool,
}

impl PlannedRows {
    /// Opens both files, after their checksums were found to be those of the diff.
    pub(super) fn open(
        case: &Path,
        diffed: &DiffedTable,
        table: &Table,
        undone: bool,
    ) -> Result<Self, VerifyError> {
        let (staging, diff) = (case.join("staging"), case.join("diff"));
        verify_sha256(&staging, &diffed.staged)?;
        verify_sha256(&diff, &diffed.file)?;
        let named = diffed.columns.iter().enumerate();
        let compared = named.filter_map(|(at, name)| name.clone().map(|name| (at, name)));
        let (sources, columns): (Vec<usize>, Vec<Ident>) =
            compared.filter(|(_, name)| table.column(name).is_some()).unzip();
        let stale = || VerifyError::CaseStale { table: diffed.table.clone() };
        let key = diffed.staged.table.key.clone();
        let name_of = |at: &usize| diffed.columns.get(*at).cloned().flatten().ok_or_else(stale);
        Ok(Self {
            table: diffed.table.clone(),
            staged: StagingReader::open(&staging, &diffed.staged)?,
            diff: DiffReader::open(&diff, &diffed.file)?,
            key_names: key.iter().map(name_of).collect::<Result<_, _>>()?,
            key,
            sources,
            columns,
            left_out: BTreeMap::new(),
            undone,
        })
    }

    /// The next planned rows, at most `most`; empty at the end.
    pub(super) fn next_chunk(&mut self, most: usize) -> Result<Vec<PlannedRow>, VerifyError> {
        let mut chunk = Vec::new();
        let mut row = Vec::new();
        while chunk.len() < most {
            let diff = match (self.staged.next_row(&mut row)?, self.diff.next_row()?) {
                (true, Some(diff)) => diff,
                (false, None) => break,
                _ => return Err(VerifyError::CaseStale { table: self.table.clone() }),
            };
            if diff.action == RowAction::None {
                *self.left_out.entry(diff.verdict.word().to_owned()).or_default() += 1;
            } else {
                chunk.push(self.planned(&row, &diff));
            }
        }
        Ok(chunk)
    }

    fn planned(&self, row: &[u8], diff: &DiffRow) -> PlannedRow {
        let raw: Vec<&[u8]> = fields(row).collect();
        let field = |at: usize| raw.get(at).copied().unwrap_or(NULL);
        let names = self.key_names.iter().map(|name| name.as_str().to_owned());
        let key = names.zip(diff.key.iter().cloned().map(Some)).collect();
        let expected = match (diff.action, self.undone) {
            (RowAction::Insert, true) => Expected::Absent,
            (RowAction::Update, true) => Expected::Values(self.former(diff)),
            (RowAction::Update, false) => Expected::Values(
                self.values(|name, at| diff.columns.contains(name).then(|| field(at).into())),
            ),
            // An insert leaves the listed columns null.
            _ => Expected::Values(self.values(|name, at| {
                Some(if diff.columns.contains(name) { NULL.into() } else { field(at).into() })
            })),
        };
        PlannedRow {
            key: RowKey(key),
            key_fields: self.key.iter().map(|&at| Box::from(field(at))).collect(),
            expected,
        }
    }

    fn values(&self, value: impl Fn(&Ident, usize) -> Option<Box<[u8]>>) -> BTreeMap<usize, Box<[u8]>> {
        let columns = self.columns.iter().zip(&self.sources).enumerate();
        columns.filter_map(|(at, (name, source))| Some((at, value(name, *source)?))).collect()
    }

    /// What the updated columns held before.
    fn former(&self, diff: &DiffRow) -> BTreeMap<usize, Box<[u8]>> {
        let live = diff.live.as_ref();
        self.values(|name, _| {
            let value = live?.get(name.as_str()).filter(|_| diff.columns.contains(name))?;
            Some(value.as_str().map_or_else(
                || NULL.into(),
                |text| {
                    let mut field = Vec::new();
                    push_escaped(&mut field, text.as_bytes());
                    field.into()
                },
            ))
        })
    }
}
