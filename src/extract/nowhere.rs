//! References of the recipe whose path leads to nothing in any document that was read: most likely it is misspelt, and children
//! stay away that should come along. Looks only at what is in scratch anyway.

use super::ExtractError;
use super::chosen::{Chosen, number};
use crate::catalog::ForeignKey;

const WHAT: &str = "looking where references lead";

/// A note for each column of a reference in whose documents the path leads to nothing.
pub(super) async fn tell(chosen: &Chosen<'_>, notes: &mut Vec<String>) -> Result<(), ExtractError> {
    for fk in chosen.catalog.foreign_keys.iter().filter(|fk| fk.has_paths()) {
        for at in (0..fk.columns.len()).filter(|at| fk.path(*at).is_some()) {
            notes.extend(note(chosen, fk, at).await?);
        }
    }
    Ok(())
}

async fn note(chosen: &Chosen<'_>, fk: &ForeignKey, at: usize) -> Result<Option<String>, ExtractError> {
    let (Some(table), Some(value)) =
        (chosen.catalog.tables.get(&fk.child), fk.child_sql("c.").into_iter().nth(at))
    else {
        return Ok(None);
    };
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    let rows = format!("from (select * from {}{condition}) as c", table.from_sql());
    let any = format!("select count(*) from (select {rows} where {value} is not null limit 1) as one");
    if number(&chosen.session.text_rows(WHAT, &any).await?) > 0 {
        return Ok(None);
    }
    let read = number(&chosen.session.text_rows(WHAT, &format!("select count(*) {rows}")).await?);
    let of_which = if fk.when().is_some() { ", of those for which its `when` holds," } else { "" };
    Ok((read > 0).then(|| {
        format!(
            "none of the {read} rows of {} that were read from the backup{of_which} refers to anything by {}: is the path of \
             this [[foreign_key]] spelt right?",
            fk.child,
            fk.child_end(at)
        )
    }))
}
