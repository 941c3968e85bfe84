//! Rows on their way to a file, encoded and compressed on a thread of their own while the next ones are judged.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{DiffError, joined};
use crate::staging::{Finished, StagedTable, StagingError, StagingFormat, StagingWriter};

/// Rows travel in pieces of this size.
const BLOCK_BYTES: usize = 256 * 1024;

/// Pieces that may wait for the thread.
const BLOCKS: usize = 4;

/// Takes rows in order. Dropped before [`Sink::finish`], it leaves no file.
pub struct Sink {
    block: Vec<u8>,
    blocks: mpsc::Sender<Block>,
    thread: JoinHandle<Result<Option<Finished>, StagingError>>,
}

enum Block {
    /// Rows, each with its newline.
    Rows(Vec<u8>),
    /// There are no more.
    End,
}

impl Sink {
    /// Begins a file.
    pub fn create(dir: &Path, format: StagingFormat, table: &StagedTable) -> Result<Self, DiffError> {
        let mut writer = StagingWriter::create(dir, format, table, &BTreeSet::new())?;
        let (blocks, mut coming) = mpsc::channel(BLOCKS);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(block) = coming.blocking_recv() {
                let Block::Rows(rows) = block else { return writer.finish().map(Some) };
                for row in rows.split_inclusive(|&byte| byte == b'\n') {
                    writer.write_row(&row[..row.len() - 1])?;
                }
            }
            Ok(None)
        });
        Ok(Self { block: Vec::new(), blocks, thread })
    }

    /// Where the next row goes, ended with a newline by [`Sink::end_row`].
    pub fn row(&mut self) -> &mut Vec<u8> {
        &mut self.block
    }

    /// The row is whole.
    pub async fn end_row(&mut self) -> Result<(), DiffError> {
        self.block.push(b'\n');
        if self.block.len() >= BLOCK_BYTES {
            let rows = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8));
            if self.blocks.send(Block::Rows(rows)).await.is_err() {
                return Err(self.failure().await);
            }
        }
        Ok(())
    }

    /// Puts the file in place.
    pub async fn finish(mut self) -> Result<Finished, DiffError> {
        let rows = std::mem::take(&mut self.block);
        let sent = match self.blocks.send(Block::Rows(rows)).await {
            Ok(()) => self.blocks.send(Block::End).await,
            Err(refused) => Err(refused),
        };
        if sent.is_err() {
            return Err(self.failure().await);
        }
        joined((&mut self.thread).await)??.ok_or(DiffError::Cancelled)
    }

    /// Why the thread takes no more.
    async fn failure(&mut self) -> DiffError {
        match joined((&mut self.thread).await) {
            Ok(Err(error)) => error.into(),
            Err(error) => error,
            Ok(Ok(_)) => DiffError::Cancelled,
        }
    }
}
