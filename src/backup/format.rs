//! Finds out what a path is, from its first bytes, and refuses what cannot be read in words that help.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::BackupError;
use super::contents::Format;
use super::decode::{Codec, Decoder};

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// An archive.
    Archive(Format),
    /// SQL, compressed so.
    Plain(Codec),
}

const HEAD_BYTES: usize = 4096;
const MAGIC: &[u8] = b"PGDMP";
const TAR_MAGIC_AT: usize = 257;

/// Which reader `path` needs.
pub(super) fn recognise(path: &Path) -> Result<Found, BackupError> {
    refuse_address(path)?;
    let unreadable = |source| BackupError::Unreadable { path: path.to_path_buf(), source };
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        return recognise_directory(path).map(Found::Archive);
    }
    let head = read_head(File::open(path).map_err(unreadable)?).map_err(unreadable)?;
    match sniff(&head) {
        Sniffed::Custom => Ok(Found::Archive(Format::Custom)),
        Sniffed::Tar => Ok(Found::Archive(Format::Tar)),
        Sniffed::Empty => Err(BackupError::Empty { path: path.to_path_buf() }),
        Sniffed::Sql => Ok(Found::Plain(Codec::Plain)),
        Sniffed::Unknown => recognise_packed(path, &head),
    }
}

fn not_yet(path: &Path, found: &'static str) -> BackupError {
    BackupError::NotYet { path: path.to_path_buf(), found }
}

fn refuse_address(path: &Path) -> Result<(), BackupError> {
    let text = path.to_string_lossy();
    if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        // Shown without the address: it may hold a password.
        return Err(not_yet(Path::new("the backup"), "a running server"));
    }
    Ok(())
}

fn recognise_directory(path: &Path) -> Result<Format, BackupError> {
    let has = |name: &str| path.join(name).exists();
    if has("toc.dat") {
        Ok(Format::Directory)
    } else if has("backup_manifest") || has("PG_VERSION") || has("base.tar") || has("base.tar.gz") {
        Err(not_yet(path, "a base backup"))
    } else {
        Err(BackupError::NoToc { path: path.to_path_buf() })
    }
}

fn read_head(source: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    source.take(u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX)).read_to_end(&mut head)?;
    Ok(head)
}

enum Sniffed {
    Empty,
    Custom,
    Tar,
    Sql,
    Unknown,
}

fn sniff(head: &[u8]) -> Sniffed {
    if head.is_empty() {
        Sniffed::Empty
    } else if MAGIC.starts_with(&head[..head.len().min(MAGIC.len())]) {
        Sniffed::Custom
    } else if head.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        Sniffed::Tar
    } else if looks_like_sql(head) {
        Sniffed::Sql
    } else {
        Sniffed::Unknown
    }
}

fn looks_like_sql(head: &[u8]) -> bool {
    let marks: [&[u8]; 4] =
        [b"-- PostgreSQL database", b"\\restrict ", b"SET statement_timeout", b"SET client_encoding"];
    marks.iter().any(|mark| memchr::memmem::find(head, mark).is_some())
        && std::str::from_utf8(&head[..head.len().min(64)]).is_ok()
}

/// Compressed once more, by gzip, zstd, lz4 and the like: a plain dump, an archive, or something else?
fn recognise_packed(path: &Path, head: &[u8]) -> Result<Found, BackupError> {
    let (found, unpack, codec) = match head {
        [0x1f, 0x8b, ..] => ("a gzip file", "gunzip", Codec::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("a zstd file", "zstd -d", Codec::Zstd),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("an lz4 file", "lz4 -d", Codec::Lz4),
        _ => return Err(unknown(path, head)),
    };
    let unreadable = |source| BackupError::Unreadable { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(unreadable)?;
    match sniff(&unpacked(BufReader::new(file), codec)) {
        Sniffed::Sql => Ok(Found::Plain(codec)),
        Sniffed::Custom | Sniffed::Tar => {
            Err(BackupError::Wrapped { path: path.to_path_buf(), found, unpack })
        }
        Sniffed::Empty | Sniffed::Unknown => {
            let found = format!("it is {found} of something else, or damaged at its beginning");
            Err(BackupError::NotABackup { path: path.to_path_buf(), found })
        }
    }
}

/// The beginning of what is inside; less where it cannot be read on, which is for the reader of the format to complain about.
fn unpacked(packed: BufReader<File>, codec: Codec) -> Vec<u8> {
    let mut inside = vec![0; HEAD_BYTES];
    let mut filled = 0;
    if let Ok(mut source) = Decoder::new(codec, packed) {
        while filled < inside.len() {
            match source.read(&mut inside[filled..]) {
                Ok(count) if count > 0 => filled += count,
                _ => break,
            }
        }
    }
    inside.truncate(filled);
    inside
}

fn unknown(path: &Path, head: &[u8]) -> BackupError {
    let first: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let found = format!("it begins with the bytes {}, an archive with 50 47 44 4d 50", first.join(" "));
    BackupError::NotABackup { path: path.to_path_buf(), found }
}
