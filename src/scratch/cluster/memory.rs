//! A place in memory for what every cluster has before a row is in it: some 25 MB of catalogs in a thousand files, which
//! take longer to make on a disk than anything else here. Rows, indexes, temporary files and the log stay on disk.

use std::path::Path;

use super::directory::first_closed;
use crate::pg::Account;

/// Where Linux offers memory as files.
pub(super) const MEMORY: &str = "/dev/shm";
/// Free room below which it is left alone: containers often give 64 MB, and others use it, too.
const NEEDED_BYTES: u64 = 512 << 20;

/// A tablespace's path may not be longer, with what the server adds to it.
const MOST_BYTES_OF_PATH: usize = 800;

/// Is it worth while, can the server's account get there, and can the rows be in a tablespace below `disk`?
pub(super) fn has_place(account: Option<&Account>, disk: &Path) -> bool {
    let place = Path::new(MEMORY);
    let fits = disk.to_str().is_some_and(|path| path.len() <= MOST_BYTES_OF_PATH && !path.contains('\''));
    fits && has_room(place) && account.is_none_or(|account| first_closed(place, account).is_none())
}

#[cfg(target_os = "linux")]
fn has_room(place: &Path) -> bool {
    // Not whatever is mounted there: only what is in memory is worth it.
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    rustix::fs::statfs(place).is_ok_and(|found| {
        let free = u64::try_from(found.f_bsize).unwrap_or(0).saturating_mul(found.f_bavail);
        found.f_type == TMPFS && free >= NEEDED_BYTES
    })
}

#[cfg(not(target_os = "linux"))]
fn has_room(_: &Path) -> bool {
    false
}
