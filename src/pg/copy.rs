//! Streams of COPY, out of and into a server. Text format is the caller's choice in the SQL; rows are not looked into.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::{CopyInSink, CopyOutStream};

use super::error::PgError;
use super::wire::Wire;

/// Rows that a server sends. Dropped before its end, the rest is read and thrown away before the next statement;
/// cancel the session first when much is left.
pub struct CopyOut {
    stream: Pin<Box<CopyOutStream>>,
    wire: Arc<Wire>,
    what: String,
    pending: Bytes,
}

impl CopyOut {
    pub(super) async fn start(wire: &Arc<Wire>, what: &str, sql: &str) -> Result<Self, PgError> {
        let stream = wire.client().copy_out(sql).await.map_err(|error| wire.error(what, &error))?;
        let (wire, what) = (Arc::clone(wire), what.to_owned());
        Ok(Self { stream: Box::pin(stream), wire, what, pending: Bytes::new() })
    }

    /// The next row without its newline; `None` after the last. The bytes share the network buffer: copy them
    /// where they are kept for long.
    pub async fn next_row(&mut self) -> Result<Option<Bytes>, PgError> {
        // A server sends a row per message, but the protocol does not promise it.
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.pending[searched..]) {
                let row = self.pending.split_to(searched + at);
                self.pending.advance(1);
                return Ok(Some(row));
            }
            searched = self.pending.len();
            match self.stream.next().await {
                Some(Ok(chunk)) if self.pending.is_empty() => self.pending = chunk,
                Some(Ok(chunk)) => {
                    let mut joined = BytesMut::with_capacity(self.pending.len() + chunk.len());
                    joined.extend_from_slice(&self.pending);
                    joined.extend_from_slice(&chunk);
                    self.pending = joined.freeze();
                }
                Some(Err(error)) => return Err(self.wire.error(&self.what, &error)),
                None if self.pending.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.pending))),
            }
        }
    }
}

/// Rows on their way to a server. Dropped without [`CopyIn::finish`], the COPY fails and nothing of it stays.
pub struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    wire: Arc<Wire>,
    what: String,
}

impl CopyIn {
    pub(super) async fn start(wire: &Arc<Wire>, what: &str, sql: &str) -> Result<Self, PgError> {
        let sink = wire.client().copy_in(sql).await.map_err(|error| wire.error(what, &error))?;
        Ok(Self { sink: Box::pin(sink), wire: Arc::clone(wire), what: what.to_owned() })
    }

    /// Sends bytes of any number of rows, newlines included; a row may be cut anywhere. Pieces of 64 KB and more go
    /// through without being copied. What the server thinks of a row is often only known at [`CopyIn::finish`].
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), PgError> {
        let Err(error) = self.sink.feed(bytes).await else { return Ok(()) };
        // "Closed" says nothing: the server's own words, if there are any, come with the end of the COPY.
        let told = self.sink.as_mut().finish().await.err().filter(|told| told.as_db_error().is_some());
        Err(self.wire.error(&self.what, told.as_ref().unwrap_or(&error)))
    }

    /// Ends the COPY; how many rows it brought.
    pub async fn finish(mut self) -> Result<u64, PgError> {
        self.sink.as_mut().finish().await.map_err(|error| self.wire.error(&self.what, &error))
    }
}
