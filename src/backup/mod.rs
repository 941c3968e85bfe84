//! A backup as a table of contents and streams of rows.

/// Decides, row by row, which rows of a table reach scratch. May only ever keep too much.
pub trait RowFilter: Send + Sync {
    /// `row` is one line of COPY text without its newline, columns in the order of the backup's COPY statement.
    fn keep(&self, row: &[u8]) -> bool;
}

/// Keeps every row.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAll;

impl RowFilter for KeepAll {
    fn keep(&self, _: &[u8]) -> bool {
        true
    }
}
