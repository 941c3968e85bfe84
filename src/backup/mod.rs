//! A backup as a table of contents and streams of rows. What `pg_dump` writes is read here without `pg_restore` and
//! without `psql`: archives (custom, directory and tar format) and plain SQL.
//! Rows are passed on as the canonical COPY text they were dumped as: nothing here interprets a value.

mod ahead;
mod archive;
mod contents;
mod copy_statement;
mod custom;
mod decode;
pub mod definition;
mod directory;
mod error;
mod fingerprint;
mod format;
mod input;
mod inspection;
mod manifest;
mod plain;
mod rows;
mod tar;
mod toc;

use std::io;
use std::path::Path;

pub use archive::Archive;
pub use contents::{Compression, Contents, Entry, Format, Section, TableData};
pub use error::BackupError;
pub use fingerprint::Digest;
pub use inspection::{Inspection, LargeObjects, TableInspection};
pub use plain::Plain;
pub use rows::ReadCounts;

use crate::cancel::CancelToken;
use crate::ident::TableName;
use crate::progress::{Progress, Silent};

/// Decides, row by row, which rows of a table reach scratch. May only ever keep too much.
pub trait RowFilter: Send + Sync {
    /// `row` is one line of COPY text without its newline, columns in the order of the backup's COPY statement.
    fn keep(&self, row: &[u8]) -> bool;

    /// True when `keep` is true for every row; whole chunks are then passed on without looking for lines.
    fn keeps_all(&self) -> bool {
        false
    }
}

/// Keeps every row.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAll;

impl RowFilter for KeepAll {
    fn keep(&self, _: &[u8]) -> bool {
        true
    }

    fn keeps_all(&self) -> bool {
        true
    }
}

/// Where rows are sent: chunks of about 128 KiB that hold whole rows with their newlines, in the backup's order.
pub type RowSink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Any kind of backup. All methods block and may be called from several threads at once.
#[derive(Debug)]
pub enum Backup {
    /// An archive written by `pg_dump -Fc`, `-Fd` or `-Ft`.
    Archive(Archive),
    /// SQL written by `pg_dump -Fp`, perhaps compressed.
    Plain(Plain),
}

impl Backup {
    /// [`Backup::open_watched`] without anybody watching.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        Self::open_watched(path, &Silent, &CancelToken::default())
    }

    /// Finds out what `path` is and reads its table of contents; a plain dump, which has none, is read once from beginning
    /// to end.
    ///
    /// # Errors
    /// [`BackupError`] when it cannot be read or is no backup that this version reads; the message says which.
    pub fn open_watched(
        path: &Path,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<Self, BackupError> {
        match format::recognise(path)? {
            format::Found::Archive(format) => {
                let archive = Archive::open_as(path, format)?;
                let lacking = archive.blocks_behind_the_end();
                if lacking > 0 {
                    progress.note(&format!(
                        "{} is not whole: it ends before the data of {lacking} of its entries; those before are used",
                        path.display()
                    ));
                }
                Ok(Self::Archive(archive))
            }
            format::Found::Plain(codec) => Plain::open(path, codec, progress, cancel).map(Self::Plain),
        }
    }

    /// Can a table's rows only be reached through all that comes before them? Then tables are best read one after the
    /// other, in the order of their entries.
    pub fn is_read_in_order(&self) -> bool {
        matches!(self, Self::Plain(plain) if plain.is_compressed())
    }

    /// What the backup says it holds.
    pub fn contents(&self) -> &Contents {
        match self {
            Self::Archive(archive) => archive.contents(),
            Self::Plain(plain) => plain.contents(),
        }
    }

    /// Streams a table's rows through `filter` into `sink`; see [`Archive::read_rows`].
    pub fn read_rows(
        &self,
        table: &TableName,
        filter: &dyn RowFilter,
        cancel: &CancelToken,
        sink: &mut RowSink<'_>,
    ) -> Result<ReadCounts, BackupError> {
        match self {
            Self::Archive(archive) => archive.read_rows(table, filter, cancel, sink),
            Self::Plain(plain) => plain.read_rows(table, filter, cancel, sink),
        }
    }

    /// Reads and checks everything; see [`Archive::verify`].
    pub fn verify(
        &self,
        manifest: Option<&Path>,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<Inspection, BackupError> {
        match self {
            Self::Archive(archive) => archive.verify(manifest, progress, cancel),
            Self::Plain(plain) => plain.verify(manifest, progress, cancel),
        }
    }

    /// SHA-256 of the backup in lower-case hex; see [`Archive::sha256`].
    pub fn sha256(&self, progress: &dyn Progress, cancel: &CancelToken) -> Result<String, BackupError> {
        match self {
            Self::Archive(archive) => archive.sha256(progress, cancel),
            Self::Plain(plain) => plain.sha256(progress, cancel),
        }
    }

    /// What tells this backup from another, without reading more of it than a recovery may take.
    pub fn digest(&self, progress: &dyn Progress, cancel: &CancelToken) -> Result<Digest, BackupError> {
        let path = match self {
            Self::Archive(archive) => archive.path(),
            Self::Plain(plain) => plain.path(),
        };
        if fingerprint::is_read_whole(path)? {
            self.sha256(progress, cancel).map(Digest::Whole)
        } else {
            fingerprint::of_ends(path).map(Digest::Ends)
        }
    }
}
