//! The diff file of a table: one row for each staged row, in the same order, for people to query and for the plan to
//! read.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::DiffError;
use super::drift::Fit;
use super::judge::Judgement;
use super::lookup::{StagedRow, text};
use super::verdict::{RowAction, Verdict};
use crate::catalog::Column;
use crate::ident::{Ident, TableName};
use crate::staging::{
    Finished, StagedColumn, StagedFile, StagedTable, StagingFormat, StagingReader, StagingWriter,
};
use crate::value::BaseType;
use crate::value::copy_text::{fields, push_field};

const OWN_COLUMNS: [&str; 8] = [
    "rowback_verdict",
    "rowback_action",
    "rowback_evidence",
    "rowback_reason",
    "rowback_columns",
    "rowback_backup",
    "rowback_live",
    "rowback_after",
];

/// Writes a diff file.
pub struct DiffWriter {
    writer: StagingWriter,
    row: Vec<u8>,
}

impl DiffWriter {
    /// `<dir>/<schema>.<table>.parquet`: the key, then verdict, action, evidence, reason, the columns concerned, and the
    /// backup's and live's values of them as JSON, with those that the accident left where something tells.
    pub fn create(dir: &Path, fit: &Fit<'_>, format: StagingFormat) -> Result<Self, DiffError> {
        let table = diff_table(fit);
        Ok(Self { writer: StagingWriter::create(dir, format, &table, &BTreeSet::new())?, row: Vec::new() })
    }

    /// As [`DiffWriter::create`], with the number of a group before the key.
    pub fn create_grouped(dir: &Path, fit: &Fit<'_>, format: StagingFormat) -> Result<Self, DiffError> {
        let mut table = diff_table(fit);
        let group = Ident::from("rowback_group");
        table
            .columns
            .insert(0, StagedColumn { name: group, pg_type: "bigint".into(), base_type: BaseType::Int8 });
        table.key = (0..=fit.key.len()).collect();
        Ok(Self { writer: StagingWriter::create(dir, format, &table, &BTreeSet::new())?, row: Vec::new() })
    }

    /// Adds one row.
    pub fn write(
        &mut self,
        fit: &Fit<'_>,
        row: &StagedRow,
        live: Option<&[Box<[u8]>]>,
        judgement: &Judgement,
    ) -> Result<(), DiffError> {
        self.row.clear();
        self.push(fit, row, live, judgement)
    }

    /// Adds one row of a group, to a file that was created with groups.
    pub fn write_grouped(
        &mut self,
        group: i64,
        fit: &Fit<'_>,
        row: &StagedRow,
        live: Option<&[Box<[u8]>]>,
        judgement: &Judgement,
    ) -> Result<(), DiffError> {
        self.row.clear();
        self.row.extend_from_slice(group.to_string().as_bytes());
        self.row.push(b'\t');
        self.push(fit, row, live, judgement)
    }

    fn push(
        &mut self,
        fit: &Fit<'_>,
        row: &StagedRow,
        live: Option<&[Box<[u8]>]>,
        judgement: &Judgement,
    ) -> Result<(), DiffError> {
        for (at, &position) in fit.key.iter().enumerate() {
            if at > 0 {
                self.row.push(b'\t');
            }
            self.row.extend_from_slice(&row.fields[position]);
        }
        let names: Vec<&str> =
            judgement.columns.iter().map(|&at| fit.columns[at].live.name.as_str()).collect();
        let values = |fields: &[Box<[u8]>]| {
            let pairs = judgement.columns.iter().map(|&at| {
                let value = text(&fields[at]).map_or(Value::Null, Value::String);
                (fit.columns[at].live.name.as_str().to_owned(), value)
            });
            Value::Object(pairs.collect::<Map<_, _>>()).to_string()
        };
        let mut truth = row.fields.clone();
        for (column, value) in &judgement.truth {
            truth[*column].clone_from(value);
        }
        let after = row.aftermath.shown().and_then(|fate| {
            (0..row.fields.len())
                .map(|at| fate.value(&row.fields, at).map(Box::from))
                .collect::<Option<Vec<_>>>()
        });
        let own = [
            Some(judgement.verdict.word().to_owned()),
            Some(judgement.action.word().to_owned()),
            Some(judgement.evidence.word().to_owned()),
            Some(judgement.reason.clone()),
            Some(Value::from(names).to_string()),
            Some(values(&truth)),
            live.map(values),
            after.map(|after| values(&after)),
        ];
        for value in &own {
            push_field(&mut self.row, false, value.as_deref().map(str::as_bytes));
        }
        Ok(self.writer.write_row(&self.row)?)
    }

    /// Puts the file in place.
    pub fn finish(self) -> Result<StagedFile, DiffError> {
        match self.writer.finish()? {
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
}

/// Reads a diff file.
pub struct DiffReader {
    reader: StagingReader,
    table: TableName,
    keys: usize,
    row: Vec<u8>,
}

impl DiffReader {
    /// Opens a file of the diff directory.
    pub fn open(dir: &Path, file: &StagedFile) -> Result<Self, DiffError> {
        let keys = file.table.key.len();
        let table = file.table.table.clone();
        Ok(Self { reader: StagingReader::open(dir, file)?, table, keys, row: Vec::new() })
    }

    /// The next row; `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<DiffRow>, DiffError> {
        if !self.reader.next_row(&mut self.row)? {
            return Ok(None);
        }
        let values: Vec<Option<String>> = fields(&self.row).map(text).collect();
        self.parse(values).map(Some).ok_or_else(|| DiffError::Unreadable { table: self.table.clone() })
    }

    fn parse(&self, mut values: Vec<Option<String>>) -> Option<DiffRow> {
        let own = values.split_off(self.keys);
        let [verdict, action, evidence, reason, columns, backup, live, after] =
            <[Option<String>; 8]>::try_from(own).ok()?;
        let object = |text: String| serde_json::from_str::<Map<String, Value>>(&text).ok();
        Some(DiffRow {
            key: values.into_iter().map(Option::unwrap_or_default).collect(),
            verdict: Verdict::parse(&verdict?)?,
            action: RowAction::parse(&action?)?,
            evidence: evidence?,
            reason: reason.unwrap_or_default(),
            columns: serde_json::from_str(&columns?).ok()?,
            backup: object(backup?)?,
            live: match live {
                Some(text) => Some(object(text)?),
                None => None,
            },
            after: match after {
                Some(text) => Some(object(text)?),
                None => None,
            },
        })
    }
}
