//! Bytes of a backup's files, read at known positions, and the chunk framing of the custom format.
//! Every reader has its own position over one shared file handle, so that a file renamed meanwhile stays the same file.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const BUFFER_BYTES: usize = 256 * 1024;

/// The source of an `io::Error` that means "the file ends before what it holds does". A kind of its own, because
/// decoders take `UnexpectedEof` of their input for an ordinary end here and there (`lz4_flex` does).
#[derive(Debug)]
struct EndsEarly;

impl fmt::Display for EndsEarly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the file ends here")
    }
}

impl Error for EndsEarly {}

/// An error that [`super::BackupError::reading`] turns into "truncated".
pub(super) fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, EndsEarly)
}

/// Is it such an error, or the ordinary kind?
pub(super) fn is_early_end(error: &io::Error) -> bool {
    let marked = error.get_ref().and_then(|source| source.downcast_ref::<EndsEarly>());
    marked.is_some() || error.kind() == io::ErrorKind::UnexpectedEof
}

/// An error that [`super::BackupError::reading`] turns into "damaged", with this fact.
pub(super) fn damaged(fact: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fact.into())
}

struct Slice {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}

/// A buffered reader over a range of a file that knows its position.
pub(super) struct Input {
    reader: BufReader<Slice>,
    position: u64,
    end: u64,
}

impl Input {
    /// Reads the bytes `start..end` of the file.
    pub(super) fn new(file: Arc<File>, start: u64, end: u64) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, Slice { file, at: start, end });
        Self { reader, position: start, end }
    }

    /// Position in the file of the byte that comes next.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes up to the end of the range.
    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// Leaves out `count` bytes without reading those that are not buffered.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<()> {
        if count > self.left() {
            return Err(ends_early());
        }
        let buffered = self.reader.buffer().len();
        match usize::try_from(count) {
            Ok(count) if count <= buffered => self.reader.consume(count),
            _ => {
                self.reader.consume(buffered);
                self.reader.get_mut().at = self.position + count;
            }
        }
        self.position += count;
        Ok(())
    }

    /// One byte; an early end is an error.
    pub(super) fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        Ok(byte[0])
    }

    /// An integer as pg_dump writes it: a sign byte, then four bytes, least significant first.
    pub(super) fn int(&mut self) -> io::Result<i32> {
        let mut bytes = [0; 5];
        self.fill(&mut bytes)?;
        let [sign, magnitude @ ..] = bytes;
        let magnitude = i64::from(u32::from_le_bytes(magnitude));
        let value = match sign {
            0 => magnitude,
            1 => -magnitude,
            other => return Err(damaged(format!("{other} is no sign of an integer"))),
        };
        // An OID above 2^31 is written as the int it is cast to, so its magnitude is below 2^31 again.
        i32::try_from(value).map_err(|source| io::Error::new(io::ErrorKind::InvalidData, source))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if wanted > self.left() {
            return Err(ends_early());
        }
        self.reader.read_exact(buffer)?;
        self.position += wanted;
        Ok(())
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.position += u64::try_from(count).unwrap_or(0);
    }
}

/// The content of one data block of the custom format: chunks, each a length and that many bytes, up to a length of 0.
/// Chunks may be as small as one row (pg_dump 15 without compression), so reads gather as many as fit.
pub(super) struct Chunks {
    input: Input,
    remaining: u64,
    ended: bool,
}

impl Chunks {
    /// `input` stands before the first chunk.
    pub(super) fn new(input: Input) -> Self {
        Self { input, remaining: 0, ended: false }
    }

    /// What lies behind the chunks, once they were read to their end.
    pub(super) fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// Goes on with the chunks that follow.
    pub(super) fn restart(&mut self) {
        self.remaining = 0;
        self.ended = false;
    }

    /// Leaves out all chunks up to the end.
    pub(super) fn skip_all(&mut self) -> io::Result<()> {
        while self.enter_chunk()? {
            self.input.skip(self.remaining)?;
            self.remaining = 0;
        }
        Ok(())
    }

    /// Makes sure that a chunk with bytes left is entered; false at the end.
    fn enter_chunk(&mut self) -> io::Result<bool> {
        if self.remaining == 0 && !self.ended {
            let length = self.input.int()?;
            self.remaining = u64::try_from(length)
                .map_err(|source| damaged(format!("the length of a chunk is {length}: {source}")))?;
            self.ended = self.remaining == 0;
            if self.remaining > self.input.left() {
                return Err(ends_early());
            }
        }
        Ok(!self.ended)
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let available = self.fill_buf()?;
            if available.is_empty() {
                break;
            }
            let count = available.len().min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&available[..count]);
            self.consume(count);
            done += count;
        }
        Ok(done)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.enter_chunk()? {
            return Ok(&[]);
        }
        let available = self.input.fill_buf()?;
        if available.is_empty() {
            return Err(ends_early());
        }
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(available.len());
        Ok(&available[..count])
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.remaining = self.remaining.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// The stored (still compressed) bytes of one block, whatever the format of the archive.
pub(super) enum Stored {
    /// Inside a custom-format archive.
    Chunks(Chunks),
    /// A file of a directory or a member of a tar archive.
    Whole(Input),
}

impl Stored {
    /// Position in its file of the byte that comes next.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Chunks(chunks) => chunks.input.position(),
            Self::Whole(input) => input.position(),
        }
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Chunks(chunks) => chunks.read(buffer),
            Self::Whole(input) => input.read(buffer),
        }
    }
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Chunks(chunks) => chunks.fill_buf(),
            Self::Whole(input) => input.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Chunks(chunks) => chunks.consume(count),
            Self::Whole(input) => input.consume(count),
        }
    }
}
