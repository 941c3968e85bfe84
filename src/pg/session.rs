//! The three kinds of session and what each can do. A function that is given a `ReadSession` cannot write.
//! Every session is pinned to the canonical settings before its first statement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::{Row, SimpleQueryMessage};

use super::connect;
use super::copy::{CopyIn, CopyOut};
use super::error::PgError;
use super::identity::{self, ServerIdentity};
use super::pace::Pace;
use super::settings::ConnectSettings;
use super::wire::{Notice, Wire};
use super::{FromSql, ToSql};
use crate::sql::literal::literal;
use crate::sql::registry::{Access, Query, SESSION_PIN, SESSION_READ_AHEAD, SNAPSHOT_EXPORT};

pub use super::wire::Canceller;

/// What a session is for and how long it may wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Shown in `pg_stat_activity`; an application name in the connection settings wins.
    pub application_name: String,
    /// Longest time for one statement; `None` = no limit.
    pub statement_timeout: Option<Duration>,
    /// Longest wait for one lock; `None` = no limit.
    pub lock_timeout: Option<Duration>,
}

impl SessionOptions {
    /// No limits.
    pub fn named(application_name: &str) -> Self {
        Self { application_name: application_name.to_owned(), statement_timeout: None, lock_timeout: None }
    }
}

/// The settings under which every value has one text. Names as `pg_settings` spells them; what a server version does
/// not know is skipped, and so is what the role may not set. `row_security = off` turns a silently short result into an error.
const CANONICAL: [(&str, &str); 21] = [
    ("search_path", ""),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("quote_all_identifiers", "off"),
    ("row_security", "off"),
    ("lc_monetary", "C"),
    ("synchronize_seqscans", "off"),
    ("jit", "off"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    // Says nothing about values: even the first look at a page with deleted rows writes that page into the log.
    ("wal_compression", "lz4"),
];

/// Reads a column by name; `what` is for the message when it is not there or of another type.
pub fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str, what: &str) -> Result<T, PgError> {
    row.try_get(name)
        .map_err(|error| PgError::Answer { what: what.to_owned(), cause: super::error::chain(&error) })
}

/// What all three sessions share.
struct Inner {
    wire: Arc<Wire>,
    identity: ServerIdentity,
}

impl Inner {
    async fn connect(settings: &ConnectSettings, options: &SessionOptions) -> Result<Self, PgError> {
        let wire = connect::open(settings, &options.application_name).await?;
        pin(&wire, options).await?;
        let identity = identity::ask(&wire).await?;
        Ok(Self { wire: Arc::new(wire), identity })
    }

    async fn query(
        &self,
        query: &'static Query,
        params: &[&(dyn ToSql + Sync)],
        most: Access,
    ) -> Result<Vec<Row>, PgError> {
        if query.access > most {
            let cause = format!("its access is {:?}, the session's {most:?}", query.access);
            return Err(PgError::WrongSession { query: query.name.to_owned(), cause });
        }
        let fail =
            |error: &tokio_postgres::Error| self.wire.error(&format!("running \"{}\"", query.name), error);
        let statement = self.wire.prepared(query.text).await.map_err(|error| fail(&error))?;
        self.wire.client().query(&statement, params).await.map_err(|error| fail(&error))
    }

    async fn text_rows(&self, what: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, PgError> {
        let fail = |error: &tokio_postgres::Error| self.wire.error(what, error);
        let messages = self.wire.client().simple_query(sql).await.map_err(|error| fail(&error))?;
        let mut rows = Vec::new();
        for message in &messages {
            if let SimpleQueryMessage::Row(row) = message {
                let value = |at| row.try_get(at).map(|value| value.map(str::to_owned));
                let values = (0..row.len()).map(value).collect::<Result<_, _>>();
                rows.push(values.map_err(|error| fail(&error))?);
            }
        }
        Ok(rows)
    }

    async fn execute(&self, what: &str, sql: &str) -> Result<(), PgError> {
        self.wire.client().batch_execute(sql).await.map_err(|error| self.wire.error(what, &error))
    }
}

async fn pin(wire: &Wire, options: &SessionOptions) -> Result<(), PgError> {
    let millis = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_millis().max(1)).to_string();
    let limits = [
        ("statement_timeout", millis(options.statement_timeout)),
        ("lock_timeout", millis(options.lock_timeout)),
    ];
    let pairs = CANONICAL.iter().copied().chain(limits.iter().map(|(name, value)| (*name, value.as_str())));
    let (names, values): (Vec<&str>, Vec<&str>) = pairs.unzip();
    let fail = |error: &tokio_postgres::Error| wire.error("pinning the session's settings", error);
    let statement = wire.prepared(SESSION_PIN.text).await.map_err(|error| fail(&error))?;
    wire.client().query(&statement, &[&names, &values]).await.map_err(|error| fail(&error))?;
    Ok(())
}

