//! Checks all blocks of an archive: each is decompressed to its end, its rows are counted and held against what COPY
//! text can look like, and together the blocks must cover the file. Most compressions carry no checksum, so this
//! finds what it can; only a manifest proves that not one byte differs.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::archive::{Archive, Container, check_used_up};
use super::contents::{Contents, TableData};
use super::custom::Custom;
use super::decode::{Codec, Decoder};
use super::input::{Stored, damaged};
use super::rows::{RowFault, RowReader, check_shape, count_lines};
use super::{BackupError, toc};
use crate::cancel::CancelToken;
use crate::ident::TableName;
use crate::progress::{Progress, Step};

const REPORT_BYTES: u64 = 4 << 20;

/// What was found when everything in a backup was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// SHA-256 in lower-case hex; of a directory, of what `sha256sum *` prints in it.
    pub sha256: String,
    /// Size of the file, or of all files of the directory.
    pub bytes: u64,
    /// The manifest that every file matched, when one was given.
    pub manifest: Option<PathBuf>,
    /// Every block carries a checksum, and all were right. False for lz4, zstd and no compression: pg_dump writes
    /// none there, so that only a manifest proves a copy to be exact.
    pub checksums: bool,
    /// Tables with readable rows, by name.
    pub tables: Vec<TableInspection>,
    /// Tables whose rows are INSERT commands, by name.
    pub inserts: Vec<TableName>,
    /// Tables without their rows, by name.
    pub missing: Vec<TableName>,
    /// The large objects; rowback does not recover them.
    pub large_objects: LargeObjects,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInspection {
    /// The table.
    pub table: TableName,
    /// How many rows the backup holds.
    pub rows: u64,
    /// Their size uncompressed.
    pub bytes: u64,
}

/// The large objects of a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// How many.
    pub objects: u64,
    /// Their size uncompressed.
    pub bytes: u64,
}

impl Inspection {
    pub(super) fn new(sha256: String, bytes: u64, manifest: Option<&Path>) -> Self {
        Self {
            sha256,
            bytes,
            manifest: manifest.map(Path::to_path_buf),
            checksums: true,
            tables: Vec::new(),
            inserts: Vec::new(),
            missing: Vec::new(),
            large_objects: LargeObjects::default(),
        }
    }
}

/// Reads every block and completes `inspection`.
pub(super) fn check_blocks(
    archive: &Archive,
    inspection: Inspection,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Inspection, BackupError> {
    let mut check = Check { archive, inspection, progress, cancel, ranges: Vec::new() };
    let contents = archive.contents();
    let rows_of = rows_by_entry(contents);
    // In the order of the table of contents, which is that of the file.
    for entry in contents.entries.iter().filter(|entry| entry.has_data) {
        match rows_of.iter().find(|(id, ..)| *id == entry.id) {
            Some((id, table, columns)) => check.rows(*id, table, *columns)?,
            None if entry.kind == "BLOBS" => check.large_objects(entry.id)?,
            None => check.other(entry.id)?,
        }
    }
    if let Container::Custom(custom) = &archive.container {
        check_coverage(custom, &mut check.ranges)?;
    }
    let mut inspection = check.inspection;
    inspection.tables.sort_by(|a, b| a.table.cmp(&b.table));
    for (table, data) in &contents.tables {
        match data {
            TableData::Rows { .. } => {}
            TableData::Inserts { .. } => inspection.inserts.push(table.clone()),
            TableData::Missing => inspection.missing.push(table.clone()),
        }
    }
    Ok(inspection)
}

fn rows_by_entry(contents: &Contents) -> Vec<(i32, TableName, usize)> {
    let rows = contents.tables.iter().filter_map(|(table, data)| match data {
        TableData::Rows { entry, columns, .. } => Some((*entry, table.clone(), columns.len())),
        TableData::Inserts { .. } | TableData::Missing => None,
    });
    rows.collect()
}

struct Check<'a> {
    archive: &'a Archive,
    inspection: Inspection,
    progress: &'a dyn Progress,
    cancel: &'a CancelToken,
    /// Custom format: first byte and byte behind the last one of each block read.
    ranges: Vec<(u64, u64)>,
}

