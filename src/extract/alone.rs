//! Rows of one table from which nothing leads on: they go into their staging file in the order of one read, and which
//! they are is written down nowhere else.

use std::time::Duration;

use super::export::{Read, Rising, StagingFile, ordered_by};
use super::{Entry, ExtractError, Selected, closure, selection};
use crate::catalog::{Catalog, quoted_list};
use crate::ident::Ident;
use crate::progress::SharedProgress;
use crate::recipe::{Kind, Parents, Recipe};
use crate::scratch::Scratch;
use crate::staging::StagedFile;

/// The recipe's one entry, if its rows lead nowhere: not to children, not to parents, not to each other.
pub(super) fn entry<'e, 'a>(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    entries: &'e [Entry<'a>],
) -> Option<&'e Entry<'a>> {
    let [entry] = entries else { return None };
    let table = &entry.table.name;
    let is_alone = entry.recover.misrouted_to.is_none();
    let is_read = is_alone && !matches!(entry.selected, Selected::Replay(_)) && entry.reads_backup();
    let follows = entry.recover.kind == Kind::Deleted;
    let climbs = follows && recipe.policy.parents == Parents::Missing;
    let leads_on = catalog.foreign_keys.iter().any(|fk| {
        let (child, parent) = (&fk.child == table, &fk.parent == table);
        (child && (parent || climbs || (!follows && closure::is_telling(catalog, fk))))
            || (parent && follows && entry.following.follows(fk))
    });
    (is_read && !scratch.has_later() && !leads_on).then_some(entry)
}

/// Writes the staging file of the entry's rows; `None` when there are none.
pub(super) async fn stage(
    scratch: &Scratch,
    entry: &Entry<'_>,
    key: &[Ident],
    file: &StagingFile<'_>,
    (time_limit, progress): (Duration, &SharedProgress),
) -> Result<Option<StagedFile>, ExtractError> {
    let table = entry.table;
    let of_table = format!("{}.", table.name.name.quoted());
    let values = format!("{}, 'predicate {}'", quoted_list(&of_table, table.column_names()), entry.number);
    let select = selection::select(&values, table, key, &entry.selected);
    let reader = selection::reader(scratch, table, time_limit).await?;
    let refused = |source| ExtractError::predicate(&table.name, source, None);
    if let Some(rising) = Rising::of(table, key) {
        // Several workers would give the rows in another order.
        let one = "set local max_parallel_workers_per_gather = 0";
        reader.execute("evaluating a predicate", one).await.map_err(refused)?;
        let sql = format!("copy ({select}) to stdout");
        if let Read::InOrder(found) = file.write_rising((&reader, &sql), rising, progress, refused).await? {
            return Ok(found.map(|file| *file));
        }
    }
    let reader = selection::reader(scratch, table, time_limit).await?;
    let sql = format!("copy ({select} order by {}) to stdout", ordered_by(table, key, &of_table));
    file.write((&reader, &sql), progress, refused).await
}