/// The methods that every session has.
macro_rules! reading {
    ($session:ident, $access:ident) => {
        impl $session {
            /// Runs a fixed statement; refuses one whose access is wider than the session's.
            pub async fn query(
                &self,
                query: &'static Query,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<Vec<Row>, PgError> {
                self.inner.query(query, params, Access::$access).await
            }

            /// Streams out the rows of `copy (…) to stdout`; `what` is for messages ("reading \"shop.orders\"").
            pub async fn copy_out(&self, what: &str, sql: &str) -> Result<CopyOut, PgError> {
                CopyOut::start(&self.inner.wire, what, sql).await
            }

            /// Which server and database this is; known since the connection was made.
            #[allow(
                clippy::unused_async,
                reason = "stays async, should the answer have to be asked for again"
            )]
            pub async fn identity(&self) -> Result<ServerIdentity, PgError> {
                Ok(self.inner.identity.clone())
            }

            /// Stops this session's statement from elsewhere.
            pub fn canceller(&self) -> Canceller {
                self.inner.wire.canceller()
            }

            /// What the server said since the last call, errors aside.
            pub fn take_notices(&self) -> Vec<Notice> {
                self.inner.wire.take_notices()
            }
        }
    };
}

/// The methods of a session that may change its database.
macro_rules! changing {
    ($session:ident) => {
        impl $session {
            /// Connects and pins the session; no transaction is open.
            pub async fn connect(
                settings: &ConnectSettings,
                options: &SessionOptions,
            ) -> Result<Self, PgError> {
                Ok(Self { inner: Inner::connect(settings, options).await? })
            }

            /// Runs statements and returns all rows, every value in the text of its output function.
            pub async fn text_rows(
                &self,
                what: &str,
                sql: &str,
            ) -> Result<Vec<Vec<Option<String>>>, PgError> {
                self.inner.text_rows(what, sql).await
            }

            /// Runs statements whose results do not matter; several in one text are one transaction.
            pub async fn execute(&self, what: &str, sql: &str) -> Result<(), PgError> {
                self.inner.execute(what, sql).await
            }

            /// Begins `copy … from stdin`.
            pub async fn copy_in(&self, what: &str, sql: &str) -> Result<CopyIn, PgError> {
                CopyIn::start(&self.inner.wire, what, sql).await
            }

            /// Opens a transaction.
            pub async fn begin(&self) -> Result<(), PgError> {
                self.inner.execute("opening a transaction", "begin isolation level read committed").await
            }

            /// Commits. [`PgError::Lost`] here means that the outcome is not known.
            pub async fn commit(&self) -> Result<(), PgError> {
                self.inner.execute("committing", "commit").await
            }

            /// Rolls back; harmless when no transaction is open.
            pub async fn rollback(&self) -> Result<(), PgError> {
                self.inner.execute("rolling back", "rollback").await
            }
        }
    };
}

/// A session that reads: inside one read-only transaction of isolation level repeatable read, so that everything it
/// sees is of one moment.
pub struct ReadSession {
    inner: Inner,
    pace: Pace,
}

reading!(ReadSession, Read);

impl ReadSession {
    /// Connects, pins the session and opens its transaction.
    pub async fn connect(settings: &ConnectSettings, options: &SessionOptions) -> Result<Self, PgError> {
        let session = Self { inner: Inner::connect(settings, options).await?, pace: Pace::default() };
        session.open_transaction("select 1").await?;
        Ok(session)
    }

    /// Connects and sees exactly what the session sees that exported `snapshot`.
    pub async fn connect_at(
        settings: &ConnectSettings,
        options: &SessionOptions,
        snapshot: &str,
    ) -> Result<Self, PgError> {
        let session = Self { inner: Inner::connect(settings, options).await?, pace: Pace::default() };
        session
            .open_transaction(&format!("set transaction snapshot {}; select 1", literal(snapshot)))
            .await?;
        Ok(session)
    }

    /// Ends the transaction and opens a new one, which sees the present moment; also the way on after a statement
    /// failed, because the server refuses all others in that transaction.
    pub async fn restart(&self) -> Result<(), PgError> {
        self.inner.execute("ending a read-only transaction", "rollback").await?;
        self.open_transaction("select 1").await
    }

    /// The first `select` fixes the snapshot; from then on the server refuses to make the transaction writable.
    async fn open_transaction(&self, first: &str) -> Result<(), PgError> {
        let sql = format!("begin isolation level repeatable read read only; {first}");
        self.inner.execute("opening a read-only transaction", &sql).await
    }

