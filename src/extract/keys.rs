//! The keys by which children and parents are looked for in the dump's text: whether a reference can be decided so at
//! all, and the keys themselves, read from scratch within the memory that they may take.

use std::sync::Arc;

use super::ExtractError;
use crate::catalog::{Column, ForeignKey, Table};
use crate::ident::Ident;
use crate::pg::ScratchSession;
use crate::scratch::Scratch;
use crate::scratch::filter::Encoding;
use crate::scratch::keys::{KeySet, KeySort};
use crate::value::BaseType;

/// What reading keys gave.
pub(super) enum Found {
    Keys(Arc<KeySet>),
    /// Their memory is used up; the table must be loaded whole.
    TooMany,
}

/// Reads keys into a set; `memory` counts what all sets of a load take together.
pub(super) async fn read(
    session: &ScratchSession,
    scratch: &Scratch,
    sql: &str,
    sort: KeySort,
    memory: &mut usize,
) -> Result<Found, ExtractError> {
    let most = scratch.loading().keys_bytes();
    let mut rows = session.copy_out("collecting keys", sql).await?;
    let mut keys = KeySet::new(sort);
    let mut fits = true;
    while let Some(row) = rows.next_row().await? {
        if fits {
            fits = keys.insert(&row) && *memory + keys.memory_bytes() <= most;
        }
    }
    if !fits {
        return Ok(Found::TooMany);
    }
    *memory += keys.memory_bytes();
    Ok(Found::Keys(Arc::new(keys)))
}

/// Why a table is loaded whole when its keys do not fit.
pub(super) fn too_many(fk: &ForeignKey) -> String {
    format!("the keys of {} take more memory than --memory leaves them", fk.name)
}

/// How the keys of a reference are kept, or why the dump's text, which another session with other settings wrote, cannot
/// decide it.
pub(super) fn sort(
    fk: &ForeignKey,
    child: &Table,
    parent: &Table,
    encoding: Encoding,
) -> Result<KeySort, String> {
    // Keys come from scratch in UTF-8, rows from the dump in its own encoding; plain numbers look alike in both.
    let utf8 = encoding == Encoding::Utf8;
    if fk.has_paths() {
        return Err(format!("{} starts inside of documents", fk.name));
    }
    let no = || format!("the columns of {} have more than one text for a value", fk.name);
    let mut sorts = Vec::with_capacity(fk.columns.len());
    for (child_column, parent_column) in &fk.columns {
        let (Some(left), Some(right)) = (child.column(child_column), parent.column(parent_column)) else {
            return Err(no());
        };
        let is_one = has_one_text(left, utf8)
            && has_one_text(right, utf8)
            && !left.generated
            && !right.generated
            && (left.is_enum == right.is_enum || !fk.is_enforced());
        if !is_one {
            return Err(no());
        }
        sorts.push(is_whole(left) && is_whole(right));
    }
    Ok(if sorts == [true] { KeySort::Whole } else { KeySort::Text })
}

/// Are all columns of the reference uuids?
pub(super) fn are_uuids(fk: &ForeignKey, child: &Table, parent: &Table) -> bool {
    let is_uuid = |column: Option<&Column>| column.is_some_and(|column| column.base_type == BaseType::Uuid);
    fk.columns.iter().all(|(left, right)| is_uuid(child.column(left)) && is_uuid(parent.column(right)))
}

/// How the keys of a table's own rows are kept; `None` where the text of a dump cannot decide them.
pub(super) fn sort_of_key(table: &Table, key: &[Ident], encoding: Encoding) -> Option<KeySort> {
    let columns: Vec<&Column> = key.iter().map(|name| table.column(name)).collect::<Option<_>>()?;
    let one =
        columns.iter().all(|column| has_one_text(column, encoding == Encoding::Utf8) && !column.generated);
    let whole = matches!(columns[..], [column] if is_whole(column));
    one.then_some(if whole { KeySort::Whole } else { KeySort::Text })
}

fn is_whole(column: &Column) -> bool {
    matches!(column.base_type, BaseType::Int2 | BaseType::Int4 | BaseType::Int8)
}

/// Does every value of the type have exactly one text, whatever the session's settings, and is equality of values
/// equality of texts?
fn has_one_text(column: &Column, utf8: bool) -> bool {
    let by_type = is_whole(column)
        || matches!(column.base_type, BaseType::Bool | BaseType::Uuid)
        || (column.is_enum && utf8);
    let by_collation =
        utf8 && matches!(column.base_type, BaseType::Text | BaseType::Varchar) && column.deterministic;
    by_type || by_collation
}
