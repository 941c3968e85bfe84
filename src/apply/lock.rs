//! One run at a time on one case. The lock is the operating system's: it ends with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::ApplyError;

/// The file in a case that is locked.
pub const LOCK_FILE: &str = "lock";

/// Held while a run may change the case or live.
#[derive(Debug)]
pub struct CaseLock {
    _file: File,
}

impl CaseLock {
    /// Takes the lock on `<case>/lock`, or says that another run has it.
    pub fn take(case: &Path) -> Result<Self, ApplyError> {
        let path = case.join(LOCK_FILE);
        let unusable = |error: std::io::Error| ApplyError::CaseUnreadable {
            path: path.clone(),
            cause: error.to_string(),
        };
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ApplyError::CaseBusy { case: case.to_owned() }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}
