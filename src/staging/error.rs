//! What can go wrong with staging files, and what to do about it. Row values never appear in a message.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

use crate::error::{Explain, Kind, is_disk_full};
use crate::ident::TableName;
use crate::value::PrintError;

/// An error of the staging stage.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named as in the messages beside them")]
pub enum StagingError {
    /// The file system has no room for the file.
    #[error("no space left for {} after {rows} rows", path.display())]
    DiskFull { path: PathBuf, rows: u64, source: io::Error },
    /// The file cannot be written for another reason.
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is no Parquet file, or a damaged one.
    #[error("{} is no readable Parquet file", path.display())]
    Corrupt { path: PathBuf, source: ParquetError },
    /// `manifest.json` is no manifest.
    #[error("{} is no readable staging manifest", path.display())]
    ManifestSyntax { path: PathBuf, source: serde_json::Error },
    /// `manifest.json` was written by another version of rowback.
    #[error("{} has format {found}, this version reads format {expected}", path.display())]
    ManifestFormat { path: PathBuf, found: u32, expected: u32 },
    /// The file's columns are not the table's columns.
    #[error("the columns of {} are not those of {table}", path.display())]
    Columns { path: PathBuf, table: TableName, problems: Vec<String> },
    /// A column of the file has a type that its PostgreSQL type cannot be read from.
    #[error("column \"{column}\" of {} has the wrong type", path.display())]
    ColumnType { path: PathBuf, column: String, pg_type: String, found: String, accepted: &'static str },
    /// A CSV file breaks the rules of CSV.
    #[error("{} is no valid CSV at line {line}", path.display())]
    CsvSyntax { path: PathBuf, line: u64, problem: String },
    /// A value of the file is none of its column's type.
    #[error("row {row}, column \"{column}\" of {} cannot be taken", path.display())]
    Value { path: PathBuf, row: u64, column: String, pg_type: String, source: PrintError },
    /// The file is not the one that the manifest describes.
    #[error("{} is not the file that was staged", path.display())]
    Checksum { path: PathBuf, manifest: String, found: String },
    /// The file ends before or after the number of rows that the manifest gives.
    #[error("{} holds {found} rows, the manifest says {manifest}", path.display())]
    RowCount { path: PathBuf, manifest: u64, found: u64 },
    /// Text that is no UTF-8: the backup's database has the encoding SQL_ASCII.
    #[error("column \"{column}\" of {table} holds bytes that are no UTF-8")]
    Encoding { table: TableName, column: String, first_row: u64, last_row: u64 },
    /// A marker for NULL that would break the file.
    #[error("{marker:?} cannot stand for NULL in a CSV file")]
    NullMarker { marker: String },
    /// A table without columns has no rows that could be told apart.
    #[error("{table} has no columns to stage")]
    NoColumns { table: TableName },
    /// A stage handed over something that is no row of the table.
    #[error("row {row} for {table} is no COPY row of that table")]
    Row { table: TableName, row: u64, problem: String },
    /// The Parquet library refused what we gave it.
    #[error("cannot encode {}", path.display())]
    Encode { path: PathBuf, source: ParquetError },
}

impl StagingError {
    /// A failed write; tells a full disk from other reasons.
    pub(super) fn write(path: &Path, rows: u64, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_disk_full(&source) {
            Self::DiskFull { path, rows, source }
        } else {
            Self::Write { path, source }
        }
    }

    /// A failure of the Parquet writer, which may hide a failed write.
    pub(super) fn encode(path: &Path, rows: u64, source: ParquetError) -> Self {
        match io_error_of(&source) {
            Some(error) => Self::write(path, rows, error),
            None => Self::Encode { path: path.to_owned(), source },
        }
    }

    /// A failure of the Parquet reader, which may hide a failed read.
    pub(super) fn decode(path: &Path, source: ParquetError) -> Self {
        match io_error_of(&source) {
            Some(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Self::Read { path: path.to_owned(), source: error }
            }
            _ => Self::Corrupt { path: path.to_owned(), source },
        }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }
}

/// The I/O error inside a Parquet error, as a new error of the same kind and text (errors cannot be cloned).
fn io_error_of(error: &ParquetError) -> Option<io::Error> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io_error) = error.downcast_ref::<io::Error>() {
            return Some(match io_error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::new(io_error.kind(), io_error.to_string()),
            });
        }
        // `External` hides its content from `source()` in some versions.
        source = match error.downcast_ref::<ParquetError>() {
            Some(ParquetError::External(inner)) => Some(inner.as_ref()),
            _ => error.source(),
        };
    }
    None
}

