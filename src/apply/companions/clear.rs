//! Takes rows away that triggers made: only in the version that apply knows, and only where nothing hangs on them but rows
//! of the same sort, which go first.

use std::collections::{BTreeMap, BTreeSet};

use super::super::limits::{ZONE_OF_KEYS, ZONE_OF_TRIGGERS};
use super::declared::{self, Who};
use super::sql::Referrer;
use super::{Made, ROWS_AT_ONCE, RowVersion, Shape, WHAT, answer, row_key, shape, shape_of};
use crate::apply::RowKey;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, WriteSession, column};
use crate::sql::registry::{APPLY_REFERRERS, APPLY_UNIQUE};

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    /// They go.
    ForGood,
    /// Each makes way for the lost row under its own key: whoever refers to it without a foreign key refers to that one.
    AndComing,
    /// They are taken back: who pointed at nothing before they were made does so again.
    Back,
}

/// Rows to be deleted, in this order.
type Order = Vec<(TableName, RowKey)>;

/// Deletes what can be deleted; returns the keys of those of `rows` that are gone.
pub(super) async fn clear(
    session: &WriteSession,
    made: &Made,
    table: &TableName,
    rows: &[RowVersion],
    going: Going,
) -> Result<BTreeSet<RowKey>, PgError> {
    let Some(shape) = shape_of(session, table, rows).await? else { return Ok(BTreeSet::new()) };
    if !deletable(session, table).await? {
        return Ok(BTreeSet::new());
    }
    let locked = lock(session, &shape, rows).await?;
    let hanging = hanging(session, made, &shape, &locked, going).await?;
    // What hangs on rows that come again does not come again.
    let below = if going == Going::AndComing { Going::ForGood } else { going };
    let mut order: Order = Vec::new();
    for (key, children) in &hanging {
        let mut found = Vec::new();
        let mut above = vec![(table.clone(), key.clone())];
        if go_first(session, made, children.as_deref(), below, &mut above, &mut found).await? {
            order.extend(found);
            order.push((table.clone(), key.clone()));
        }
    }
    let free = locked.into_iter().filter(|key| !hanging.contains_key(key));
    order.extend(free.map(|key| (table.clone(), key)));
    let gone = delete(session, order).await?;
    Ok(gone.into_iter().filter(|(name, _)| name == table).map(|(_, key)| key).collect())
}

/// Takes away what the triggers of a batch made, as far as it is as they left it: for undo.
pub(in crate::apply) async fn remove(
    session: &WriteSession,
    made: &Made,
    rows: &BTreeMap<TableName, Vec<RowVersion>>,
) -> Result<(), PgError> {
    session.execute(WHAT, ZONE_OF_TRIGGERS).await?;
    for (table, rows) in rows {
        for chunk in rows.chunks(ROWS_AT_ONCE) {
            clear(session, made, table, chunk, Going::Back).await?;
        }
    }
    session.execute(WHAT, ZONE_OF_KEYS).await
}

/// May this role delete rows of the table?
pub(super) async fn deletable(session: &WriteSession, table: &TableName) -> Result<bool, PgError> {
    let rows = session.query(&APPLY_UNIQUE, &[&table.schema.as_str(), &table.name.as_str()]).await?;
    rows.first().map_or(Ok(false), |row| column(row, "deletable", WHAT))
}

async fn lock(session: &WriteSession, shape: &Shape, rows: &[RowVersion]) -> Result<Vec<RowKey>, PgError> {
    let locked = session.text_rows(WHAT, &shape.lock_sql(rows)).await?;
    let keys = locked.into_iter().filter_map(|row| row.into_iter().next().flatten());
    let keys: BTreeSet<RowKey> = keys.map(|key| row_key(&key)).collect::<Result<_, _>>()?;
    Ok(keys.into_iter().collect())
}

