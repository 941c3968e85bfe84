//! Header and table of contents, read by `libpgdump`. That crate allocates whatever length a file claims, so the
//! claims are held against the size of the file first; what it does not check (integer size, file names that leave
//! the archive, one block promised twice) is checked here as well.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};
use std::sync::Arc;

use libpgdump::format::ArchiveMetadata;
use libpgdump::{OffsetState, format};

use super::BackupError;
use super::contents::{Compression, Contents, Format};
use super::input::{Input, damaged};

const MIN_VERSION: (u8, u8) = (1, 12);
const MAX_VERSION: (u8, u8) = (1, 16);
const INT_BYTES: u8 = 4;
pub(super) const OBJECT: &str = "its table of contents";

/// A data block that the table of contents promises.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// What it holds, for messages: `the rows of public.orders`.
    pub(super) object: String,
    /// Custom format: where it begins, when the archive says so.
    pub(super) offset: Option<u64>,
    /// Directory and tar: its file, a single name without a directory.
    pub(super) file_name: Option<String>,
}

/// All that is known without reading a block.
pub(super) struct Toc {
    pub(super) contents: Contents,
    /// By id of the entry.
    pub(super) blocks: BTreeMap<i32, Block>,
    /// Position behind the table of contents in its file.
    pub(super) end: u64,
}

/// Where a table of contents lies: `start..end` of `file`.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a Arc<File>,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Checks the lengths, then has `libpgdump` read the archive of this format.
pub(super) fn read(place: &Place<'_>, format: Format) -> Result<Toc, BackupError> {
    let mut walk =
        Walk { input: Input::new(Arc::clone(place.file), place.start, place.end), version: (0, 0) };
    let walked = walk.archive(format);
    let end = walk.input.position();
    let version = walk.version;
    if !(MIN_VERSION..=MAX_VERSION).contains(&version) && walked.is_err() && version != (0, 0) {
        let version = format!("{}.{}", version.0, version.1);
        return Err(BackupError::Version { path: place.path.to_path_buf(), version });
    }
    let reading = |error| BackupError::reading(place.path, OBJECT, end, error);
    walked.map_err(reading)?;
    let metadata = match format {
        Format::Custom => {
            format::custom::read_metadata(&mut Input::new(Arc::clone(place.file), place.start, place.end))
        }
        Format::Directory => format::directory::read_metadata(place.path.parent().unwrap_or(place.path)),
        Format::Tar | Format::Plain => format::tar::read_metadata(place.path),
    };
    let metadata = metadata.map_err(|error| match error {
        libpgdump::Error::InvalidUtf8(_) if !says_utf8(place) => {
            BackupError::Encoding { path: place.path.to_path_buf() }
        }
        libpgdump::Error::InvalidUtf8(_) => reading(damaged("a name or a definition is not valid UTF-8")),
        libpgdump::Error::Io(error) => reading(error),
        other => reading(damaged(other.to_string())),
    })?;
    let blocks = blocks(&metadata).map_err(reading)?;
    let contents = Contents::from_metadata(metadata, format).map_err(|fact| reading(damaged(fact)))?;
    Ok(Toc { contents, blocks, end })
}

/// Does the table of contents say that its text is UTF-8? pg_dump writes the encoding as the first entry.
fn says_utf8(place: &Place<'_>) -> bool {
    let mut head = Vec::new();
    let read = Input::new(Arc::clone(place.file), place.start, place.end).take(4096).read_to_end(&mut head);
    read.is_ok() && memchr::memmem::find(&head, b"SET client_encoding = 'UTF8'").is_some()
}

fn blocks(metadata: &ArchiveMetadata) -> io::Result<BTreeMap<i32, Block>> {
    let mut blocks = BTreeMap::new();
    for entry in metadata.entries.iter().filter(|entry| entry.had_dumper) {
        let tag = entry.tag.as_deref().unwrap_or_default();
        let object = match (entry.desc.as_str(), entry.namespace.as_deref()) {
            ("TABLE DATA", Some(schema)) => format!("the rows of {schema}.{tag}"),
            ("BLOBS", _) => "its large objects".to_owned(),
            (kind, _) => format!("the data of {} {tag}", kind.to_lowercase()),
        };
        let offset = (entry.data_state == OffsetState::Set).then_some(entry.offset);
        let file_name = entry.filename.clone().filter(|name| !name.is_empty());
        if let Some(name) = file_name.as_deref().filter(|name| !is_single_name(name)) {
            return Err(damaged(format!("the file name {name:?} leaves the archive")));
        }
        if blocks.insert(entry.dump_id, Block { object, offset, file_name }).is_some() {
            return Err(damaged(format!("entry {} is there twice", entry.dump_id)));
        }
    }
    Ok(blocks)
}

