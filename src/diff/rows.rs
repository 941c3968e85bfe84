//! The diff file of a table: one row for each staged row, in the same order, for people to query and for the plan to
//! read.

use std::path::Path;

use serde_json::{Map, Value};

use super::DiffError;
use super::aftermath::Fate;
use super::drift::Fit;
use super::judge::Judgement;
use super::lookup::{RawKey, StagedRow, text};
use super::sink::Sink;
use super::verdict::{RowAction, Verdict};
use crate::catalog::Column;
use crate::ident::{Ident, TableName};
use crate::staging::{Finished, ReadAhead, StagedColumn, StagedFile, StagedTable, StagingFormat};
use crate::value::BaseType;
use crate::value::copy_text::{NULL, fields, is_null, push_field};

const OWN_COLUMNS: [&str; 9] = [
    "rowback_verdict",
    "rowback_action",
    "rowback_evidence",
    "rowback_reason",
    "rowback_columns",
    "rowback_backup",
    "rowback_live",
    "rowback_after",
    "rowback_itself",
];

/// Writes a diff file.
pub struct DiffWriter {
    sink: Sink,
    told: Told,
    /// What tells who a row is.
    itself: Told,
}

/// Columns of a judgement with their names; rows that follow each other mostly tell of the same ones.
struct Told {
    columns: Vec<usize>,
    /// As a JSON array.
    names: Vec<u8>,
    /// Each as JSON text.
    keys: Vec<Vec<u8>>,
    /// Room for a value.
    json: Vec<u8>,
}

impl Told {
    fn of(fit: &Fit<'_>, columns: &[usize]) -> Self {
        let names: Vec<&str> = columns.iter().map(|&at| fit.columns[at].live.name.as_str()).collect();
        Self {
            columns: columns.to_vec(),
            names: Value::from(names.clone()).to_string().into_bytes(),
            keys: names.into_iter().map(|name| Value::from(name).to_string().into_bytes()).collect(),
            json: Vec::new(),
        }
    }

    /// Appends the raw fields of these columns as a JSON object, itself a field.
    fn push<'r>(&mut self, out: &mut Vec<u8>, field: impl Fn(usize) -> &'r [u8]) {
        let json = &mut self.json;
        json.clear();
        json.push(b'{');
        for (number, (key, &at)) in self.keys.iter().zip(&self.columns).enumerate() {
            if number > 0 {
                json.push(b',');
            }
            json.extend_from_slice(key);
            json.push(b':');
            push_json(json, field(at));
        }
        json.push(b'}');
        push_field(out, false, Some(json));
    }
}

/// Appends a raw field as a JSON string, or `null`.
fn push_json(json: &mut Vec<u8>, field: &[u8]) {
    let is_plain = |byte: &u8| (b' '..0x7f).contains(byte) && !matches!(byte, b'"' | b'\\');
    if field.iter().all(is_plain) {
        json.push(b'"');
        json.extend_from_slice(field);
        json.push(b'"');
    } else {
        let value = text(field).map_or(Value::Null, Value::String);
        json.extend_from_slice(value.to_string().as_bytes());
    }
}

impl DiffWriter {
    /// `<dir>/<schema>.<table>.parquet`: the key, then verdict, action, evidence, reason, the columns concerned, and the
    /// backup's and live's values of them as JSON, with those that the accident left where something tells; last, of rows to
    /// update, live's values of the columns `itself`, which tell who a row is.
    pub fn create(
        dir: &Path,
        fit: &Fit<'_>,
        itself: &[usize],
        format: StagingFormat,
    ) -> Result<Self, DiffError> {
        let sink = Sink::create(dir, format, &diff_table(fit))?;
        Ok(Self { sink, told: Told::of(fit, &[]), itself: Told::of(fit, itself) })
    }

