//! Who is in the way: asked from a second session while the first one waits, because afterwards nobody knows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Holder;
use crate::pg::{ConnectSettings, PgError, ReadSession, SessionOptions, column};
use crate::sql::registry::APPLY_LOCK_HOLDERS;

/// What was seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The sessions in the way.
    pub(super) holders: Vec<Holder>,
    /// The table that is waited for, where the server tells.
    pub(super) relation: Option<String>,
}

/// Watches a server process until it is dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Looks for the first time after `patience`, then every fifth of a second. A second session that cannot be had
    /// is no error: the message just names nobody.
    pub(super) fn start(settings: ConnectSettings, pid: i32, patience: Duration) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let place = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            // The error ends the watching and nothing else.
            drop(watch(&settings, pid, &place).await);
        });
        Self { seen, task }
    }

    /// What was seen last.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(settings: &ConnectSettings, pid: i32, place: &Mutex<Seen>) -> Result<(), PgError> {
    let options = SessionOptions {
        statement_timeout: Some(Duration::from_secs(5)),
        ..SessionOptions::named("rowback (looking for locks)")
    };
    let session = ReadSession::connect(settings, &options).await?;
    loop {
        let seen = look(&session, pid).await?;
        if !seen.holders.is_empty() {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        // The server shows the same activity for the whole of a transaction.
        session.restart().await?;
    }
}

async fn look(session: &ReadSession, pid: i32) -> Result<Seen, PgError> {
    const WHAT: &str = "looking for locks";
    let mut seen = Seen::default();
    for row in session.query(&APPLY_LOCK_HOLDERS, &[&pid]).await? {
        seen.holders.push(Holder {
            pid: column(&row, "pid", WHAT)?,
            application: column(&row, "application", WHAT)?,
            state: column(&row, "state", WHAT)?,
        });
        seen.relation = column(&row, "relation", WHAT)?;
    }
    Ok(seen)
}
