//! Parquet into COPY rows, one row group and in it one batch at a time. Columns are found by name; which Arrow types are
//! taken is decided in `value`. Never reads a whole file into memory.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use arrow_array::new_empty_array;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::reader::column_order;
use super::{StagedTable, StagingError};
use crate::value::ColumnValues;
use crate::value::native::accepted_types;

const BATCH_ROWS: i64 = 4_096;
const BATCH_BYTES: i64 = 8 << 20;

/// Turns the rows of a Parquet file into COPY text.
pub(super) struct ParquetSource {
    path: PathBuf,
    table: StagedTable,
    file: File,
    metadata: ArrowReaderMetadata,
    /// For each column of the table its position in the file.
    order: Vec<usize>,
    next_group: usize,
    batches: Option<ParquetRecordBatchReader>,
    columns: Vec<ColumnValues>,
    batch_rows: usize,
    /// Next row of the batch.
    at: usize,
    rows: u64,
}

impl ParquetSource {
    pub(super) fn open(path: &Path, table: &StagedTable) -> Result<Self, StagingError> {
        let file = File::open(path).map_err(|source| StagingError::read(path, source))?;
        // Only the Parquet types count: the Arrow schema that a writer embedded may ask for representations
        // (dictionaries, views, large offsets) that make no difference to the values.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata =
            ArrowReaderMetadata::load(&file, options).map_err(|e| StagingError::decode(path, e))?;
        let names: Vec<String> =
            metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
        let order = column_order(path, table, &names)?;
        let source = Self {
            path: path.to_owned(),
            table: table.clone(),
            file,
            metadata,
            order,
            next_group: 0,
            batches: None,
            columns: Vec::new(),
            batch_rows: 0,
            at: 0,
            rows: 0,
        };
        source.check_types()?;
        Ok(source)
    }

    /// Appends the next row; `false` at the end of the file.
    pub(super) fn next_row(&mut self, row: &mut Vec<u8>) -> Result<bool, StagingError> {
        while self.at >= self.batch_rows {
            if !self.next_batch()? {
                return Ok(false);
            }
        }
        for (position, column) in self.columns.iter().enumerate() {
            if position > 0 {
                row.push(b'\t');
            }
            column.print(self.at, row).map_err(|source| StagingError::Value {
                path: self.path.clone(),
                row: self.rows + 1,
                column: self.table.columns[position].name.to_string(),
                pg_type: self.table.columns[position].pg_type.clone(),
                source,
            })?;
        }
        self.at += 1;
        self.rows += 1;
        Ok(true)
    }

    fn check_types(&self) -> Result<(), StagingError> {
        let fields = self.metadata.schema().fields();
        for (column, &place) in self.table.columns.iter().zip(&self.order) {
            let found = fields[place].data_type();
            if ColumnValues::new(column.base_type, &new_empty_array(found)).is_none() {
                return Err(StagingError::ColumnType {
                    path: self.path.clone(),
                    column: column.name.to_string(),
                    pg_type: column.pg_type.clone(),
                    found: found.to_string(),
                    accepted: accepted_types(column.base_type),
                });
            }
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<bool, StagingError> {
        loop {
            if let Some(batches) = &mut self.batches {
                let next = contained(|| batches.next().transpose().map_err(ParquetError::from));
                if let Some(batch) = next.map_err(|source| StagingError::decode(&self.path, source))? {
                    let values = self.table.columns.iter().zip(&self.order);
                    let values =
                        values.map(|(column, &at)| ColumnValues::new(column.base_type, batch.column(at)));
                    self.columns = values.collect::<Option<_>>().ok_or_else(|| self.changed())?;
                    (self.batch_rows, self.at) = (batch.num_rows(), 0);
                    return Ok(true);
                }
                self.batches = None;
            }
            if self.next_group >= self.metadata.metadata().num_row_groups() {
                return Ok(false);
            }
            self.batches = Some(self.open_group(self.next_group)?);
            self.next_group += 1;
        }
    }

    fn open_group(&self, group: usize) -> Result<ParquetRecordBatchReader, StagingError> {
        let file = self.file.try_clone().map_err(|source| StagingError::read(&self.path, source))?;
        let meta = self.metadata.metadata().row_group(group);
        // A row group of few large values must not become one large batch.
        let row_bytes = (meta.total_byte_size() / meta.num_rows().max(1)).max(1);
        let batch_rows = usize::try_from((BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS)).unwrap_or(1);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(batch_rows);
        contained(|| builder.build()).map_err(|source| StagingError::decode(&self.path, source))
    }

    /// The reader gave arrays of other types than the file's schema promised.
    fn changed(&self) -> StagingError {
        let problem = "a batch has other types than the file's schema".to_owned();
        StagingError::Corrupt { path: self.path.clone(), source: ParquetError::General(problem) }
    }
}

/// Runs a piece of the Parquet library, which panics on some damaged files (59.3: a length beyond the page). The file
/// is read no further after that, so no half-changed state is looked at.
fn contained<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|cause| {
        let cause =
            cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        Err(ParquetError::General(format!("the file is damaged: {}", cause.unwrap_or("cause unknown"))))
    })
}
