//! References whose two sides are equal by their type and not by their text (citext, numeric, a nondeterministic
//! collation, …). Later stages hold keys against each other as text: they are told which texts mean the same parent.

use serde::{Deserialize, Serialize};

use super::ExtractError;
use super::chosen::{Chosen, join_condition};
use crate::catalog::{ForeignKey, Table, quoted_list};
use crate::ident::{Ident, TableName};
use crate::value::copy_text::fields;

/// How staged children spell the keys of their staged parents, where that is not as the parents do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aliases {
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// Child column and parent column, pair by pair, as the backup calls them.
    pub columns: Vec<(Ident, Ident)>,
    /// The child's key and the parent's: raw COPY fields joined by tabs.
    pub keys: Vec<(String, String)>,
}

/// Asks scratch for every reference between staged tables that text does not decide.
pub(super) async fn find(chosen: &mut Chosen<'_>) -> Result<Vec<Aliases>, ExtractError> {
    let catalog = chosen.catalog;
    let mut found = Vec::new();
    for fk in &catalog.foreign_keys {
        if !chosen.tables().contains(&fk.child) || !chosen.tables().contains(&fk.parent) {
            continue;
        }
        let (child, parent) = (chosen.table(&fk.child)?, chosen.table(&fk.parent)?);
        if fk.has_paths() || is_told_by_text(fk, child, parent) {
            continue;
        }
        let keys = keys_of(chosen, fk, child, parent).await?;
        if !keys.is_empty() {
            let (child, parent) = (fk.child.clone(), fk.parent.clone());
            found.push(Aliases { child, parent, columns: fk.columns.clone(), keys });
        }
    }
    Ok(found)
}

async fn keys_of(
    chosen: &mut Chosen<'_>,
    fk: &ForeignKey,
    child: &Table,
    parent: &Table,
) -> Result<Vec<(String, String)>, ExtractError> {
    let (child_side, parent_side) =
        (chosen.side_table(&fk.child).await?, chosen.side_table(&fk.parent).await?);
    let (down, up) = (quoted_list("c.", fk.child_columns()), quoted_list("p.", fk.parent_columns()));
    // `format` and not a cast: a cast of char(n) to text cuts blanks that COPY prints; by bytes, since the column's collation may call them equal.
    let differs = fk.columns.iter().map(|(down, up)| {
        format!(
            "pg_catalog.format('%s', c.{}) <> pg_catalog.format('%s', p.{}) collate pg_catalog.\"C\"",
            down.quoted(),
            up.quoted()
        )
    });
    let sql = format!(
        "copy (select {down}, {up} from {} as c join {child_side} as s on s.tab = c.tableoid and s.place = c.ctid \
         join {} as p on {} join {parent_side} as h on h.tab = p.tableoid and h.place = p.ctid where {}) to stdout",
        child.from_sql(),
        parent.from_sql(),
        join_condition(fk, child, parent),
        differs.collect::<Vec<_>>().join(" or ")
    );
    let mut rows = chosen.session.copy_out("holding spellings of keys against each other", &sql).await?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next_row().await? {
        let values: Vec<&[u8]> = fields(&row).collect();
        let (down, up) = values.split_at(fk.columns.len().min(values.len()));
        let joined = |part: &[&[u8]]| String::from_utf8_lossy(&part.join(&b'\t')).into_owned();
        keys.push((joined(down), joined(up)));
    }
    keys.sort();
    keys.dedup();
    Ok(keys)
}

fn is_told_by_text(fk: &ForeignKey, child: &Table, parent: &Table) -> bool {
    fk.columns.iter().all(|(down, up)| match (child.column(down), parent.column(up)) {
        (Some(down), Some(up)) => down.is_told_by_text_beside(up),
        _ => false,
    })
}
