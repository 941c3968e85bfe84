//! What is done with rows that are not simply lost: `[policy]`, `[columns]`, `[backup]` and `[live]` as values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::section::Choice;
use crate::ident::{Ident, TableName};

/// `[backup]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupSource {
    /// The backup to recover from; `None` leaves it to `--backup`.
    pub before: Option<BackupLocation>,
    /// A backup taken after the accident.
    pub after: Option<BackupLocation>,
}

/// Where a backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupLocation {
    /// A file or directory, absolute.
    Path(PathBuf),
    /// A PostgreSQL URL of a restored instance, a branch or a replica held back.
    Url(String),
}

impl BackupLocation {
    /// `postgres://…` and `postgresql://…` are URLs, everything else is a path. Relative paths stay relative.
    pub fn parse(text: &str) -> Self {
        let url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        if url { Self::Url(text.to_owned()) } else { Self::Path(PathBuf::from(text)) }
    }
}

impl std::fmt::Display for BackupLocation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(formatter),
            Self::Url(url) => formatter.write_str(&super::without_password(url)),
        }
    }
}

/// `[live]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveSource {
    /// URL or key=value string; `None` leaves it to `--live` and the environment.
    pub url: Option<String>,
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Rows that differ without evidence of damage.
    pub changed: Changed,
    /// Rows whose unique value another live row holds now.
    pub recreated: Recreated,
    /// Parents that a recovered row needs and live lacks.
    pub parents: Parents,
    /// Triggers of live.
    pub triggers: Triggers,
    /// Files of keys that must not come back, by table; absolute paths.
    pub exclude_keys: BTreeMap<TableName, PathBuf>,
    /// A plan with more rows is refused.
    pub max_rows: u64,
    /// Make tables, partitions, keys and triggers again that live lacks.
    pub recreate: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            changed: Changed::Keep,
            recreated: Recreated::Skip,
            parents: Parents::Missing,
            triggers: Triggers::Fire,
            exclude_keys: BTreeMap::new(),
            max_rows: 100_000,
            recreate: false,
        }
    }
}

/// What is done with rows that differ without evidence of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Live stays.
    Keep,
    /// The backup's values win.
    Overwrite,
    /// No plan is made.
    Fail,
}

impl Choice for Changed {
    const WORDS: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("overwrite", Self::Overwrite), ("fail", Self::Fail)];
}

/// What is done with rows whose unique value another live row holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recreated {
    /// The row and what hangs on it stay out.
    Skip,
    /// The live row stays and the recovered children are hung on it.
    Repoint,
    /// No plan is made.
    Fail,
}

impl Choice for Recreated {
    const WORDS: &'static [(&'static str, Self)] =
        &[("skip", Self::Skip), ("repoint", Self::Repoint), ("fail", Self::Fail)];
}

/// Which parents are inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parents {
    /// Those that live lacks.
    Missing,
    /// None.
    None,
}

impl Choice for Parents {
    const WORDS: &'static [(&'static str, Self)] = &[("missing", Self::Missing), ("none", Self::None)];
}

/// What happens with live's triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triggers {
    /// They fire.
    Fire,
    /// Named user triggers are disabled inside the transaction.
    Disable,
    /// `session_replication_role = replica`.
    Replica,
}

impl Choice for Triggers {
    const WORDS: &'static [(&'static str, Self)] =
        &[("fire", Self::Fire), ("disable", Self::Disable), ("replica", Self::Replica)];
}

macro_rules! shown_as_word {
    ($($choice:ty),*) => {$(
        impl std::fmt::Display for $choice {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.word())
            }
        }
    )*};
}

shown_as_word!(Changed, Recreated, Parents, Triggers);

/// `[columns."schema.table"]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnMap {
    /// Backup's name to live's name.
    pub map: BTreeMap<Ident, Ident>,
    /// Columns of the backup that are left out.
    pub ignore: Vec<Ident>,
    /// Key columns for a table without a primary key; empty: the primary key.
    pub key: Vec<Ident>,
}
