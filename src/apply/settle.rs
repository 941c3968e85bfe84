//! What became of a transaction whose commit was announced in the journal: the server is asked, and waited for while
//! the transaction is still open.

use std::time::Duration;

use tokio::time::Instant;

use super::{ApplyError, Holder};
use crate::cancel::CancelToken;
use crate::pg::{PgError, WriteSession, column};
use crate::sql::registry::{APPLY_OUTCOME, APPLY_SESSION_OF};

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is committed.
    Committed,
    /// It is not.
    Aborted,
    /// It is so old that the server has forgotten.
    Forgotten,
}

/// How long between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks until the transaction has ended, at most `within`.
pub(super) async fn fate(
    session: &WriteSession,
    batch: u32,
    xid: &str,
    within: Duration,
    cancel: &CancelToken,
) -> Result<Fate, ApplyError> {
    let deadline = Instant::now() + within;
    loop {
        match outcome(session, xid).await?.as_deref() {
            Some("committed") => return Ok(Fate::Committed),
            Some("aborted") => return Ok(Fate::Aborted),
            None => return Ok(Fate::Forgotten),
            Some(_) => {}
        }
        if Instant::now() >= deadline || cancel.is_cancelled() {
            let holder = session_of(session, xid).await?;
            return Err(ApplyError::InDoubt { batch, xid: xid.to_owned(), holder, place: None });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn outcome(session: &WriteSession, xid: &str) -> Result<Option<String>, PgError> {
    let rows = match session.query(&APPLY_OUTCOME, &[&xid]).await {
        Ok(rows) => rows,
        // "transaction ID … is in the future": a standby took over that never heard of it.
        Err(error) if error.sqlstate() == Some("22023") => return Ok(Some("aborted".to_owned())),
        Err(error) => return Err(error),
    };
    match rows.first() {
        Some(row) => column(row, "outcome", "asking how a transaction ended"),
        None => Ok(None),
    }
}

async fn session_of(session: &WriteSession, xid: &str) -> Result<Option<Holder>, PgError> {
    const WHAT: &str = "looking for the session of a transaction";
    let rows = session.query(&APPLY_SESSION_OF, &[&xid]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Holder {
        pid: column(row, "pid", WHAT)?,
        application: column(row, "application", WHAT)?,
        state: column(row, "state", WHAT)?,
    }))
}
