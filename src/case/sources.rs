//! Staged rows and their diff rows, side by side, as the plan reads them.

use super::layout::Layout;
use super::{CaseError, Error};
use crate::diff::{DiffReader, DiffRow, DiffedTable, FOUND};
use crate::staging::{ReadAhead, verify_sha256};

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
