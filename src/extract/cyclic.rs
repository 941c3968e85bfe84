//! Children inside tables that refer to themselves or to each other: which rows to load is only known by following their
//! references, which is done on the dump's text where it can be.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::chosen::Chosen;
use super::closure::children_of;
use super::{ExtractError, keys};
use crate::catalog::graph::Component;
use crate::catalog::{ForeignKey, quoted_list};
use crate::ident::TableName;
use crate::scratch::chains::Link;
use crate::scratch::choice::{Choice, KeyMatch, Wish};
use crate::scratch::filter::packed_key;
use crate::scratch::keys::{KeySet, KeySort};
use crate::scratch::{Pushdown, Request, Scratch};

/// What to load of the tables of a cyclic component.
pub(super) async fn wanted(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    component: &Component,
    incoming: &[(u16, &ForeignKey)],
    family: i16,
    memory: &mut usize,
) -> Result<Vec<Request>, ExtractError> {
    let whole = |why: &str| -> Vec<Request> {
        let why = format!("it refers to itself, directly or through others; {why}");
        component.tables.iter().map(|table| Request::new(table, Choice::All, why.clone())).collect()
    };
    if scratch.loading().pushdown == Pushdown::Off {
        return Ok(whole("filters are switched off"));
    }
    let inside: Vec<&ForeignKey> =
        incoming.iter().map(|(_, fk)| *fk).filter(|fk| component.tables.contains(&fk.parent)).collect();
    let Some(links) = links(chosen, scratch, &inside)? else {
        return Ok(whole("by other columns than one integer or one uuid"));
    };
    let mut seeds: BTreeMap<TableName, Choice> = BTreeMap::new();
    for table in &component.tables {
        let from_outside: Vec<&ForeignKey> = incoming
            .iter()
            .map(|(_, fk)| *fk)
            .filter(|fk| &fk.child == table && !component.tables.contains(&fk.parent))
            .collect();
        let seed = children_of(chosen, scratch, table, &from_outside, family, memory).await?;
        if matches!(seed.choice, Choice::All) {
            return Ok(whole(&seed.why));
        }
        seeds.insert(table.clone(), seed.choice);
    }
    let Some(starts) = starts(chosen, &inside, family).await? else { return Ok(whole("its keys are odd")) };
    let plain: Vec<Link> = links.iter().map(|(link, _)| link.clone()).collect();
    match scratch.reach(&plain, &seeds, starts).await? {
        Some(found) => Ok(requests(&links, &inside, seeds, &found)),
        None => Ok(whole("following it takes more memory than --memory leaves, or its text is odd")),
    }
}

/// The references as links with the sort of their keys; `None` when one cannot be packed.
fn links(
    chosen: &Chosen<'_>,
    scratch: &Scratch,
    inside: &[&ForeignKey],
) -> Result<Option<Vec<(Link, KeySort)>>, ExtractError> {
    let mut found = Vec::with_capacity(inside.len());
    for fk in inside {
        let (child, parent) = (chosen.table(&fk.child)?, chosen.table(&fk.parent)?);
        let (Ok(sort), [(child_column, parent_column)]) =
            (keys::sort(fk, child, parent, scratch.encoding()), fk.columns.as_slice())
        else {
            return Ok(None);
        };
        if sort != KeySort::Whole && !keys::are_uuids(fk, child, parent) {
            return Ok(None);
        }
        let link = Link {
            child: fk.child.clone(),
            parent: fk.parent.clone(),
            child_column: child_column.clone(),
            parent_column: parent_column.clone(),
        };
        found.push((link, sort));
    }
    Ok(Some(found))
}

/// The keys of the rows that are chosen already, by link; `None` when one cannot be packed.
async fn starts(
    chosen: &mut Chosen<'_>,
    inside: &[&ForeignKey],
    family: i16,
) -> Result<Option<Vec<(usize, u128)>>, ExtractError> {
    let mut starts = Vec::new();
    for (link, fk) in inside.iter().enumerate() {
        let side = chosen.side_table(&fk.parent).await?;
        let sql = format!(
            "copy (select {} from {} as p join {side} as h on h.tab = p.tableoid and h.place = p.ctid \
             where h.family = {family}) to stdout",
            quoted_list("p.", fk.parent_columns()),
            chosen.table(&fk.parent)?.from_sql()
        );
        let mut rows = chosen.session.copy_out("collecting keys", &sql).await?;
        let mut odd = false;
        while let Some(row) = rows.next_row().await? {
            match packed_key(&row) {
                Some(Some(key)) => starts.push((link, key)),
                Some(None) => {}
                None => odd = true,
            }
        }
        if odd {
            return Ok(None);
        }
    }
    Ok(Some(starts))
}

fn requests(
    links: &[(Link, KeySort)],
    inside: &[&ForeignKey],
    seeds: BTreeMap<TableName, Choice>,
    found: &[HashSet<u128>],
) -> Vec<Request> {
    let mut requests = Vec::with_capacity(seeds.len());
    for (table, seed) in seeds {
        let mut wishes = match seed {
            Choice::All => Vec::new(),
            Choice::AnyOf(wishes) => wishes,
        };
        let own = links.iter().zip(inside).zip(found).filter(|(((link, _), _), _)| link.child == table);
        let mut names = Vec::new();
        for (((link, sort), fk), keys) in own {
            let mut set = KeySet::new(*sort);
            keys.iter().for_each(|key| set.insert_packed(*key));
            wishes
                .push(Wish::Keys(KeyMatch { columns: vec![link.child_column.clone()], keys: Arc::new(set) }));
            names.push(fk.name.as_str());
        }
        let why = format!("children by {}, followed to their end", names.join(", "));
        requests.push(Request::new(&table, Choice::AnyOf(wishes), why));
    }
    requests
}
