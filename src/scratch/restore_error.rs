//! What can go wrong while a backup is restored into scratch. Live is never touched here.

use super::error::ScratchError;
use crate::backup::BackupError;
use crate::error::{Explain, Kind};
use crate::ident::TableName;
use crate::pg::PgError;

/// Why the backup, or a part of it, could not be brought into scratch.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup holds rows only.
    #[error("the backup has no structure, so nothing can be restored from it")]
    NoStructure,
    /// A wanted table's definition failed in scratch, or one that it needs.
    #[error("table \"{table}\" cannot be restored into scratch")]
    TableNotRestored {
        /// The table.
        table: TableName,
        /// What failed, object by object.
        reasons: Vec<String>,
    },
    /// The backup knows the table but has none of its rows.
    #[error("the backup does not contain the rows of \"{table}\"")]
    RowsMissing {
        /// The table.
        table: TableName,
    },
    /// The backup taken after the accident has none of the table's rows.
    #[error("the backup taken after the accident does not contain the rows of \"{table}\"")]
    LaterWithoutRows {
        /// The table.
        table: TableName,
    },
    /// A row of the backup taken after the accident does not fit the first backup's columns.
    #[error("rows of \"{table}\" in the backup taken after the accident do not fit the first one's columns")]
    LaterDoesNotFit {
        /// The table.
        table: TableName,
        /// What the scratch server says.
        source: PgError,
    },
    /// The rows are INSERT statements.
    #[error("the backup has the rows of \"{table}\" as INSERT statements")]
    RowsAsInserts {
        /// The table.
        table: TableName,
    },
    /// `--scratch` names live.
    #[error("refusing to restore into {target}")]
    IsLive {
        /// The database, without password.
        target: String,
        /// What makes it the same.
        identity: String,
    },
    /// `--scratch` came with a superuser, and a role without superuser could not be used.
    #[error("cannot use a role without superuser on the scratch server")]
    NoSafeRole {
        /// The server.
        target: String,
        /// Why not.
        source: PgError,
    },
    /// The `--scratch` server is older than the backup.
    #[error("the scratch server is older than the backup")]
    TooOld {
        /// Major version of the scratch server.
        server: u32,
        /// Major version of the backup's server.
        backup: u32,
    },
    /// The system gives no random numbers.
    #[error("no random name can be made for the scratch database")]
    Random(#[source] openssl::error::ErrorStack),
    /// Somebody asked to stop.
    #[error("stopped on request while loading scratch")]
    Cancelled,
    /// A reading thread died.
    #[error("reading the backup ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
    /// The private cluster.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The scratch server.
    #[error(transparent)]
    Pg(#[from] PgError),
}

impl Explain for RestoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoStructure => "backup-without-structure",
            Self::TableNotRestored { .. } => "table-not-restored",
            Self::RowsMissing { .. } => "backup-without-rows",
            Self::LaterWithoutRows { .. } => "after-without-rows",
            Self::LaterDoesNotFit { .. } => "after-does-not-fit",
            Self::RowsAsInserts { .. } => "backup-inserts",
            Self::IsLive { .. } => "scratch-is-live",
            Self::NoSafeRole { .. } => "scratch-role",
            Self::TooOld { .. } => "scratch-too-old",
            Self::Random(_) => "no-random",
            Self::Cancelled => "cancelled",
            Self::Thread(_) => "thread-died",
            Self::Scratch(source) => source.code(),
            Self::Backup(source) => source.code(),
            Self::Pg(source) => source.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::IsLive { .. } | Self::NoSafeRole { .. } => Kind::Refused,
            Self::Cancelled => Kind::Stopped,
            Self::Thread(_) => Kind::Bug,
            Self::Scratch(source) => source.kind(),
            Self::Backup(source) => source.kind(),
            Self::Pg(source) => source.kind(),
            _ => Kind::Input,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::NoStructure => {
                vec!["it was made with --data-only or --statistics-only: it has no CREATE TABLE".into()]
            }
            Self::TableNotRestored { reasons, .. } if reasons.is_empty() => {
                vec!["its definition is not in the backup".into()]
            }
            Self::TableNotRestored { reasons, .. } => reasons.clone(),
            Self::RowsMissing { .. } => {
                vec!["it was made with --schema-only, --exclude-table-data or the like".into()]
            }
            Self::LaterWithoutRows { .. } => {
                vec!["the table was dropped before it was taken, or left out of it".into()]
            }
            Self::RowsAsInserts { .. } => vec!["it was made with --inserts or --column-inserts".into()],
            Self::IsLive { identity, .. } => {
                vec![format!("--scratch and --live are the same database ({identity})")]
            }
            Self::NoSafeRole { target, source } => {
                let mut causes =
                    vec![format!("a backup is untrusted input; on {target} the given role is a superuser")];
                causes.extend(source.causes());
                causes
            }
            Self::TooOld { server, backup } => {
                vec![format!("the backup is of PostgreSQL {backup}, the server is PostgreSQL {server}")]
            }
            Self::Random(source) => vec![source.to_string()],
            Self::Cancelled => Vec::new(),
            Self::Thread(source) => vec![source.to_string()],
            Self::Scratch(source) => source.causes(),
            Self::Backup(source) => source.causes(),
            Self::LaterDoesNotFit { source, .. } | Self::Pg(source) => source.causes(),
        }
    }

    fn hint(&self) -> String {
        let left = "Scratch was removed; live was not changed.";
        match self {
            Self::NoStructure => format!("Use a dump made without these. {left}"),
            Self::TableNotRestored { .. } => format!(
                "Install what is missing on this machine (an extension's server package), or give a server that has it with `--scratch URL`. {left}"
            ),
            Self::RowsMissing { .. } => {
                format!("Missing rows are not the same as no rows: use a backup that has them, or leave the table out with `children = [...]`. {left}")
            }
            Self::LaterWithoutRows { .. } => {
                format!("Missing rows are not the same as no rows: name an `after` that has them, or leave it out of [backup]. {left}")
            }
            Self::LaterDoesNotFit { .. } => {
                format!("The table's structure changed between the two backups: name an earlier `after`, or leave it out of [backup]. {left}")
            }
            Self::RowsAsInserts { .. } => format!("Use a dump made without --inserts, as `pg_dump -Fc` makes it. {left}"),
            Self::IsLive { .. } => {
                "Leave `--scratch` out to use a temporary cluster, or name an empty database. Nothing was changed.".into()
            }
            Self::NoSafeRole { .. } => {
                "Give `--scratch` a role that is no superuser and may create databases. Nothing was changed.".into()
            }
            Self::TooOld { backup, .. } => format!("Use a server of version {backup} or newer. Nothing was changed."),
            Self::Random(_) => "Nothing was changed.".into(),
            Self::Cancelled => format!("Run the same command again. {left}"),
            Self::Thread(_) => format!("This is a bug of rowback; please report it. {left}"),
            Self::Scratch(source) => source.hint(),
            Self::Backup(source) => source.hint(),
            Self::Pg(source) => source.hint(),
        }
    }
}
