//! Staging: rows of COPY text in, the very same rows out, through files that other programs can read. Parquet (the
//! default) gives a column a native type only when printing it again yields the same text for every value of the file;
//! otherwise the column is PostgreSQL's text. CSV always holds PostgreSQL's text. Never NULL for a value, never rounded.
//! Everything here blocks and is `Send`; memory is bounded by a batch of rows, whatever the table's size.

mod atomic;
mod csv_read;
mod csv_write;
mod encoder;
mod error;
mod file_name;
mod key_list;
mod manifest;
mod parquet_read;
mod parquet_write;
mod read_ahead;
mod reader;
mod writer;

use serde::{Deserialize, Serialize};

use crate::ident::{Ident, TableName};
use crate::value::BaseType;

pub use atomic::{AtomicFile, is_partial, make_directory, sweep_partial_files, write_atomic};
pub use error::StagingError;
pub use file_name::file_name;
pub use key_list::KeyList;
pub use manifest::{MANIFEST_FORMAT, Manifest, StagedFile, sha256_of, verify_sha256};
pub use read_ahead::ReadAhead;
pub use reader::StagingReader;
pub use writer::{Finished, StagingWriter};

/// How the files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StagingFormat {
    /// Apache Parquet, compressed with zstd.
    #[default]
    Parquet,
    /// CSV as PostgreSQL's `COPY … (FORMAT csv, HEADER)` writes it.
    Csv,
}

impl StagingFormat {
    /// The file name extension, without a point.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// What may be chosen about CSV.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CsvOptions {
    /// The unquoted text that stands for NULL; empty by default. The same text in quotes is always a value. Must not
    /// contain a comma, a quote or a line break.
    pub null_marker: String,
}

/// A column as staging sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedColumn {
    /// Its name.
    pub name: Ident,
    /// Its type as `format_type()` prints it: `numeric(12,2)`, `app.tier`, `integer[]`.
    pub pg_type: String,
    /// What decides about its Arrow type; domains are resolved to their base type.
    pub base_type: BaseType,
}

/// A table as staging sees it: the fields of a row in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedTable {
    /// The table the rows belong to.
    pub table: TableName,
    /// Its columns, in the order of the fields of a row.
    pub columns: Vec<StagedColumn>,
    /// Positions in `columns` of the key, in the order of the key.
    pub key: Vec<usize>,
}
