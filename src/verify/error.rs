//! What can stop verify. Live is only read, so nothing can be left behind.

use std::io;
use std::path::PathBuf;

use crate::diff::DiffError;
use crate::error::{Explain, Kind, is_disk_full};
use crate::ident::TableName;
use crate::pg::PgError;
use crate::plan::LiveIdentity;
use crate::staging::StagingError;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The connection leads to another database than the plan is for.
    #[error("the plan was made for another database than \"{}\"", found.dbname)]
    OtherDatabase {
        /// The plan's.
        planned: Box<LiveIdentity>,
        /// The connection's.
        found: Box<LiveIdentity>,
    },
    /// Live lost a table or column that the plan names, or calls it otherwise.
    #[error("live is not as it was when the plan was made")]
    LiveChanged {
        /// The server's words.
        cause: String,
    },
    /// Staging, diff and plan do not belong together.
    #[error("the files of the case about {table} do not belong together")]
    CaseStale {
        /// The table.
        table: TableName,
    },
    /// Somebody asked to stop.
    #[error("verify was stopped on request")]
    Cancelled,
    /// The certificate cannot be written.
    #[error("\"{}\" cannot be written", path.display())]
    CertificateUnwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The server or the connection failed.
    #[error(transparent)]
    Server(#[from] PgError),
    /// A staging file cannot be read.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// A diff file cannot be read.
    #[error(transparent)]
    Diff(#[from] DiffError),
}

impl VerifyError {
    /// Says so where the server does not know a table or column.
    pub(super) fn told(self) -> Self {
        match self {
            Self::Server(PgError::Statement { db, .. })
                if ["42P01", "42703"].contains(&db.sqlstate.as_str()) =>
            {
                Self::LiveChanged { cause: db.message }
            }
            other => other,
        }
    }
}

impl Explain for VerifyError {
    fn code(&self) -> &'static str {
        match self {
            Self::OtherDatabase { .. } => "verify-other-database",
            Self::LiveChanged { .. } => "verify-live-changed",
            Self::CaseStale { .. } => "verify-case-stale",
            Self::Cancelled => "verify-cancelled",
            Self::CertificateUnwritable { .. } => "certificate-unwritable",
            Self::Server(error) => error.code(),
            Self::Staging(error) => error.code(),
            Self::Diff(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::OtherDatabase { .. } | Self::LiveChanged { .. } | Self::CaseStale { .. } => Kind::Refused,
            Self::Cancelled => Kind::Stopped,
            Self::CertificateUnwritable { cause, .. } if is_disk_full(cause) => Kind::Stopped,
            Self::CertificateUnwritable { .. } => Kind::Input,
            Self::Server(error) => error.kind(),
            Self::Staging(error) => error.kind(),
            Self::Diff(error) => error.kind(),
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::OtherDatabase { planned, found } => {
                vec![
                    format!("planned for {}", planned.describe()),
                    format!("connected to {}", found.describe()),
                ]
            }
            Self::LiveChanged { cause } => vec![cause.clone()],
            Self::CaseStale { .. } | Self::Cancelled => Vec::new(),
            Self::CertificateUnwritable { cause, .. } => vec![cause.to_string()],
            Self::Server(error) => error.causes(),
            Self::Staging(error) => error.causes(),
            Self::Diff(error) => error.causes(),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::OtherDatabase { planned, found } => {
                format!("{} Verify only reads; nothing was changed.", planned.way_to(found))
            }
            Self::LiveChanged { .. } => {
                "Nothing was verified, also not what other tables hold: bring back the table or column (or its name), then run \
                 `rowback verify` again. Verify only reads; nothing was changed."
                    .to_owned()
            }
            Self::CaseStale { .. } => {
                "A stage was run again after the plan was made: run `rowback plan` again. Nothing was changed.".to_owned()
            }
            Self::Cancelled => "Run `rowback verify` again. Verify only reads; nothing was changed.".to_owned(),
            Self::CertificateUnwritable { .. } => {
                "Free space or correct the permissions of the case directory, then run `rowback verify` again. Live was \
                 only read."
                    .to_owned()
            }
            Self::Server(error) => error.hint(),
            Self::Staging(error) => error.hint(),
            Self::Diff(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_words() {
        let identity = |dbname: &str, database_oid| {
            let system_identifier = Some("7384120045".to_owned());
            Box::new(LiveIdentity { system_identifier, dbname: dbname.to_owned(), database_oid })
        };
        let all = [
            VerifyError::OtherDatabase { planned: identity("shop", 16384), found: identity("shop", 20000) },
            VerifyError::OtherDatabase { planned: identity("shop", 16384), found: identity("shop2", 16384) },
            VerifyError::LiveChanged { cause: "relation \"public.b\" does not exist".to_owned() },
            VerifyError::CaseStale { table: TableName::new("public", "orders") },
            VerifyError::Cancelled,
            VerifyError::CertificateUnwritable {
                path: "case/certificate.json".into(),
                cause: io::Error::from(io::ErrorKind::PermissionDenied),
            },
            VerifyError::CertificateUnwritable {
                path: "case/certificate.json".into(),
                cause: io::Error::from(io::ErrorKind::StorageFull),
            },
        ];
        let lines = all.map(|error| {
            format!("[{}] {:?}: {error} {:?} | {}", error.code(), error.kind(), error.causes(), error.hint())
        });
        insta::assert_snapshot!(lines.join("\n"), @r##"
        [verify-other-database] Refused: the plan was made for another database than "shop" ["planned for \"shop\" (oid 16384, system identifier 7384120045)", "connected to \"shop\" (oid 20000, system identifier 7384120045)"] | Connect to the database that the plan was made for, or run `rowback recover` against this one. Verify only reads; nothing was changed.
        [verify-other-database] Refused: the plan was made for another database than "shop2" ["planned for \"shop\" (oid 16384, system identifier 7384120045)", "connected to \"shop2\" (oid 16384, system identifier 7384120045)"] | The database was renamed after the plan was made: give it its old name back (alter database "shop2" rename to "shop"), or run `rowback recover` in a new case. Verify only reads; nothing was changed.
        [verify-live-changed] Refused: live is not as it was when the plan was made ["relation \"public.b\" does not exist"] | Nothing was verified, also not what other tables hold: bring back the table or column (or its name), then run `rowback verify` again. Verify only reads; nothing was changed.
        [verify-case-stale] Refused: the files of the case about public.orders do not belong together [] | A stage was run again after the plan was made: run `rowback plan` again. Nothing was changed.
        [verify-cancelled] Stopped: verify was stopped on request [] | Run `rowback verify` again. Verify only reads; nothing was changed.
        [certificate-unwritable] Input: "case/certificate.json" cannot be written ["permission denied"] | Free space or correct the permissions of the case directory, then run `rowback verify` again. Live was only read.
        [certificate-unwritable] Stopped: "case/certificate.json" cannot be written ["no storage space"] | Free space or correct the permissions of the case directory, then run `rowback verify` again. Live was only read.
        "##);
    }
}