    /// As [`DiffWriter::create`], with the number of a group before the key.
    pub fn create_grouped(
        dir: &Path,
        fit: &Fit<'_>,
        itself: &[usize],
        format: StagingFormat,
    ) -> Result<Self, DiffError> {
        let mut table = diff_table(fit);
        let group = Ident::from("rowback_group");
        table
            .columns
            .insert(0, StagedColumn { name: group, pg_type: "bigint".into(), base_type: BaseType::Int8 });
        table.key = (0..=fit.key.len()).collect();
        let sink = Sink::create(dir, format, &table)?;
        Ok(Self { sink, told: Told::of(fit, &[]), itself: Told::of(fit, itself) })
    }

    /// Adds one row.
    pub async fn write(
        &mut self,
        fit: &Fit<'_>,
        row: &StagedRow,
        live: Option<&[RawKey]>,
        judgement: &Judgement,
    ) -> Result<(), DiffError> {
        self.push(fit, row, live, judgement);
        self.sink.end_row().await
    }

    /// Adds one row of a group, to a file that was created with groups.
    pub async fn write_grouped(
        &mut self,
        group: i64,
        fit: &Fit<'_>,
        row: &StagedRow,
        live: Option<&[RawKey]>,
        judgement: &Judgement,
    ) -> Result<(), DiffError> {
        let out = self.sink.row();
        out.extend_from_slice(group.to_string().as_bytes());
        out.push(b'\t');
        self.push(fit, row, live, judgement);
        self.sink.end_row().await
    }

    fn push(&mut self, fit: &Fit<'_>, row: &StagedRow, live: Option<&[RawKey]>, judgement: &Judgement) {
        if self.told.columns != judgement.columns {
            self.told = Told::of(fit, &judgement.columns);
        }
        let (told, out) = (&mut self.told, self.sink.row());
        for (at, &position) in fit.key.iter().enumerate() {
            if at > 0 {
                out.push(b'\t');
            }
            out.extend_from_slice(&row.fields[position]);
        }
        let truth = |at: usize| {
            let truth = judgement.truth.iter().rev().find(|(column, _)| *column == at);
            truth.map_or(&*row.fields[at], |(_, value)| &**value)
        };
        let (verdict, action) = (judgement.verdict.word(), judgement.action.word());
        for word in [verdict, action, judgement.evidence.word(), &judgement.reason] {
            push_field(out, false, Some(word.as_bytes()));
        }
        push_field(out, false, Some(&told.names));
        told.push(out, truth);
        match live {
            Some(live) => told.push(out, |at| &live[at]),
            None => push_field(out, false, None),
        }
        match row.aftermath.shown() {
            Some(fate @ Fate::Stayed(_)) => told.push(out, |at| fate.value(&row.fields, at).unwrap_or(NULL)),
            // The accident took it, or nothing tells.
            Some(Fate::Gone) | None => push_field(out, false, None),
        }
        match live.filter(|_| judgement.action == RowAction::Update && !self.itself.columns.is_empty()) {
            Some(live) => self.itself.push(out, |at| &live[at]),
            None => push_field(out, false, None),
        }
    }

    /// Puts the file in place.
    pub async fn finish(self) -> Result<StagedFile, DiffError> {
        match self.sink.finish().await? {
            Finished::Written(file) => Ok(file),
            // Keys are text or integers here, and both print back.
            Finished::Demote(_) => Err(DiffError::Unprintable),
        }
    }
}

fn diff_table(fit: &Fit<'_>) -> StagedTable {
    let mut columns: Vec<StagedColumn> = fit.key.iter().map(|&at| key_column(fit.columns[at].live)).collect();
    columns.extend(OWN_COLUMNS.iter().map(|name| StagedColumn {
        name: Ident::from(*name),
        pg_type: "text".into(),
        base_type: BaseType::Text,
    }));
    StagedTable { table: fit.live.name.clone(), columns, key: (0..fit.key.len()).collect() }
}

fn key_column(column: &Column) -> StagedColumn {
    let base_type = match column.base_type {
        integer @ (BaseType::Int2 | BaseType::Int4 | BaseType::Int8) => integer,
        _ => BaseType::Text,
    };
    StagedColumn { name: column.name.clone(), pg_type: column.type_name.clone(), base_type }
}

