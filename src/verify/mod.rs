//! The proof after apply: the staged rows are held against live once more, and what was planned must be there. Reads the
//! diff of before and the diff of now; writes nothing but the certificate it returns.

mod certificate;
mod error;
mod rows;

pub use certificate::{Certificate, CertifiedForeignKey, CertifiedSequence, CertifiedTable, Mismatch};
pub use error::VerifyError;

use std::path::Path;

use crate::diff::{Diffed, DiffedTable};
use crate::pg::{ReadSession, column};
use crate::plan::Plan;
use crate::sql::registry;

/// A diff and where its files are.
#[derive(Clone, Copy)]
pub struct DiffAt<'a> {
    /// The manifest.
    pub diffed: &'a Diffed,
    /// Its directory.
    pub directory: &'a Path,
}

/// Compares what was planned (`before`) with what live holds now (`after`, of the same session).
pub async fn certify(
    plan: &Plan,
    before: DiffAt<'_>,
    after: DiffAt<'_>,
    session: &ReadSession,
) -> Result<Certificate, VerifyError> {
    let mut certificate = Certificate::of(plan);
    for planned in &before.diffed.tables {
        let now = table_of(after.diffed, planned)?;
        let certified = rows::compare(planned, before.directory, now, after.directory)?;
        certificate.add(certified);
    }
    for fk in &before.diffed.catalog.foreign_keys {
        let staged = |table| before.diffed.tables.iter().any(|diffed| &diffed.table == table);
        if staged(&fk.child) && staged(&fk.parent) {
            let orphans = certificate.orphans_of(fk);
            certificate.foreign_keys.push(CertifiedForeignKey {
                name: fk.name.clone(),
                child: fk.child.clone(),
                parent: fk.parent.clone(),
                enforced: fk.is_enforced(),
                orphans,
            });
        }
    }
    for wanted in &plan.sequences {
        const WHAT: &str = "reading a sequence";
        let (schema, name) = (wanted.sequence.schema.as_str(), wanted.sequence.name.as_str());
        let rows = session.query(&registry::DIFF_SEQUENCE, &[&schema, &name]).await?;
        let mut last_value: Option<i64> = None;
        if let Some(row) = rows.first() {
            last_value = column(row, "last_value", WHAT)?;
        }
        certificate.sequences.push(CertifiedSequence {
            sequence: wanted.sequence.clone(),
            at_least: wanted.at_least,
            last_value,
        });
    }
    Ok(certificate.closed())
}

fn table_of<'a>(diffed: &'a Diffed, wanted: &DiffedTable) -> Result<&'a DiffedTable, VerifyError> {
    let found = diffed.tables.iter().find(|table| table.table == wanted.table);
    found.ok_or_else(|| VerifyError::OtherStaging { table: wanted.table.clone() })
}
