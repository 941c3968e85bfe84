//! The planned rows of a table, each with what live should hold under its key: read from staging and diff in step, or from
//! the diff alone where no staged row stands for a row of live.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::VerifyError;
use super::look::LiveFields;
use crate::apply::RowKey;
use crate::catalog::Table;
use crate::diff::{
    ConvoyFiles, ConvoyTable, DiffReader, DiffRow, DiffedTable, FOUND, RowAction, TransferFiles,
    TransferTable,
};
use crate::ident::{Ident, TableName};
use crate::staging::{StagedFile, StagingReader, verify_sha256};
use crate::value::copy_text::{NULL, fields, push_escaped};

/// A chunk of rows ends early where they are large.
const CHUNK_BYTES: usize = 4 << 20;

/// A row that the plan writes.
pub(super) struct PlannedRow {
    /// How it is named.
    pub(super) key: RowKey,
    /// The raw fields of its key.
    pub(super) key_fields: Vec<Box<[u8]>>,
    /// Was it lost, and comes back as it was staged, with all its parents?
    pub(super) inserted: bool,
    /// What live should hold.
    pub(super) expected: Expected,
    /// For an update: what live held before.
    pub(super) seen: BTreeMap<usize, Box<[u8]>>,
}

impl PlannedRow {
    fn bytes(&self) -> usize {
        let values = self.expected.values().into_iter().chain([&self.seen]).flat_map(BTreeMap::values);
        self.key_fields.iter().chain(values).map(|field| field.len()).sum()
    }

    /// Which of several rows of live under its key it is: one that holds what was to go is it, whoever stands beside it.
    pub(super) fn among(&self, mut found: Vec<LiveFields>) -> Option<LiveFields> {
        let holds = |live: &LiveFields, values: &BTreeMap<usize, Box<[u8]>>| {
            !values.is_empty() && values.iter().all(|(at, value)| live.get(*at) == Some(value))
        };
        let expected = self.expected.values();
        let unrepaired = found.iter().position(|live| holds(live, &self.seen));
        let repaired = || found.iter().position(|live| expected.is_some_and(|values| holds(live, values)));
        let at = unrepaired.or_else(repaired).unwrap_or(0);
        (at < found.len()).then(|| found.swap_remove(at))
    }
}

/// What live should hold under a key.
pub(super) enum Expected {
    /// No row.
    Absent,
    /// Raw COPY fields by position in [`PlannedRows::columns`].
    Values(BTreeMap<usize, Box<[u8]>>),
}

impl Expected {
    pub(super) fn values(&self) -> Option<&BTreeMap<usize, Box<[u8]>>> {
        match self {
            Self::Values(values) => Some(values),
            Self::Absent => None,
        }
    }
}

/// The two tables of rows that move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Where they come to.
    To,
    /// What they leave.
    From,
}

/// Where the rows come from.
enum Source {
    /// The staged file.
    Staged(StagingReader),
    /// Rows that were found in live: the diff says all.
    Found,
    /// Rows that move with others, behind the number of their group: all are looked at.
    Moved,
    /// Rows that came from another table, behind the number of their group.
    Came,
    /// The same in the table that they left.
    Left,
}

