//! Progress as the library reports it. The library never draws; the binary implements the trait.

use std::sync::Arc;

/// What is being done; fixed names, so that every renderer can label them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Decompressing and checking a backup's blocks; units are bytes of the file.
    Inspect,
    /// Rows of the backup streamed into scratch; units are rows read.
    Load,
    /// Chosen rows written to staging; units are rows.
    Extract,
    /// Staged rows held against live; units are rows.
    Diff,
    /// Rows written to live; units are rows.
    Apply,
    /// Staged rows compared with live after apply; units are rows.
    Verify,
    /// Rows of a backup held against live as they are read; units are rows of the backup.
    Compare,
    /// Rows taken back; units are rows.
    Undo,
}

/// Receives progress; cheap to call once per thousand rows, from any thread.
pub trait Progress: Send + Sync {
    /// A step on `object` begins; `total` is the expected number of units where it is known.
    fn start(&self, step: Step, object: &str, total: Option<u64>);
    /// `units` more are done.
    fn advance(&self, step: Step, units: u64);
    /// The step is over.
    fn finish(&self, step: Step);
    /// A line worth reading that is no error: a notice or a warning.
    fn note(&self, line: &str);
}

/// Progress that is shown nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: Step, _: &str, _: Option<u64>) {}
    fn advance(&self, _: Step, _: u64) {}
    fn finish(&self, _: Step) {}
    fn note(&self, _: &str) {}
}

/// How progress is handed around.
pub type SharedProgress = Arc<dyn Progress>;
