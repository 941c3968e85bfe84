//! How far a recovery is, and what comes next. Pure.

use serde::Serialize;

use super::shell_word;

/// How far a recovery is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum State {
    /// The plan writes nothing.
    Nothing,
    /// Nothing has been written.
    Planned,
    /// A run was cut off at a commit, of which only the server knows the outcome.
    InDoubt {
        /// Batches that are known to be applied.
        committed: u32,
        /// Batches of the plan.
        batches: u32,
    },
    /// Applied in part.
    Applying {
        /// Batches that are applied.
        committed: u32,
        /// Batches of the plan.
        batches: u32,
    },
    /// Applied, not verified since.
    Applied {
        /// Batches of the plan.
        batches: u32,
    },
    /// Applied and verified.
    Verified {
        /// Everything that was planned is in live.
        complete: bool,
        /// When, RFC 3339 in UTC.
        at: String,
    },
    /// Taken back in part.
    Undoing {
        /// Batches that are taken back.
        undone: u32,
        /// Batches that are still applied.
        committed: u32,
    },
    /// Taken back.
    Undone {
        /// Rows that undo left alone.
        held: u64,
        /// Did triggers do anything beside the planned rows?
        beside: bool,
        /// When a verification found live as it was before, RFC 3339 in UTC.
        verified_at: Option<String>,
    },
}

/// Only undo looks for it.
const BESIDE: &str = "`rowback undo` lists what triggers left beside them";

impl State {
    /// As a sentence.
    pub fn sentence(&self) -> String {
        match self {
            Self::Nothing => "Nothing has to be written".into(),
            Self::Planned => "Planned; nothing has been written".into(),
            Self::InDoubt { committed, batches } => {
                format!("A run was cut off: {committed} of {batches} batches are known to be applied")
            }
            Self::Applying { committed, batches } => {
                format!("{committed} of {batches} batches are applied")
            }
            Self::Applied { batches: 1 } => "Applied: the one batch is committed".into(),
            Self::Applied { batches } => format!("Applied: all {batches} batches are committed"),
            Self::Verified { complete: true, at } => {
                format!("Applied and verified at {at}: everything that was planned is in live")
            }
            Self::Verified { complete: false, at } => {
                format!("Applied; verification at {at} found that not everything is as planned")
            }
            Self::Undoing { undone, committed } => {
                format!("{undone} of {} applied batches are taken back", undone + committed)
            }
            Self::Undone { held: 0, verified_at: Some(at), beside: false } => {
                format!("Taken back, and verified at {at}: live is as it was before")
            }
            Self::Undone { held: 0, verified_at: Some(at), beside: true } => {
                format!("Taken back, and verified at {at}: the planned rows are as before; {BESIDE}")
            }
            Self::Undone { held: 0, beside: false, .. } => "Taken back: live is as it was before".into(),
            Self::Undone { held: 0, beside: true, .. } => {
                format!("Taken back: the planned rows are as before; {BESIDE}")
            }
            Self::Undone { held, .. } => {
                format!("Taken back, but for {held} rows that undo left alone or that triggers changed")
            }
        }
    }

    /// What to do next, as sentences. `conflicts` says that rows are left for a human.
    pub fn next(&self, case: &str, conflicts: bool) -> String {
        let word = shell_word(case);
        let look = if conflicts { "Look at the rows that are left, then run" } else { "Run" };
        match self {
            Self::Nothing if conflicts => {
                "There is nothing to apply. Look at the rows that are left for a human.".into()
            }
            Self::Nothing => "There is nothing to apply.".into(),
            Self::Planned => format!("{look}: rowback apply {word}"),
            Self::InDoubt { .. } => format!(
                "Run: rowback apply {word} — it asks the server how the last commit ended and goes on. To take back what is \
                 applied: rowback undo {word}"
            ),
            Self::Applying { .. } => format!(
                "Run: rowback apply {word} — it goes on where it stopped. To take back what is applied: rowback undo {word}"
            ),
            Self::Applied { .. } => {
                format!("Run: rowback verify {word}. To take it back: rowback undo {word}")
            }
            Self::Verified { complete: true, .. } => format!(
                "Keep the case: its journal is what `rowback undo {word}` needs, and it holds personal data. Remove it when \
                 the recovery need not be taken back any more."
            ),
            Self::Verified { complete: false, .. } => format!(
                "Look at what is not as planned. To plan what is missing anew, once nothing stands in its way: rowback recover \
                 {} --case NEW. To take it back: rowback undo {word}",
                shell_word(&format!("{case}/recipe.toml"))
            ),
            Self::Undoing { .. } => format!(
                "Run: rowback undo {word} — it goes on where it stopped. To apply again: rowback apply {word}"
            ),
            Self::Undone { .. } => {
                format!("Nothing is left to do. To apply the same plan again: rowback apply {word}")
            }
        }
    }
}
