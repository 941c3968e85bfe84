//! The rows of a diff one by one, with the backup's values out of staging beside live's, and what apply said about them.
//! Reads the files of a case, one row at a time; asks no server.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::layout::Layout;
use super::{CaseError, Error};
use crate::apply::AppliedState;
use crate::diff::{DiffReader, DiffRow, Diffed, DiffedTable, FOUND, RowAction, Verdict};
use crate::ident::{Ident, TableName};
use crate::plan::Plan;
use crate::recipe::nearest;
use crate::report::ShownRow;
use crate::staging::{StagedFile, StagingReader, verify_sha256};
use crate::value::copy_text::{fields, is_null, unescape};

/// Which rows of a case are wanted.
#[derive(Debug, Clone, Default)]
pub struct ShowOptions {
    /// The table, as a person wrote it; may be left out where the case has only one.
    pub table: Option<String>,
    /// Only rows with these verdicts; all where empty.
    pub verdicts: BTreeSet<Verdict>,
    /// With values of rows, or only with their keys?
    pub values: bool,
}

/// What apply and undo said about rows of the table, by key.
type Outcomes = BTreeMap<BTreeMap<String, Option<String>>, String>;

/// Values as text by column, null for NULL.
type Values = Map<String, Value>;

/// The wanted rows of one table.
pub struct ShownRows {
    /// The table.
    pub table: TableName,
    /// Rows of the diff by verdict, all of them.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Rows that move with rows of another table; they are in no diff of their own.
    pub followers: u64,
    wanted: BTreeSet<Verdict>,
    values: bool,
    files: VecDeque<PartFile>,
    open: Option<Part>,
    outcomes: Outcomes,
    /// Rows that come from another table and were shown.
    moved: HashSet<Vec<String>>,
}

/// One file of rows, not open yet.
struct PartFile {
    directory: PathBuf,
    file: StagedFile,
    /// Is the number of a group before the key?
    grouped: bool,
    staged: Option<(PathBuf, StagedFile, Vec<Option<Ident>>)>,
}

/// An open file of rows, and staging in step with it.
struct Part {
    diff: DiffReader,
    grouped: bool,
    key: Vec<String>,
    staged: Option<(StagingReader, Vec<Option<Ident>>)>,
    row: Vec<u8>,
}

/// Opens the rows of a table.
pub fn show(case: &Path, options: &ShowOptions) -> Result<ShownRows, Error> {
    let layout = Layout::at(case);
    let diffed: Diffed = layout.read_json(&layout.diff().join("manifest.json"), "diff")?;
    let table = wanted_table(&diffed, options.table.as_deref())?;
    let found = diffed.tables.iter().find(|one| one.table == table);
    let mut files = VecDeque::new();
    if let Some(found) = found {
        files.extend(own_files(&layout, found, options.values));
    }
    for convoy in &diffed.convoys {
        let follows = convoy.following.iter().filter(|one| one.table == table && one.file.rows > 0);
        files.extend(follows.map(|one| PartFile {
            directory: layout.diff().join(&convoy.directory),
            file: one.file.clone(),
            grouped: true,
            staged: None,
        }));
    }
    for moved in diffed.transfers.iter().flat_map(|transfers| &transfers.tables) {
        if moved.to == table && moved.unlisted > 0 {
            files.push_back(PartFile {
                directory: layout.diff().join("transfers"),
                file: moved.file.clone(),
                grouped: true,
                staged: None,
            });
        }
    }
    let (moved, cascaded) = diffed.followers().get(&table).copied().unwrap_or_default();
    Ok(ShownRows {
        verdicts: found.map(|one| one.verdicts.clone()).unwrap_or_default(),
        followers: moved + cascaded,
        wanted: options.verdicts.clone(),
        values: options.values,
        files,
        open: None,
        outcomes: outcomes(&layout, &table)?,
        moved: HashSet::new(),
        table,
    })
}

fn own_files(layout: &Layout, table: &DiffedTable, values: bool) -> Vec<PartFile> {
    let staged = || (layout.staging(), table.staged.clone(), table.columns.clone());
    let own = PartFile {
        directory: layout.diff(),
        file: table.file.clone(),
        grouped: false,
        staged: values.then(staged),
    };
    let found = table.found.clone().map(|file| PartFile {
        directory: layout.diff().join(FOUND),
        file,
        grouped: false,
        staged: None,
    });
    std::iter::once(own).chain(found).collect()
}

/// The table that is meant: by its whole name, or by its last part where that is the only one.
fn wanted_table(diffed: &Diffed, name: Option<&str>) -> Result<TableName, CaseError> {
    let followers = diffed.followers();
    let known: BTreeSet<&TableName> =
        diffed.tables.iter().map(|table| &table.table).chain(followers.keys()).collect();
    let Some(name) = name else {
        let mut known = known.into_iter();
        return match (known.next(), known.next()) {
            (Some(only), None) => Ok(only.clone()),
            (first, second) => Err(CaseError::TableNotNamed {
                tables: first.into_iter().chain(second).chain(known).cloned().collect(),
            }),
        };
    };
    let parsed = TableName::parse(name);
    if let Some(exact) = parsed.as_ref().filter(|table| known.contains(table)) {
        return Ok(exact.clone());
    }
    let mut by_last = known.iter().filter(|table| table.name.as_str() == name);
    if let (Some(only), None) = (by_last.next(), by_last.next()) {
        return Ok((*only).clone());
    }
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    Err(CaseError::TableNotInCase {
        name: name.to_owned(),
        nearest: nearest(name, names.iter().map(String::as_str)).map(str::to_owned),
    })
}

