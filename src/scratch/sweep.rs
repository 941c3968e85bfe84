//! Removes what killed runs left behind: directories of ours whose owner is gone, after their server is stopped.
//! Never touches a directory of another account, without our marker, or whose owner still holds the lock.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

use super::cluster::directory::{LOCK, MARKER, MARKER_TEXT, PREFIX};
use super::cluster::launcher::DATA;
use crate::pg::Account;

/// The accounts that a server of ours may run as when rowback runs as root, in order of preference.
pub(super) const SERVER_ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Removes the leftovers in `parents`; the directories that were removed, in the order of their names. What cannot be
/// removed stays for the next run.
pub fn sweep(parents: &[PathBuf]) -> Vec<PathBuf> {
    let mut owners = vec![geteuid().as_raw()];
    if geteuid().is_root() {
        owners.extend(
            SERVER_ACCOUNTS.iter().filter_map(|name| Account::by_name(name)).map(|account| account.uid),
        );
    }
    let mut leftovers: Vec<PathBuf> = parents
        .iter()
        .filter_map(|parent| std::fs::read_dir(parent).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_leftover(path, &owners))
        .collect();
    leftovers.sort();
    leftovers.retain(|path| {
        stop_server(path);
        std::fs::remove_dir_all(path).is_ok()
    });
    leftovers
}

fn is_leftover(path: &Path, owners: &[u32]) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(owner) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<i32>().ok())
    else {
        return false;
    };
    // Not through a symbolic link: whoever may write to the parent could point it anywhere.
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return false };
    if !metadata.is_dir() || !owners.contains(&metadata.uid()) {
        return false;
    }
    if std::fs::read_to_string(path.join(MARKER)).is_ok_and(|text| text == MARKER_TEXT) {
        // The marker is written under the lock: a lock that can be had has lost its owner.
        let free = |lock: File| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        return File::open(path.join(LOCK)).is_ok_and(free);
    }
    // Killed between making the directory and marking it: nothing but the lock can be in it.
    let bare = std::fs::read_dir(path)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK)));
    bare && !is_alive(owner)
}

fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Stops the server that still runs in a leftover, if there is one.
fn stop_server(directory: &Path) {
    let text = std::fs::read_to_string(directory.join(DATA).join("postmaster.pid")).unwrap_or_default();
    let number = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
    let Some(pid) = number.filter(|number| *number > 1).and_then(Pid::from_raw) else { return };
    if !runs_in(pid, directory) {
        return;
    }
    for signal in [Signal::QUIT, Signal::KILL] {
        if kill_process(pid, signal).is_err() {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !runs_in(pid, directory) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Is this process a server of that directory? Its number alone may belong to another one by now.
fn runs_in(pid: Pid, directory: &Path) -> bool {
    let pid = pid.as_raw_nonzero();
    match std::fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) => cwd.starts_with(directory.canonicalize().unwrap_or_else(|_| directory.to_owned())),
        Err(_) if Path::new("/proc/self").exists() => false,
        // No /proc (macOS): the server's command line names its directory.
        Err(_) => {
            let ps = std::process::Command::new("ps")
                .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
                .output();
            ps.is_ok_and(|output| {
                String::from_utf8_lossy(&output.stdout).contains(&directory.display().to_string())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory as a run leaves it, without anybody holding its lock.
    fn leave(parent: &Path, name: &str, marker: Option<&str>) -> PathBuf {
        let path = parent.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(LOCK), "").unwrap();
        if let Some(text) = marker {
            std::fs::write(path.join(MARKER), text).unwrap();
            std::fs::write(path.join("content"), "x").unwrap();
        }
        path
    }

    #[test]
    fn only_marked_directories_without_a_living_owner_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let at = parent.path();
        let own_pid = std::process::id();
        let dead = leave(at, "rowback-scratch-999999999-aa", Some(MARKER_TEXT));
        let pid_used_again = leave(at, &format!("rowback-scratch-{own_pid}-bb"), Some(MARKER_TEXT));
        let unmarked_dead = leave(at, "rowback-scratch-999999999-cc", None);
        let unmarked_alive = leave(at, &format!("rowback-scratch-{own_pid}-dd"), None);
        let foreign_text = leave(at, "rowback-scratch-999999999-ee", Some("something else\n"));
        let other_name = leave(at, "rowback-999999999-ff", Some(MARKER_TEXT));
        let held = leave(at, "rowback-scratch-999999999-gg", Some(MARKER_TEXT));
        let lock = File::open(held.join(LOCK)).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        std::os::unix::fs::symlink(&other_name, at.join("rowback-scratch-999999999-hh")).unwrap();

        let mut expected = vec![dead, unmarked_dead, pid_used_again];
        expected.sort();
        assert_eq!(sweep(&[at.to_owned()]), expected);
        assert!(expected.iter().all(|path| !path.exists()));
        for kept in [&unmarked_alive, &foreign_text, &other_name, &held] {
            assert!(kept.join(LOCK).exists(), "{}", kept.display());
        }
        drop(lock);
        assert_eq!(sweep(&[at.to_owned()]), [held]);
    }
}
