//! The foreign-key closure, to its fixed point: downwards every child of a chosen row, upwards the parents that chosen
//! rows need. Rows are loaded on the way, and only those whose key can matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chosen::{CHARGED, Chosen, PARENTS, join_condition};
use super::{ExtractError, Following};
use crate::catalog::graph::{Component, parents_first};
use crate::catalog::{Column, ForeignKey, Table, quoted_list};
use crate::ident::TableName;
use crate::scratch::Scratch;
use crate::scratch::choice::{Choice, KeyMatch, KeySet};
use crate::value::BaseType;

/// Key sets above this size are not worth their memory; the table is loaded whole then.
const KEYS_AT_MOST_BYTES: usize = 96 << 20;

/// Follows foreign keys from the chosen rows of `family` down to all children.
pub(super) async fn descend(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    following: &Following,
    roots: &BTreeSet<TableName>,
    family: i16,
) -> Result<(), ExtractError> {
    let catalog = chosen.catalog;
    let followed: Vec<(u16, &ForeignKey)> =
        (0u16..).zip(&catalog.foreign_keys).filter(|(_, fk)| following.follows(fk)).collect();
    let reachable = reachable_down(roots, &followed);
    let plain: Vec<ForeignKey> = followed.iter().map(|(_, fk)| (*fk).clone()).collect();
    let mut done: BTreeMap<u16, i64> = BTreeMap::new();
    for component in parents_first(&reachable, &plain) {
        let incoming: Vec<(u16, &ForeignKey)> = followed
            .iter()
            .filter(|(_, fk)| component.tables.contains(&fk.child) && reachable.contains(&fk.parent))
            .copied()
            .collect();
        load_children(chosen, scratch, &component, &incoming, family).await?;
        loop {
            let mut added = 0;
            for (at, fk) in &incoming {
                let last = chosen.last_number(&fk.parent).await?;
                let since = done.insert(*at, last).unwrap_or(0);
                if last > since {
                    added += chosen.add_children(*at, fk, family, since).await?;
                }
            }
            if added == 0 || !component.cyclic {
                break;
            }
        }
    }
    Ok(())
}

fn reachable_down(roots: &BTreeSet<TableName>, followed: &[(u16, &ForeignKey)]) -> BTreeSet<TableName> {
    let mut found = roots.clone();
    let mut open: Vec<TableName> = roots.iter().cloned().collect();
    while let Some(parent) = open.pop() {
        for (_, fk) in followed.iter().filter(|(_, fk)| fk.parent == parent) {
            if found.insert(fk.child.clone()) {
                open.push(fk.child.clone());
            }
        }
    }
    found
}

/// Loads what can be a child. A table that refers to itself, or to a table that refers back, is loaded whole: its wanted
/// keys are only known once its rows are there.
async fn load_children(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    component: &Component,
    incoming: &[(u16, &ForeignKey)],
    family: i16,
) -> Result<(), ExtractError> {
    let mut wanted = false;
    for (_, fk) in incoming {
        wanted |= chosen.count(&fk.parent, family).await? > 0;
    }
    if !wanted {
        return Ok(());
    }
    for table in &component.tables {
        let choice = if component.cyclic {
            Choice::All
        } else {
            let own: Vec<&ForeignKey> =
                incoming.iter().filter(|(_, fk)| &fk.child == table).map(|(_, fk)| *fk).collect();
            children_choice(chosen, scratch, &own, family).await?
        };
        scratch.load(table, choice).await?;
    }
    Ok(())
}

async fn children_choice(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    incoming: &[&ForeignKey],
    family: i16,
) -> Result<Choice, ExtractError> {
    let mut matches = Vec::new();
    let mut memory = 0;
    for fk in incoming {
        let (child, parent) = (chosen.table(&fk.child)?, chosen.table(&fk.parent)?);
        if !is_decided_by_text(fk, child, parent, scratch) {
            return Ok(Choice::All);
        }
        let side = chosen.side_table(&fk.parent).await?;
        let columns = quoted_list("p.", fk.parent_columns());
        let sql = format!(
            "copy (select distinct {columns} from {} as p join {side} as h on h.tab = p.tableoid and h.place = p.ctid \
             where h.family = {family}) to stdout",
            parent.from_sql()
        );
        let Some(keys) = read_keys(chosen, &sql, &mut memory).await? else { return Ok(Choice::All) };
        matches.push(KeyMatch { columns: fk.child_columns().cloned().collect(), keys: Arc::new(keys) });
    }
    Ok(Choice::AnyOf(matches))
}

/// Reads keys into a set; `None` when they are too many.
async fn read_keys(
    chosen: &Chosen<'_>,
    sql: &str,
    memory: &mut usize,
) -> Result<Option<KeySet>, ExtractError> {
    let mut rows = chosen.session.copy_out("collecting keys", sql).await?;
    let mut keys = KeySet::default();
    let mut too_many = false;
    while let Some(row) = rows.next_row().await? {
        if !too_many {
            keys.insert(&row);
            too_many = *memory + keys.memory_bytes() > KEYS_AT_MOST_BYTES;
        }
    }
    *memory += keys.memory_bytes();
    Ok((!too_many).then_some(keys))
}

/// Can the reference be decided on the text of the dump, which another session with other settings wrote?
fn is_decided_by_text(fk: &ForeignKey, child: &Table, parent: &Table, scratch: &Scratch) -> bool {
    // Keys come from scratch in UTF-8, rows from the dump in its own encoding; plain numbers look alike in both.
    let utf8 = scratch.backup().contents().encoding == "UTF8";
    fk.columns.iter().all(|(child_column, parent_column)| {
        match (child.column(child_column), parent.column(parent_column)) {
            (Some(left), Some(right)) => {
                has_one_text(left, utf8)
                    && has_one_text(right, utf8)
                    && !left.generated
                    && (left.is_enum == right.is_enum || !fk.is_enforced())
            }
            _ => false,
        }
    })
}

