//! Arrow batches into a Parquet file, on a thread of its own once there are several: rows are parsed and encoded side by
//! side then.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use super::manifest::HashedFile;

/// Batches that may wait for the thread.
const WAITING: usize = 1;

/// Takes batches in order. Dropped unfinished, it leaves no file.
#[derive(Debug)]
pub(super) enum Encoder {
    /// Here, because there may be one batch only.
    Here(Box<ArrowWriter<HashedFile>>),
    /// On a thread.
    There(Thread),
}

/// A thread that encodes.
#[derive(Debug)]
pub(super) struct Thread {
    /// A batch, and whether a row group ends with it. `None`: there are no more.
    batches: Option<SyncSender<(RecordBatch, bool)>>,
    handle: Option<JoinHandle<Result<ArrowWriter<HashedFile>, ParquetError>>>,
}

impl Encoder {
    pub(super) fn new(writer: ArrowWriter<HashedFile>) -> Self {
        Self::Here(Box::new(writer))
    }

    /// Encodes what may be the only batch, or the last.
    pub(super) fn last(&mut self, batch: RecordBatch) -> Result<(), ParquetError> {
        match self {
            Self::Here(writer) => writer.write(&batch),
            Self::There(thread) => thread.send(batch, false),
        }
    }

    /// Encodes a batch, with which a row group may end. A failure may show with a later one.
    pub(super) fn push(self, batch: RecordBatch, ends_group: bool) -> Result<Self, ParquetError> {
        let mut thread = match self {
            Self::Here(writer) => Thread::start(*writer)?,
            Self::There(thread) => thread,
        };
        thread.send(batch, ends_group)?;
        Ok(Self::There(thread))
    }

    /// The file, with everything in it.
    pub(super) fn finish(self) -> Result<HashedFile, ParquetError> {
        match self {
            Self::Here(writer) => writer.into_inner(),
            Self::There(mut thread) => thread.join()?.into_inner(),
        }
    }
}

impl Thread {
    fn start(mut writer: ArrowWriter<HashedFile>) -> Result<Self, ParquetError> {
        let (batches, coming) = sync_channel::<(RecordBatch, bool)>(WAITING);
        let encode = move || {
            for (batch, ends_group) in coming {
                writer.write(&batch)?;
                if ends_group {
                    writer.flush()?;
                }
            }
            Ok(writer)
        };
        let handle = std::thread::Builder::new().name("parquet".to_owned()).spawn(encode);
        let handle = handle.map_err(|source| ParquetError::External(Box::new(source)))?;
        Ok(Self { batches: Some(batches), handle: Some(handle) })
    }

    fn send(&mut self, batch: RecordBatch, ends_group: bool) -> Result<(), ParquetError> {
        let sent = self.batches.as_ref().is_some_and(|batches| batches.send((batch, ends_group)).is_ok());
        // It only stops early because it failed.
        if sent { Ok(()) } else { self.join().and(Err(gone())) }
    }

    fn join(&mut self) -> Result<ArrowWriter<HashedFile>, ParquetError> {
        self.batches = None;
        let ended = self.handle.take().ok_or_else(gone)?.join();
        ended.unwrap_or_else(|_panic| Err(gone()))
    }
}

impl Drop for Thread {
    /// The unfinished file is gone when this is done.
    fn drop(&mut self) {
        if self.handle.is_some() {
            drop(self.join());
        }
    }
}

fn gone() -> ParquetError {
    ParquetError::General("the thread that encodes has stopped".to_owned())
}
