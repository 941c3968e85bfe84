//! Holds every planned row against live once more and writes the certificate: per table, planned = present and equal; per
//! foreign key, no recovered row without its parent; sequences ahead of the recovered numbers. Looks for itself, by key
//! and by value, without asking the diff's judgement again. Only reads live.

mod across;
mod certificate;
mod checking;
mod dangling;
mod error;
mod look;
mod rows;
mod sequences;

use std::path::Path;
use std::sync::Arc;

pub use across::Owned;
pub use certificate::{
    CERTIFICATE_FORMAT, Certificate, KeyCheck, Mismatch, Problem, SequenceCheck, TableCheck,
};
pub use error::VerifyError;

use self::checking::Checking;
use self::rows::Side;
use crate::apply::AppliedState;
use crate::cancel::CancelToken;
use crate::catalog::ForeignKey;
use crate::diff::Diffed;
use crate::pg::ReadSession;
use crate::plan::{LiveIdentity, Plan};
use crate::progress::SharedProgress;

/// Mismatches that the certificate lists; all of them are counted.
pub const MOST_LISTED: usize = 10_000;

/// What is verified.
pub struct VerifyInput<'a> {
    /// The case.
    pub case: &'a Path,
    /// Its plan.
    pub plan: &'a Plan,
    /// Its diff.
    pub diffed: &'a Diffed,
    /// References of which the backup may lack parents.
    pub dangling: &'a [ForeignKey],
    /// What the recipe says about misrouted rows, entry by entry.
    pub owners: Vec<Owned<'a>>,
    /// What apply and undo have done.
    pub applied: &'a AppliedState,
    /// Progress.
    pub progress: &'a SharedProgress,
    /// Stop?
    pub cancel: &'a CancelToken,
    /// Sessions that look rows up beside the main one, at the same moment; without them that one does it all.
    pub lookups: &'a [Arc<ReadSession>],
}

/// Compares the planned rows with live, and writes `certificate.json`.
pub async fn run(input: &VerifyInput<'_>, session: &ReadSession) -> Result<Certificate, VerifyError> {
    check(input, session).await.map_err(VerifyError::told)
}

async fn check(input: &VerifyInput<'_>, session: &ReadSession) -> Result<Certificate, VerifyError> {
    let identity = session.identity().await?;
    if !input.diffed.live.is_same_database(&identity) {
        let [planned, found] = [&input.diffed.live, &identity].map(|one| {
            Box::new(LiveIdentity {
                system_identifier: one.system_identifier.clone(),
                dbname: one.dbname.clone(),
                database_oid: one.database_oid,
            })
        });
        return Err(VerifyError::OtherDatabase { planned, found });
    }
    let mut checking = Checking::new(input);
    for table in &input.diffed.tables {
        checking.table(table, session).await?;
    }
    for convoy in &input.diffed.convoys {
        for moved in convoy.following.iter().filter(|table| table.file.rows > 0) {
            checking.moved(convoy, moved, session).await?;
        }
    }
    if let Some(transfers) = &input.diffed.transfers {
        for moved in &transfers.tables {
            checking.went(transfers, moved, Side::To, session).await?;
            checking.went(transfers, moved, Side::From, session).await?;
        }
    }
    if !input.applied.is_undone() {
        checking.across(session).await?;
    }
    checking.settle_suspects()?;
    checking.made_again();
    checking.removed();
    let sequences = sequences::check(input, session).await?;
    let certificate = checking.certificate(identity.dbname, sequences);
    certificate.store(input.case)?;
    Ok(certificate)
}
