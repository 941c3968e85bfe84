//! What became of a row, and how we know.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of a row. The words are those of the report, the diff files and the recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not in live.
    Lost,
    /// In live, and the recipe's columns hold a damaged value.
    Damaged,
    /// In live, but its foreign key was set to null or its default when the parent went.
    Unlinked,
    /// In live under the wrong owner.
    Misrouted,
    /// Equal.
    Same,
    /// In live, differs, and nothing says that the difference is damage.
    Changed,
    /// Not in live by key, but another row holds one of its unique values.
    Recreated,
    /// The key is in live, but names another entity.
    IdReused,
    /// A parent is neither in live nor recovered.
    Orphan,
    /// Named in the recipe's tombstones, or hanging on a row that is.
    Excluded,
    /// Live does not take the value.
    Unfit,
}

impl Verdict {
    /// All verdicts, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::Lost,
        Self::Damaged,
        Self::Unlinked,
        Self::Misrouted,
        Self::Same,
        Self::Changed,
        Self::Recreated,
        Self::IdReused,
        Self::Orphan,
        Self::Excluded,
        Self::Unfit,
    ];

    /// As it is written everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Damaged => "damaged",
            Self::Unlinked => "unlinked",
            Self::Misrouted => "misrouted",
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Recreated => "recreated",
            Self::IdReused => "id_reused",
            Self::Orphan => "orphan",
            Self::Excluded => "excluded",
            Self::Unfit => "unfit",
        }
    }

    /// The reverse of `word`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.word() == word)
    }

    /// Does it need a human when nothing is done about it?
    pub fn is_conflict(self) -> bool {
        matches!(self, Self::Changed | Self::Recreated | Self::IdReused | Self::Orphan | Self::Unfit)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// What the plan will do with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowAction {
    /// Nothing.
    None,
    /// Insert it.
    Insert,
    /// Update some of its columns.
    Update,
    /// Leave live's row in its place and hang on that what hung on this one.
    Repoint,
    /// Insert it here and delete it in the table where it ended up.
    Move,
}

impl RowAction {
    /// As it is written in diff files.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Repoint => "repoint",
            Self::Move => "move",
        }
    }

    /// The reverse of `word`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Insert, Self::Update, Self::Repoint, Self::Move]
            .into_iter()
            .find(|action| action.word() == word)
    }

    /// Is the row itself written?
    pub fn writes(self) -> bool {
        matches!(self, Self::Insert | Self::Update | Self::Move)
    }
}

/// How we know that a row was taken by the accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The statement that did it was run again in scratch, and took or changed it.
    Replay,
    /// A backup taken after the accident tells.
    Bracket,
    /// It hangs on a row that was taken.
    Cascade,
    /// The operator's predicate says so.
    Predicate,
    /// It is only needed by others: a parent.
    Needed,
}

impl Evidence {
    /// Does something tell what the accident left, beyond what the recipe says?
    pub fn is_told(self) -> bool {
        matches!(self, Self::Replay | Self::Bracket)
    }

    /// As it is written in diff files and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Bracket => "bracket",
            Self::Cascade => "cascade",
            Self::Predicate => "predicate",
            Self::Needed => "needed",
        }
    }
}