/// Does every value of the type have exactly one text, whatever the session's settings, and is equality of values
/// equality of texts?
fn has_one_text(column: &Column, utf8: bool) -> bool {
    let by_type = matches!(
        column.base_type,
        BaseType::Bool | BaseType::Int2 | BaseType::Int4 | BaseType::Int8 | BaseType::Uuid
    ) || (column.is_enum && utf8);
    let by_collation =
        utf8 && matches!(column.base_type, BaseType::Text | BaseType::Varchar) && column.deterministic;
    by_type || by_collation
}

/// Adds the parents that chosen rows need, and theirs, until nothing new is found.
pub(super) async fn ascend(chosen: &mut Chosen<'_>, scratch: &Scratch) -> Result<(), ExtractError> {
    let catalog = chosen.catalog;
    let all: BTreeSet<TableName> = catalog.tables.keys().cloned().collect();
    let mut order = parents_first(&all, &catalog.foreign_keys);
    order.reverse();
    let mut done: BTreeMap<u16, i64> = BTreeMap::new();
    loop {
        let mut added = 0;
        for component in &order {
            let upwards: Vec<(u16, &ForeignKey)> = (0u16..)
                .zip(&catalog.foreign_keys)
                .filter(|(_, fk)| component.tables.contains(&fk.child))
                .collect();
            for (at, fk) in upwards {
                if !chosen.tables().contains(&fk.child) {
                    continue;
                }
                let last = chosen.last_number(&fk.child).await?;
                let since = done.insert(at, last).unwrap_or(0);
                if last > since && load_parents(chosen, scratch, fk, since).await? {
                    added += chosen.add_parents(at, fk, since).await?;
                }
            }
        }
        if added == 0 {
            return Ok(());
        }
    }
}

/// Loads the parents that are wanted and not chosen yet; `false` when there are none.
async fn load_parents(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    fk: &ForeignKey,
    since: i64,
) -> Result<bool, ExtractError> {
    let (child, parent) = (chosen.table(&fk.child)?, chosen.table(&fk.parent)?);
    let child_side = chosen.side_table(&fk.child).await?;
    let parent_side = chosen.side_table(&fk.parent).await?;
    let not_null: Vec<String> =
        fk.child_columns().map(|column| format!("c.{} is not null", column.quoted())).collect();
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    // The chosen parents are found by their keys; a key that is not chosen yet must be looked for in the backup.
    let sql = format!(
        "copy (select distinct {} from (select *, tableoid as rowback_tab, ctid as rowback_place from {}{condition}) as c \
         join {child_side} as h on h.tab = c.rowback_tab and h.place = c.rowback_place and h.n > {since} and h.family <> {CHARGED} where {} and not exists \
         (select from {} as p join {parent_side} as o on o.tab = p.tableoid and o.place = p.ctid and o.family <> {CHARGED} where {})) to stdout",
        quoted_list("c.", fk.child_columns()),
        child.from_sql(),
        not_null.join(" and "),
        parent.from_sql(),
        join_condition(fk, child, parent),
    );
    let Some(keys) = read_keys(chosen, &sql, &mut 0).await? else {
        scratch.load(&fk.parent, Choice::All).await?;
        return Ok(true);
    };
    if keys.is_empty() {
        return Ok(false);
    }
    let choice = if is_decided_by_text(fk, child, parent, scratch) {
        let columns = fk.parent_columns().cloned().collect();
        Choice::AnyOf(vec![KeyMatch { columns, keys: Arc::new(keys) }])
    } else {
        Choice::All
    };
    scratch.load(&fk.parent, choice).await?;
    Ok(true)
}

/// For every foreign key with staged children: how many children the backup has for the chosen parents, and how many of
/// them are staged.
pub(super) async fn count_edges(chosen: &mut Chosen<'_>) -> Result<Vec<super::EdgeCount>, ExtractError> {
    let catalog = chosen.catalog;
    let mut counts = Vec::new();
    for fk in &catalog.foreign_keys {
        if !chosen.tables().contains(&fk.child) || !chosen.tables().contains(&fk.parent) {
            continue;
        }
        let (parent_side, child_side) =
            (chosen.side_table(&fk.parent).await?, chosen.side_table(&fk.child).await?);
        let (parent, child) = (chosen.table(&fk.parent)?, chosen.table(&fk.child)?);
        let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
        let sql = format!(
            "select count(distinct (c.rowback_tab, c.rowback_place)), count(distinct (s.tab, s.place)) from \
             (select *, tableoid as rowback_tab, ctid as rowback_place from {}{condition}) as c join {} as p on {} \
             join {parent_side} as h on h.tab = p.tableoid and h.place = p.ctid and h.family not in ({PARENTS}, {CHARGED}) \
             left join {child_side} as s on s.tab = c.rowback_tab and s.place = c.rowback_place and s.family not in ({PARENTS}, {CHARGED})",
            child.from_sql(),
            parent.from_sql(),
            join_condition(fk, child, parent),
        );
        let rows = chosen.session.text_rows("counting by foreign key", &sql).await?;
        let count = |at: usize| {
            let value = rows.first().and_then(|row| row.get(at)).and_then(Option::as_deref);
            value.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        if count(0) > 0 {
            counts.push(super::EdgeCount {
                name: fk.name.clone(),
                child: fk.child.clone(),
                parent: fk.parent.clone(),
                in_backup: count(0),
                staged: count(1),
            });
        }
    }
    Ok(counts)
}
