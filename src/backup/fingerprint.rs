//! SHA-256 of a backup: of the file, or for a directory of all its files and of the list of their checksums.

use std::fs::{self, File};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::input::Input;
use crate::cancel::CancelToken;
use crate::progress::{Progress, Step};

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileSum {
    /// Its name without directories.
    pub(super) name: String,
    /// In lower-case hex.
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

/// What tells one backup from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256 of the file, or for a directory of what `sha256sum *` prints in it; lower-case hex.
    Whole(String),
    /// Of a backup so large that reading all of it takes longer than recovering from it: SHA-256 over the names and sizes of
    /// its files, and the first and the last mebibyte of each.
    Ends(String),
}

/// Backups with more bytes are not read whole only to be named.
const WHOLE_BYTES: u64 = 4 << 30;
const END_BYTES: u64 = 1 << 20;

/// Is the backup small enough to be read whole?
pub(super) fn is_read_whole(path: &Path) -> Result<bool, BackupError> {
    let sizes = files_of(path)?.iter().map(|path| size_of(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(sizes.into_iter().fold(0, u64::saturating_add) <= WHOLE_BYTES)
}

/// See [`Digest::Ends`].
pub(super) fn of_ends(path: &Path) -> Result<String, BackupError> {
    let mut hash = Sha256::new();
    for path in files_of(path)? {
        let unreadable = |source| BackupError::Unreadable { path: path.clone(), source };
        let (file, bytes) = (Arc::new(File::open(&path).map_err(unreadable)?), size_of(&path)?);
        hash.update(format!("{bytes}  {}\n", name_of(&path)));
        let head = bytes.min(END_BYTES);
        for (start, end) in [(0, head), (bytes.saturating_sub(END_BYTES).max(head), bytes)] {
            let mut end_of_file = Vec::new();
            Input::new(Arc::clone(&file), start, end).read_to_end(&mut end_of_file).map_err(unreadable)?;
            hash.update(&end_of_file);
        }
    }
    Ok(hex(&hash.finalize()))
}

/// The file, or those of the directory in the order of their names.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, BackupError> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let unreadable = |source| BackupError::Unreadable { path: path.to_path_buf(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn size_of(path: &Path) -> Result<u64, BackupError> {
    let about = fs::metadata(path);
    about
        .map(|about| about.len())
        .map_err(|source| BackupError::Unreadable { path: path.to_path_buf(), source })
}

/// Reads one file from beginning to end.
pub(super) fn of_file(
    path: &Path,
    file: &Arc<File>,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<FileSum, BackupError> {
    let unreadable = |source| BackupError::Unreadable { path: path.to_path_buf(), source };
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut input = Input::new(Arc::clone(file), 0, bytes);
    let mut hash = Sha256::new();
    loop {
        if cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        let piece = input.fill_buf().map_err(unreadable)?;
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        let count = piece.len();
        input.consume(count);
        progress.advance(Step::Inspect, u64::try_from(count).unwrap_or(0));
    }
    Ok(FileSum { name: name_of(path), sha256: hex(&hash.finalize()), bytes: input.position() })
}

/// Reads every file of a directory, in the order of their names.
pub(super) fn of_directory(
    directory: &Path,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Vec<FileSum>, BackupError> {
    files_of(directory)?
        .iter()
        .map(|path| {
            let file =
                File::open(path).map_err(|source| BackupError::Unreadable { path: path.clone(), source })?;
            of_file(path, &Arc::new(file), progress, cancel)
        })
        .collect()
}

/// SHA-256 of what `sha256sum *` prints for these files: lines of checksum, two spaces and name.
pub(super) fn of_list(sums: &[FileSum]) -> String {
    let mut hash = Sha256::new();
    for sum in sums {
        hash.update(format!("{}  {}\n", sum.sha256, sum.name));
    }
    hex(&hash.finalize())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
