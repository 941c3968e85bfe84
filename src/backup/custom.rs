//! The custom format: one file, data blocks behind the table of contents. An archive that was written to a pipe does
//! not say where its blocks are; then they are found by going over the file once, as far as needed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BackupError;
use super::contents::Compression;
use super::decode::Codec;
use super::input::{Chunks, Input, Stored, damaged};
use super::toc::Block;

const ROWS: u8 = 1;
const LARGE_OBJECTS: u8 = 3;

/// A custom-format file.
#[derive(Debug)]
pub(super) struct Custom {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
    /// Behind the table of contents.
    pub(super) data_start: u64,
    pub(super) compression: Compression,
    found: Mutex<Found>,
}

/// What going over the file has shown so far.
#[derive(Debug)]
struct Found {
    starts: BTreeMap<i32, u64>,
    /// Blocks before this position are in `starts`.
    scanned: u64,
}

impl Custom {
    pub(super) fn new(
        path: PathBuf,
        file: Arc<File>,
        bytes: u64,
        data_start: u64,
        compression: Compression,
    ) -> Self {
        let found = Mutex::new(Found { starts: BTreeMap::new(), scanned: data_start });
        Self { path, file, bytes, data_start, compression, found }
    }

    pub(super) fn codec(&self) -> Codec {
        match self.compression {
            Compression::None => Codec::Plain,
            Compression::Gzip => Codec::Zlib,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        }
    }

    /// Where the block of entry `id` begins.
    pub(super) fn start(&self, id: i32, block: &Block) -> Result<u64, BackupError> {
        if let Some(offset) = block.offset {
            return Ok(offset);
        }
        let mut found = self.found();
        while !found.starts.contains_key(&id) {
            if found.scanned >= self.bytes {
                return Err(BackupError::BlockMissing {
                    path: self.path.clone(),
                    object: block.object.clone(),
                    fact: format!(
                        "no data block belongs to entry {id}; the file ends at byte {}",
                        self.bytes
                    ),
                });
            }
            self.scan_block(&mut found, &block.object)?;
        }
        Ok(found.starts.get(&id).copied().unwrap_or(self.bytes))
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // A map of positions is right whatever happened to the thread that held it.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scan_block(&self, found: &mut Found, object: &str) -> Result<(), BackupError> {
        let start = found.scanned;
        let mut chunks = Chunks::new(Input::new(Arc::clone(&self.file), start, self.bytes));
        match skip_block(&mut chunks) {
            Ok(id) => {
                found.starts.insert(id, start);
                found.scanned = chunks.input().position();
                Ok(())
            }
            Err(error) => Err(BackupError::reading(&self.path, object, chunks.input().position(), error)),
        }
    }

    /// Says that a block was read from its start to its end, so that it need not be scanned.
    pub(super) fn learn(&self, id: i32, start: u64, end: u64) {
        let mut found = self.found();
        if found.scanned == start {
            found.starts.insert(id, start);
            found.scanned = end;
        }
    }

    /// Opens the block at `start`; it must belong to entry `id`.
    pub(super) fn open_rows(&self, id: i32, start: u64) -> io::Result<Stored> {
        let mut input = self.input_at(start)?;
        match header(&mut input)? {
            (ROWS, found) if found == id => Ok(Stored::Chunks(Chunks::new(input))),
            (kind, found) => Err(damaged(format!(
                "at byte {start} there is a block of type {kind} for entry {found}, not the rows of entry {id}"
            ))),
        }
    }

    /// Gives each large object of the block at `start` to `visit`, which reads it to its end. Returns where the
    /// block ends.
    pub(super) fn large_objects(
        &self,
        id: i32,
        start: u64,
        visit: &mut dyn FnMut(&mut Stored, Codec) -> Result<(), BackupError>,
    ) -> Result<u64, BackupError> {
        let reading = |at, error| BackupError::reading(&self.path, "its large objects", at, error);
        let mut input = self.input_at(start).map_err(|error| reading(start, error))?;
        match header(&mut input).map_err(|error| reading(start, error))? {
            (LARGE_OBJECTS, found) if found == id => {}
            (kind, found) => {
                let fact =
                    format!("a block of type {kind} for entry {found}, not the large objects of entry {id}");
                return Err(reading(start, damaged(fact)));
            }
        }
        let mut stored = Stored::Chunks(Chunks::new(input));
        loop {
            let at = stored.position();
            let Stored::Chunks(chunks) = &mut stored else { return Ok(at) };
            chunks.restart();
            let oid = chunks.input().int().map_err(|error| reading(at, error))?;
            if oid == 0 {
                return Ok(chunks.input().position());
            }
            visit(&mut stored, self.codec())?;
        }
    }

    fn input_at(&self, start: u64) -> io::Result<Input> {
        if start < self.data_start {
            return Err(damaged(format!(
                "a block cannot begin at byte {start}, inside the table of contents"
            )));
        }
        Ok(Input::new(Arc::clone(&self.file), start, self.bytes))
    }
}

fn header(input: &mut Input) -> io::Result<(u8, i32)> {
    Ok((input.byte()?, input.int()?))
}

/// Returns the entry that the block belongs to.
fn skip_block(chunks: &mut Chunks) -> io::Result<i32> {
    let (kind, id) = header(chunks.input())?;
    match kind {
        ROWS => chunks.skip_all()?,
        LARGE_OBJECTS => {
            while chunks.input().int()? != 0 {
                chunks.restart();
                chunks.skip_all()?;
            }
        }
        other => return Err(damaged(format!("a block of the unknown type {other}"))),
    }
    Ok(id)
}
