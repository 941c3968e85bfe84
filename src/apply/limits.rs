//! How long apply and undo wait for what.

use std::time::Duration;

use crate::pg::{Backoff, SessionOptions};

/// Limits of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for one lock.
    pub lock_timeout: Duration,
    /// Longest time for one statement.
    pub statement_timeout: Duration,
    /// How often a batch is tried that fails for a lock, a deadlock or a serialization failure.
    pub backoff: Backoff,
    /// How long to wait until the outcome of an interrupted transaction is known.
    pub settle_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(600),
            backoff: Backoff { attempts: 3, ..Backoff::default() },
            settle_within: Duration::from_secs(30),
        }
    }
}

/// The time zone that the application has by default, while triggers may fire.
pub(super) const ZONE_OF_TRIGGERS: &str = "set local timezone to default";

/// The session's own, in which keys and values are told and compared everywhere else.
pub(super) const ZONE_OF_KEYS: &str = "set local timezone to 'UTC'";

impl Limits {
    pub(super) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            application_name: "rowback".to_owned(),
            statement_timeout: Some(self.statement_timeout),
            lock_timeout: Some(self.lock_timeout),
        }
    }

    /// Settings of each transaction. The search path becomes the one that the application has by default: triggers may depend
    /// on it, our own SQL does not. The limits are set here as well, because a pooler may hand
    /// each transaction to another connection. A commit that is acknowledged before it is on disk would make the journal
    /// promise too much.
    pub(super) fn transaction_settings(&self) -> String {
        format!(
            "set local lock_timeout = {}; set local statement_timeout = {}; set local search_path to default; \
             select pg_catalog.set_config('synchronous_commit', 'on', true) \
             where pg_catalog.current_setting('synchronous_commit') = 'off'",
            self.lock_timeout.as_millis(),
            self.statement_timeout.as_millis()
        )
    }
}
