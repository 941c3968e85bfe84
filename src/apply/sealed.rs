//! The case as it was reviewed: reads plan, batches and undo files, and refuses whatever is not what was sealed.
//! Never connects.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ApplyError;
use crate::plan::script::{self, Step};
use crate::plan::{FORMAT, Plan, sha256_hex};

/// What the plan is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Staging and diff must be those that the plan was made from, batches and undo files those that were reviewed.
    Apply,
    /// Only the undo files matter; what apply wrote can be taken back whatever became of the rest.
    Undo,
}

/// A plan whose seal is whole.
#[derive(Debug)]
pub(super) struct SealedCase {
    dir: PathBuf,
    plan: Plan,
}

/// How many batches of this plan were applied when `verify` ran last. A certificate that is not there, or makes no sense, tells
/// of none.
pub fn certified(dir: &Path, seal: &str) -> usize {
    #[derive(Deserialize)]
    struct Certificate {
        plan: String,
        committed: usize,
    }
    let text = std::fs::read(dir.join("certificate.json")).ok();
    let told = text.and_then(|text| serde_json::from_slice::<Certificate>(&text).ok());
    told.filter(|told| told.plan == seal).map_or(0, |told| told.committed)
}

impl SealedCase {
    /// Reads the plan and compares every file with its checksum.
    pub(super) fn open(dir: &Path, purpose: Purpose) -> Result<Self, ApplyError> {
        let case = Self { dir: dir.to_owned(), plan: read_plan(dir)? };
        if purpose == Purpose::Apply {
            case.check_sources()?;
        }
        for batch in &case.plan.batches {
            if purpose == Purpose::Apply {
                drop(case.script(&batch.file, &batch.sha256)?);
            }
            // Before anything is written as well: what could not be taken back afterwards must not be applied.
            if let (Some(file), Some(sha256)) = (&batch.undo_file, &batch.undo_sha256) {
                drop(case.script(file, sha256)?);
            }
        }
        Ok(case)
    }

    /// The plan.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reads a batch or undo file, checks it once more and takes it apart.
    pub(super) fn script(&self, file: &str, sha256: &str) -> Result<Vec<Step>, ApplyError> {
        let text = self.read(file)?;
        if sha256_hex(&text) != sha256 {
            return Err(ApplyError::FileEdited { file: file.to_owned() });
        }
        script::parse(&text).map_err(|error| ApplyError::CaseUnreadable {
            path: self.dir.join(file),
            cause: error.to_string(),
        })
    }

    fn check_sources(&self) -> Result<(), ApplyError> {
        let sources = [
            ("staging/manifest.json", &self.plan.staging_sha256),
            ("diff/manifest.json", &self.plan.diff_sha256),
        ];
        for (file, sha256) in sources {
            if sha256_hex(&self.read(file)?) != *sha256 {
                return Err(ApplyError::PlanStale { file: file.to_owned() });
            }
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<Vec<u8>, ApplyError> {
        let path = self.dir.join(file);
        std::fs::read(&path).map_err(|error| ApplyError::CaseUnreadable { path, cause: error.to_string() })
    }
}

/// Reads `plan.json`, checks format and seal.
pub(crate) fn read_plan(dir: &Path) -> Result<Plan, ApplyError> {
    #[derive(Deserialize)]
    struct FormatNumber {
        format: u32,
    }
    let path = dir.join("plan.json");
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ApplyError::PlanMissing { case: dir.to_owned() },
        _ => ApplyError::CaseUnreadable { path: path.clone(), cause: error.to_string() },
    })?;
    let unreadable = |error: serde_json::Error| ApplyError::CaseUnreadable {
        path: path.clone(),
        cause: error.to_string(),
    };
    let found = serde_json::from_slice::<FormatNumber>(&text).map_err(unreadable)?.format;
    if found != FORMAT {
        return Err(ApplyError::PlanFormat { found, known: FORMAT });
    }
    let plan: Plan = serde_json::from_slice(&text).map_err(unreadable)?;
    if plan.is_intact() { Ok(plan) } else { Err(ApplyError::PlanEdited) }
}
