//! A plain SQL dump: `pg_dump -Fp`, as it is or compressed. Opening it reads it once and finds what an archive would say
//! in its table of contents; rows are read from where they lie. Its SQL is given out as text and never run here.

mod commands;
mod heading;
mod lexer;
mod pass;
mod phrase;
mod refusal;
mod scan;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::pass::{Pass, Source};
use self::refusal::Refusal;
use self::scan::{Fault, Located};
use super::contents::{Compression, Contents, Format, TableData};
use super::decode::Codec;
use super::fingerprint::{self, FileSum};
use super::inspection::{Inspection, LargeObjects, TableInspection, count_rows};
use super::rows::{ReadCounts, RowFault, Shape, pass_rows};
use super::{BackupError, RowFilter, RowSink, manifest};
use crate::cancel::CancelToken;
use crate::ident::TableName;
use crate::progress::{Progress, Step};

/// Passes through compressed text that wait to be gone on with; each has the decompressor's window in memory.
const WAITING_PASSES: usize = 4;

/// A plain SQL dump, uncompressed or within gzip, lz4 or zstd.
#[derive(Debug)]
pub struct Plain {
    path: PathBuf,
    contents: Contents,
    blocks: BTreeMap<i32, Span>,
    large_objects: LargeObjects,
    source: Source,
    waiting: Mutex<Vec<Pass>>,
    sums: OnceLock<Vec<FileSum>>,
}

/// Where the rows of an entry lie in the text: from the first row to behind the end mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
}

/// What a scan finds.
#[derive(Debug)]
struct Scanned {
    contents: Contents,
    blocks: BTreeMap<i32, Span>,
    large_objects: LargeObjects,
    /// Tables that a definition makes, whether their rows are there or not.
    created: Vec<TableName>,
}

impl Default for Scanned {
    fn default() -> Self {
        let contents = Contents {
            format: Format::Plain,
            archive_version: None,
            compression: Compression::None,
            dbname: None,
            server_version: String::new(),
            server_major: 0,
            dump_version: String::new(),
            dumped_at: None,
            encoding: "UTF8".to_owned(),
            entries: Vec::new(),
            tables: BTreeMap::new(),
        };
        let (blocks, large_objects) = (BTreeMap::new(), LargeObjects::default());
        Self { contents, blocks, large_objects, created: Vec::new() }
    }
}

