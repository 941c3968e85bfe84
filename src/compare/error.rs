//! What can go wrong while a backup is compared with live. Both are only read.

use std::io;

use crate::backup::BackupError;
use crate::error::{Explain, Kind};
use crate::ident::TableName;
use crate::pg::PgError;

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The backup knows no such table.
    #[error("the backup has no table \"{table}\"")]
    UnknownTable {
        /// The name that was given.
        table: TableName,
        /// The one most like it.
        nearest: Option<String>,
    },
    /// The role cannot read a table that a recipe wants to be compared.
    #[error("the role \"{role}\" may not read \"{table}\" in live")]
    NotReadable {
        /// The role.
        role: String,
        /// The first such table.
        table: TableName,
        /// What stands in the way.
        reason: &'static str,
    },
    /// A key that must be unique is there twice on one side.
    #[error("two rows of \"{table}\" have the same key {side}")]
    KeyTwice {
        /// The table.
        table: TableName,
        /// `in the backup` or `in live`.
        side: &'static str,
    },
    /// A file for rows that do not fit into memory cannot be written or read.
    #[error("the rows that do not fit into memory cannot be kept on disk")]
    Spill(#[source] io::Error),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Live.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// A thread panicked.
    #[error("a thread died while the backup was compared")]
    Thread(#[from] tokio::task::JoinError),
    /// Somebody asked to stop.
    #[error("stopped on request while the backup was compared with live")]
    Cancelled,
}

impl Explain for CompareError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownTable { .. } => "unknown-table",
            Self::NotReadable { .. } => "permission-denied",
            Self::KeyTwice { .. } => "comparison-key-twice",
            Self::Spill(_) => "comparison-not-kept",
            Self::Backup(error) => error.code(),
            Self::Pg(error) => error.code(),
            Self::Thread(_) => "thread-died",
            Self::Cancelled => "cancelled",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::UnknownTable { .. } => Kind::Usage,
            Self::NotReadable { .. } | Self::KeyTwice { .. } => Kind::Input,
            Self::Backup(error) => error.kind(),
            Self::Pg(error) => error.kind(),
            Self::Thread(_) => Kind::Bug,
            Self::Spill(_) | Self::Cancelled => Kind::Stopped,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Spill(source) => vec![source.to_string()],
            Self::NotReadable { reason, .. } => vec![(*reason).to_owned()],
            Self::Backup(error) => error.causes(),
            Self::Pg(error) => error.causes(),
            Self::Thread(error) => vec![error.to_string()],
            Self::UnknownTable { .. } | Self::KeyTwice { .. } | Self::Cancelled => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        let nothing = "Live was only read; nothing was changed.";
        match self {
            Self::UnknownTable { nearest: Some(name), .. } => format!("Did you mean \"{name}\"? {nothing}"),
            Self::UnknownTable { nearest: None, .. } => {
                format!("`rowback inspect` lists the tables of a backup. {nothing}")
            }
            Self::NotReadable { role, .. } => format!(
                "Grant \"{role}\" SELECT on the whole of it (and BYPASSRLS where row security is in the way), or connect as a role that has it. {nothing}"
            ),
            Self::KeyTwice { .. } => format!(
                "An index may be damaged there: check it with amcheck. Leave the table out by naming the others with `--table`. {nothing}"
            ),
            Self::Spill(_) => format!(
                "Free space in the directory for temporary files (TMPDIR), or allow more with `--memory`. {nothing}"
            ),
            Self::Backup(error) => error.hint(),
            Self::Pg(error) => error.hint(),
            Self::Thread(_) => format!("This is a bug of rowback; please report it. {nothing}"),
            Self::Cancelled => format!("Run the same command again. {nothing}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_words() {
        let table = TableName::new("public", "orders");
        let errors = [
            CompareError::UnknownTable { table: table.clone(), nearest: Some("public.order".into()) },
            CompareError::UnknownTable { table: table.clone(), nearest: None },
            CompareError::NotReadable { role: "me".into(), table: table.clone(), reason: "no SELECT" },
            CompareError::KeyTwice { table, side: "in live" },
            CompareError::Spill(io::Error::other("no space left")),
            CompareError::Cancelled,
        ];
        let mut text = String::new();
        for error in &errors {
            text.push_str(&format!("[{}] {error}\n", error.code()));
            error.causes().iter().for_each(|cause| text.push_str(&format!("  {cause}\n")));
            text.push_str(&format!("  {}\n", error.hint()));
        }
        insta::assert_snapshot!(text, @r#"
        [unknown-table] the backup has no table "public.orders"
          Did you mean "public.order"? Live was only read; nothing was changed.
        [unknown-table] the backup has no table "public.orders"
          `rowback inspect` lists the tables of a backup. Live was only read; nothing was changed.
        [permission-denied] the role "me" may not read "public.orders" in live
          no SELECT
          Grant "me" SELECT on the whole of it (and BYPASSRLS where row security is in the way), or connect as a role that has it. Live was only read; nothing was changed.
        [comparison-key-twice] two rows of "public.orders" have the same key in live
          An index may be damaged there: check it with amcheck. Leave the table out by naming the others with `--table`. Live was only read; nothing was changed.
        [comparison-not-kept] the rows that do not fit into memory cannot be kept on disk
          no space left
          Free space in the directory for temporary files (TMPDIR), or allow more with `--memory`. Live was only read; nothing was changed.
        [cancelled] stopped on request while the backup was compared with live
          Run the same command again. Live was only read; nothing was changed.
        "#);
    }
}
