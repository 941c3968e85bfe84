//! Writes the rows of one table to one file, or finds out which columns must be text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::csv_write::{CsvFailure, CsvSink};
use super::parquet_write::ParquetSink;
use super::{CsvOptions, StagedFile, StagedTable, StagingError, StagingFormat, file_name};
use crate::value::copy_text;

/// Takes COPY rows of one table. Dropping it unfinished leaves nothing on disk.
pub struct StagingWriter {
    table: StagedTable,
    format: StagingFormat,
    null_marker: String,
    file: String,
    path: PathBuf,
    text_columns: BTreeSet<usize>,
    unfit: BTreeSet<usize>,
    rows: u64,
    sink: Sink,
}

enum Sink {
    Parquet(Box<ParquetSink>),
    Csv(Box<CsvSink>),
}

/// What became of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// The file is there.
    Written(StagedFile),
    /// Some values would not print back from their column's native type. Nothing is on disk; write all rows again with
    /// exactly these columns as text. All rows were looked at, so once is enough.
    Demote(BTreeSet<usize>),
}

impl StagingWriter {
    /// Begins `<dir>/<schema>.<table>.parquet` (or `.csv`) under a temporary name. Columns at the positions
    /// `text_columns` are kept as text whatever their type.
    pub fn create(
        dir: &Path,
        format: StagingFormat,
        table: &StagedTable,
        text_columns: &BTreeSet<usize>,
    ) -> Result<Self, StagingError> {
        Self::create_with(dir, format, table, text_columns, &CsvOptions::default())
    }

    /// As [`StagingWriter::create`], with another marker for NULL in CSV.
    pub fn create_with(
        dir: &Path,
        format: StagingFormat,
        table: &StagedTable,
        text_columns: &BTreeSet<usize>,
        options: &CsvOptions,
    ) -> Result<Self, StagingError> {
        if table.columns.is_empty() {
            return Err(StagingError::NoColumns { table: table.table.clone() });
        }
        if options.null_marker.contains(['"', ',', '\n', '\r']) {
            return Err(StagingError::NullMarker { marker: options.null_marker.clone() });
        }
        let file = file_name(&table.table, format);
        let path = dir.join(&file);
        let sink = match format {
            StagingFormat::Parquet => {
                Sink::Parquet(Box::new(ParquetSink::create(&path, table, text_columns)?))
            }
            StagingFormat::Csv => {
                let sink = CsvSink::create(&path, table, options);
                Sink::Csv(Box::new(sink.map_err(|source| StagingError::write(&path, 0, source))?))
            }
        };
        let null_marker = match format {
            StagingFormat::Csv => options.null_marker.clone(),
            StagingFormat::Parquet => String::new(),
        };
        Ok(Self {
            table: table.clone(),
            format,
            null_marker,
            file,
            path,
            text_columns: text_columns.clone(),
            unfit: BTreeSet::new(),
            rows: 0,
            sink,
        })
    }

    /// Takes one line of COPY text without its newline. After an error the writer is of no more use.
    pub fn write_row(&mut self, row: &[u8]) -> Result<(), StagingError> {
        let fields = memchr::memchr_iter(b'\t', row).count() + 1;
        if fields != self.table.columns.len() {
            return Err(self.bad_row(format!("{fields} fields for {} columns", self.table.columns.len())));
        }
        match &mut self.sink {
            Sink::Parquet(sink) => sink.write_row(&self.table, row, &mut self.unfit)?,
            Sink::Csv(sink) => {
                if std::str::from_utf8(row).is_err() {
                    return Err(self.bad_encoding(row));
                }
                match sink.write_row(row) {
                    Ok(()) => {}
                    Err(CsvFailure::Io(source)) => {
                        return Err(StagingError::write(&self.path, self.rows, source));
                    }
                    Err(CsvFailure::Spelling(position)) => {
                        let name = &self.table.columns[position].name;
                        let problem =
                            format!("the field of column \"{name}\" is not spelled as COPY TO spells it");
                        return Err(self.bad_row(problem));
                    }
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Number of rows taken so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives the file its name, or says which columns must be text.
    pub fn finish(self) -> Result<Finished, StagingError> {
        let committed = match self.sink {
            Sink::Parquet(sink) => sink.commit(&self.table)?,
            Sink::Csv(sink) => {
                Some(sink.commit().map_err(|source| StagingError::write(&self.path, self.rows, source))?)
            }
        };
        let Some((bytes, sha256)) = committed else {
            return Ok(Finished::Demote(self.text_columns.union(&self.unfit).copied().collect()));
        };
        Ok(Finished::Written(StagedFile {
            file: self.file,
            table: self.table,
            format: self.format,
            rows: self.rows,
            bytes,
            sha256,
            text_columns: self.text_columns.into_iter().collect(),
            null_marker: self.null_marker,
        }))
    }

    fn bad_row(&self, problem: String) -> StagingError {
        StagingError::Row { table: self.table.table.clone(), row: self.rows + 1, problem }
    }

    fn bad_encoding(&self, row: &[u8]) -> StagingError {
        let mut fields = copy_text::fields(row).zip(&self.table.columns);
        let column = fields.find(|(field, _)| std::str::from_utf8(field).is_err());
        StagingError::Encoding {
            table: self.table.table.clone(),
            column: column.map(|(_, column)| column.name.to_string()).unwrap_or_default(),
            first_row: self.rows + 1,
            last_row: self.rows + 1,
        }
    }
}
