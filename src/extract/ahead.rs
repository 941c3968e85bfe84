//! Children that can be looked for while the table of the predicate is still being read: the predicate names the keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Entry, Selected, closure, keys};
use crate::catalog::{Catalog, ForeignKey};
use crate::ident::TableName;
use crate::recipe::Recipe;
use crate::scratch::choice::{Choice, KeyMatch, Wish};
use crate::scratch::filter::Condition;
use crate::scratch::keys::KeySet;
use crate::scratch::{Pushdown, Request, Scratch};

/// A predicate that names more keys may choose far fewer rows.
const MOST_KEYS: usize = 10_000;

/// What to load of the tables whose rows can only be wanted as children of the entry's own rows by one of the keys that its
/// predicate lists. The rows that are chosen in the end decide which of these children matter; when more turn out to be
/// needed, they are loaded then.
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
