//! A directory that belongs to one run: 0700, marked, locked as long as its owner lives, removed on drop.
//! The lock, not the process number in the name, tells whether the owner lives: numbers are used again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::pg::Account;
use crate::scratch::error::ScratchError;

/// How every directory of ours is called, before process number and random part.
pub(in crate::scratch) const PREFIX: &str = "rowback-scratch-";
/// Only a directory with this file and this text is ever removed by another run.
pub(in crate::scratch) const MARKER: &str = "rowback-scratch.marker";
/// What the marker says; the number changes when the layout does.
pub(in crate::scratch) const MARKER_TEXT: &str = "rowback scratch directory, format 1\n";
/// Locked by the owner as long as it lives.
pub(in crate::scratch) const LOCK: &str = "rowback-scratch.lock";

/// A directory of this run.
pub(in crate::scratch) struct ScratchDirectory {
    path: PathBuf,
    _lock: File,
    removed: bool,
}

impl ScratchDirectory {
    /// Makes one in `parent`; `account` becomes its owner, if the server is to run as somebody else.
    pub(in crate::scratch) fn create(parent: &Path, account: Option<&Account>) -> Result<Self, ScratchError> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), random_hex::<4>(parent)?);
        Self::create_at(parent.join(name), account)
    }

    /// Makes one of the same name in another place.
    pub(in crate::scratch) fn create_twin(
        &self,
        parent: &Path,
        account: Option<&Account>,
    ) -> Result<Self, ScratchError> {
        Self::create_at(parent.join(self.path.file_name().unwrap_or_default()), account)
    }

    fn create_at(path: PathBuf, account: Option<&Account>) -> Result<Self, ScratchError> {
        let fail = |action, source| ScratchError::Directory { action, path: path.clone(), source };
        DirBuilder::new().mode(0o700).create(&path).map_err(|source| fail("make", source))?;
        let furnished = furnish(&path, account);
        match furnished {
            Ok(lock) => Ok(Self { path, _lock: lock, removed: false }),
            Err(source) => {
                let error = fail("write", source);
                // The first error is the one to tell; an empty directory that stays is swept by the next run.
                std::fs::remove_dir_all(&path).ok();
                Err(error)
            }
        }
    }

    pub(in crate::scratch) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it; a second call does nothing.
    pub(in crate::scratch) fn remove(&mut self) -> Result<(), ScratchError> {
        if self.removed {
            return Ok(());
        }
        self.removed = true;
        match std::fs::remove_dir_all(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ScratchError::Directory { action: "remove", path: self.path.clone(), source })
            }
            _ => Ok(()),
        }
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        self.remove().ok();
    }
}

/// Lock before marker: a directory with a marker and a free lock has lost its owner.
fn furnish(path: &Path, account: Option<&Account>) -> io::Result<File> {
    let lock = private(&path.join(LOCK))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    private(&path.join(MARKER))?.write_all(MARKER_TEXT.as_bytes())?;
    if let Some(account) = account {
        chown(path, Some(account.uid), Some(account.gid))?;
    }
    Ok(lock)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Random bytes as hexadecimal digits; `path` is only for the message.
pub(in crate::scratch) fn random_hex<const BYTES: usize>(path: &Path) -> Result<String, ScratchError> {
    let mut bytes = [0; BYTES];
    openssl::rand::rand_bytes(&mut bytes).map_err(|error| ScratchError::Directory {
        action: "draw random numbers for",
        path: path.to_owned(),
        source: io::Error::other(error),
    })?;
    let digit = |half: u8| char::from_digit(u32::from(half), 16);
    Ok(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect())
}

/// The first directory from `/` down to `path` that `account` may not enter.
pub(in crate::scratch) fn first_closed(path: &Path, account: &Account) -> Option<PathBuf> {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut ancestors: Vec<&Path> = absolute.ancestors().collect();
    ancestors.reverse();
    let closed = ancestors.into_iter().find(|directory| !may_enter(directory, account));
    closed.map(Path::to_owned)
}

fn may_enter(directory: &Path, account: &Account) -> bool {
    let Ok(metadata) = std::fs::metadata(directory) else { return false };
    let mode = metadata.permissions().mode();
    let bit = if metadata.uid() == account.uid {
        0o100
    } else if metadata.gid() == account.gid {
        0o010
    } else {
        0o001
    };
    mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_marked_locked_and_gone_when_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let directory = ScratchDirectory::create(parent.path(), None).unwrap();
        let path = directory.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_to_string(path.join(MARKER)).unwrap(), MARKER_TEXT);
        let other = File::open(path.join(LOCK)).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_closed_to_the_account_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let inner = parent.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let stranger = Account { name: "x".into(), uid: 4_000_000, gid: 4_000_000, home: "/".into() };
        std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(first_closed(&inner, &stranger), Some(parent.path().canonicalize().unwrap()));
        std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(first_closed(&inner, &stranger), None);
    }
}
