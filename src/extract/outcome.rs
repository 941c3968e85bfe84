//! What extraction is told and what it finds, for itself and for the stages after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Aliases, Carried, LeftOut};
use crate::catalog::load::TypedKey;
use crate::catalog::{Catalog, ForeignKey};
use crate::ident::TableName;
use crate::scratch::Pass;
use crate::staging::{StagedFile, StagingFormat};

/// How extraction is done.
#[derive(Debug, Clone)]
pub struct ExtractOptions {
    /// File format of staging.
    pub format: StagingFormat,
    /// Longest time for evaluating one predicate.
    pub time_limit: Duration,
    /// The references that live has, by live's names; those that the backup lacks are followed as well. `None` where live
    /// was not asked.
    pub live_keys: Option<Vec<TypedKey>>,
}

/// What extraction found; everything that later stages need to know about the backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Extracted {
    /// The staged tables, by name.
    pub files: Vec<StagedFile>,
    /// Counts by foreign key.
    pub edges: Vec<EdgeCount>,
    /// Keys that children spell otherwise than their parents.
    #[serde(default)]
    pub aliases: Vec<Aliases>,
    /// Rows below misrouted ones that had the same owner.
    #[serde(default)]
    pub carried: Vec<Carried>,
    /// Rows that are not part of the recovery although the recipe seems to mean them.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// The structure of the staged tables, the foreign keys among them, and all declared ones.
    pub catalog: Catalog,
    /// The references that were followed where they lead to rows, the backup's and live's; `None` in staging made by hand.
    #[serde(default)]
    pub references: Option<Vec<ForeignKey>>,
    /// Was live asked for its references?
    #[serde(default)]
    pub live_asked: bool,
    /// References of live that the backup lacks, and that could not be followed in it.
    #[serde(default)]
    pub unfollowed: Vec<Unfollowed>,
    /// Those of which the backup may lack a parent that a staged row needs.
    #[serde(default)]
    pub dangling: Vec<ForeignKey>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What was loaded into scratch, and why; of this run only.
    #[serde(skip)]
    pub passes: Vec<Pass>,
}

/// A reference of live that the backup lacks and that was not followed: what the accident took along it stays away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfollowed {
    /// Its name in live.
    pub name: String,
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Why it was not followed, and what can be done.
    pub why: String,
    /// Does the backup hold rows that may be missed? Otherwise none can come out of it.
    pub in_backup: bool,
    /// The child does not refer: it inherits, and its rows are rows of the parent to whoever names that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherits: bool,
}

impl Unfollowed {
    /// One line for the plan.
    pub fn note(&self) -> String {
        let Self { name, child, parent, why, .. } = self;
        if self.inherits {
            return format!("rows of {child}, which inherits from {parent}, are not looked for: {why}");
        }
        format!("what hung on {parent} by live's foreign key {name} of {child} is not looked for: {why}")
    }
}

/// Children of staged rows by one foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeCount {
    /// Name of the foreign key.
    pub name: String,
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Children that the backup has for the chosen parents.
    pub in_backup: u64,
    /// Of them, those that are staged.
    pub staged: u64,
}

/// The staged rows, and how they hang together.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub files: Vec<StagedFile>,
    pub edges: Vec<EdgeCount>,
    pub aliases: Vec<Aliases>,
    pub carried: Vec<Carried>,
    pub dangling: Vec<ForeignKey>,
}

/// The structure of what is staged, as the manifest tells it.
pub(super) fn only_staged(catalog: &Catalog, files: &[StagedFile]) -> Catalog {
    let staged: BTreeSet<&TableName> = files.iter().map(|file| &file.table.table).collect();
    Catalog {
        tables: catalog
            .tables
            .iter()
            .filter(|(name, _)| staged.contains(name))
            .map(|(name, table)| (name.clone(), table.clone()))
            .collect(),
        partitions: catalog
            .partitions
            .iter()
            .filter(|(_, root)| staged.contains(root))
            .map(|(name, root)| (name.clone(), root.clone()))
            .collect(),
        heirs: BTreeMap::new(),
        foreign_keys: catalog
            .foreign_keys
            .iter()
            .filter(|fk| !fk.is_enforced() || (staged.contains(&fk.child) && staged.contains(&fk.parent)))
            .cloned()
            .collect(),
    }
}
