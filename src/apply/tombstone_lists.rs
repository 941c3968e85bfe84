//! The files of rows that were deleted on purpose, as they are now, and what is wrong with one that cannot be used. Reads
//! files only.

use std::path::PathBuf;

use super::ApplyError;
use crate::error::{Explain, Kind};
use crate::ident::{Ident, TableName};
use crate::plan::{Plan, TombstoneFile};
use crate::staging::KeyList;

/// A list as typed values; empty without rows.
pub(super) fn values(file: &TombstoneFile, list: &KeyList) -> String {
    let of_type =
        |name: &Ident| file.columns.iter().find(|(column, _)| column == name).map(|(_, of)| of.as_str());
    let types: Vec<&str> = list.columns.iter().filter_map(of_type).collect();
    list.values(&types)
}

/// The lists as they are now. `committed` counts batches, for the message.
pub(super) fn lists(plan: &Plan, committed: usize) -> Result<Vec<KeyList>, ApplyError> {
    let mut lists = Vec::new();
    for file in &plan.tombstones.files {
        let wrong = |problem| unusable(file, problem, committed);
        let list = KeyList::read(&file.path, &file.table).map_err(wrong)?;
        let known = |name: &&Ident| file.columns.iter().all(|(column, _)| &column != name);
        if let Some(name) = list.columns.iter().find(known) {
            return Err(wrong(format!("its header names \"{name}\", which is no column of {}", file.table)));
        }
        lists.push(list);
    }
    Ok(lists)
}

pub(super) fn unusable(file: &TombstoneFile, problem: String, committed: usize) -> ApplyError {
    let (path, table) = (file.path.clone(), file.table.clone());
    Box::new(TombstonesUnusable { path, table, problem, committed }).into()
}

/// A list of rows that were deleted on purpose cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tombstones in \"{}\" cannot be used", path.display())]
pub struct TombstonesUnusable {
    /// The file.
    pub path: PathBuf,
    /// The table whose rows it lists.
    pub table: TableName,
    /// What is wrong.
    pub problem: String,
    /// Batches that were committed before.
    pub committed: usize,
}

impl Explain for TombstonesUnusable {
    fn code(&self) -> &'static str {
        "tombstones-unusable"
    }

    fn kind(&self) -> Kind {
        if self.committed == 0 { Kind::Input } else { Kind::Stopped }
    }

    fn causes(&self) -> Vec<String> {
        vec![format!("{} (it lists rows of {})", self.problem, self.table)]
    }

    fn hint(&self) -> String {
        let left = match self.committed {
            0 => "Nothing was changed.".to_owned(),
            batches => format!("{batches} batches are committed, and are not repeated."),
        };
        format!(
            "Without it nobody knows what must not come back. Put the file back as CSV whose first line names columns of {}, and \
             run the same command again. {left}",
            self.table
        )
    }
}
