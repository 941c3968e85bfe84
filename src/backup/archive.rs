//! An archive of `pg_dump`: opening it, streaming a table's rows, its checksum. Whatever the format, a block becomes
//! one stream of stored bytes here, and a block that is absent, cut or of another entry is an error, never no rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::ahead::read_ahead;
use super::contents::{Contents, Format};
use super::custom::Custom;
use super::decode::{Codec, Decoder};
use super::directory::Directory;
use super::fingerprint::{self, FileSum};
use super::format::{self, Found as Recognised};
use super::input::{Stored, damaged};
use super::inspection::{self, Inspection};
use super::rows::{ReadCounts, RowFault, Shape, pass_rows};
use super::tar::Tar;
use super::toc::{self, Block, Place, Toc};
use super::{BackupError, RowFilter, RowSink, manifest};
use crate::cancel::CancelToken;
use crate::ident::TableName;
use crate::progress::{Progress, Step};

/// An archive of `pg_dump` in custom, directory or tar format, versions 1.12 to 1.16.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    contents: Contents,
    pub(super) blocks: BTreeMap<i32, Block>,
    pub(super) container: Container,
    sums: OnceLock<Vec<FileSum>>,
}

#[derive(Debug)]
pub(super) enum Container {
    Custom(Custom),
    Directory(Directory),
    Tar(Tar),
}

/// A block ready to be read.
pub(super) struct OpenBlock {
    /// The file it is in.
    pub(super) path: PathBuf,
    /// Where in the file it begins.
    pub(super) start: u64,
    pub(super) stored: Stored,
    pub(super) codec: Codec,
}

