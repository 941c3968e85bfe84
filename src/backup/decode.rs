//! Decompression of one block. A stream that ends before it is complete is always an error here, also where the
//! library underneath would call it an ordinary end.

use std::io::{self, BufRead, Read};

use lz4_flex::frame::FrameDecoder;
use sirocco::{Format, inflate};

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

impl Codec {
    /// Does a stream of it end with a checksum of its text? `pg_dump` asks neither lz4 nor zstd for one.
    pub(super) fn has_checksum(self) -> bool {
        matches!(self, Self::Zlib | Self::Gzip)
    }
}

/// The decompressed bytes of a block.
pub(super) enum Decoder<R: BufRead> {
    Plain(R),
    Zlib(Box<inflate::Reader<R>>),
    Gzip(Box<Members<R>>),
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
            Codec::Zlib => Self::Zlib(Box::new(inflate::Reader::new(Format::Zlib, stored))),
            Codec::Gzip => Self::Gzip(Box::new(Members { current: Some(member(stored)) })),
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
            // It stops after each frame, and goes on with the next when it is asked again.
            Self::Lz4(reader) => loop {
                let count = reader.read(buffer)?;
                if count > 0 || buffer.is_empty() || reader.get_mut().fill_buf()?.is_empty() {
                    return Ok(count);
                }
            },
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

/// The members of a gzip file, one after the other: `cat` and parallel compressors make files of several.
pub(super) struct Members<R> {
    /// Only ever empty while one member takes the place of another.
    current: Option<inflate::Reader<R>>,
}

fn member<R: BufRead>(stored: R) -> inflate::Reader<R> {
    inflate::Reader::new(Format::Gzip, stored)
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(current) = &mut self.current {
            let count = current.read(buffer)?;
            if count > 0 || buffer.is_empty() || current.get_mut().fill_buf()?.is_empty() {
                return Ok(count);
            }
            self.current = self.current.take().map(|ended| member(ended.into_inner()));
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;
    use crate::backup::input::is_early_end;

    fn zlib(text: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(text: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Decompresses what comes in pieces of at most `piece` bytes.
    fn inflate(codec: Codec, stored: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let pieces = BufReader::with_capacity(piece, stored);
        Decoder::new(codec, pieces)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_whole_stream_inflates_and_every_cut_one_is_an_error() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        for (codec, stored) in [(Codec::Zlib, zlib(&text, 6)), (Codec::Gzip, gzip(&text, 6))] {
            assert_eq!(inflate(codec, &stored, 4096).unwrap(), text);
            for cut in [1, 2, stored.len() / 2, stored.len() - 4, stored.len() - 1] {
                let error = inflate(codec, &stored[..cut], 4096).unwrap_err();
                assert!(is_early_end(&error), "{codec:?} {cut}: {error}");
            }
            assert_eq!(inflate(codec, &[], 4096).unwrap(), b"");
        }
    }

    #[test]
    fn a_gzip_file_may_have_members_and_nothing_else() {
        let (one, two) = (gzip(b"1\tone\n", 6), gzip(b"2\ttwo\n", 1));
        let both = [&one[..], &gzip(b"", 9), &two].concat();
        for piece in [1, 7, both.len()] {
            assert_eq!(inflate(Codec::Gzip, &both, piece).unwrap(), b"1\tone\n2\ttwo\n");
            let error = inflate(Codec::Gzip, &both[..both.len() - 1], piece).unwrap_err();
            assert!(is_early_end(&error), "{error}");
            assert!(inflate(Codec::Gzip, &[&one[..], b"rest"].concat(), piece).is_err());
        }
    }

    #[test]
    fn an_lz4_file_may_have_several_frames() {
        let frame = |text: &[u8]| {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let both = [frame(b"1\tone\n"), frame(b""), frame(b"2\ttwo\n")].concat();
        for piece in [1, 7, both.len()] {
            assert_eq!(inflate(Codec::Lz4, &both, piece).unwrap(), b"1\tone\n2\ttwo\n");
            assert!(inflate(Codec::Lz4, &[&both[..], b"something else"].concat(), piece).is_err());
        }
    }

    /// Text as COPY writes it: repetitions near and far, digits, and stretches that do not compress.
    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            (0..9_000_u32).prop_map(|row| format!("{row}\tname {}\t\\N\n", row % 7).into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..300),
            (any::<u8>(), 1..70_000_usize).prop_map(|(byte, times)| vec![byte; times]),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_another_library_compressed_comes_back(
            text in any_text(), level in 0..10_u32, piece in 1..9_000_usize,
        ) {
            prop_assert_eq!(&inflate(Codec::Zlib, &zlib(&text, level), piece).unwrap(), &text);
            prop_assert_eq!(&inflate(Codec::Gzip, &gzip(&text, level), piece).unwrap(), &text);
        }

        #[test]
        fn a_flipped_bit_never_gives_another_text(
            text in any_text(), level in 0..10_u32, place in any::<proptest::sample::Index>(), bit in 0..8_u32,
        ) {
            let mut stored = zlib(&text, level);
            let at = place.index(stored.len());
            stored[at] ^= 1 << bit;
            if let Ok(found) = inflate(Codec::Zlib, &stored, 4096) {
                prop_assert_eq!(found, text);
            }
        }
    }
}
