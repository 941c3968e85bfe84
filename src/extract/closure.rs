//! The foreign-key closure, to its fixed point: downwards every child of a chosen row, upwards the parents that chosen
//! rows need. Rows are loaded on the way, and only those whose key can matter.

use std::collections::{BTreeMap, BTreeSet};

use super::bracket::{self, Extent};
use super::chosen::{Chosen, Climb, join_condition, number};
use super::loads::Loads;
use super::{ExtractError, Following, cyclic, keys};
use crate::catalog::graph::{Component, parents_first};
use crate::catalog::telling::names_who_by;
use crate::catalog::{Catalog, ForeignKey, quoted_list};
use crate::ident::TableName;
use crate::recipe::Recipe;
use crate::scratch::choice::{Choice, KeyMatch, Wish};
use crate::scratch::{Request, Scratch};

/// The way down from some tables: groups of tables that need each other, parents first.
struct Descent<'c> {
    components: Vec<Component>,
    /// The references that lead into each, within it as well.
    incoming: Vec<Vec<(u16, &'c ForeignKey)>>,
    /// The components that the references into each come from.
    parents: Vec<BTreeSet<usize>>,
}

impl<'c> Descent<'c> {
    fn new(roots: &BTreeSet<TableName>, followed: &[(u16, &'c ForeignKey)]) -> Self {
        let reachable = reachable_down(roots, followed);
        let plain: Vec<ForeignKey> = followed.iter().map(|(_, fk)| (*fk).clone()).collect();
        let components = parents_first(&reachable, &plain);
        let mut place = BTreeMap::new();
        for (number, component) in components.iter().enumerate() {
            place.extend(component.tables.iter().map(|table| (table, number)));
        }
        let mut incoming = vec![Vec::new(); components.len()];
        let mut parents = vec![BTreeSet::new(); components.len()];
        for (at, fk) in followed {
            let (Some(&child), Some(&parent)) = (place.get(&fk.child), place.get(&fk.parent)) else {
                continue;
            };
            incoming[child].push((*at, *fk));
            if parent != child {
                parents[child].insert(parent);
            }
        }
        Self { components, incoming, parents }
    }
}

/// Follows foreign keys from the chosen rows of `family` down to all children. A table is loaded as soon as all its parents
/// are there, beside others.
pub(super) async fn descend(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    following: &Following,
    roots: &BTreeSet<TableName>,
    family: i16,
    (recipe, notes): (&Recipe, &mut Vec<String>),
) -> Result<(), ExtractError> {
    let catalog = chosen.catalog;
    let followed: Vec<(u16, &ForeignKey)> =
        (0u16..).zip(&catalog.foreign_keys).filter(|(_, fk)| following.follows(fk)).collect();
    let Descent { components, incoming, parents } = Descent::new(roots, &followed);
    // A backup that is read in order serves several tables in one pass, and a later backup is asked table by table.
    let one_by_one = chosen.bracketed || scratch.backup().is_read_in_order();
    let passes_before = scratch.passes().await.len();
    let mut loads = Loads::into_scratch(scratch);
    let mut done: BTreeMap<u16, i64> = BTreeMap::new();
    let mut open: BTreeSet<usize> = (0..components.len()).collect();
    let mut waiting = open.clone();
    loop {
        let mut ready = Vec::new();
        if loads.are_none() || !one_by_one {
            ready.extend(waiting.iter().copied().filter(|number| parents[*number].is_disjoint(&open)));
        }
        let (mut requests, mut key_bytes) = (Vec::new(), loads.key_bytes());
        for &number in &ready {
            waiting.remove(&number);
            let (component, into) = (&components[number], &incoming[number]);
            let work = children_wanted(chosen, scratch, component, into, family, &mut key_bytes);
            requests.extend(loads.beside(work).await?);
            if !one_by_one {
                loads.start(vec![number], std::mem::take(&mut requests), key_bytes);
            }
        }
        if one_by_one && !ready.is_empty() {
            loads.start(ready, requests, key_bytes);
        }
        let Some(loaded) = loads.next().await else { break };
        for number in loaded? {
            let tell = Teller { scratch, recipe, cyclic: components[number].cyclic };
            let work = add_all_children(chosen, &incoming[number], family, &mut done, (&tell, &mut *notes));
            loads.beside(work).await?;
            open.remove(&number);
        }
    }
    let place = |table: &TableName| components.iter().position(|component| component.tables.contains(table));
    scratch.order_passes(passes_before, place).await;
    Ok(())
}

/// What a backup taken after the accident needs to tell about parents.
struct Teller<'a> {
    scratch: &'a Scratch,
    recipe: &'a Recipe,
    cyclic: bool,
}

async fn add_all_children(
    chosen: &mut Chosen<'_>,
    incoming: &[(u16, &ForeignKey)],
    family: i16,
    done: &mut BTreeMap<u16, i64>,
    (teller, notes): (&Teller<'_>, &mut Vec<String>),
) -> Result<(), ExtractError> {
    loop {
        let mut added = 0;
        for (at, fk) in incoming {
            if chosen.bracketed {
                let extent = if teller.cyclic { Extent::Whole } else { Extent::Chosen };
                let from = (teller.scratch, teller.recipe);
                bracket::tell(chosen, from, &fk.parent, extent, notes).await?;
            }
            let last = chosen.last_number(&fk.parent).await?;
            let since = done.insert(*at, last).unwrap_or(0);
            if last > since {
                added += chosen.add_children(*at, fk, family, since).await?;
            }
        }
        if added == 0 || !teller.cyclic {
            return Ok(());
        }
    }
}

/// Cuts an order of components into runs in which none refers to another, so that a run can be loaded side by side.
fn independent(order: Vec<Component>, foreign_keys: &[ForeignKey]) -> Vec<Vec<Component>> {
    let touches = |one: &Component, other: &Component| {
        foreign_keys.iter().any(|fk| {
            (one.tables.contains(&fk.parent) && other.tables.contains(&fk.child))
                || (one.tables.contains(&fk.child) && other.tables.contains(&fk.parent))
        })
    };
    let mut runs: Vec<Vec<Component>> = Vec::new();
    for component in order {
        match runs.last_mut() {
            Some(run) if !run.iter().any(|other| touches(&component, other)) => run.push(component),
            _ => runs.push(vec![component]),
        }
    }
    runs
}

/// The tables that foreign keys lead down to, `roots` included.
pub(super) fn reachable_down(
    roots: &BTreeSet<TableName>,
    followed: &[(u16, &ForeignKey)],
) -> BTreeSet<TableName> {
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

/// What can be a child, if there is a parent at all.
async fn children_wanted(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    component: &Component,
    incoming: &[(u16, &ForeignKey)],
    family: i16,
    memory: &mut usize,
) -> Result<Vec<Request>, ExtractError> {
    let mut wanted = false;
    for (_, fk) in incoming {
        wanted |= chosen.count(&fk.parent, family).await? > 0;
    }
    if !wanted {
        return Ok(Vec::new());
    }
    if component.cyclic {
        return cyclic::wanted(chosen, scratch, component, incoming, family, memory).await;
    }
    let mut requests = Vec::new();
    for table in &component.tables {
        let own: Vec<&ForeignKey> =
            incoming.iter().filter(|(_, fk)| &fk.child == table).map(|(_, fk)| *fk).collect();
        requests.push(children_of(chosen, scratch, table, &own, family, memory).await?);
    }
    Ok(requests)
}

/// The rows of `table` that refer to chosen rows of `family`.
pub(super) async fn children_of(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    table: &TableName,
    incoming: &[&ForeignKey],
    family: i16,
    memory: &mut usize,
) -> Result<Request, ExtractError> {
    let mut wishes = Vec::new();
    for fk in incoming {
        let (child, parent) = (chosen.table(&fk.child)?, chosen.table(&fk.parent)?);
        let side = chosen.side_table(&fk.parent).await?;
        let columns = quoted_list("p.", fk.parent_columns());
        let sql = format!(
            "copy (select distinct {columns} from {} as p join {side} as h on h.tab = p.tableoid and h.place = p.ctid \
             where h.family = {family}) to stdout",
            parent.from_sql()
        );
        let sort = match keys::sort(fk, child, parent, scratch.encoding()) {
            Ok(sort) => sort,
            Err(why) => return Ok(Request::new(table, Choice::All, why)),
        };
        match keys::read(chosen.session, scratch, &sql, sort, memory).await? {
            keys::Found::Keys(keys) => {
                wishes.push(Wish::Keys(KeyMatch { columns: fk.child_columns().cloned().collect(), keys }));
            }
            keys::Found::TooMany => return Ok(Request::new(table, Choice::All, keys::too_many(fk))),
        }
    }
    Ok(Request::new(table, Choice::AnyOf(wishes), format!("children by {}", names(incoming.iter().copied()))))
}

fn names<'a>(foreign_keys: impl Iterator<Item = &'a ForeignKey>) -> String {
    foreign_keys.map(|fk| fk.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// References of which the backup may lack a parent, as under a constraint that is NOT VALID, by number, and whether it does.
pub(super) type Dangling = BTreeMap<u16, bool>;

/// Is the reference one that leads up from rows that are only looked at for damage?
pub(super) fn is_telling(catalog: &Catalog, fk: &ForeignKey) -> bool {
    let upward: Vec<&ForeignKey> = catalog.parents_of(&fk.child).collect();
    catalog.tables.get(&fk.child).is_some_and(|child| names_who_by(child, fk, &upward))
}

/// Adds the parents that chosen rows need, or that tell who they are, and theirs, until nothing new is found.
pub(super) async fn ascend(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    climb: Climb,
) -> Result<Dangling, ExtractError> {
    let catalog = chosen.catalog;
    let all: BTreeSet<TableName> = catalog.tables.keys().cloned().collect();
    let mut order = parents_first(&all, &catalog.foreign_keys);
    order.reverse();
    let runs = independent(order, &catalog.foreign_keys);
    let mut done: BTreeMap<u16, i64> = BTreeMap::new();
    let mut dangling = Dangling::new();
    loop {
        let mut added = 0;
        for run in &runs {
            added += add_parents_of(chosen, scratch, (run, climb), (&mut done, &mut dangling)).await?;
        }
        if added == 0 {
            return Ok(dangling);
        }
    }
}

/// Adds the parents in the tables of a run that rows chosen so far need; returns how many.
async fn add_parents_of(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    (run, climb): (&[Component], Climb),
    (done, dangling): (&mut BTreeMap<u16, i64>, &mut Dangling),
) -> Result<u64, ExtractError> {
    let catalog = chosen.catalog;
    let mut requests = Vec::new();
    let mut wanted = Vec::new();
    let mut memory = 0;
    for table in run.iter().flat_map(|component| &component.tables) {
        let mut upwards: Vec<(&ForeignKey, Result<KeyMatch, String>)> = Vec::new();
        for (at, fk) in (0u16..).zip(&catalog.foreign_keys).filter(|(_, fk)| &fk.parent == table) {
            let leads_up = match climb {
                Climb::Needed => chosen.tables().contains(&fk.child),
                Climb::Telling => chosen.has_rows_of(&fk.child, climb.family()) && is_telling(catalog, fk),
            };
            if !leads_up {
                continue;
            }
            let last = chosen.last_number(&fk.child).await?;
            let since = done.insert(at, last).unwrap_or(0);
            if last <= since {
                continue;
            }
            if let Some(found) =
                parents_wanted(chosen, scratch, (fk, climb), (since, last), &mut memory).await?
            {
                wanted.push((at, fk, (since, last), found.as_ref().ok().map(|found| found.keys.len())));
                upwards.push((fk, found));
            }
        }
        if !upwards.is_empty() {
            let by = format!("parents by {}", names(upwards.iter().map(|(fk, _)| *fk)));
            let wishes: Result<Vec<Wish>, String> =
                upwards.into_iter().map(|(_, found)| found.map(Wish::Keys)).collect();
            requests.push(match wishes {
                Ok(wishes) => Request::new(table, Choice::AnyOf(wishes), by),
                Err(why) => Request::new(table, Choice::All, format!("{by}; {why}")),
            });
        }
    }
    scratch.load_all(requests).await?;
    let mut added = 0;
    let mut doubtful = Vec::new();
    for (at, fk, turn, keys) in wanted {
        let found = chosen.add_parents(at, fk, turn.0, climb).await?;
        added += found;
        if keys.is_none_or(|keys| u64::try_from(keys) != Ok(found)) {
            doubtful.push((at, fk, turn));
        }
    }
    // Another reference may have added a parent before; what the same rows still want now is not in the backup.
    for (at, fk, turn) in doubtful {
        if let Some(missing) = parents_wanted(chosen, scratch, (fk, climb), turn, &mut 0).await? {
            *dangling.entry(at).or_default() |= missing.is_ok();
        }
    }
    Ok(added)
}

/// The keys of parents that the rows numbered in this turn want and that are not chosen yet, or why they cannot be looked for
/// by key; `None` when there are none.
async fn parents_wanted(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    (fk, climb): (&ForeignKey, Climb),
    (since, until): (i64, i64),
    memory: &mut usize,
) -> Result<Option<Result<KeyMatch, String>>, ExtractError> {
    let (child, parent) = (chosen.table(&fk.child)?, chosen.table(&fk.parent)?);
    let child_side = chosen.side_table(&fk.child).await?;
    let parent_side = chosen.side_table(&fk.parent).await?;
    let referring = fk.child_sql("c.");
    let not_null: Vec<String> = referring.iter().map(|value| format!("{value} is not null")).collect();
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    let (referring, not_null) = (referring.join(", "), not_null.join(" and "));
    let children = format!(
        "(select *, tableoid as rowback_tab, ctid as rowback_place from {}{condition}) as c \
         join {child_side} as h on h.tab = c.rowback_tab and h.place = c.rowback_place and h.n > {since} and h.n <= {until} and {}",
        child.from_sql(),
        climb.of_children(),
    );
    let parents = format!(
        "{} as p join {parent_side} as o on o.tab = p.tableoid and o.place = p.ctid and {}",
        parent.from_sql(),
        climb.of_parents(),
    );
    let same = join_condition(fk, child, parent);
    // The chosen parents are found by their keys; a key that is not chosen yet must be looked for in the backup.
    let keys_wanted = match fk.columns.last().filter(|_| fk.is_over_time()) {
        // One parent may fill but a part of the period.
        Some((down, up)) => format!(
            "select distinct {referring} from {children} left join (select p.* from {parents}) as p on {same} where {not_null} \
             group by c.rowback_tab, c.rowback_place, {referring} \
             having not coalesce(c.{} OPERATOR(pg_catalog.<@) pg_catalog.range_agg(p.{}), false)",
            down.quoted(),
            up.quoted(),
        ),
        None => format!(
            "select distinct {referring} from {children} where {not_null} and not exists (select from {parents} where {same})"
        ),
    };
    let sort = match keys::sort(fk, child, parent, scratch.encoding()) {
        Ok(sort) => sort,
        Err(why) => {
            let any = format!("select count(*) from ({keys_wanted} limit 1) as one");
            let rows = chosen.session.text_rows("collecting keys", &any).await?;
            return Ok((number(&rows) > 0).then_some(Err(why)));
        }
    };
    let sql = format!("copy ({keys_wanted}) to stdout");
    Ok(match keys::read(chosen.session, scratch, &sql, sort, memory).await? {
        keys::Found::Keys(keys) if keys.is_empty() => None,
        keys::Found::Keys(keys) => {
            Some(Ok(KeyMatch { columns: fk.parent_columns().cloned().collect(), keys }))
        }
        keys::Found::TooMany => Some(Err(keys::too_many(fk))),
    })
}
