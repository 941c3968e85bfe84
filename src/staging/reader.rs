//! Reads staged rows back, whoever wrote the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::csv_read::CsvSource;
use super::parquet_read::ParquetSource;
use super::{CsvOptions, StagedFile, StagedTable, StagingError, StagingFormat};

/// Gives the rows of a staging file as COPY text, in the order of the file.
pub struct StagingReader {
    source: Source,
    path: PathBuf,
    rows: u64,
    /// Number of rows that the manifest promises.
    promised: Option<u64>,
}

enum Source {
    Parquet(Box<ParquetSource>),
    Csv(Box<CsvSource>),
}

impl StagingReader {
    /// Opens a file of the manifest. Its content is trusted up to the number of rows; `verify_sha256` checks all of it.
    pub fn open(dir: &Path, staged: &StagedFile) -> Result<Self, StagingError> {
        let options = CsvOptions { null_marker: staged.null_marker.clone() };
        let path = dir.join(&staged.file);
        Self::open_as(&path, staged.format, &staged.table, &options, Some(staged.rows))
    }

    /// Opens a file that a user edited or another program made. Columns are found by name, in any order. Text is taken
    /// for every type as PostgreSQL's own text; NULL in CSV is an empty field without quotes.
    pub fn open_file(path: &Path, table: &StagedTable) -> Result<Self, StagingError> {
        Self::open_file_with(path, table, &CsvOptions::default())
    }

    /// As [`StagingReader::open_file`], with another marker for NULL in CSV.
    pub fn open_file_with(
        path: &Path,
        table: &StagedTable,
        options: &CsvOptions,
    ) -> Result<Self, StagingError> {
        let format = format_of(path)?;
        Self::open_as(path, format, table, options, None)
    }

    /// Clears `row` and fills it with the next row, byte for byte as it was written; `false` at the end of the file.
    pub fn next_row(&mut self, row: &mut Vec<u8>) -> Result<bool, StagingError> {
        row.clear();
        let found = match &mut self.source {
            Source::Parquet(source) => source.next_row(row)?,
            Source::Csv(source) => source.next_row(row)?,
        };
        self.rows += u64::from(found);
        match self.promised {
            Some(manifest) if !found && self.rows != manifest || self.rows > manifest => {
                Err(StagingError::RowCount { path: self.path.clone(), manifest, found: self.rows })
            }
            _ => Ok(found),
        }
    }

    fn open_as(
        path: &Path,
        format: StagingFormat,
        table: &StagedTable,
        options: &CsvOptions,
        promised: Option<u64>,
    ) -> Result<Self, StagingError> {
        let source = match format {
            StagingFormat::Parquet => Source::Parquet(Box::new(ParquetSource::open(path, table)?)),
            StagingFormat::Csv => Source::Csv(Box::new(CsvSource::open(path, table, options)?)),
        };
        Ok(Self { source, path: path.to_owned(), rows: 0, promised })
    }
}

/// Parquet files say so in their first four bytes; else the extension decides.
fn format_of(path: &Path) -> Result<StagingFormat, StagingError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|source| StagingError::read(path, source))?;
    file.take(4).read_to_end(&mut start).map_err(|source| StagingError::read(path, source))?;
    let parquet = start == b"PAR1" || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
    Ok(if parquet { StagingFormat::Parquet } else { StagingFormat::Csv })
}

/// For each column of the table its position among the file's columns, or all that is wrong with these.
pub(super) fn column_order(
    path: &Path,
    table: &StagedTable,
    names: &[String],
) -> Result<Vec<usize>, StagingError> {
    let mut problems = Vec::new();
    let mut places = BTreeMap::new();
    for (place, name) in names.iter().enumerate() {
        if places.insert(name.as_str(), place).is_some() {
            problems.push(format!("column \"{name}\" is there twice"));
        }
    }
    let mut order = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        match places.remove(column.name.as_str()) {
            Some(place) => order.push(place),
            None => problems.push(format!("column \"{}\" is missing", column.name)),
        }
    }
    for name in places.into_keys() {
        let nearest = table
            .columns
            .iter()
            .map(|column| (strsim::jaro_winkler(name, column.name.as_str()), column.name.as_str()))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let nearest = nearest.map(|(_, column)| format!("; is \"{column}\" meant?")).unwrap_or_default();
        problems.push(format!("column \"{name}\" is unknown{nearest}"));
    }
    if problems.is_empty() {
        return Ok(order);
    }
    Err(StagingError::Columns { path: path.to_owned(), table: table.table.clone(), problems })
}
