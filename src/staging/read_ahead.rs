//! Staged rows that are read on a thread of their own, some ahead of who wants them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{StagedFile, StagingError, StagingReader};

/// Rows travel in pieces of this size.
const BLOCK_BYTES: usize = 256 << 10;

/// Pieces that may wait.
const WAITING: usize = 2;

/// Rows, each with its newline; none at the end of the file.
type Block = Result<Vec<u8>, StagingError>;

/// Gives the rows of a staging file in its order. Dropped, the thread reads no further.
pub struct ReadAhead {
    path: PathBuf,
    blocks: Receiver<Block>,
    block: Vec<u8>,
    at: usize,
    has_ended: bool,
}

impl ReadAhead {
    /// Opens a file of the manifest, as [`StagingReader::open`] does.
    pub fn open(dir: &Path, staged: &StagedFile) -> Result<Self, StagingError> {
        let reader = StagingReader::open(dir, staged)?;
        let (sender, blocks) = sync_channel(WAITING);
        let path = dir.join(&staged.file);
        let started =
            std::thread::Builder::new().name("staged".to_owned()).spawn(move || read(reader, &sender));
        started.map_err(|source| StagingError::read(&path, source))?;
        Ok(Self { path, blocks, block: Vec::new(), at: 0, has_ended: false })
    }

    /// The next row as COPY text; `None` at the end of the file.
    pub fn next_row(&mut self) -> Result<Option<&[u8]>, StagingError> {
        while self.at >= self.block.len() {
            if self.has_ended {
                return Ok(None);
            }
            // Without a word the thread only ends when it panicked, which is no end of the file.
            let gone = || io::Error::other("the thread that reads it has stopped");
            let next = self.blocks.recv().map_err(|_gone| StagingError::read(&self.path, gone()));
            self.block = next??;
            (self.at, self.has_ended) = (0, self.block.is_empty());
        }
        let rest = &self.block[self.at..];
        let row = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
        self.at += row.len() + 1;
        Ok(Some(row))
    }
}

fn read(mut reader: StagingReader, blocks: &SyncSender<Block>) {
    loop {
        let (block, end) = fill(&mut reader);
        if !block.is_empty() && blocks.send(Ok(block)).is_err() {
            return;
        }
        if let Some(end) = end {
            // Who has stopped listening does not want to know.
            drop(blocks.send(end.map(|()| Vec::new())));
            return;
        }
    }
}

/// As many rows as go into a piece, and how it ended if there are no more.
fn fill(reader: &mut StagingReader) -> (Vec<u8>, Option<Result<(), StagingError>>) {
    let mut block = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
    let mut row = Vec::new();
    while block.len() < BLOCK_BYTES {
        match reader.next_row(&mut row) {
            Ok(true) => {
                block.extend_from_slice(&row);
                block.push(b'\n');
            }
            Ok(false) => return (block, Some(Ok(()))),
            Err(error) => return (block, Some(Err(error))),
        }
    }
    (block, None)
}
