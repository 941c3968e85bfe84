//! Staged rows and their diff rows, side by side, as the plan reads them.

use super::layout::Layout;
use super::{CaseError, Error};
use crate::diff::{DiffReader, DiffRow, Diffed, DiffedTable, FOUND};
use crate::staging::{Manifest, ReadAhead, verify_sha256};

/// Reads a table's staging and diff file in step.
pub(super) struct TableRows {
    staged: ReadAhead,
    diff: DiffReader,
}

impl TableRows {
    /// Opens both files, after their digests were found to be those of the diff.
    pub(super) fn open(layout: &Layout, table: &DiffedTable) -> Result<Self, Error> {
        verify_sha256(&layout.staging(), &table.staged)?;
        verify_sha256(&layout.diff(), &table.file)?;
        Ok(Self {
            staged: ReadAhead::open(&layout.staging(), &table.staged)?,
            diff: DiffReader::open(&layout.diff(), &table.file)?,
        })
    }

    /// The next staged row (COPY text without newline) and what became of it.
    pub(super) fn next_row(&mut self) -> Result<Option<(&[u8], DiffRow)>, Error> {
        match (self.staged.next_row()?, self.diff.next_row()?) {
            (Some(staged), Some(diff)) => Ok(Some((staged, diff))),
            (None, None) => Ok(None),
            _ => Err(CaseError::Stale.into()),
        }
    }
}

/// The rows of a table that were looked for in live; `None` when nothing was.
pub(super) fn found_rows(layout: &Layout, table: &DiffedTable) -> Result<Option<DiffReader>, Error> {
    let Some(file) = &table.found else { return Ok(None) };
    let directory = layout.diff().join(FOUND);
    verify_sha256(&directory, file)?;
    Ok(Some(DiffReader::open(&directory, file)?))
}

/// Are the files of staging and diff those that the manifests describe? A manifest that cannot be read, or is not the plan's, is
/// told of by who needs it.
pub(super) fn verify_all(layout: &Layout) -> Result<(), Error> {
    if !layout.plan().exists() {
        return Ok(());
    }
    if let Ok(staged) = Manifest::load(&layout.staging()) {
        staged.tables.iter().try_for_each(|file| verify_sha256(&layout.staging(), file))?;
    }
    let diffed: Result<Diffed, _> = layout.read_json(&layout.diff().join("manifest.json"), "diff");
    if let Ok(diffed) = diffed {
        for table in &diffed.tables {
            verify_sha256(&layout.diff(), &table.file)?;
            found_rows(layout, table)?;
        }
        for convoy in &diffed.convoys {
            let mut files = convoy.tables();
            files.try_for_each(|(directory, table)| {
                verify_sha256(&layout.diff().join(directory), &table.file)
            })?;
        }
        if let Some(transfers) = &diffed.transfers {
            let directory = layout.diff().join(&transfers.directory);
            transfers.tables.iter().try_for_each(|table| verify_sha256(&directory, &table.file))?;
        }
    }
    Ok(())
}
