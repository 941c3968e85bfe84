//! What can be looked for before the rows of the predicate are chosen: children while its table is still being read, where
//! the predicate names their keys, and parents while the children are. The rows that are chosen in the end decide which of
//! these matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Entry, ExtractError, Selected, closure, keys};
use crate::catalog::{Catalog, ForeignKey, Table, quoted_list};
use crate::ident::TableName;
use crate::recipe::{Parents, Recipe};
use crate::scratch::choice::{Choice, KeyMatch, Wish};
use crate::scratch::filter::Condition;
use crate::scratch::keys::KeySet;
use crate::scratch::{Pushdown, Request, Scratch};

/// A predicate that names more keys may choose far fewer rows.
const MOST_KEYS: usize = 10_000;

/// Loads the tables of the predicates and, beside them, `children` and the parents of what the predicates' tables hold.
pub(super) async fn load(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    first: Vec<Request>,
    children: Vec<Request>,
) -> Result<(), ExtractError> {
    if children.is_empty() || scratch.backup().is_read_in_order() {
        return Ok(scratch.load_all(first.into_iter().chain(children).collect()).await?);
    }
    let order: Vec<TableName> = first.iter().chain(&children).map(|request| request.table.clone()).collect();
    let passes_before = scratch.passes().await.len();
    let roots: Vec<TableName> = first.iter().map(|request| request.table.clone()).collect();
    let upwards = async {
        scratch.load_all(first).await?;
        let parents = match recipe.policy.parents {
            Parents::Missing => parents(scratch, catalog, &roots, &order).await?,
            Parents::None => Vec::new(),
        };
        scratch.load_all(parents).await.map_err(ExtractError::from)
    };
    let downwards = async { scratch.load_all(children).await.map_err(ExtractError::from) };
    tokio::try_join!(upwards, downwards)?;
    let place = |table: &TableName| Some(order.iter().position(|one| one == table).unwrap_or(order.len()));
    scratch.order_passes(passes_before, place).await;
    Ok(())
}

/// The parents of every row that is in scratch of these tables, but for those in `loading`.
async fn parents(
    scratch: &Scratch,
    catalog: &Catalog,
    tables: &[TableName],
    loading: &[TableName],
) -> Result<Vec<Request>, ExtractError> {
    let is_wanted = |fk: &&ForeignKey| {
        tables.contains(&fk.child) && !loading.contains(&fk.parent) && scratch.has_rows_of(&fk.parent)
    };
    let mut wishes: BTreeMap<TableName, Vec<(&ForeignKey, Wish)>> = BTreeMap::new();
    let mut memory = 0;
    for fk in catalog.foreign_keys.iter().filter(is_wanted) {
        let Some((child, parent)) = catalog.tables.get(&fk.child).zip(catalog.tables.get(&fk.parent)) else {
            continue;
        };
        if let Some(wish) = parent_wish(scratch, fk, child, parent, &mut memory).await? {
            wishes.entry(fk.parent.clone()).or_default().push((fk, wish));
        }
    }
    let requests = wishes.into_iter().map(|(table, wishes)| {
        let names: Vec<&str> = wishes.iter().map(|(fk, _)| fk.name.as_str()).collect();
        let why = format!("parents by {}", names.join(", "));
        Request::new(&table, Choice::AnyOf(wishes.into_iter().map(|(_, wish)| wish).collect()), why)
    });
    Ok(requests.collect())
}

/// The parents by one reference; `None` where there are none, or where the table would have to be loaded whole.
async fn parent_wish(
    scratch: &Scratch,
    fk: &ForeignKey,
    child: &Table,
    parent: &Table,
    memory: &mut usize,
) -> Result<Option<Wish>, ExtractError> {
    let Ok(sort) = keys::sort(fk, child, parent, scratch.encoding()) else { return Ok(None) };
    let columns = quoted_list("c.", fk.child_columns());
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    let sql = format!("copy (select distinct {columns} from {} as c{condition}) to stdout", child.from_sql());
    let found = keys::read(scratch.session(), scratch, &sql, sort, memory).await?;
    let keys::Found::Keys(keys) = found else { return Ok(None) };
    if keys.is_empty() {
        return Ok(None);
    }
    Ok(Some(Wish::Keys(KeyMatch { columns: fk.parent_columns().cloned().collect(), keys })))
}

/// What to load of the tables whose rows can only be wanted as children of the entry's own rows by one of the keys that its
/// predicate lists; when more turn out to be needed, they are loaded then.
pub(super) fn children(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    entry: &Entry<'_>,
    condition: &Condition,
) -> Vec<Request> {
    let own = &entry.table.name;
    let alone = recipe.recover.len() == 1 && recipe.backup.after.is_none() && entry.is_followed();
    let by_predicate = matches!(entry.selected, Selected::Where(_));
    if !alone || !by_predicate || scratch.loading().pushdown == Pushdown::Off {
        return Vec::new();
    }
    let followed: Vec<(u16, &ForeignKey)> =
        (0u16..).zip(&catalog.foreign_keys).filter(|(_, fk)| entry.following.follows(fk)).collect();
    let reachable = closure::reachable_down(&BTreeSet::from([own.clone()]), &followed);
    let into = |table: &TableName| -> Vec<&ForeignKey> {
        let leads_there = |fk: &&ForeignKey| &fk.child == table && reachable.contains(&fk.parent);
        followed.iter().map(|(_, fk)| *fk).filter(leads_there).collect()
    };
    if !into(own).is_empty() {
        return Vec::new();
    }
    let mut requests = Vec::new();
    for table in reachable.iter().filter(|table| *table != own && scratch.has_rows_of(table)) {
        let incoming = into(table);
        let wishes = incoming.iter().map(|fk| wish(scratch, catalog, own, fk, condition)).collect();
        if let Some(wishes) = wishes {
            let names: Vec<&str> = incoming.iter().map(|fk| fk.name.as_str()).collect();
            let why = format!("children by {}, for the keys that the predicate names", names.join(", "));
            requests.push(Request::new(table, Choice::AnyOf(wishes), why));
        }
    }
    requests
}

/// The children by one reference, if it leads to the table of the predicate and the predicate lists its keys.
fn wish(
    scratch: &Scratch,
    catalog: &Catalog,
    own: &TableName,
    fk: &ForeignKey,
    condition: &Condition,
) -> Option<Wish> {
    let [(child_column, parent_column)] = fk.columns.as_slice() else { return None };
    if &fk.parent != own {
        return None;
    }
    let sort =
        keys::sort(fk, catalog.tables.get(&fk.child)?, catalog.tables.get(own)?, scratch.encoding()).ok()?;
    let values = condition.values_of(parent_column).filter(|values| values.len() <= MOST_KEYS)?;
    let mut keys = KeySet::new(sort);
    let all = values.iter().all(|value| keys.insert(value));
    all.then(|| Wish::Keys(KeyMatch { columns: vec![child_column.clone()], keys: Arc::new(keys) }))
}