    /// Makes this session's snapshot available to [`ReadSession::connect_at`], as long as this session lives. A
    /// standby refuses it.
    pub async fn export_snapshot(&self) -> Result<String, PgError> {
        let rows = self.query(&SNAPSHOT_EXPORT, &[]).await?;
        let what = "exporting the snapshot";
        match rows.first() {
            Some(row) => column(row, "snapshot", what),
            None => Err(PgError::Answer { what: what.to_owned(), cause: "no row".to_owned() }),
        }
    }

    /// The same as [`ReadSession::text_rows`] for a statement that the server may refuse: the transaction and its snapshot
    /// outlive the refusal, which is the inner error.
    pub async fn attempt(
        &self,
        what: &str,
        sql: &str,
    ) -> Result<Result<Vec<Vec<Option<String>>>, PgError>, PgError> {
        self.inner.execute(what, "savepoint rowback_attempt").await?;
        let answer = self.text_rows(what, sql).await;
        self.end_attempt(what, answer).await
    }

    /// The same for `copy (…) to stdout`; all its rows are held in memory.
    pub async fn attempt_copy(&self, what: &str, sql: &str) -> Result<Result<Vec<Bytes>, PgError>, PgError> {
        self.inner.execute(what, "savepoint rowback_attempt").await?;
        let read = async {
            let mut answer = self.copy_out(what, sql).await?;
            let mut rows = Vec::new();
            while let Some(row) = answer.next_row().await? {
                rows.push(row);
            }
            Ok(rows)
        };
        let answer: Result<Vec<Bytes>, PgError> = read.await;
        self.end_attempt(what, answer).await
    }

    /// Must pages be brought into memory before rows are looked up one by one?
    pub fn is_slow(&self) -> bool {
        self.pace.is_slow()
    }

    /// Tells how long a look-up of `rows` rows took: more than a tenth of a millisecond for each means that the server
    /// fetches page after page from its disk. Few rows tell nothing.
    pub fn note_pace(&self, rows: usize, took: Duration) {
        self.pace.looked_up(rows, took);
    }

    /// Has the server bring pages into memory, many at once: `sql` reads them and gives one row, by a bitmap scan where
    /// there can be one, which alone asks for pages ahead. Settings stay as they were, and what the server cannot do is left
    /// undone.
    pub async fn read_ahead(&self, what: &str, sql: &str) -> Result<(), PgError> {
        self.inner.execute(what, "savepoint rowback_ahead").await?;
        let answer = match self.query(&SESSION_READ_AHEAD, &[]).await {
            Ok(_) => self.text_rows(what, sql).await.map(drop),
            Err(error) => Err(error),
        };
        if answer.as_ref().is_err_and(|error| error.db().is_none()) {
            return answer;
        }
        let back = "rollback to savepoint rowback_ahead; release savepoint rowback_ahead";
        self.inner.execute(what, back).await
    }

    async fn end_attempt<T>(
        &self,
        what: &str,
        answer: Result<T, PgError>,
    ) -> Result<Result<T, PgError>, PgError> {
        let end = match &answer {
            Ok(_) => "release savepoint rowback_attempt",
            Err(error) if error.db().is_some() => {
                "rollback to savepoint rowback_attempt; release savepoint rowback_attempt"
            }
            Err(_) => return answer.map(Ok),
        };
        self.inner.execute(what, end).await?;
        Ok(answer)
    }

    /// Runs one statement that returns rows, every value in the text of its output function. Anything else
    /// (several statements, COMMIT, SET) is refused by the server or here: it could end the read-only transaction.
    pub async fn text_rows(&self, what: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, PgError> {
        let prepared = self.inner.wire.client().prepare(sql).await;
        let statement = prepared.map_err(|error| self.inner.wire.error(what, &error))?;
        if statement.columns().is_empty() {
            let cause = "a reading session only runs statements that return columns".to_owned();
            return Err(PgError::WrongSession { query: what.to_owned(), cause });
        }
        self.inner.text_rows(what, sql).await
    }
}

/// A session on a scratch database: it may change everything there.
pub struct ScratchSession {
    inner: Inner,
}

impl ScratchSession {
    /// Pins the session once more, after a stranger's statement ran in it; ends with the open transaction.
    pub async fn pin_again(&self) -> Result<(), PgError> {
        self.inner
            .execute("pinning the session's settings", "reset session authorization; reset role")
            .await?;
        pin(&self.inner.wire, &SessionOptions::default()).await
    }
}

reading!(ScratchSession, Scratch);
changing!(ScratchSession);

/// A session that may change live: for `apply` and `undo` alone.
pub struct WriteSession {
    inner: Inner,
}

reading!(WriteSession, Write);
changing!(WriteSession);
