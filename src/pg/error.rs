//! Everything that can go wrong between us and a server, with PostgreSQL's own words unpacked.
//! Never shows a password; never turns a server's error into just "db error".

use std::fmt;
use std::time::Duration;

use crate::error::{Explain, Kind};

/// A server's error report, unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DbFacts {
    /// The primary message.
    pub message: String,
    /// The five-character SQLSTATE.
    pub sqlstate: String,
    /// More about it, where the server says more.
    pub detail: Option<String>,
    /// The server's advice.
    pub hint: Option<String>,
    /// Where in the server it happened (call stack of functions).
    pub context: Option<String>,
    /// The violated constraint.
    pub constraint: Option<String>,
    /// Schema of the table, type or constraint.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// 1-based position in the statement, in characters.
    pub position: Option<u32>,
}

impl DbFacts {
    pub(super) fn from_db(error: &tokio_postgres::error::DbError) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let position = match error.position() {
            Some(tokio_postgres::error::ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        };
        Self {
            message: error.message().to_owned(),
            sqlstate: error.code().code().to_owned(),
            detail: owned(error.detail()),
            hint: owned(error.hint()),
            context: owned(error.where_()),
            constraint: owned(error.constraint()),
            schema: owned(error.schema()),
            table: owned(error.table()),
            column: owned(error.column()),
            position,
        }
    }

    /// Facts for `Explain::causes`: message with SQLSTATE, then detail, hint and names, one line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} (SQLSTATE {})", self.message, self.sqlstate)];
        lines.extend(self.detail.iter().map(|text| format!("detail: {text}")));
        lines.extend(self.hint.iter().map(|text| format!("the server advises: {text}")));
        if let Some(constraint) = &self.constraint {
            let table = match (&self.schema, &self.table) {
                (Some(schema), Some(table)) => format!(" of {schema}.{table}"),
                _ => String::new(),
            };
            lines.push(format!("constraint \"{constraint}\"{table}"));
        }
        lines
    }
}

impl fmt::Display for DbFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (SQLSTATE {})", self.message, self.sqlstate)
    }
}

/// Why one server of the list could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody answered: wrong host or port, server down, firewall.
    Unreachable(String),
    /// No answer within the time limit.
    TimedOut(Duration),
    /// The TLS handshake failed or TLS is not available as demanded.
    Tls(String),
    /// The server wants a password (or a method of authentication) that we cannot give.
    Login(String),
    /// The server answered and said no.
    Rejected(Box<DbFacts>),
    /// The server is up, but is not what `target_session_attrs` asks for.
    Role(String),
}

/// One server of the list and why it could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    /// `host:port` or the socket directory.
    pub endpoint: String,
    /// What happened there.
    pub refusal: Refusal,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.endpoint;
        match &self.refusal {
            Refusal::Unreachable(text) | Refusal::Login(text) | Refusal::Role(text) => {
                write!(formatter, "{at}: {text}")
            }
            Refusal::Tls(text) => write!(formatter, "{at}: TLS: {text}"),
            Refusal::TimedOut(limit) => write!(formatter, "{at}: no answer within {} s", limit.as_secs()),
            Refusal::Rejected(db) => write!(formatter, "{at}: {}", db.lines().join("; ")),
        }
    }
}

/// What can go wrong between us and a server.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// The connection string, service file, environment or a certificate file cannot be used.
    #[error("the connection settings cannot be used")]
    Settings {
        /// What is wrong, without any secret.
        problem: String,
        /// What to do, where more can be said than "correct it".
        advice: Option<String>,
    },
    /// No connection could be made.
    #[error("cannot connect to {target}")]
    Connect {
        /// The database as `ConnectSettings::describe` says it.
        target: String,
        /// One entry per server that was tried; never empty.
        failures: Vec<ConnectFailure>,
    },
    /// The server refused a statement.
    #[error("the server refused a statement while {what}")]
    Statement {
        /// What was being done.
        what: String,
        /// What the server said.
        db: Box<DbFacts>,
    },
    /// A statement ran into a time limit.
    #[error("time limit reached while {what}")]
    TimedOut {
        /// What was being done.
        what: String,
        /// What the server said.
        db: Box<DbFacts>,
    },
    /// A statement was stopped at our own request.
    #[error("stopped on request while {what}")]
    Cancelled {
        /// What was being done.
        what: String,
    },
    /// The connection broke midway; whether the last statement took effect is not known.
    #[error("the connection was lost while {what}")]
    Lost {
        /// What was being done.
        what: String,
        /// What the network said.
        cause: String,
    },
    /// The server's answer is not of the expected shape.
    #[error("unexpected answer from the server while {what}")]
    Answer {
        /// What was being done.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A statement was given to a session that must not run it.
    #[error("\"{query}\" was given to a session that must not run it")]
    WrongSession {
        /// Name of the query, or what it was for.
        query: String,
        /// Which rule was broken.
        cause: String,
    },
}

