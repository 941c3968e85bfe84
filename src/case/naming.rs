//! The checksum that names a backup, read beside other work: loading leaves no processor idle, holding rows against live does.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::task::JoinHandle;

use super::layout::{BackupIdentity, Layout};
use super::{CaseError, Error};
use crate::backup::{Backup, BackupError, Digest};
use crate::cancel::{CancelToken, StopOnDrop};
use crate::progress::SharedProgress;
use crate::staging::Manifest;

/// How far the thread steps back behind others that want a processor: it gets a tenth of what they get, also on a busy machine.
const NICE: i32 = 10;

/// A backup, that of after the accident, and where the case says they are.
pub(super) struct Backups {
    pub(super) backup: (PathBuf, Arc<Backup>),
    pub(super) after: Option<(PathBuf, Arc<Backup>)>,
}

type Digests = (Digest, Option<Digest>);

/// The checksums are being read.
pub(super) struct Reading {
    digests: JoinHandle<Result<Digests, BackupError>>,
    backups: Backups,
    stop: StopOnDrop,
}

impl Reading {
    /// Starts it.
    pub(super) fn start(backups: Backups, progress: SharedProgress) -> Self {
        let stop = StopOnDrop(CancelToken::default());
        let own = Arc::clone(&backups.backup.1);
        let after = backups.after.as_ref().map(|(_, after)| Arc::clone(after));
        let cancel = stop.0.clone();
        let digests = tokio::task::spawn_blocking(move || {
            stepping_back(|| {
                let digest = |backup: &Backup| backup.digest(&*progress, &cancel);
                Ok((digest(&own)?, after.as_deref().map(digest).transpose()?))
            })
        });
        Self { digests, backups, stop }
    }

    /// Writes `backup.json` as soon as the checksums are known, and then the manifest: what has none is no staging.
    pub(super) fn and_store(self, layout: Layout, manifest: Manifest) -> Naming {
        let Self { digests, backups, stop } = self;
        let stored = tokio::spawn(async move {
            let (own, later) = digests.await.map_err(CaseError::Thread)??;
            let describe = |(path, backup): &(PathBuf, Arc<Backup>), digest| {
                BackupIdentity::of(path, backup.contents(), digest)
            };
            let after = backups.after.as_ref().zip(later).map(|(after, digest)| describe(after, digest));
            let identity = describe(&backups.backup, own).with_after(after);
            layout.write_json(&layout.backup(), &identity)?;
            Ok(manifest.store(&layout.staging())?)
        });
        Naming { stored, stop }
    }
}

/// Staging becomes whole once the checksums are known.
pub(super) struct Naming {
    stored: JoinHandle<Result<(), Error>>,
    stop: StopOnDrop,
}

impl Naming {
    /// Waits until staging is whole.
    pub(super) async fn finish(self, cancel: &CancelToken) -> Result<(), Error> {
        let Self { stored, stop } = self;
        tokio::select! {
            stored = stored => stored.map_err(CaseError::Thread)?,
            () = cancel.cancelled() => {
                drop(stop);
                Err(BackupError::Cancelled.into())
            }
        }
    }
}

/// Does the work on a thread that takes little from others. Only Linux slows one thread down and not the whole program.
fn stepping_back<T: Send>(work: impl Fn() -> T + Sync) -> T {
    if !cfg!(target_os = "linux") {
        return work();
    }
    thread::scope(|scope| {
        let nicely = || {
            // Where the system refuses, it is as fast as everybody else.
            rustix::process::nice(NICE).ok();
            work()
        };
        match thread::Builder::new().name("checksum".into()).spawn_scoped(scope, nicely) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_no_thread) => work(),
        }
    })
}
