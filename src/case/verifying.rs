//! Verification: a second diff in a directory of its own, and the certificate from both.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::stages::{self, load_extracted};
use super::{Context, Error, Layout, connect_live, recipe_of, settings_of};
use crate::diff::{Diffed, Verdict};
use crate::ident::TableName;
use crate::pg::ConnectSettings;
use crate::plan::Plan;
use crate::verify::{self, DiffAt};

/// The certificate in short.
#[derive(Debug, Clone, Serialize)]
pub struct VerifySummary {
    /// Planned rows and, of them, those that are in live as planned, by table.
    pub tables: BTreeMap<TableName, (u64, u64)>,
    /// Rows that the plan left out, by verdict.
    pub left_out: BTreeMap<String, u64>,
    /// What is not as planned.
    pub unexplained: Vec<String>,
}

impl VerifySummary {
    /// Is something left for a human?
    pub fn leftover(&self) -> bool {
        let is_conflict = |word: &String| Verdict::parse(word).is_some_and(Verdict::is_conflict);
        !self.unexplained.is_empty() || self.left_out.keys().any(is_conflict)
    }
}

/// Holds the staged rows against live once more and writes `certificate.json`.
pub async fn verify(
    case: &Path,
    live: Option<ConnectSettings>,
    context: &Context,
) -> Result<VerifySummary, Error> {
    let layout = Layout::at(case);
    let recipe = recipe_of(&layout)?;
    let _lock = layout.lock()?;
    let plan: Plan = layout.read_json(&layout.plan(), "plan")?;
    let before: Diffed = layout.read_json(&layout.diff().join("manifest.json"), "diff")?;
    let (extracted, staging_sha256) = load_extracted(&layout)?;
    let session = connect_live(&settings_of(&recipe, live, &context.env)?).await?;
    let directory = layout.root().join("verify");
    layout.clear_directory(&directory)?;
    let after =
        stages::diff_into(&layout, &recipe, (&extracted, staging_sha256), &directory, &session, context);
    let after = after.await?;
    let certificate = verify::certify(
        &plan,
        DiffAt { diffed: &before, directory: &layout.diff() },
        DiffAt { diffed: &after, directory: &directory },
        &session,
    )
    .await?;
    layout.write_json(&layout.root().join("certificate.json"), &certificate)?;
    layout.forget(&[directory])?;
    super::reporting::refresh(&layout)?;
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    for (verdict, count) in certificate.tables.iter().flat_map(|table| &table.left_out) {
        *left_out.entry(verdict.clone()).or_default() += count;
    }
    Ok(VerifySummary {
        tables: certificate
            .tables
            .iter()
            .map(|table| (table.table.clone(), (table.planned, table.equal)))
            .collect(),
        left_out,
        unexplained: certificate.unexplained,
    })
}