impl PgError {
    /// Turns a driver's error into ours; `cancelled` tells whether we asked for the stop ourselves.
    pub(super) fn from_driver(what: &str, error: &tokio_postgres::Error, cancelled: bool) -> Self {
        let what = what.to_owned();
        match error.as_db_error() {
            Some(db) if db.code().code() == "57014" && cancelled => Self::Cancelled { what },
            Some(db) if matches!(db.code().code(), "57014" | "25P04") => {
                Self::TimedOut { what, db: Box::new(DbFacts::from_db(db)) }
            }
            // Class 57P: the server is shutting down or ended the session; it says so before it closes.
            Some(db) if db.code().code().starts_with("57P") => {
                Self::Lost { what, cause: DbFacts::from_db(db).to_string() }
            }
            Some(db) => Self::Statement { what, db: Box::new(DbFacts::from_db(db)) },
            None if is_transport(error) => Self::Lost { what, cause: chain(error) },
            None => Self::Answer { what, cause: chain(error) },
        }
    }

    /// The SQLSTATE, where the server gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.db().map(|db| db.sqlstate.as_str())
    }

    /// The server's report, where it gave one.
    pub fn db(&self) -> Option<&DbFacts> {
        match self {
            Self::Statement { db, .. } | Self::TimedOut { db, .. } => Some(db),
            Self::Connect { failures, .. } => {
                failures.iter().rev().find_map(|failure| match &failure.refusal {
                    Refusal::Rejected(db) => Some(&**db),
                    _ => None,
                })
            }
            _ => None,
        }
    }

    pub(super) fn settings(problem: impl Into<String>) -> Self {
        Self::Settings { problem: problem.into(), advice: None }
    }

    pub(super) fn settings_with(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Settings { problem: problem.into(), advice: Some(advice.into()) }
    }
}

fn is_transport(error: &tokio_postgres::Error) -> bool {
    // The driver's kinds are private; its fixed words are all there is (0.7.18, error/mod.rs).
    error.is_closed() || error.to_string().starts_with("error communicating with the server")
}

/// The error and its sources in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let line = inner.to_string();
        if !text.ends_with(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        source = inner.source();
    }
    text
}

/// The failure that tells most: an answer from a server says more than silence.
fn most_telling(failures: &[ConnectFailure]) -> Option<&Refusal> {
    let rank = |refusal: &Refusal| match refusal {
        Refusal::Rejected(_) => 5,
        Refusal::Login(_) => 4,
        Refusal::Tls(_) => 3,
        Refusal::Role(_) => 2,
        Refusal::TimedOut(_) => 1,
        Refusal::Unreachable(_) => 0,
    };
    failures.iter().map(|failure| &failure.refusal).max_by_key(|refusal| rank(refusal))
}

fn connect_code(failures: &[ConnectFailure]) -> &'static str {
    match most_telling(failures) {
        Some(Refusal::Rejected(db)) => match db.sqlstate.as_str() {
            "28P01" => "wrong-password",
            code if code.starts_with("28") => "login-rejected",
            "3D000" => "database-missing",
            "53300" => "too-many-connections",
            "57P03" => "server-not-ready",
            _ => "connection-rejected",
        },
        Some(Refusal::Login(_)) => "login-rejected",
        Some(Refusal::Tls(_)) => "tls-failed",
        Some(Refusal::Role(_)) => "wrong-server-role",
        Some(Refusal::TimedOut(_) | Refusal::Unreachable(_)) | None => "server-unreachable",
    }
}