/// What the journal knows; nothing where there is no plan yet.
fn outcomes(layout: &Layout, table: &TableName) -> Result<Outcomes, Error> {
    if !layout.plan().exists() {
        return Ok(Outcomes::new());
    }
    let plan: Plan = layout.read_json(&layout.plan(), "plan")?;
    let applied = AppliedState::read(layout.root(), &plan)?;
    let left = applied.leftovers.into_iter().filter(|row| &row.table == table);
    let mut found: Outcomes = left.map(|row| (row.key.0.clone(), row.reason())).collect();
    let held = applied.held.into_iter().filter(|row| &row.table == table);
    found.extend(held.map(|row| (row.key.0, format!("undo left it: {}", row.reason))));
    Ok(found)
}

impl ShownRows {
    /// How many rows there are with the wanted verdicts.
    pub fn total(&self) -> u64 {
        let wanted = |verdict: &Verdict| self.wanted.is_empty() || self.wanted.contains(verdict);
        let own: u64 =
            self.verdicts.iter().filter(|(verdict, _)| wanted(verdict)).map(|(_, rows)| rows).sum();
        own + if wanted(&Verdict::Misrouted) { self.followers } else { 0 }
    }

    /// The next wanted row; `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<ShownRow>, Error> {
        loop {
            if self.open.is_none() {
                let Some(next) = self.files.pop_front() else { return Ok(None) };
                self.open = Some(Part::open(&next)?);
            }
            let Some(part) = &mut self.open else { return Ok(None) };
            let Some((row, staged)) = part.next_row()? else {
                self.open = None;
                continue;
            };
            // Rows that come from another table mostly stand in the diff file of the table that they come to as well.
            let is_known = row.action == RowAction::Move && !self.moved.insert(row.key.clone());
            if !is_known && (self.wanted.is_empty() || self.wanted.contains(&row.verdict)) {
                let key: Vec<_> = part.key.iter().cloned().zip(row.key.iter().cloned()).collect();
                let name = key.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
                let outcome = self.outcomes.get(&name).cloned();
                return Ok(Some(shown(row, key, staged, outcome, self.values)));
            }
        }
    }
}

impl Part {
    fn open(file: &PartFile) -> Result<Self, Error> {
        verify_sha256(&file.directory, &file.file)?;
        let staged = match &file.staged {
            Some((directory, staged, columns)) => {
                verify_sha256(directory, staged)?;
                Some((StagingReader::open(directory, staged)?, columns.clone()))
            }
            None => None,
        };
        let table = &file.file.table;
        let key = table.key.iter().filter_map(|&at| table.columns.get(at));
        let key = key.map(|column| column.name.to_string()).skip(usize::from(file.grouped)).collect();
        let diff = DiffReader::open(&file.directory, &file.file)?;
        Ok(Self { diff, grouped: file.grouped, key, staged, row: Vec::new() })
    }

    /// The next row of the diff with the backup's values, if those are read.
    fn next_row(&mut self) -> Result<Option<(DiffRow, Option<Values>)>, Error> {
        let Some(mut row) = self.diff.next_row()? else { return Ok(None) };
        if self.grouped && !row.key.is_empty() {
            row.key.remove(0);
        }
        let Some((reader, columns)) = &mut self.staged else { return Ok(Some((row, None))) };
        if !reader.next_row(&mut self.row)? {
            return Err(CaseError::Stale.into());
        }
        let named = columns.iter().zip(fields(&self.row));
        let values = named.filter_map(|(name, field)| Some((name.as_ref()?.to_string(), value(field))));
        Ok(Some((row, Some(values.collect()))))
    }
}

/// The text of a raw COPY field, null where it is NULL.
fn value(field: &[u8]) -> Value {
    if is_null(field) {
        return Value::Null;
    }
    Value::String(String::from_utf8_lossy(&unescape(field)).into_owned())
}

fn shown(
    row: DiffRow,
    key: Vec<(String, String)>,
    staged: Option<Values>,
    outcome: Option<String>,
    values: bool,
) -> ShownRow {
    let mut backup = staged.unwrap_or_default();
    // What an update sets is the truth, where that is another value than the backup's.
    backup.extend(row.backup);
    ShownRow {
        key,
        verdict: row.verdict,
        action: row.action,
        evidence: row.evidence,
        reason: row.reason,
        columns: row.columns.iter().map(ToString::to_string).collect(),
        backup: values.then_some(backup),
        live: row.live.filter(|_| values),
        after: row.after.filter(|_| values),
        outcome,
    }
}
