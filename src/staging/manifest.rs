//! `manifest.json` of a staging directory: which file holds which table, with size and SHA-256. Never looks into a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AtomicFile, StagedTable, StagingError, StagingFormat, write_atomic};
use crate::ident::TableName;

/// The format number that this version writes and reads.
pub const MANIFEST_FORMAT: u32 = 1;

const FILE_NAME: &str = "manifest.json";

/// One staged table and its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// File name inside the staging directory.
    pub file: String,
    /// The table, its columns and its key.
    pub table: StagedTable,
    /// How the file is written.
    pub format: StagingFormat,
    /// Number of rows.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Positions of columns that have a native type but are kept as text, because a value would not print back.
    pub text_columns: Vec<usize>,
    /// What stands for NULL in a CSV file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub null_marker: String,
}

/// What a staging directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format number of this file.
    pub format: u32,
    /// The staged tables.
    pub tables: Vec<StagedFile>,
    /// What other stages want to keep with it.
    #[serde(default)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// Only what every format must have, to tell a newer manifest from a damaged one.
#[derive(Deserialize)]
struct FormatNumber {
    format: u32,
}

impl Manifest {
    /// A manifest of these files, in this order.
    pub fn new(tables: Vec<StagedFile>) -> Self {
        Self { format: MANIFEST_FORMAT, tables, extra: serde_json::Map::new() }
    }

    /// The file of a table.
    pub fn find(&self, table: &TableName) -> Option<&StagedFile> {
        self.tables.iter().find(|staged| &staged.table.table == table)
    }

    /// Reads `<dir>/manifest.json`.
    pub fn load(dir: &Path) -> Result<Self, StagingError> {
        let path = dir.join(FILE_NAME);
        let bytes = fs::read(&path).map_err(|source| StagingError::read(&path, source))?;
        let syntax = |source| StagingError::ManifestSyntax { path: path.clone(), source };
        let found = serde_json::from_slice::<FormatNumber>(&bytes).map_err(syntax)?.format;
        if found != MANIFEST_FORMAT {
            return Err(StagingError::ManifestFormat { path, found, expected: MANIFEST_FORMAT });
        }
        serde_json::from_slice(&bytes).map_err(syntax)
    }

    /// Writes `<dir>/manifest.json` whole or not at all.
    pub fn store(&self, dir: &Path) -> Result<(), StagingError> {
        let (path, bytes) = (dir.join(FILE_NAME), self.to_bytes(dir)?);
        write_atomic(&path, &bytes).map_err(|source| StagingError::write(&path, 0, source))
    }

    /// The file's bytes.
    pub fn to_bytes(&self, dir: &Path) -> Result<Vec<u8>, StagingError> {
        let syntax = |source| StagingError::ManifestSyntax { path: dir.join(FILE_NAME), source };
        let mut bytes = serde_json::to_vec_pretty(self).map_err(syntax)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Is the file still the one that the manifest describes?
pub fn verify_sha256(dir: &Path, staged: &StagedFile) -> Result<(), StagingError> {
    let path = dir.join(&staged.file);
    let (found, _) = sha256_of(&path).map_err(|source| StagingError::read(&path, source))?;
    if found == staged.sha256 {
        return Ok(());
    }
    Err(StagingError::Checksum { path, manifest: staged.sha256.clone(), found })
}

/// SHA-256 (lower-case hexadecimal) and size in bytes of a file.
pub fn sha256_of(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hex(&hash.finalize()), bytes)),
            Ok(count) => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A file that is hashed and counted while it is written.
#[derive(Debug)]
pub(super) struct HashedFile {
    file: AtomicFile,
    hash: Sha256,
    bytes: u64,
}

impl HashedFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: AtomicFile::create(path)?, hash: Sha256::new(), bytes: 0 })
    }

    /// A file that cannot take a byte.
    #[cfg(test)]
    pub(super) fn onto_full_disk(path: &Path) -> Self {
        Self { file: AtomicFile::onto_full_disk(path), hash: Sha256::new(), bytes: 0 }
    }

    /// Puts the file in its place; its size and SHA-256.
    pub(super) fn commit(self) -> io::Result<(u64, String)> {
        self.file.commit()?;
        Ok((self.bytes, hex(&self.hash.finalize())))
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