/// One row of a diff file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffRow {
    /// The key's values as text, in the order of the key's columns.
    pub key: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// What will be done.
    pub action: RowAction,
    /// How we know.
    pub evidence: String,
    /// One line.
    pub reason: String,
    /// The columns concerned.
    pub columns: Vec<Ident>,
    /// The true values of these columns: the backup's, or what `owner_from` gives.
    pub backup: Map<String, Value>,
    /// Live's values of these columns; `None` when the row is not in live.
    pub live: Option<Map<String, Value>>,
    /// What the accident left in these columns; `None` when nothing tells, or when it deleted the row.
    pub after: Option<Map<String, Value>>,
    /// Of a row to update, live's values that tell who it is; `None` where nothing does.
    pub itself: Option<Map<String, Value>>,
}

/// Reads a diff file, on a thread of its own some rows ahead.
pub struct DiffReader {
    rows: ReadAhead,
    table: TableName,
    keys: usize,
}

impl DiffReader {
    /// Opens a file of the diff directory.
    pub fn open(dir: &Path, file: &StagedFile) -> Result<Self, DiffError> {
        let keys = file.table.key.len();
        Ok(Self { rows: ReadAhead::open(dir, file)?, table: file.table.table.clone(), keys })
    }

    /// The next row; `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<DiffRow>, DiffError> {
        self.next_row_but(|_, _, _| false)
    }

    /// The next row about which there is something to say; equal rows, and rows that are written as a matter of course,
    /// are passed over.
    pub fn next_noted(&mut self) -> Result<Option<DiffRow>, DiffError> {
        self.next_row_but(|verdict, action, reason| {
            reason.is_empty() && (verdict == Verdict::Same || action.writes())
        })
    }

    fn next_row_but(
        &mut self,
        passes_over: impl Fn(Verdict, RowAction, &[u8]) -> bool,
    ) -> Result<Option<DiffRow>, DiffError> {
        let unreadable = |table: &TableName| DiffError::Unreadable { table: table.clone() };
        while let Some(row) = self.rows.next_row()? {
            let mut own = fields(row).skip(self.keys);
            let verdict = own.next().and_then(|word| Verdict::parse(std::str::from_utf8(word).ok()?));
            let action = own.next().and_then(|word| RowAction::parse(std::str::from_utf8(word).ok()?));
            let (Some(verdict), Some(action), Some(reason)) = (verdict, action, own.nth(1)) else {
                return Err(unreadable(&self.table));
            };
            if !passes_over(verdict, action, reason) {
                let found = parse(row, self.keys, (verdict, action));
                return found.map(Some).ok_or_else(|| unreadable(&self.table));
            }
        }
        Ok(None)
    }
}

/// A row of which verdict and action are known.
fn parse(row: &[u8], keys: usize, (verdict, action): (Verdict, RowAction)) -> Option<DiffRow> {
    let mut raw = fields(row);
    let key = raw.by_ref().take(keys).map(|field| text(field).unwrap_or_default()).collect();
    let own: Vec<&[u8]> = raw.collect();
    let [_, _, evidence, reason, columns, backup, live, after, itself] = <[&[u8]; 9]>::try_from(own).ok()?;
    // Most rows tell of no columns.
    let object = |field: &[u8]| match field {
        b"{}" => Some(Map::new()),
        _ => serde_json::from_str::<Map<String, Value>>(&text(field)?).ok(),
    };
    let perhaps = |field: &[u8]| if is_null(field) { Some(None) } else { object(field).map(Some) };
    Some(DiffRow {
        key,
        verdict,
        action,
        evidence: text(evidence)?,
        reason: text(reason).unwrap_or_default(),
        columns: match columns {
            b"[]" => Vec::new(),
            _ => serde_json::from_str(&text(columns)?).ok()?,
        },
        backup: object(backup)?,
        live: perhaps(live)?,
        after: perhaps(after)?,
        itself: perhaps(itself)?,
    })
}
