//! Sequences that would hand out a restored number again. They are only ever moved forward.

use serde::{Deserialize, Serialize};

use crate::ident::TableName;

/// A sequence and the highest number that the recovered rows use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SequenceMove {
    /// The sequence.
    pub sequence: TableName,
    /// It must not hand out this number or a lower one.
    pub at_least: i64,
    /// Its step, 1 or more.
    pub increment: i64,
}
