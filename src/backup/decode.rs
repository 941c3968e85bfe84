//! Decompression of one block. A stream that ends before it is complete is always an error here, also where the
//! library underneath would call it an ordinary end.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use lz4_flex::frame::FrameDecoder;

use super::input::ends_early;

/// How a block is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Not at all.
    Plain,
    /// Deflate with a zlib header and an Adler-32: gzip in the custom format.
    Zlib,
    /// A gzip file with a CRC-32.
    Gzip,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

/// The decompressed bytes of a block.
pub(super) enum Decoder<R: BufRead> {
    Plain(R),
    Zlib(Box<Inflate<R>>),
    Gzip(Box<MultiGzDecoder<R>>),
    Lz4(Box<FrameDecoder<R>>),
    Zstd(Box<zstd::Decoder<'static, R>>),
}

impl<R: BufRead> Decoder<R> {
    /// Starts decompressing. An empty block is empty whatever the codec: pg_dump then writes no stream at all.
    pub(super) fn new(codec: Codec, mut stored: R) -> io::Result<Self> {
        if stored.fill_buf()?.is_empty() {
            return Ok(Self::Plain(stored));
        }
        Ok(match codec {
            Codec::Plain => Self::Plain(stored),
            Codec::Zlib => Self::Zlib(Box::new(Inflate::new(stored))),
            Codec::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(stored))),
            Codec::Lz4 => Self::Lz4(Box::new(FrameDecoder::new(stored))),
            Codec::Zstd => Self::Zstd(Box::new(zstd::Decoder::with_buffer(stored)?)),
        })
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Zlib(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Lz4(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

/// Inflates one zlib stream. `flate2`'s own reader takes the end of its input for the end of the stream, so that
/// a block that was cut short would look complete.
pub(super) struct Inflate<R> {
    stored: R,
    state: Decompress,
    complete: bool,
}

impl<R> Inflate<R> {
    fn new(stored: R) -> Self {
        Self { stored, state: Decompress::new(true), complete: false }
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.complete || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.stored.fill_buf()?;
            let at_end = input.is_empty();
            let (read_before, written_before) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(input, buffer, FlushDecompress::None)?;
            let read = usize::try_from(self.state.total_in() - read_before).unwrap_or(usize::MAX);
            let written = usize::try_from(self.state.total_out() - written_before).unwrap_or(usize::MAX);
            self.stored.consume(read);
            self.complete = status == Status::StreamEnd;
            if written > 0 || self.complete {
                return Ok(written);
            }
            if at_end {
                return Err(ends_early());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;
    use crate::backup::input::is_early_end;

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        Decoder::new(Codec::Zlib, stored)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_whole_stream_inflates_and_every_cut_one_is_an_error() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let stored = zlib(&text);
        assert_eq!(inflate(&stored).unwrap(), text);
        for cut in [1, 2, stored.len() / 2, stored.len() - 4, stored.len() - 1] {
            let error = inflate(&stored[..cut]).unwrap_err();
            assert!(is_early_end(&error), "{cut}: {error}");
        }
        assert_eq!(inflate(&[]).unwrap(), b"");
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let mut stored = zlib(b"1\tone\n2\ttwo\n");
        *stored.last_mut().unwrap() ^= 1;
        assert!(inflate(&stored).is_err());
    }
}