/// Reads a table's planned rows.
pub(super) struct PlannedRows {
    table: TableName,
    /// The table under which the journal names the rows.
    pub(super) written_as: TableName,
    source: Source,
    diff: DiffReader,
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
        Ok(Self {
            written_as: table.name.clone(),
            table: diffed.table.clone(),
            source: Source::Staged(StagingReader::open(&staging, &diffed.staged)?),
            diff: DiffReader::open(&diff, &diffed.file)?,
            key_names: key_names(diffed)?,
            sources,
            columns,
            left_out: BTreeMap::new(),
            undone,
        })
    }

    /// The rows of the table that were found in live; `None` when nothing was looked for there.
    pub(super) fn open_found(
        case: &Path,
        diffed: &DiffedTable,
        table: &Table,
        undone: bool,
    ) -> Result<Option<Self>, VerifyError> {
        let Some(file) = &diffed.found else { return Ok(None) };
        let directory = case.join("diff").join(FOUND);
        let from = (Source::Found, directory.as_path(), file);
        Self::open_alone(from, key_names(diffed)?, table, undone).map(Some)
    }

    /// Rows that move with others.
    pub(super) fn open_moved(
        case: &Path,
        convoy: &ConvoyFiles,
        moved: &ConvoyTable,
        table: &Table,
        undone: bool,
    ) -> Result<Self, VerifyError> {
        let directory = case.join("diff").join(&convoy.directory);
        let from = (Source::Moved, directory.as_path(), &moved.file);
        Self::open_alone(from, moved.key.clone(), table, undone)
    }

    /// Rows that go from one table to another, on one of both sides.
    pub(super) fn open_transfer(
        case: &Path,
        transfers: &TransferFiles,
        moved: &TransferTable,
        (side, table): (Side, &Table),
        undone: bool,
    ) -> Result<Self, VerifyError> {
        let directory = case.join("diff").join(&transfers.directory);
        let source = if side == Side::To { Source::Came } else { Source::Left };
        let from = (source, directory.as_path(), &moved.file);
        let rows = Self::open_alone(from, moved.key.clone(), table, undone)?;
        Ok(Self { written_as: moved.to.clone(), ..rows })
    }

    /// Are the rows to be gone from this table?
    pub(super) fn must_leave(&self) -> bool {
        matches!(self.source, Source::Left) && !self.undone
    }

    fn open_alone(
        (source, directory, file): (Source, &Path, &StagedFile),
        key_names: Vec<Ident>,
        table: &Table,
        undone: bool,
    ) -> Result<Self, VerifyError> {
        verify_sha256(directory, file)?;
        let columns: Vec<Ident> = table.column_names().cloned().collect();
        Ok(Self {
            table: table.name.clone(),
            written_as: table.name.clone(),
            source,
            diff: DiffReader::open(directory, file)?,
            key_names,
            sources: (0..columns.len()).collect(),
            columns,
            left_out: BTreeMap::new(),
            undone,
        })
    }

    /// The next planned rows, at most `most`, and fewer where they are large; empty at the end.
    pub(super) fn next_chunk(&mut self, most: usize) -> Result<Vec<PlannedRow>, VerifyError> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        let mut row = Vec::new();
        while chunk.len() < most && bytes < CHUNK_BYTES {
            row.clear();
            let diff = self.diff.next_row()?;
            let is_there = match &mut self.source {
                Source::Staged(staged) => staged.next_row(&mut row)?,
                Source::Found | Source::Moved | Source::Came | Source::Left => diff.is_some(),
            };
            let mut diff = match (is_there, diff) {
                (true, Some(diff)) => diff,
                (false, None) => break,
                _ => return Err(VerifyError::CaseStale { table: self.table.clone() }),
            };
            if matches!(self.source, Source::Moved) {
                diff.action = RowAction::Update;
            }
            if matches!(self.source, Source::Moved | Source::Came | Source::Left) {
                diff.key.drain(..1.min(diff.key.len()));
            } else if diff.action == RowAction::Move {
                continue;
            }
            if diff.action.writes() {
                let planned = self.planned(&row, &diff);
                bytes += planned.bytes();
                chunk.push(planned);
            } else if diff.action == RowAction::None {
                *self.left_out.entry(diff.verdict.word().to_owned()).or_default() += 1;
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
            _ if matches!(self.source, Source::Came | Source::Left) => {
                let is_there = matches!(self.source, Source::Came) != self.undone;
                let (backup, live) = (Some(&diff.backup), diff.live.as_ref());
                let values = if matches!(self.source, Source::Came) { backup } else { live };
                if is_there { Expected::Values(self.told(diff, values)) } else { Expected::Absent }
            }
            (RowAction::Insert, true) => Expected::Absent,
            (RowAction::Update, true) => Expected::Values(self.told(diff, diff.live.as_ref())),
            (RowAction::Update, false) => {
                let mut told = self.told(diff, Some(&diff.backup));
                if matches!(self.source, Source::Moved) {
                    // What else it hangs by only goes along.
                    let before = self.told(diff, diff.live.as_ref());
                    told.retain(|at, value| before.get(at) != Some(value));
                }
                Expected::Values(told)
            }
            // Where an insert writes something else than was staged, the diff lists it.
            _ => Expected::Values(self.values(|name, at| {
                let told = diff.backup.get(name.as_str()).filter(|_| diff.columns.contains(name));
                Some(told.map_or_else(
                    || field(at).into(),
                    |told| told.as_str().map_or_else(|| NULL.into(), raw_field),
                ))
            })),
        };
        let key_fields = diff.key.iter().map(|value| raw_field(value)).collect();
        let seen = match (diff.action, self.undone) {
            (RowAction::Update, false) => self.told(diff, diff.live.as_ref()),
            _ => BTreeMap::new(),
        };
        let is_staged = matches!(self.source, Source::Staged(_)) && diff.columns.is_empty();
        let inserted = is_staged && diff.action == RowAction::Insert;
        PlannedRow { key: RowKey(key), key_fields, inserted, expected, seen }
    }

    fn values(&self, value: impl Fn(&Ident, usize) -> Option<Box<[u8]>>) -> BTreeMap<usize, Box<[u8]>> {
        let columns = self.columns.iter().zip(&self.sources).enumerate();
        columns.filter_map(|(at, (name, source))| Some((at, value(name, *source)?))).collect()
    }

    /// What the diff says of the updated columns: their true values, or what live held before.
    fn told(&self, diff: &DiffRow, values: Option<&Map<String, Value>>) -> BTreeMap<usize, Box<[u8]>> {
        self.values(|name, _| {
            let value = values?.get(name.as_str()).filter(|_| diff.columns.contains(name))?;
            Some(value.as_str().map_or_else(|| NULL.into(), raw_field))
        })
    }
}

fn key_names(diffed: &DiffedTable) -> Result<Vec<Ident>, VerifyError> {
    let stale = || VerifyError::CaseStale { table: diffed.table.clone() };
    let name_of = |at: &usize| diffed.columns.get(*at).cloned().flatten().ok_or_else(stale);
    diffed.staged.table.key.iter().map(name_of).collect()
}

fn raw_field(text: &str) -> Box<[u8]> {
    let mut field = Vec::new();
    push_escaped(&mut field, text.as_bytes());
    field.into()
}
