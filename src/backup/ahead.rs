//! Decompression on a thread of its own, some buffers ahead of whoever reads: one long table then takes two processors.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

const BUFFER_BYTES: usize = 128 * 1024;
/// Buffers between the two threads.
const BUFFERS: usize = 4;

/// Lets `work` read what `text` gives, read ahead by another thread, which has ended when this returns.
///
/// # Errors
/// When no thread can be started.
pub(super) fn read_ahead<R: Read + Send, T>(text: R, work: impl FnOnce(&mut Ahead) -> T) -> io::Result<T> {
    thread::scope(|scope| {
        let (filled, coming) = sync_channel(BUFFERS);
        let (used, free) = channel();
        for _ in 0..BUFFERS {
            // The receiver is at hand.
            used.send(Vec::new()).ok();
        }
        let reader = thread::Builder::new().name("decompress".into());
        let _joined_by_the_scope = reader.spawn_scoped(scope, move || fill(text, &free, &filled))?;
        Ok(work(&mut Ahead { coming, used, buffer: Vec::new(), at: 0 }))
    })
}

/// Fills one buffer after the other until the text ends, cannot be read, or nobody wants it any more.
fn fill<R: Read>(mut text: R, free: &Receiver<Vec<u8>>, filled: &SyncSender<io::Result<Vec<u8>>>) {
    while let Ok(mut buffer) = free.recv() {
        buffer.resize(BUFFER_BYTES, 0);
        let (count, fault) = read_full(&mut text, &mut buffer);
        buffer.truncate(count);
        let goes_on = count > 0 && fault.is_none();
        if count > 0 && filled.send(Ok(buffer)).is_err() {
            return;
        }
        if let Some(fault) = fault {
            filled.send(Err(fault)).ok();
        }
        if !goes_on {
            return;
        }
    }
}

/// Reads until the buffer is full, the text ends or fails.
fn read_full<R: Read>(text: &mut R, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut count = 0;
    while count < buffer.len() {
        match text.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Some(error)),
        }
    }
    (count, None)
}

/// The text, as the other thread reads it.
pub(super) struct Ahead {
    coming: Receiver<io::Result<Vec<u8>>>,
    used: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    at: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            let next = match self.coming.recv() {
                Ok(next) => next?,
                // The other thread ends behind the last buffer and behind an error.
                Err(_ended) => return Ok(0),
            };
            self.at = 0;
            // It may have read everything by now, and wait for no buffer.
            self.used.send(std::mem::replace(&mut self.buffer, next)).ok();
        }
        let count = buffer.len().min(self.buffer.len() - self.at);
        buffer[..count].copy_from_slice(&self.buffer[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in odd pieces, then fails if it is to.
    struct Pieces<'a> {
        text: &'a [u8],
        fails: bool,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.text.len().min(buffer.len()).min(4099);
            buffer[..count].copy_from_slice(&self.text[..count]);
            self.text = &self.text[count..];
            if count == 0 && self.fails { Err(io::Error::other("broken")) } else { Ok(count) }
        }
    }

    #[test]
    fn everything_arrives_in_order_and_an_error_behind_it() {
        let text: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        for length in [0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, text.len()] {
            let text = &text[..length];
            for fails in [false, true] {
                let mut found = Vec::new();
                let read = read_ahead(Pieces { text, fails }, |ahead| ahead.read_to_end(&mut found)).unwrap();
                assert_eq!(read.is_err(), fails, "{length}");
                assert_eq!(found, text, "{length} {fails}");
            }
        }
    }

    #[test]
    fn who_reads_no_further_is_not_waited_for() {
        let mut first = [0; 10];
        let read = read_ahead(io::repeat(7), |ahead| ahead.read_exact(&mut first)).unwrap();
        assert!(read.is_ok());
        assert_eq!(first, [7; 10]);
    }
}
