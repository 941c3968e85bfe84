//! Rows that can only change together: when a column changes that others refer to, such as the tenant in `(tenant_id,
//! id)`, the rows that hang on it must change in the same statement. Finds them in live, over any number of foreign keys.

use std::collections::{BTreeMap, BTreeSet};

use super::DiffError;
use super::carried::Carry;
use super::drift::{Fit, Fits};
use super::judge::Court;
use super::lookup::RawKey;
use crate::catalog::graph::parents_first;
use crate::catalog::{Action, Catalog, ForeignKey, Table};
use crate::ident::{Ident, TableName};
use crate::recipe::{Kind, Recipe};
use crate::sql::mention::may_name;
use crate::value::copy_text::is_null;

/// The tables of a convoy, the one that leads it first, then parents before children.
pub struct Convoy<'a> {
    /// The tables.
    pub wagons: Vec<Wagon<'a>>,
    /// Columns of the first table whose change makes others move: positions in its fit.
    pub columns: BTreeSet<usize>,
    /// Must all rows move in one statement? Otherwise each leading row moves with what hangs on it.
    pub together: bool,
}

/// One table of a convoy.
pub struct Wagon<'a> {
    /// Its columns and key. An owner that moves is no part of the key.
    pub fit: Fit<'a>,
    /// The foreign keys by which its rows hang on rows of the convoy.
    pub edges: Vec<Edge<'a>>,
    /// Enforced foreign keys upwards, with their child columns: where they lead, a row must be when it has moved.
    pub upwards: Vec<(&'a ForeignKey, Vec<usize>)>,
    /// Lists of columns by which enforced foreign keys refer to it, with their positions.
    pub referred: Vec<(Vec<Ident>, Vec<usize>)>,
}

impl Wagon<'_> {
    /// Is this column of the row a part of what it hangs on by an enforced reference of several columns? Then it changes with
    /// that parent, and not without it.
    pub fn holds(&self, row: &[RawKey], column: usize) -> bool {
        let refers = |positions: &[usize]| positions.iter().all(|&at| !is_null(&row[at]));
        self.upwards
            .iter()
            .any(|(_, positions)| positions.len() > 1 && positions.contains(&column) && refers(positions))
    }
}

/// A foreign key between two tables of a convoy.
pub struct Edge<'a> {
    /// The reference.
    pub fk: &'a ForeignKey,
    /// Number of the parent's table.
    pub parent: usize,
    /// Positions of parent and child column, pair by pair.
    pub pairs: Vec<(usize, usize)>,
    /// Does PostgreSQL itself move the child, by ON UPDATE CASCADE?
    pub cascades: bool,
    /// Where what moves is no part of the reference: the owner that rows carry beside it.
    pub beside: Option<Beside<'a>>,
}

/// An owner that rows carry beside a reference.
pub struct Beside<'a> {
    /// Which rows did so in the backup.
    pub carry: &'a Carry,
    /// Positions of the owner in parent and child.
    pub owner: (usize, usize),
    /// Positions in the child of `Carry::names`.
    pub names: Vec<usize>,
}

/// What moves when a column of a table does: the moving columns by table, the leading table included.
fn reach(
    live: &Catalog,
    carries: &[Carry],
    leader: &TableName,
    columns: BTreeSet<Ident>,
) -> BTreeMap<TableName, BTreeSet<Ident>> {
    let mut found = BTreeMap::from([(leader.clone(), columns)]);
    loop {
        let mut grown = false;
        for fk in &live.foreign_keys {
            let Some(moving) = found.get(&fk.parent) else { continue };
            let pairs = fk.columns.iter().filter(|(_, parent)| moving.contains(parent));
            let mut hit: Vec<Ident> = pairs.map(|(child, _)| child.clone()).collect();
            if hit.is_empty() {
                hit.extend(beside(carries, fk, moving).map(|carry| carry.owner.clone()));
            }
            if !hit.is_empty() {
                let known = found.entry(fk.child.clone()).or_default();
                hit.into_iter().for_each(|column| grown |= known.insert(column));
            }
        }
        if !grown {
            return found;
        }
    }
}

/// What rows carry beside a reference when what moves is the owner of the rows that they hang on.
fn beside<'c>(carries: &'c [Carry], fk: &ForeignKey, moving: &BTreeSet<Ident>) -> Option<&'c Carry> {
    carries.iter().find(|carry| carry.foreign_key.is_like(fk) && moving.contains(&carry.owner_above))
}