impl Explain for StagingError {
    fn code(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "staging-disk-full",
            Self::Write { .. } => "staging-not-writable",
            Self::Read { .. } => "staging-not-readable",
            Self::Corrupt { .. } => "staging-corrupt",
            Self::ManifestSyntax { .. } => "staging-manifest-corrupt",
            Self::ManifestFormat { .. } => "staging-manifest-format",
            Self::Columns { .. } => "staging-columns",
            Self::ColumnType { .. } => "staging-column-type",
            Self::CsvSyntax { .. } => "staging-csv-syntax",
            Self::Value { .. } => "staging-value",
            Self::Checksum { .. } => "staging-edited",
            Self::RowCount { .. } => "staging-row-count",
            Self::Encoding { .. } => "staging-encoding",
            Self::NullMarker { .. } => "staging-null-marker",
            Self::NoColumns { .. } => "staging-no-columns",
            Self::Row { .. } => "staging-bad-row",
            Self::Encode { .. } => "staging-encode",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::DiskFull { .. } | Self::Write { .. } => Kind::Stopped,
            Self::Checksum { .. } | Self::RowCount { .. } | Self::NoColumns { .. } => Kind::Refused,
            Self::NullMarker { .. } => Kind::Usage,
            Self::Row { .. } | Self::Encode { .. } => Kind::Bug,
            Self::Read { .. }
            | Self::Corrupt { .. }
            | Self::ManifestSyntax { .. }
            | Self::ManifestFormat { .. }
            | Self::Columns { .. }
            | Self::ColumnType { .. }
            | Self::CsvSyntax { .. }
            | Self::Value { .. }
            | Self::Encoding { .. } => Kind::Input,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::DiskFull { source, .. } | Self::Write { source, .. } | Self::Read { source, .. } => {
                vec![source.to_string()]
            }
            Self::Corrupt { source, .. } | Self::Encode { source, .. } => vec![source.to_string()],
            Self::ManifestSyntax { source, .. } => vec![source.to_string()],
            Self::Columns { problems, .. } => problems.clone(),
            Self::ColumnType { pg_type, found, accepted, .. } => {
                vec![format!("the file has {found}; for {pg_type} it may be {accepted}")]
            }
            Self::CsvSyntax { problem, .. } | Self::Row { problem, .. } => vec![problem.clone()],
            Self::Value { pg_type, source, .. } => vec![format!("{source} ({pg_type})")],
            Self::Checksum { manifest, found, .. } => {
                vec![
                    format!("SHA-256 in the manifest: {manifest}"),
                    format!("SHA-256 of the file:     {found}"),
                ]
            }
            Self::Encoding { first_row, last_row, .. } if first_row == last_row => {
                vec![format!("row {first_row}")]
            }
            Self::Encoding { first_row, last_row, .. } => {
                vec![format!("at least one of the rows {first_row} to {last_row}")]
            }
            Self::ManifestFormat { .. }
            | Self::RowCount { .. }
            | Self::NullMarker { .. }
            | Self::NoColumns { .. } => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::DiskFull { .. } => {
                "Free some space and run the same command again. The unfinished file was removed; live was not touched."
            }
            Self::Write { .. } => {
                "Make the directory writable and run the same command again. No unfinished file was left; live was not touched."
            }
            Self::Read { .. } => "Make the file readable, or write it again with `rowback extract`. Nothing was changed.",
            Self::Corrupt { .. } => {
                "Write the file again with `rowback extract`, or with the program that made it. Nothing was changed."
            }
            Self::ManifestSyntax { .. } | Self::ManifestFormat { .. } => {
                "Write staging again with `rowback extract`. Nothing was changed."
            }
            Self::Columns { .. } => {
                "Columns are found by name, in any order; each column of the table must be there once, and no other. Nothing was changed."
            }
            Self::ColumnType { .. } | Self::Value { .. } => {
                "Correct the file; a text column with values as PostgreSQL prints them is always taken. Nothing was changed."
            }
            Self::CsvSyntax { .. } => {
                "Correct the line: comma between fields, values with commas, quotes or line breaks in double quotes, quotes inside doubled, UTF-8. Nothing was changed."
            }
            Self::Checksum { .. } | Self::RowCount { .. } => {
                "If the file was edited on purpose, run `rowback diff` again to take it as it is now; otherwise write it again with `rowback extract`. A case that was applied takes the file only as it was: put that back, `rowback undo` goes without it. Nothing was changed."
            }
            Self::Encoding { .. } => {
                "The backup's database does not know its encoding (SQL_ASCII): bring these rows back by hand. Nothing was changed."
            }
            Self::NullMarker { .. } => "Choose a marker without comma, quote or line break. Nothing was changed.",
            Self::NoColumns { .. } => "Leave the table out of the recipe. Nothing was changed.",
            Self::Row { .. } | Self::Encode { .. } => {
                "This is a bug of rowback; please report it with this message. Live was not touched."
            }
        }
        .to_owned()
    }
}