impl Archive {
    /// Reads header and table of contents.
    ///
    /// # Errors
    /// When the path cannot be read, is something else, or its table of contents is cut or damaged.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        match format::recognise(path)? {
            Recognised::Archive(format) => Self::open_as(path, format),
            Recognised::Plain(_) => Err(BackupError::NotABackup {
                path: path.to_path_buf(),
                found: "it is a plain SQL dump and no archive".to_owned(),
            }),
        }
    }

    /// The same, when it is known what it is.
    pub(super) fn open_as(path: &Path, format: Format) -> Result<Self, BackupError> {
        let unreadable = |source| BackupError::Unreadable { path: path.to_path_buf(), source };
        let toc_path = if format == Format::Directory { path.join("toc.dat") } else { path.to_path_buf() };
        let file = Arc::new(File::open(&toc_path).map_err(unreadable)?);
        let bytes = file.metadata().map_err(unreadable)?.len();
        let read = |start, end| toc::read(&Place { path: &toc_path, file: &file, start, end }, format);
        let (Toc { contents, blocks, .. }, container) = match format {
            Format::Custom => {
                let toc = read(0, bytes)?;
                let compression = toc.contents.compression;
                let custom = Custom::new(path.to_path_buf(), Arc::clone(&file), bytes, toc.end, compression);
                (toc, Container::Custom(custom))
            }
            Format::Directory => {
                (read(0, bytes)?, Container::Directory(Directory { path: path.to_path_buf() }))
            }
            // Not here: what is plain has no table of contents.
            Format::Tar | Format::Plain => {
                let tar = Tar::open(path, Arc::clone(&file), bytes)?;
                let (start, end) = tar.toc()?;
                (read(start, end)?, Container::Tar(tar))
            }
        };
        Ok(Self { path: path.to_path_buf(), contents, blocks, container, sums: OnceLock::new() })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the archive says it holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Streams a table's rows through `filter` into `sink`, in the archive's order and exactly as they were dumped.
    /// Nothing is known to be complete before this returns: an error may follow rows already sent.
    ///
    /// # Errors
    /// When the table or its rows are not in the archive, they are INSERT commands, the block is absent, cut or
    /// damaged, `sink` fails, or `cancel` was set.
    pub fn read_rows(
        &self,
        table: &TableName,
        filter: &dyn RowFilter,
        cancel: &CancelToken,
        sink: &mut RowSink<'_>,
    ) -> Result<ReadCounts, BackupError> {
        let entry = self.contents.rows_entry(table)?;
        let block = self.block(entry)?;
        let mut open = self.open_block(entry, block)?;
        let shape = Shape { columns: self.contents.columns_of(table), vouched: open.codec.has_checksum() };
        let mut counts = ReadCounts::default();
        let passed = Decoder::new(open.codec, &mut open.stored)
            .map_err(RowFault::Read)
            .and_then(|text| match open.codec {
                Codec::Plain => pass_rows((text, shape), filter, cancel, sink, &mut counts),
                _ => read_ahead(text, |text| pass_rows((text, shape), filter, cancel, sink, &mut counts))?,
            })
            .and_then(|()| check_used_up(&mut open.stored).map_err(RowFault::Read));
        match passed {
            Ok(()) => {
                self.learn(entry, &open);
                Ok(counts)
            }
            Err(RowFault::Read(error)) => {
                Err(BackupError::reading(&open.path, &block.object, open.stored.position(), error))
            }
            Err(RowFault::Sink(source)) => Err(BackupError::Sink { table: table.clone(), source }),
            Err(RowFault::Cancelled) => Err(BackupError::Cancelled),
        }
    }

    /// Compares the checksums with `manifest` (output of `sha256sum`) where one is given, and only then decompresses
    /// and checks every block and counts rows.
    ///
    /// # Errors
    /// At the first file that does not match and the first block that is absent, cut or damaged.
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
        let bytes = sums.iter().map(|sum| sum.bytes).sum();
        let sha256 = self.sha256(progress, cancel)?;
        let blank = Inspection::new(sha256, bytes, manifest);
        progress.start(Step::Inspect, &format!("the blocks of {}", self.path.display()), Some(bytes));
        let inspection = inspection::check_blocks(self, blank, progress, cancel);
        progress.finish(Step::Inspect);
        inspection
    }

    /// SHA-256 of the file in lower-case hex; for a directory, of what `sha256sum *` prints in it. Read once, then
    /// remembered.
    pub fn sha256(&self, progress: &dyn Progress, cancel: &CancelToken) -> Result<String, BackupError> {
        let sums = self.sums(progress, cancel)?;
        Ok(match (&self.container, sums) {
            (Container::Custom(_) | Container::Tar(_), [only]) => only.sha256.clone(),
            _ => fingerprint::of_list(sums),
        })
    }

    fn sums(&self, progress: &dyn Progress, cancel: &CancelToken) -> Result<&[FileSum], BackupError> {
        if let Some(sums) = self.sums.get() {
            return Ok(sums);
        }
        let total = match &self.container {
            Container::Custom(custom) => Some(custom.bytes),
            _ => None,
        };
        progress.start(Step::Inspect, &format!("the checksum of {}", self.path.display()), total);
        let sums = match &self.container {
            Container::Custom(custom) => fingerprint::of_file(&self.path, &custom.file, progress, cancel),
            Container::Tar(tar) => fingerprint::of_file(&self.path, &tar.file, progress, cancel),
            Container::Directory(_) => {
                let sums = fingerprint::of_directory(&self.path, progress, cancel);
                progress.finish(Step::Inspect);
                return sums.map(|sums| self.sums.get_or_init(|| sums).as_slice());
            }
        };
        progress.finish(Step::Inspect);
        sums.map(|sum| self.sums.get_or_init(|| vec![sum]).as_slice())
    }

    /// How many blocks begin behind the end of the file, as far as its table of contents says where they are.
    pub(super) fn blocks_behind_the_end(&self) -> usize {
        let Container::Custom(custom) = &self.container else { return 0 };
        let offsets = self.blocks.values().filter_map(|block| block.offset);
        offsets.filter(|offset| *offset >= custom.bytes).count()
    }

    fn block(&self, entry: i32) -> Result<&Block, BackupError> {
        self.blocks.get(&entry).ok_or_else(|| BackupError::BlockMissing {
            path: self.path.clone(),
            object: format!("the data of entry {entry}"),
            fact: "the table of contents says that it has none".into(),
        })
    }

    /// Opens the block of a table's rows, or of anything else but large objects.
    pub(super) fn open_block(&self, entry: i32, block: &Block) -> Result<OpenBlock, BackupError> {
        let named = || {
            block.file_name.as_deref().ok_or_else(|| BackupError::BlockMissing {
                path: self.path.clone(),
                object: block.object.clone(),
                fact: format!("the table of contents names no file for entry {entry}"),
            })
        };
        match &self.container {
            Container::Custom(custom) => {
                let start = custom.start(entry, block)?;
                let stored = custom
                    .open_rows(entry, start)
                    .map_err(|error| BackupError::reading(&self.path, &block.object, start, error))?;
                Ok(OpenBlock { path: self.path.clone(), start, stored, codec: custom.codec() })
            }
            Container::Directory(directory) => {
                let opened = directory.open(named()?, &block.object)?;
                Ok(OpenBlock { path: opened.path, start: 0, stored: opened.stored, codec: opened.codec })
            }
            Container::Tar(tar) => {
                let stored = tar.open_member(named()?, &block.object)?;
                let start = stored.position();
                Ok(OpenBlock { path: self.path.clone(), start, stored, codec: Codec::Plain })
            }
        }
    }

    /// Remembers where a block that was read to its end lies.
    pub(super) fn learn(&self, entry: i32, open: &OpenBlock) {
        if let Container::Custom(custom) = &self.container {
            custom.learn(entry, open.start, open.stored.position());
        }
    }
}

/// Nothing may follow the compressed data of a block. In the custom format this also steps behind its last chunk.
pub(super) fn check_used_up(stored: &mut Stored) -> io::Result<()> {
    if stored.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(damaged("more bytes follow the end of the compressed data"))
    }
}
