//! Everything that talks to a PostgreSQL server: settings, connections, sessions, COPY, retry.
//!
//! Three session types, one for each degree of trust: [`ReadSession`] cannot write, [`ScratchSession`] writes to a
//! throw-away database, [`WriteSession`] is for `apply` and `undo` alone. Nothing outside this module sees the driver's
//! client. Every session is pinned to the canonical settings, so that a value has one text everywhere.

mod account;
mod connect;
mod conninfo;
mod copy;
mod error;
mod identity;
mod keyword;
mod pace;
mod passfile;
mod resolve;
mod retry;
mod service;
mod session;
mod settings;
#[cfg(test)]
mod settings_tests;
mod tls;
mod wire;

pub use account::Account;
pub use copy::{CopyIn, CopyOut};
pub use error::{ConnectFailure, DbFacts, PgError, Refusal};
pub use identity::ServerIdentity;
pub use retry::{Backoff, RetryCause, is_worth_retrying, retry};
pub use session::{Canceller, ReadSession, ScratchSession, SessionOptions, WriteSession, column};
pub use settings::ConnectSettings;
pub use tokio_postgres::Row;
pub use tokio_postgres::types::{FromSql, ToSql};
pub use wire::Notice;