/// Rows on which others hang, each with these others; `None` where one of them is nobody's that apply knows.
async fn hanging(
    session: &WriteSession,
    made: &Made,
    shape: &Shape,
    keys: &[RowKey],
    going: Going,
) -> Result<BTreeMap<RowKey, Option<Vec<(TableName, RowVersion)>>>, PgError> {
    let mut found: BTreeMap<RowKey, Option<Vec<(TableName, RowVersion)>>> = BTreeMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let mut asking = Vec::new();
    for fk in referrers(session, &shape.table).await? {
        let child_key = made.key_columns(&fk.child);
        let sql = shape.referring_sql(keys, &fk, child_key.as_deref());
        asking.push((fk.child, sql));
    }
    for (child, who) in declared::referrers(session, made, shape, keys, going).await? {
        match who {
            Who::Asked(sql) => asking.push((child, sql)),
            // Anybody may.
            Who::Unknown => return Ok(keys.iter().map(|key| (key.clone(), None)).collect()),
        }
    }
    for (child_table, sql) in asking {
        for row in session.text_rows(WHAT, &sql).await? {
            let [Some(key), child, Some(version)] = row.as_slice() else {
                return Err(answer("a row that refers without a version"));
            };
            let children = found.entry(row_key(key)?).or_insert_with(|| Some(Vec::new()));
            let child = child.as_deref().map(row_key).transpose()?;
            let child = child.map(|key| RowVersion { key, version: version.clone() });
            match child.filter(|row| made.is_one(&child_table, &row.key, &row.version)) {
                Some(row) => {
                    children.iter_mut().for_each(|list| list.push((child_table.clone(), row.clone())));
                }
                None => *children = None,
            }
        }
    }
    Ok(found)
}

/// Adds all that hangs on a row to `order`, the lowest first; false where something must stay.
async fn go_first(
    session: &WriteSession,
    made: &Made,
    children: Option<&[(TableName, RowVersion)]>,
    going: Going,
    above: &mut Order,
    order: &mut Order,
) -> Result<bool, PgError> {
    let Some(children) = children else { return Ok(false) };
    for (table, row) in children {
        let name = (table.clone(), row.key.clone());
        if order.contains(&name) {
            continue;
        }
        // Rows that hang on each other in a circle have no order.
        if above.contains(&name) || !deletable(session, table).await? {
            return Ok(false);
        }
        let Some(shape) = shape_of(session, table, std::slice::from_ref(row)).await? else {
            return Ok(false);
        };
        let locked = lock(session, &shape, std::slice::from_ref(row)).await?;
        if locked.is_empty() {
            return Ok(false);
        }
        let below = hanging(session, made, &shape, &locked, going).await?;
        if let Some(children) = below.get(&row.key) {
            above.push(name.clone());
            if !Box::pin(go_first(session, made, children.as_deref(), going, above, order)).await? {
                return Ok(false);
            }
            above.pop();
        }
        order.push(name);
    }
    Ok(true)
}

/// Deletes in the given order, neighbours of one table in one statement; returns what is gone.
async fn delete(session: &WriteSession, order: Order) -> Result<Order, PgError> {
    let mut gone = Vec::new();
    for group in order.chunk_by(|one, next| one.0 == next.0) {
        let keys: Vec<RowKey> = group.iter().map(|(_, key)| key.clone()).collect();
        let (Some((table, _)), Some(key)) = (group.first(), keys.first()) else { continue };
        let Some(shape) = shape(session, table, &super::columns_of(key)).await? else { continue };
        for row in session.text_rows(WHAT, &shape.delete_sql(&keys)).await? {
            if let Some(key) = row.into_iter().next().flatten() {
                gone.push((table.clone(), row_key(&key)?));
            }
        }
    }
    Ok(gone)
}

pub(in crate::apply) async fn referrers(
    session: &WriteSession,
    table: &TableName,
) -> Result<Vec<Referrer>, PgError> {
    let mut found = Vec::new();
    for row in session.query(&APPLY_REFERRERS, &[&table.schema.as_str(), &table.name.as_str()]).await? {
        let idents = |names: Vec<String>| names.into_iter().map(Ident::new);
        let child: Vec<String> = column(&row, "child_columns", WHAT)?;
        let parent: Vec<String> = column(&row, "parent_columns", WHAT)?;
        found.push(Referrer {
            child: TableName::new(
                column::<String>(&row, "child_schema", WHAT)?,
                column::<String>(&row, "child", WHAT)?,
            ),
            columns: idents(child).zip(idents(parent)).collect(),
            operators: column(&row, "operators", WHAT)?,
        });
    }
    Ok(found)
}