/// The tables that may have to move with rows that the recipe's entries repair, beside those of the entries.
pub fn companions(live: &Catalog, recipe: &Recipe, carries: &[Carry]) -> BTreeSet<TableName> {
    let mut found = BTreeSet::new();
    let owners = recipe.owners();
    for entry in
        recipe.recover.iter().filter(|entry| entry.kind != Kind::Deleted && entry.misrouted_to.is_none())
    {
        let Some(table) = live.tables.get(&entry.table) else { continue };
        let map = recipe.columns.get(&entry.table);
        let named = entry.columns.iter().chain(&entry.owner);
        let mut columns: BTreeSet<Ident> =
            named.map(|name| map.and_then(|map| map.map.get(name)).unwrap_or(name).clone()).collect();
        if columns.is_empty() {
            let key = table.key_columns().unwrap_or_default();
            columns = table.column_names().filter(|column| !key.contains(column)).cloned().collect();
        }
        let moving: BTreeSet<TableName> = reach(live, carries, &entry.table, columns).into_keys().collect();
        // Who has the owner and does not move along is looked at in the end.
        let below = live.foreign_keys.iter().filter(|fk| moving.contains(&fk.parent)).map(|fk| &fk.child);
        let has_owner = |child: &&TableName| {
            let child = live.tables.get(child);
            child.is_some_and(|child| owners.iter().any(|(_, owner)| child.column(owner).is_some()))
        };
        found.extend(below.filter(has_owner).cloned());
        found.extend(moving);
    }
    found
}

/// What misrouted rows may leave behind: rows that hang on them and have an owner of their own, which no reference moves, and rows
/// of which the backup cannot know.
pub fn notes(live: &Catalog, recipe: &Recipe, carries: &[Carry]) -> BTreeSet<String> {
    let owners = recipe.owners();
    let mut found = BTreeSet::new();
    for (table, owner) in &owners {
        let moving = reach(live, carries, table, BTreeSet::from([owner.clone()]));
        let has_owner =
            |table: &TableName| live.tables.get(table).is_some_and(|table| table.column(owner).is_some());
        let left = live.foreign_keys.iter().filter(|fk| {
            let named = owners.iter().any(|(table, of)| table == &fk.child && of == owner);
            moving.contains_key(&fk.parent)
                && !moving.contains_key(&fk.child)
                && has_owner(&fk.child)
                && !named
        });
        found.extend(left.map(|fk| {
            format!(
                "rows of {} that hang on misrouted rows of {} by {} have a {owner} of their own, which stays as it is: where it is wrong, too, \
                 an entry of their own sets it right; verify names those that still have the old one",
                fk.child, fk.parent, fk.name
            )
        }));
        let along = live.foreign_keys.iter().filter(|fk| carries_along(fk, &moving, carries).is_some());
        found.extend(along.map(|fk| {
            format!(
                "rows of {} that hang on misrouted rows of {} by {} go home with them where the backup has both under one owner; what came \
                 since stays, unless an entry of its own sets it right, and verify names what still has the old one",
                fk.child, fk.parent, fk.name
            )
        }));
    }
    for (table, owner, path) in recipe.owners_told() {
        let reads = |(other, _): &&(TableName, Ident)| {
            other != &table && path.is_some_and(|path| may_name(path, &other.name))
        };
        found.extend(owners.iter().filter(reads).map(|(other, _)| {
            format!(
                "owner_from of {table} may read {other}, whose rows this recipe sets right as well: it sees them as they are now. Where {owner} \
                 depends on that, run rowback recover in a new case once this one is applied; verify names what still points across"
            )
        }));
    }
    let by_backup = recipe.recover.iter().filter(|entry| {
        entry.kind == Kind::Misrouted && entry.misrouted_to.is_none() && entry.owner_from.is_none()
    });
    found.extend(by_backup.map(|entry| {
        format!(
            "rows of {} that came after the backup are not looked at: only `owner_from` says whose they are",
            entry.table
        )
    }));
    found
}

/// The convoy that a table leads; `None` when nothing refers to the columns that its charges are about.
pub fn of<'a>(
    court: &Court<'a>,
    fits: &'a Fits<'a>,
    (live, carries): (&'a Catalog, &'a [Carry]),
    recipe: &Recipe,
) -> Result<Option<Convoy<'a>>, DiffError> {
    let leader = &court.fit.live.name;
    let charged: BTreeSet<usize> =
        court.charges.iter().flat_map(|charge| charge.columns.iter().copied()).collect();
    let name = |at: &usize| court.fit.columns[*at].live.name.clone();
    let moving = reach(live, carries, leader, charged.iter().map(name).collect());
    let referred = |at: &usize| {
        let name = name(at);
        let moves = BTreeSet::from([name]);
        let mut below = live.foreign_keys.iter().filter(|fk| &fk.parent == leader);
        below.any(|fk| {
            fk.parent_columns().any(|column| moves.contains(column)) || beside(carries, fk, &moves).is_some()
        })
    };
    let columns: BTreeSet<usize> = charged.into_iter().filter(referred).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let names: BTreeSet<TableName> = moving.keys().cloned().collect();
    let order_by = |leads: &dyn Fn(&ForeignKey) -> bool| {
        let inner: Vec<ForeignKey> = live.foreign_keys.iter().filter(|fk| leads(fk)).cloned().collect();
        parents_first(&names, &inner)
    };
    let cyclic = order_by(&|fk| moves_along(fk, &moving)).iter().any(|component| component.cyclic);
    let all = order_by(&|fk| moves_along(fk, &moving) || carries_along(fk, &moving, carries).is_some());
    let mut order: Vec<TableName> = all.into_iter().flat_map(|component| component.tables).collect();
    order.retain(|table| table != leader);
    order.insert(0, leader.clone());
    let mut wagons = Vec::new();
    for table in &order {
        wagons.push(wagon(table, (&order, &moving), fits, (live, carries), recipe)?);
    }
    let together = cyclic
        || wagons.iter().any(|wagon| wagon.edges.iter().filter(|edge| edge.beside.is_none()).count() > 1);
    Ok(Some(Convoy { wagons, columns, together }))
}

