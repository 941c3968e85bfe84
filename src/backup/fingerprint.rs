//! SHA-256 of a backup: of the file, or for a directory of all its files and of the list of their checksums.

use std::fs::{self, File};
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

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
    let unreadable = |source| BackupError::Unreadable { path: directory.to_path_buf(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    paths
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
