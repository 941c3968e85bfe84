//! Takes a staging file as it is now: edited by a user, or made from another source. Reads it whole, changes nothing.

use std::path::Path;

use super::{CsvOptions, StagedFile, StagedTable, StagingError, StagingFormat, StagingReader, sha256_of};

/// Checks every row of `<dir>/<file>` against the table's columns and describes the file as a manifest does.
pub fn adopt(
    dir: &Path,
    file: &str,
    table: &StagedTable,
    options: &CsvOptions,
) -> Result<StagedFile, StagingError> {
    let path = dir.join(file);
    let mut reader = StagingReader::open_file_with(&path, table, options)?;
    let (mut rows, mut row) = (0, Vec::new());
    while reader.next_row(&mut row)? {
        rows += 1;
    }
    let (sha256, bytes) = sha256_of(&path).map_err(|source| StagingError::read(&path, source))?;
    let format = reader.format();
    Ok(StagedFile {
        file: file.to_owned(),
        table: table.clone(),
        format,
        rows,
        bytes,
        sha256,
        text_columns: reader.text_columns(),
        null_marker: match format {
            StagingFormat::Csv => options.null_marker.clone(),
            StagingFormat::Parquet => String::new(),
        },
    })
}
