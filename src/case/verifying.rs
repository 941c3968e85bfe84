//! Verification: the plan, what was done about it, and live, held together in the certificate.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::stages::{Reach, load_extracted};
use super::{CaseError, Context, Error, Layout, connect_live, recipe_of, settings_of};
use crate::apply::{AppliedState, unknown_to};
use crate::diff::{Diffed, Verdict};
use crate::ident::TableName;
use crate::pg::ConnectSettings;
use crate::plan::{Plan, sha256_hex};
use crate::verify::{self, Owned, VerifyInput};

/// Complaints that are listed one by one; the certificate has more.
const MOST_LISTED: usize = 50;

/// What stands in the place of a verdict for rows of tables that inherit from a recovered one.
const OUTSIDE: &str = "in inheriting tables";

/// And for references of live along which rows may be missed.
const NOT_FOLLOWED: &str = "by keys that were not followed";

/// The certificate in short.
#[derive(Debug, Clone, Serialize)]
pub struct VerifySummary {
    /// Planned rows and, of them, those that are in live as planned, by table.
    pub tables: BTreeMap<TableName, (u64, u64)>,
    /// Rows that the plan left out, by verdict.
    pub left_out: BTreeMap<String, u64>,
    /// What is not as planned.
    pub unexplained: Vec<String>,
    /// Is every planned row as planned? Then `unexplained` is about what hangs on them.
    pub as_planned: bool,
    /// Of them, rows that entries only look at and that live lacks for an unknown reason.
    pub gone: u64,
    /// What else a person should know.
    pub notes: Vec<String>,
    /// Was the recovery taken back? Then live must be as it was before.
    pub taken_back: bool,
}

impl VerifySummary {
    /// Is something left for a human?
    pub fn leftover(&self) -> bool {
        let is_conflict = |word: &String| Verdict::parse(word).is_none_or(Verdict::is_conflict);
        !self.unexplained.is_empty() || self.gone > 0 || self.left_out.keys().any(is_conflict)
    }
}

/// Holds the planned rows against live once more, over `jobs` connections at the same time, and writes `certificate.json`.
pub async fn verify(
    case: &Path,
    live: Option<ConnectSettings>,
    jobs: usize,
    context: &Context,
) -> Result<VerifySummary, Error> {
    let layout = Layout::at(case);
    let recipe = recipe_of(&layout)?;
    let _lock = layout.lock()?;
    let plan: Plan = layout.read_json(&layout.plan(), "plan")?;
    let manifest = layout.diff().join("manifest.json");
    if sha256_hex(&layout.read(&manifest, "diff")?) != plan.diff_sha256 {
        return Err(CaseError::Stale.into());
    }
    let diffed: Diffed = layout.read_json(&manifest, "diff")?;
    let (extracted, _) = load_extracted(&layout)?;
    let mut applied = AppliedState::read(case, &plan)?;
    let settings = settings_of(&recipe, live, &context.env)?;
    let session = connect_live(&settings, context).await?;
    let reach = Reach { settings: &settings, jobs };
    let parts = plan.batches.iter().flat_map(|batch| &batch.parts);
    let lookups = reach.lookups(&session, parts.map(|part| part.rows).sum()).await;
    applied.look_for_tombstones(case, &plan, &session).await?;
    applied.unknown = unknown_to(case, &session, &plan.seal).await?;
    if applied.unknown == 0 {
        // Else the certificate that tells of it would be gone.
        applied.check_against_certificate(case, &plan)?;
    }
    let (progress, cancel) = (&context.progress, &context.cancel);
    let input = VerifyInput {
        case,
        plan: &plan,
        diffed: &diffed,
        dangling: &extracted.dangling,
        owners: recipe.owners_told().map(|(table, owner, by_path)| Owned { table, owner, by_path }).collect(),
        applied: &applied,
        progress,
        cancel,
        lookups: &lookups,
    };
    let certificate = verify::run(&input, &session).await?;
    super::reporting::refresh(&layout)?;
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    for (verdict, count) in certificate.tables.iter().flat_map(|table| &table.left_out) {
        *left_out.entry(verdict.clone()).or_default() += count;
    }
    for (word, count) in [(OUTSIDE, diffed.rows_of_heirs()), (NOT_FOLLOWED, diffed.keys_not_followed())] {
        if count > 0 {
            left_out.insert(word.to_owned(), count);
        }
    }
    let as_planned = certificate.is_as_planned();
    let mut unexplained = certificate.complaints();
    if unexplained.len() > MOST_LISTED {
        let more = unexplained.len() - MOST_LISTED;
        unexplained.truncate(MOST_LISTED);
        unexplained.push(format!("… and {more} more; certificate.json lists them"));
    }
    let tables = certificate.tables.iter().map(|table| (table.table.clone(), (table.planned, table.equal)));
    Ok(VerifySummary {
        tables: tables.collect(),
        left_out,
        unexplained,
        as_planned,
        notes: certificate.notes,
        gone: diffed.gone,
        taken_back: applied.is_undone(),
    })
}
