//! What apply must know to look at the lists of rows that were deleted on purpose once more, just before it writes. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ident::{Ident, TableName};
use crate::value::JsonPath;

/// The lists of a plan, and over what rows hang on listed ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tombstones {
    /// The files.
    pub files: Vec<TombstoneFile>,
    /// References between the tables of the plan, and from them to the tables of the files.
    pub references: Vec<Reference>,
}

impl Tombstones {
    /// Does the recipe name none?
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// One file of `exclude_keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TombstoneFile {
    /// The table whose rows it lists.
    pub table: TableName,
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of the file when the verdicts were given.
    pub sha256: String,
    /// The columns that it may name, with their types.
    pub columns: Vec<(Ident, String)>,
}

/// A reference by which a row hangs on another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Child column and parent column, pair by pair.
    pub columns: Vec<(Ident, Ident)>,
    /// Where in the document of a child column it stands, pair by pair; empty where all columns refer as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Option<JsonPath>>,
    /// The condition over the child's row under which it holds.
    pub when: Option<String>,
    /// The child's columns with their types, where there is a condition.
    pub types: Vec<(Ident, String)>,
}
