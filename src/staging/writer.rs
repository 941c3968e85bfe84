//! Writes the rows of one table to one file, or finds out which columns must be text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::csv_write::{CsvFailure, CsvSink};
use super::manifest::HashedFile;
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
        let created = HashedFile::create(&path).map_err(|source| StagingError::write(&path, 0, source))?;
        let sink = sink_over(created, &path, format, table, text_columns, options)?;
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

fn sink_over(
    file: HashedFile,
    path: &Path,
    format: StagingFormat,
    table: &StagedTable,
    text_columns: &BTreeSet<usize>,
    options: &CsvOptions,
) -> Result<Sink, StagingError> {
    Ok(match format {
        StagingFormat::Parquet => Sink::Parquet(Box::new(ParquetSink::new(path, file, table, text_columns)?)),
        StagingFormat::Csv => {
            let sink = CsvSink::new(file, table, options);
            Sink::Csv(Box::new(sink.map_err(|source| StagingError::write(path, 0, source))?))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Explain, Kind};
    use crate::ident::{Ident, TableName};
    use crate::staging::StagedColumn;
    use crate::value::BaseType;

    /// A disk that is full from the first byte that reaches it.
    #[test]
    fn a_full_disk_says_how_far_it_came_and_leaves_nothing() {
        let column =
            StagedColumn { name: Ident::new("a"), pg_type: "bigint".into(), base_type: BaseType::Int8 };
        let table = StagedTable { table: TableName::new("public", "t"), columns: vec![column], key: vec![0] };
        for format in [StagingFormat::Parquet, StagingFormat::Csv] {
            let dir = tempfile::tempdir().unwrap();
            let none = BTreeSet::new();
            let mut writer = StagingWriter::create(dir.path(), format, &table, &none).unwrap();
            let full = HashedFile::onto_full_disk(&writer.path);
            writer.sink =
                sink_over(full, &writer.path, format, &table, &none, &CsvOptions::default()).unwrap();
            let mut written = Ok(());
            for n in 0..1_000_000_u64 {
                written = writer
                    .write_row(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).leading_ones().to_string().as_bytes());
                if written.is_err() {
                    break;
                }
            }
            let error = written.and_then(|()| writer.finish()).unwrap_err();
            assert_eq!((error.code(), error.kind()), ("staging-disk-full", Kind::Stopped));
            let StagingError::DiskFull { rows, .. } = &error else { panic!("{error:?}") };
            assert!(*rows > 0 && error.to_string().contains(&format!("after {rows} rows")), "{error}");
            assert_eq!(error.causes(), ["No space left on device (os error 28)"]);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