fn connect_hint(failures: &[ConnectFailure]) -> &'static str {
    match connect_code(failures) {
        "wrong-password" => {
            "Check the user and the password (in the URL, `PGPASSWORD`, the service file or `~/.pgpass`; the first of these that is set wins)."
        }
        "login-rejected" => {
            "Check the user name, give a password if the server asks for one (`PGPASSWORD`, `~/.pgpass`), and see whether `pg_hba.conf` of the server lets this user in from this machine."
        }
        "database-missing" => "Check the database name; `psql -l` lists the databases of that server.",
        "too-many-connections" => {
            "The server has no free connection slot. Wait, or end sessions that are not needed, and run the command again."
        }
        "server-not-ready" => {
            "The server is starting up or shutting down. Run the command again in a moment."
        }
        "tls-failed" => {
            "Check `sslmode`, `sslrootcert` and the server's certificate; `sslmode=require` encrypts without checking the certificate."
        }
        "wrong-server-role" => "Check `target_session_attrs` and the list of hosts.",
        "server-unreachable" => {
            "Check host and port, that the server runs, and that no firewall is between; `psql` with the same settings must work."
        }
        _ => "Read what the server said above; `psql` with the same settings must work.",
    }
}

/// SQLSTATE `disk_full`.
const DISK_FULL: &str = "53100";

impl Explain for PgError {
    fn code(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "connection-settings",
            Self::Connect { failures, .. } => connect_code(failures),
            Self::Statement { db, .. } if db.sqlstate == "42501" => "permission-denied",
            Self::Statement { db, .. } if db.sqlstate == DISK_FULL => "server-disk-full",
            Self::Statement { .. } => "statement-refused",
            Self::TimedOut { .. } => "time-limit",
            Self::Cancelled { .. } => "stopped-on-request",
            Self::Lost { .. } => "connection-lost",
            Self::Answer { .. } => "unexpected-answer",
            Self::WrongSession { .. } => "wrong-session",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Settings { .. } => Kind::Usage,
            Self::Statement { db, .. } if db.sqlstate == DISK_FULL => Kind::Stopped,
            Self::Connect { .. } | Self::Statement { .. } => Kind::Input,
            Self::TimedOut { .. } | Self::Cancelled { .. } | Self::Lost { .. } => Kind::Stopped,
            Self::Answer { .. } | Self::WrongSession { .. } => Kind::Bug,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Settings { problem, .. } => vec![problem.clone()],
            Self::Connect { failures, .. } => failures.iter().map(ToString::to_string).collect(),
            Self::Statement { db, .. } | Self::TimedOut { db, .. } => db.lines(),
            Self::Cancelled { .. } => Vec::new(),
            Self::Lost { cause, .. } | Self::Answer { cause, .. } | Self::WrongSession { cause, .. } => {
                vec![cause.clone()]
            }
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Settings { advice: Some(advice), .. } => format!("{advice} Nothing was changed."),
            Self::Settings { advice: None, .. } => {
                "Correct the connection string or the variable named above. Nothing was changed.".to_owned()
            }
            Self::Connect { failures, .. } => format!("{} Nothing was changed.", connect_hint(failures)),
            Self::Statement { db, .. } if db.sqlstate == "42501" => {
                "Grant the role the privilege named above, or connect as a role that has it. The transaction was rolled back.".to_owned()
            }
            Self::Statement { db, .. } if db.sqlstate == DISK_FULL => {
                "Make room on the disk of that server. Scratch has its own, below `TMPDIR`: set that to a directory on another disk, or use `--scratch URL`. The transaction was rolled back.".to_owned()
            }
            Self::Statement { .. } => "The transaction was rolled back.".to_owned(),
            Self::TimedOut { .. } => {
                "Raise the time limit, or find out what the server was waiting for. The transaction was rolled back.".to_owned()
            }
            Self::Cancelled { .. } => "The transaction was rolled back. Run the same command again to go on.".to_owned(),
            Self::Lost { .. } => {
                "Run the same command again when the server can be reached. What was not committed was rolled back by the server.".to_owned()
            }
            Self::Answer { .. } | Self::WrongSession { .. } => {
                "This is a bug of rowback; please report it with this message. The transaction was rolled back.".to_owned()
            }
        }
    }
}