/// Is it the name of a file in the same directory?
pub(super) fn is_single_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !name.ends_with('/')
}

/// How a header of this version says that data are compressed.
pub(super) fn compression(metadata: &ArchiveMetadata) -> Compression {
    match metadata.header.compression {
        libpgdump::CompressionAlgorithm::None => Compression::None,
        libpgdump::CompressionAlgorithm::Gzip => Compression::Gzip,
        libpgdump::CompressionAlgorithm::Lz4 => Compression::Lz4,
        libpgdump::CompressionAlgorithm::Zstd => Compression::Zstd,
    }
}

/// Are the bytes from `start` to the end of a custom-format file a second table of contents? `pg_dump -Fc >> file`
/// appends it, and pg_dump 17 also with `> file` (it reopens its standard output for appending): when it goes back to
/// fill in where the blocks are, that lands at the end. The first table of contents is then as if written to a pipe.
pub(super) fn check_appended(file: &Arc<File>, start: u64, end: u64) -> io::Result<()> {
    let mut walk = Walk { input: Input::new(Arc::clone(file), 0, end), version: (0, 0) };
    let offset_bytes = walk.header()?;
    walk.input = Input::new(Arc::clone(file), start, end);
    walk.entries(Format::Custom, offset_bytes)?;
    match walk.input.left() {
        0 => Ok(()),
        left => Err(damaged(format!("{left} bytes belong to no block"))),
    }
}

/// Goes over a table of contents without keeping it and checks every length. Layout: `ReadHead` and `ReadToc` in
/// PostgreSQL's `pg_backup_archiver.c`.
struct Walk {
    input: Input,
    /// Major and minor, `(0, 0)` until known.
    version: (u8, u8),
}

impl Walk {
    fn archive(&mut self, format: Format) -> io::Result<()> {
        let offset_bytes = self.header()?;
        for _ in 0..7 {
            self.input.int()?;
        }
        for _ in 0..3 {
            self.string()?;
        }
        self.entries(format, offset_bytes)
    }

    fn entries(&mut self, format: Format, offset_bytes: u8) -> io::Result<()> {
        let count = self.input.int()?;
        let count = u64::try_from(count).map_err(|source| damaged(format!("{count} entries: {source}")))?;
        // An entry has at least 14 integers or string lengths. The crate allocates room for all entries at once.
        if count > self.input.left() / 70 {
            return Err(damaged(format!("{count} entries cannot fit into {} bytes", self.input.left())));
        }
        for _ in 0..count {
            self.entry()?;
            match format {
                Format::Custom => self.input.skip(u64::from(offset_bytes) + 1)?,
                Format::Directory | Format::Tar | Format::Plain => {
                    self.string()?;
                }
            }
        }
        Ok(())
    }

    /// Returns the bytes of a file offset.
    fn header(&mut self) -> io::Result<u8> {
        for expected in *b"PGDMP" {
            if self.input.byte()? != expected {
                return Err(damaged("it does not begin with PGDMP"));
            }
        }
        self.version = (self.input.byte()?, self.input.byte()?);
        let revision = self.input.byte()?;
        if !(MIN_VERSION..=MAX_VERSION).contains(&self.version)
            || (self.version == MAX_VERSION && revision > 0)
        {
            return Err(damaged("unsupported version"));
        }
        let int_bytes = self.input.byte()?;
        if int_bytes != INT_BYTES {
            return Err(damaged(format!("integers of {int_bytes} bytes")));
        }
        let offset_bytes = self.input.byte()?;
        if !(1..=8).contains(&offset_bytes) {
            return Err(damaged(format!("offsets of {offset_bytes} bytes")));
        }
        self.input.byte()?;
        if self.version >= (1, 15) {
            self.input.byte()?;
        } else {
            self.input.int()?;
        }
        Ok(offset_bytes)
    }

    fn entry(&mut self) -> io::Result<()> {
        self.input.int()?;
        self.input.int()?;
        // table oid, oid, tag, kind
        self.strings(4)?;
        self.input.int()?;
        // definition, drop and COPY commands, schema, tablespace, from 1.14 on the access method
        self.strings(if self.version >= (1, 14) { 6 } else { 5 })?;
        if self.version >= (1, 16) {
            self.input.int()?;
        }
        // owner, WITH OIDS
        self.strings(2)?;
        while self.string()? > 0 {}
        Ok(())
    }

    fn strings(&mut self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.string().map(|_| ()))
    }

    /// Returns the length of the string, 0 for NULL.
    fn string(&mut self) -> io::Result<u64> {
        let length = u64::try_from(self.input.int()?).unwrap_or(0);
        self.input.skip(length)?;
        Ok(length)
    }
}
