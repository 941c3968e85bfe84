//! One run at a time on one case. The lock is the operating system's: it ends with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::ApplyError;

/// The file in a case that is locked.
pub const LOCK_FILE: &str = "lock";

/// How long a lock may look taken before another run is said to have it.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

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
        // A child process that is just being started holds a copy of every open file until its program begins, so a
        // lock that was let go can look taken for a moment.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(ApplyError::CaseBusy { case: case.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
    }
}