impl Plain {
    /// Reads the whole dump once.
    pub(super) fn open(
        path: &Path,
        codec: Codec,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<Self, BackupError> {
        let unreadable = |source| BackupError::Unreadable { path: path.to_path_buf(), source };
        let file = Arc::new(File::open(path).map_err(unreadable)?);
        let bytes = file.metadata().map_err(unreadable)?.len();
        let source = Source { file, bytes, codec };
        progress.start(Step::Inspect, &format!("the contents of {}", path.display()), Some(bytes));
        let scanned = scan::scan(&source, progress, cancel);
        progress.finish(Step::Inspect);
        let mut scanned = scanned.map_err(|located| explain(path, located))?;
        scanned.contents.compression = compression(codec);
        Ok(Self {
            path: path.to_path_buf(),
            contents: scanned.contents,
            blocks: scanned.blocks,
            large_objects: scanned.large_objects,
            source,
            waiting: Mutex::new(Vec::new()),
            sums: OnceLock::new(),
        })
    }

    /// What the dump says it holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Must the text before a table's rows be decompressed to reach them?
    pub fn is_compressed(&self) -> bool {
        self.source.codec != Codec::Plain
    }

    /// Streams a table's rows through `filter` into `sink`; see [`super::Archive::read_rows`].
    ///
    /// # Errors
    /// When the table or its rows are not in the dump, they are INSERT commands, the file changed meanwhile or cannot be
    /// read, `sink` fails, or `cancel` was set.
    pub fn read_rows(
        &self,
        table: &TableName,
        filter: &dyn RowFilter,
        cancel: &CancelToken,
        sink: &mut RowSink<'_>,
    ) -> Result<ReadCounts, BackupError> {
        let span = self.span(self.contents.rows_entry(table)?)?;
        let mut counts = ReadCounts::default();
        let codec = self.source.codec;
        let shape = Shape { columns: self.contents.columns_of(table), vouched: codec.has_checksum() };
        let mut read = |text: &mut dyn Read| pass_rows((text, shape), filter, cancel, sink, &mut counts);
        self.read_block(table, span, cancel, &mut read)?;
        Ok(counts)
    }

    /// Compares the checksum with `manifest` where one is given, then reads all rows; see [`super::Archive::verify`].
    ///
    /// # Errors
    /// At the first table whose rows cannot be right.
    pub fn verify(
        &self,
        manifest: Option<&Path>,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<Inspection, BackupError> {
        let sums = self.sums(progress, cancel)?;
        if let Some(manifest) = manifest {
            manifest::check(manifest, &self.path, sums)?;
        }
        let mut found = Inspection::new(self.sha256(progress, cancel)?, self.source.bytes, manifest);
        found.checksums = self.source.codec == Codec::Gzip;
        found.large_objects = self.large_objects;
        let shown = format!("the rows of {}", self.path.display());
        let bytes = self.blocks.values().map(|span| span.end - span.start).sum();
        progress.start(Step::Inspect, &shown, Some(bytes));
        let checked = self.check_rows(&mut found, progress, cancel);
        progress.finish(Step::Inspect);
        checked.map(|()| found)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the file in lower-case hex. Read once, then remembered.
    pub fn sha256(&self, progress: &dyn Progress, cancel: &CancelToken) -> Result<String, BackupError> {
        let sums = self.sums(progress, cancel)?;
        Ok(sums.first().map(|sum| sum.sha256.clone()).unwrap_or_default())
    }

    fn check_rows(
        &self,
        found: &mut Inspection,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<(), BackupError> {
        let utf8 = self.contents.encoding.eq_ignore_ascii_case("UTF8");
        let mut with_rows = Vec::new();
        for (table, data) in &self.contents.tables {
            match data {
                TableData::Rows { entry, columns, .. } => with_rows.push((*entry, table, columns.len())),
                TableData::Inserts { .. } => found.inserts.push(table.clone()),
                TableData::Missing => found.missing.push(table.clone()),
            }
        }
        // In the order of the file.
        with_rows.sort_unstable();
        for (entry, table, columns) in with_rows {
            let span = self.span(entry)?;
            let (mut rows, mut bytes) = (0, 0);
            let mut read = |text: &mut dyn Read| {
                let counted = count_rows(text, columns, utf8, cancel)?;
                (rows, bytes) = (counted.rows, counted.bytes);
                Ok(())
            };
            self.read_block(table, span, cancel, &mut read)?;
            progress.advance(Step::Inspect, span.end - span.start);
            found.tables.push(TableInspection { table: table.clone(), rows, bytes });
        }
        found.tables.sort_by(|a, b| a.table.cmp(&b.table));
        Ok(())
    }

    fn span(&self, entry: i32) -> Result<Span, BackupError> {
        self.blocks.get(&entry).copied().ok_or_else(|| BackupError::BlockMissing {
            path: self.path.clone(),
            object: format!("the data of entry {entry}"),
            fact: "no rows were found for it".into(),
        })
    }

    /// Has `read` read the rows at `span` to their end.
    fn read_block(
        &self,
        table: &TableName,
        span: Span,
        cancel: &CancelToken,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), RowFault>,
    ) -> Result<(), BackupError> {
        let object = || format!("the rows of {table}");
        let mut pass = self
            .pass_before(span.start)
            .map_err(|error| BackupError::reading(&self.path, &object(), span.start, error))?;
        let passed = match pass.skip_to(span.start, cancel) {
            Ok(true) => read(&mut (&mut pass).take(span.end - span.start)),
            Ok(false) => Err(RowFault::Cancelled),
            Err(error) => Err(RowFault::Read(error)),
        };
        match passed {
            Ok(()) => {
                self.keep(pass);
                Ok(())
            }
            Err(RowFault::Read(error)) => {
                Err(BackupError::reading(&self.path, &object(), pass.stored_at(), error))
            }
            Err(RowFault::Sink(source)) => Err(BackupError::Sink { table: table.clone(), source }),
            Err(RowFault::Cancelled) => Err(BackupError::Cancelled),
        }
    }

    /// The waiting pass that has the shortest way to `start`, or a new one.
    fn pass_before(&self, start: u64) -> std::io::Result<Pass> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = waiting.iter().enumerate().filter(|(_, pass)| pass.at() <= start);
        match ahead.max_by_key(|(_, pass)| pass.at()).map(|(at, _)| at) {
            Some(at) => Ok(waiting.swap_remove(at)),
            None => self.source.pass(start),
        }
    }

    fn keep(&self, pass: Pass) {
        if !self.is_compressed() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_PASSES {
            waiting.remove(0);
        }
        waiting.push(pass);
    }

    fn sums(&self, progress: &dyn Progress, cancel: &CancelToken) -> Result<&[FileSum], BackupError> {
        if let Some(sums) = self.sums.get() {
            return Ok(sums);
        }
        let shown = format!("the checksum of {}", self.path.display());
        progress.start(Step::Inspect, &shown, Some(self.source.bytes));
        let sum = fingerprint::of_file(&self.path, &self.source.file, progress, cancel);
        progress.finish(Step::Inspect);
        sum.map(|sum| self.sums.get_or_init(|| vec![sum]).as_slice())
    }
}

fn explain(path: &Path, located: Located) -> BackupError {
    let Located { fault, object, stored_at } = located;
    match fault {
        Fault::Read(error) => BackupError::reading(path, &object, stored_at, error),
        Fault::Refused(Refusal::Encoding) => BackupError::Encoding { path: path.to_path_buf() },
        Fault::Refused(Refusal::Foreign { fact, advice }) => {
            BackupError::NotOneDump { path: path.to_path_buf(), at: stored_at, fact, advice }
        }
        Fault::Cancelled => BackupError::Cancelled,
    }
}

fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::Plain => Compression::None,
        Codec::Zlib | Codec::Gzip => Compression::Gzip,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    }
}
