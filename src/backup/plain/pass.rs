//! One way through the text of a plain dump, from front to back. Compressed text cannot be entered in the middle: there
//! a pass that has stopped at some place is kept, and whoever wants what comes later goes on with it.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backup::decode::{Codec, Decoder};
use crate::backup::input::{Input, ends_early};
use crate::cancel::CancelToken;

const SKIP_BYTES: usize = 256 * 1024;

/// The file, and how it is compressed.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
    pub(super) codec: Codec,
}

/// Text from some place on.
pub(super) struct Pass {
    text: Decoder<Tracked>,
    /// Position in the text of the byte that comes next.
    at: u64,
    /// Position in the file, as far as it was read.
    stored_at: Arc<AtomicU64>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pass").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Source {
    /// Begins at the front, or, where nothing is compressed, at `at`.
    pub(super) fn pass(&self, at: u64) -> io::Result<Pass> {
        let start = if self.codec == Codec::Plain { at.min(self.bytes) } else { 0 };
        let stored_at = Arc::new(AtomicU64::new(start));
        let input = Input::new(Arc::clone(&self.file), start, self.bytes);
        let text = Decoder::new(self.codec, Tracked { input, position: Arc::clone(&stored_at) })?;
        Ok(Pass { text, at: start, stored_at })
    }
}

impl Pass {
    /// Position in the text.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Position in the file.
    pub(super) fn stored_at(&self) -> u64 {
        self.stored_at.load(Ordering::Relaxed)
    }

    /// Reads up to `to` and throws it away; false when somebody asked to stop.
    pub(super) fn skip_to(&mut self, to: u64, cancel: &CancelToken) -> io::Result<bool> {
        let mut buffer = vec![0; SKIP_BYTES];
        while self.at < to {
            if cancel.is_cancelled() {
                return Ok(false);
            }
            let left = usize::try_from(to - self.at).unwrap_or(usize::MAX);
            let wanted = left.min(buffer.len());
            match self.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(ends_early()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Read for Pass {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        self.at += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}

/// Tells how far it was read, also while a decoder owns it.
struct Tracked {
    input: Input,
    position: Arc<AtomicU64>,
}

impl Tracked {
    fn tell(&self) {
        self.position.store(self.input.position(), Ordering::Relaxed);
    }
}

impl Read for Tracked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.tell();
        Ok(count)
    }
}

impl BufRead for Tracked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.tell();
    }
}