fn moves_along(fk: &ForeignKey, moving: &BTreeMap<TableName, BTreeSet<Ident>>) -> bool {
    moving.get(&fk.parent).is_some_and(|columns| fk.parent_columns().any(|column| columns.contains(column)))
}

/// What rows carry along a reference that does not hold it.
fn carries_along<'c>(
    fk: &ForeignKey,
    moving: &BTreeMap<TableName, BTreeSet<Ident>>,
    carries: &'c [Carry],
) -> Option<&'c Carry> {
    let carry = beside(carries, fk, moving.get(&fk.parent)?)?;
    (!moves_along(fk, moving) && moving.contains_key(&fk.child)).then_some(carry)
}

fn wagon<'a>(
    name: &TableName,
    (order, moving): (&[TableName], &BTreeMap<TableName, BTreeSet<Ident>>),
    fits: &'a Fits<'a>,
    (live, carries): (&'a Catalog, &'a [Carry]),
    recipe: &Recipe,
) -> Result<Wagon<'a>, DiffError> {
    let table = live.tables.get(name).ok_or_else(|| DiffError::TableGone { table: name.clone() })?;
    let none = BTreeSet::new();
    let own = moving.get(name).unwrap_or(&none);
    let fit = match fits.get(name) {
        Some(fit) if fit.key.iter().all(|&at| !own.contains(&fit.columns[at].live.name)) => fit.clone(),
        _ => live_fit(table, own, recipe)?,
    };
    let missing = || DiffError::CannotMove { table: name.clone() };
    let mut edges = Vec::new();
    for fk in live.foreign_keys.iter().filter(|fk| &fk.child == name) {
        let carry = carries_along(fk, moving, carries);
        if carry.is_none() && !moves_along(fk, moving) {
            continue;
        }
        let Some(parent) = order.iter().position(|table| table == &fk.parent) else { continue };
        let parent_table = live.tables.get(&fk.parent).ok_or_else(missing)?;
        let parent_own = moving.get(&fk.parent).unwrap_or(&none);
        let parent_fit = match fits.get(&fk.parent) {
            Some(fit) if fit.key.iter().all(|&at| !parent_own.contains(&fit.columns[at].live.name)) => {
                fit.clone()
            }
            _ => live_fit(parent_table, parent_own, recipe)?,
        };
        let positions = parent_fit.positions(fk.parent_columns()).zip(fit.positions(fk.child_columns()));
        let (parents, children) = positions.ok_or_else(missing)?;
        let cascades = fk.is_enforced() && fk.on_update == Action::Cascade;
        let beside = match carry {
            None => None,
            Some(carry) => {
                let own = fit.position(&carry.owner).filter(|&at| !fit.columns[at].live.generated);
                let owner = parent_fit.position(&carry.owner_above).zip(own);
                let found = owner.zip(fit.positions(&carry.names));
                found.map(|(owner, names)| Beside { carry, owner, names })
            }
        };
        if carry.is_none() || beside.is_some() {
            let pairs = parents.into_iter().zip(children).collect();
            edges.push(Edge { fk, parent, pairs, cascades: cascades && beside.is_none(), beside });
        }
    }
    let upwards = live
        .foreign_keys
        .iter()
        .filter(|fk| &fk.child == name && fk.is_enforced())
        .filter_map(|fk| Some((fk, fit.positions(fk.child_columns())?)))
        .collect();
    let lists: BTreeSet<Vec<Ident>> = live
        .foreign_keys
        .iter()
        .filter(|fk| fk.is_enforced() && &fk.parent == name)
        .map(|fk| fk.parent_columns().cloned().collect())
        .collect();
    let referred = lists.into_iter().filter_map(|list| Some((list.clone(), fit.positions(&list)?))).collect();
    Ok(Wagon { fit, edges, upwards, referred })
}

/// A table of which nothing is staged: all its columns, and a key without what moves.
fn live_fit<'a>(table: &'a Table, moving: &BTreeSet<Ident>, recipe: &Recipe) -> Result<Fit<'a>, DiffError> {
    let given = recipe.key_of(&table.name).map(<[Ident]>::to_vec);
    let mut key = given.or_else(|| table.key_columns()).unwrap_or_default();
    key.retain(|column| !moving.contains(column));
    let fit = Fit::of_live(table, table.columns.iter(), &key);
    if fit.key.is_empty() {
        return Err(DiffError::CannotMove { table: table.name.clone() });
    }
    Ok(fit)
}
