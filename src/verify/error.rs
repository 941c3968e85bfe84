//! What can go wrong while the proof is made. Live is only read here.

use crate::diff::DiffError;
use crate::error::{Explain, Kind};
use crate::ident::TableName;
use crate::pg::PgError;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The files are of another staging than the plan.
    #[error("the staged rows of \"{table}\" are not those of the plan")]
    OtherStaging {
        /// The table.
        table: TableName,
    },
    /// The diff.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// Live.
    #[error(transparent)]
    Pg(#[from] PgError),
}

impl Explain for VerifyError {
    fn code(&self) -> &'static str {
        match self {
            Self::OtherStaging { .. } => "verify-other-staging",
            Self::Diff(source) => source.code(),
            Self::Pg(source) => source.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::OtherStaging { .. } => Kind::Refused,
            Self::Diff(source) => source.kind(),
            Self::Pg(source) => source.kind(),
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::OtherStaging { .. } => vec!["its files were changed after the plan was made".into()],
            Self::Diff(source) => source.causes(),
            Self::Pg(source) => source.causes(),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::OtherStaging { .. } => {
                "Put the case's staging and diff files back as they were. Nothing was changed.".into()
            }
            Self::Diff(source) => source.hint(),
            Self::Pg(source) => source.hint(),
        }
    }
}
