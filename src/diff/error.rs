//! What can go wrong while staging is held against live. Live is only read here.

use std::path::PathBuf;

use super::Verdict;
use crate::error::{Explain, Kind};
use crate::ident::{Ident, TableName};
use crate::pg::PgError;
use crate::staging::StagingError;

/// Why the diff stopped.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// Live has no such table.
    #[error("live has no table \"{table}\"")]
    TableGone {
        /// The table.
        table: TableName,
    },
    /// Live has no such column.
    #[error("live's table \"{table}\" has no column \"{column}\"")]
    ColumnGone {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
        /// A column of live with a similar name.
        nearest: Option<String>,
    },
    /// Live wants a value that the backup does not have.
    #[error("live's table \"{table}\" wants a value for \"{column}\", which the backup does not have")]
    ColumnNew {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
    },
    /// The recipe ignores a column of the key.
    #[error("the recipe ignores a key column of \"{table}\"")]
    KeyIgnored {
        /// The table.
        table: TableName,
    },
    /// A file of tombstones cannot be used.
    #[error("the tombstones in \"{}\" cannot be used", path.display())]
    Tombstones {
        /// The file.
        path: PathBuf,
        /// The table.
        table: TableName,
        /// What is wrong.
        problem: String,
    },
    /// The recipe says that such rows end the recovery.
    #[error("{rows} rows are {verdict}, and the recipe says to stop then")]
    ToldToFail {
        /// The verdict.
        verdict: Verdict,
        /// Number of rows.
        rows: u64,
    },
    /// A diff file does not hold what it should.
    #[error("the diff of \"{table}\" cannot be read")]
    Unreadable {
        /// The table.
        table: TableName,
    },
    /// A diff file's own text does not print back.
    #[error("a diff file cannot be written")]
    Unprintable,
    /// Somebody asked to stop.
    #[error("stopped on request while reading live")]
    Cancelled,
    /// Staging or diff files.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// Live.
    #[error(transparent)]
    Pg(#[from] PgError),
}

impl Explain for DiffError {
    fn code(&self) -> &'static str {
        match self {
            Self::TableGone { .. } => "live-table-missing",
            Self::ColumnGone { .. } => "live-column-missing",
            Self::ColumnNew { .. } => "live-column-new",
            Self::KeyIgnored { .. } => "key-ignored",
            Self::Tombstones { .. } => "tombstones-unusable",
            Self::ToldToFail { .. } => "policy-fail",
            Self::Unreadable { .. } => "diff-unreadable",
            Self::Unprintable => "diff-unprintable",
            Self::Cancelled => "cancelled",
            Self::Staging(source) => source.code(),
            Self::Pg(source) => source.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::TableGone { .. }
            | Self::ColumnGone { .. }
            | Self::ColumnNew { .. }
            | Self::ToldToFail { .. } => Kind::Refused,
            Self::KeyIgnored { .. } => Kind::Usage,
            Self::Tombstones { .. } | Self::Unreadable { .. } => Kind::Input,
            Self::Unprintable => Kind::Bug,
            Self::Cancelled => Kind::Stopped,
            Self::Staging(source) => source.kind(),
            Self::Pg(source) => source.kind(),
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Tombstones { problem, .. } => vec![problem.clone()],
            Self::ColumnNew { .. } => vec!["it is NOT NULL and has no default".into()],
            Self::ColumnGone { .. } | Self::TableGone { .. } => {
                vec!["the backup has it: it was dropped or renamed since".into()]
            }
            Self::Staging(source) => source.causes(),
            Self::Pg(source) => source.causes(),
            _ => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        let nothing = "Live was only read; nothing was changed.";
        match self {
            Self::TableGone { table } => format!(
                "Make the table again (`rowback inspect` and the backup's schema tell how), or leave it out with `children = [...]`; \"{table}\" is not made by this version. {nothing}"
            ),
            Self::ColumnGone { table, column, nearest } => {
                let map = nearest.as_deref().unwrap_or("…");
                format!(
                    "Say in the recipe what became of it, under `[columns.\"{table}\"]`: `map = {{ {column} = \"{map}\" }}` or `ignore = [\"{column}\"]`. {nothing}"
                )
            }
            Self::ColumnNew { column, .. } => {
                format!("Give \"{column}\" a default in live for the time of the recovery. {nothing}")
            }
            Self::KeyIgnored { table } => {
                format!("Take the key out of `ignore` under `[columns.\"{table}\"]`. {nothing}")
            }
            Self::Tombstones { table, .. } => format!(
                "The file must be CSV, its first line the names of columns of {table} that name a row. {nothing}"
            ),
            Self::ToldToFail { .. } => {
                format!("Look at the rows with `rowback report`, or choose another policy. {nothing}")
            }
            Self::Unreadable { .. } => format!("Run `rowback diff` again. {nothing}"),
            Self::Unprintable => format!("This is a bug of rowback; please report it. {nothing}"),
            Self::Cancelled => format!("Run the same command again. {nothing}"),
            Self::Staging(source) => source.hint(),
            Self::Pg(source) => source.hint(),
        }
    }
}
