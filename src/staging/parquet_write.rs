//! COPY rows into Parquet: fields into one builder per column, builders into batches, batches into row groups that are
//! bounded by rows and by bytes. The same rows give the same bytes: no clock, no random, no version in the file.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::encoder::Encoder;
use super::manifest::HashedFile;
use super::{StagedTable, StagingError};
use crate::value::{ColumnBuilder, Misfit, copy_text};

/// Rows and bytes of COPY text per Arrow batch, and per row group.
const BATCH_ROWS: u64 = 8_192;
const BATCH_BYTES: usize = 4 << 20;
const GROUP_ROWS: u64 = 128 * 1_024;
const GROUP_BYTES: usize = 32 << 20;

/// What a column's dictionary of a row group may take.
const DICTIONARY_BYTES: usize = 64 << 10;

/// Kept constant so that equal rows give equal bytes across versions; the format number is in `rowback.format`.
const CREATED_BY: &str = "rowback version 1 (build 1)";

/// Writes rows, or only checks them once a value did not fit its column's native type.
#[derive(Debug)]
pub(super) struct ParquetSink {
    path: PathBuf,
    schema: SchemaRef,
    /// `None`: the column was found unfit and is looked at no more.
    columns: Vec<Option<ColumnBuilder>>,
    /// `None`: only checking.
    writer: Option<Encoder>,
    rows: u64,
    batch_rows: u64,
    batch_bytes: usize,
    group_rows: u64,
    group_bytes: usize,
}

impl ParquetSink {
    /// Writes to `file`, which will be at `path`.
    pub(super) fn new(
        path: &Path,
        file: HashedFile,
        table: &StagedTable,
        text_columns: &BTreeSet<usize>,
    ) -> Result<Self, StagingError> {
        let columns: Vec<ColumnBuilder> = table
            .columns
            .iter()
            .enumerate()
            .map(|(position, column)| {
                let text = text_columns.contains(&position);
                if text { ColumnBuilder::text() } else { ColumnBuilder::native(column.base_type) }
            })
            .collect();
        let encode = |source| StagingError::encode(path, 0, source);
        let entries = entries_of(table).map_err(encode)?;
        let schema = Arc::new(schema_of(table, &columns, &entries));
        let properties = properties(&entries).map_err(encode)?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(encode)?;
        Ok(Self {
            path: path.to_owned(),
            schema,
            columns: columns.into_iter().map(Some).collect(),
            writer: Some(Encoder::new(writer)),
            rows: 0,
            batch_rows: 0,
            batch_bytes: 0,
            group_rows: 0,
            group_bytes: 0,
        })
    }

    /// Takes one row whose number of fields is right. New unfit columns are added to `unfit`.
    pub(super) fn write_row(
        &mut self,
        table: &StagedTable,
        row: &[u8],
        unfit: &mut BTreeSet<usize>,
    ) -> Result<(), StagingError> {
        for (position, field) in copy_text::fields(row).enumerate() {
            let Some(Some(column)) = self.columns.get_mut(position) else { continue };
            match column.push(field) {
                Ok(()) => {}
                Err(Misfit::Native) => {
                    unfit.insert(position);
                    self.columns[position] = None;
                    // Dropping the writer removes its file.
                    self.writer = None;
                }
                Err(Misfit::Spelling) => {
                    let name = &table.columns[position].name;
                    let problem =
                        format!("the field of column \"{name}\" is not spelled as COPY TO spells it");
                    return Err(StagingError::Row {
                        table: table.table.clone(),
                        row: self.rows + 1,
                        problem,
                    });
                }
            }
        }
        self.rows += 1;
        self.batch_rows += 1;
        self.batch_bytes += row.len();
        if self.batch_rows >= BATCH_ROWS || self.batch_bytes >= BATCH_BYTES {
            self.end_batch(table, false)?;
        }
        Ok(())
    }

    fn end_batch(&mut self, table: &StagedTable, is_last: bool) -> Result<(), StagingError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, name) in self.columns.iter_mut().zip(&table.columns) {
            let Some(column) = column else { continue };
            let array = column.finish().map_err(|_source| StagingError::Encoding {
                table: table.table.clone(),
                column: name.name.to_string(),
                first_row: self.rows - self.batch_rows + 1,
                last_row: self.rows,
            })?;
            arrays.push(array);
        }
        self.group_rows += std::mem::take(&mut self.batch_rows);
        self.group_bytes += std::mem::take(&mut self.batch_bytes);
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let ends_group = self.group_rows >= GROUP_ROWS || self.group_bytes >= GROUP_BYTES;
        if ends_group {
            (self.group_rows, self.group_bytes) = (0, 0);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(ParquetError::from);
        let written = batch.and_then(|batch| {
            if is_last { writer.last(batch).map(|()| writer) } else { writer.push(batch, ends_group) }
        });
        let writer = written.map_err(|source| StagingError::encode(&self.path, self.rows, source))?;
        self.writer = Some(writer);
        Ok(())
    }

    /// Size and SHA-256 of the finished file; `None` when rows were only checked at the end.
    pub(super) fn commit(mut self, table: &StagedTable) -> Result<Option<(u64, String)>, StagingError> {
        if self.batch_rows > 0 {
            self.end_batch(table, true)?;
        }
        let Some(writer) = self.writer else { return Ok(None) };
        let file = writer.finish().map_err(|source| StagingError::encode(&self.path, self.rows, source))?;
        let committed = file.commit().map_err(|source| StagingError::write(&self.path, self.rows, source))?;
        Ok(Some(committed))
    }
}

/// The metadata is in the Arrow schema for readers that go by it, and the table's in the Parquet file for the others.
fn schema_of(table: &StagedTable, columns: &[ColumnBuilder], entries: &[(&str, String)]) -> Schema {
    let field = |(column, builder): (&super::StagedColumn, &ColumnBuilder)| {
        Field::new(column.name.as_str(), builder.data_type(), true).with_metadata(HashMap::from([
            ("rowback.pg_type".to_owned(), column.pg_type.clone()),
            ("rowback.encoding".to_owned(), encoding_of(builder).to_owned()),
        ]))
    };
    let metadata = entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Schema::new_with_metadata(table.columns.iter().zip(columns).map(field).collect::<Vec<_>>(), metadata)
}

fn encoding_of(builder: &ColumnBuilder) -> &'static str {
    if builder.is_text() { "text" } else { "native" }
}

/// What the file says about its table.
fn entries_of(table: &StagedTable) -> Result<[(&'static str, String); 3], ParquetError> {
    let key: Vec<&str> =
        table.key.iter().filter_map(|&at| table.columns.get(at)).map(|column| column.name.as_str()).collect();
    let key = serde_json::to_string(&key).map_err(|source| ParquetError::External(Box::new(source)))?;
    Ok([("rowback.format", "1".to_owned()), ("rowback.table", table.table.to_string()), ("rowback.key", key)])
}

fn properties(entries: &[(&str, String)]) -> Result<WriterProperties, ParquetError> {
    let entries =
        entries.iter().map(|(name, value)| KeyValue::new((*name).to_owned(), value.clone())).collect();
    Ok(WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        // Where most values differ, it shows soon, and they are written as they are.
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_key_value_metadata(Some(entries))
        // Chunk statistics are enough to skip row groups; page indexes would grow with the table in memory.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(64))
        .set_offset_index_disabled(true)
        // Row groups end where `end_batch` says.
        .set_max_row_group_row_count(None)
        .build())
}