impl Check<'_> {
    fn rows(&mut self, entry: i32, table: &TableName, columns: usize) -> Result<(), BackupError> {
        let utf8 = self.archive.contents().encoding.eq_ignore_ascii_case("UTF8");
        let cancel = self.cancel;
        let counted = self.block(entry, &mut |text| count_rows(text, columns, utf8, cancel))?;
        self.inspection.tables.push(TableInspection {
            table: table.clone(),
            rows: counted.rows,
            bytes: counted.bytes,
        });
        Ok(())
    }

    fn other(&mut self, entry: i32) -> Result<(), BackupError> {
        let cancel = self.cancel;
        self.block(entry, &mut |text| drain(text, cancel)).map(|_| ())
    }

    /// Has `read` read a block to its end.
    fn block(&mut self, entry: i32, read: &mut ReadText<'_>) -> Result<Counted, BackupError> {
        let Some(block) = self.archive.blocks.get(&entry) else { return Ok(Counted::default()) };
        let mut open = self.archive.open_block(entry, block)?;
        let counted = self.stored(&open.path, &block.object, &mut open.stored, open.codec, read)?;
        self.archive.learn(entry, &open);
        self.ranges.push((open.start, open.stored.position()));
        Ok(counted)
    }

    fn stored(
        &mut self,
        path: &Path,
        object: &str,
        stored: &mut Stored,
        codec: Codec,
        read: &mut ReadText<'_>,
    ) -> Result<Counted, BackupError> {
        self.inspection.checksums &= matches!(codec, Codec::Zlib | Codec::Gzip);
        let reported = stored.position();
        let mut watched = Watched { stored, reported, progress: self.progress };
        let counted = Decoder::new(codec, &mut watched)
            .map_err(RowFault::Read)
            .and_then(|mut text| read(&mut text))
            .and_then(|counted| check_used_up(watched.stored).map(|()| counted).map_err(RowFault::Read));
        watched.report();
        counted.map_err(|fault| match fault {
            RowFault::Cancelled => BackupError::Cancelled,
            RowFault::Read(error) | RowFault::Sink(error) => {
                BackupError::reading(path, object, stored.position(), error)
            }
        })
    }

    fn large_objects(&mut self, entry: i32) -> Result<(), BackupError> {
        let archive = self.archive;
        let Some(block) = archive.blocks.get(&entry) else { return Ok(()) };
        match &archive.container {
            Container::Custom(custom) => {
                let start = custom.start(entry, block)?;
                let mut visit = |stored: &mut Stored, codec: Codec| {
                    self.large_object(custom.path.as_path(), &block.object, stored, codec)
                };
                let end = custom.large_objects(entry, start, &mut visit)?;
                custom.learn(entry, start, end);
                self.ranges.push((start, end));
            }
            Container::Directory(directory) => {
                for name in directory.large_object_files(block)? {
                    let mut open = directory.open(&name, &block.object)?;
                    self.large_object(&open.path, &block.object, &mut open.stored, open.codec)?;
                }
            }
            Container::Tar(tar) => {
                for name in tar.large_object_members(entry, block)? {
                    let mut stored = tar.open_member(&name, &block.object)?;
                    self.large_object(&tar.path, &block.object, &mut stored, Codec::Plain)?;
                }
            }
        }
        Ok(())
    }

    fn large_object(
        &mut self,
        path: &Path,
        object: &str,
        stored: &mut Stored,
        codec: Codec,
    ) -> Result<(), BackupError> {
        let cancel = self.cancel;
        let drained = self.stored(path, object, stored, codec, &mut |text| drain(text, cancel))?;
        self.inspection.large_objects.objects += 1;
        self.inspection.large_objects.bytes += drained.bytes;
        Ok(())
    }
}

type ReadText<'a> = dyn FnMut(&mut dyn Read) -> Result<Counted, RowFault> + 'a;

#[derive(Default)]
pub(super) struct Counted {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

pub(super) fn count_rows(
    text: &mut dyn Read,
    columns: usize,
    utf8: bool,
    cancel: &CancelToken,
) -> Result<Counted, RowFault> {
    let mut reader = RowReader::new(text);
    let mut counted = Counted::default();
    while let Some(rows) = reader.next_rows()? {
        if cancel.is_cancelled() {
            return Err(RowFault::Cancelled);
        }
        let lines = count_lines(rows);
        check_shape(rows, lines, columns, counted.rows)?;
        if utf8 && std::str::from_utf8(rows).is_err() {
            return Err(damaged(format!("after {} rows, a row is not valid UTF-8", counted.rows)).into());
        }
        counted.rows += lines;
        counted.bytes += u64::try_from(rows.len()).unwrap_or(u64::MAX);
    }
    Ok(counted)
}

fn drain(text: &mut dyn Read, cancel: &CancelToken) -> Result<Counted, RowFault> {
    let mut counted = Counted::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        if cancel.is_cancelled() {
            return Err(RowFault::Cancelled);
        }
        match text.read(&mut buffer)? {
            0 => return Ok(counted),
            count => counted.bytes += u64::try_from(count).unwrap_or(u64::MAX),
        }
    }
}

/// The blocks must follow each other from the table of contents to the end of the file, or to a second table of
/// contents: bytes that belong to nothing were not checked.
fn check_coverage(custom: &Custom, ranges: &mut [(u64, u64)]) -> Result<(), BackupError> {
    ranges.sort_unstable();
    let mut expected = custom.data_start;
    for &(start, end) in ranges.iter() {
        if start != expected {
            let fact = format!("the bytes {expected} to {start} belong to no block");
            return Err(BackupError::reading(&custom.path, "its data", expected, damaged(fact)));
        }
        expected = end;
    }
    if expected == custom.bytes {
        return Ok(());
    }
    toc::check_appended(&custom.file, expected, custom.bytes)
        .map_err(|error| BackupError::reading(&custom.path, "what follows its last block", expected, error))
}

/// Reports how far a block was read.
struct Watched<'a> {
    stored: &'a mut Stored,
    reported: u64,
    progress: &'a dyn Progress,
}

impl Watched<'_> {
    fn report(&mut self) {
        let position = self.stored.position();
        self.progress.advance(Step::Inspect, position.saturating_sub(self.reported));
        self.reported = position;
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stored.read(buffer)?;
        if self.stored.position().saturating_sub(self.reported) >= REPORT_BYTES {
            self.report();
        }
        Ok(count)
    }
}

impl BufRead for Watched<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stored.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.stored.consume(count);
        if self.stored.position().saturating_sub(self.reported) >= REPORT_BYTES {
            self.report();
        }
    }
}
