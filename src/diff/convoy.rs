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

/// Tables whose rows move together.
pub struct Convoy<'a> {
    /// Of each table that leads, the columns whose change makes others move: positions in its fit.
    pub leading: Vec<BTreeSet<usize>>,
    /// The tables, those that lead first, then parents before children.
    pub wagons: Vec<Wagon<'a>>,
    /// May rows hang on several leading rows? Then all of these are known before any moves. Otherwise each moves by itself.
    pub together: bool,
    /// Does PostgreSQL itself move all that hangs by references, by ON UPDATE CASCADE?
    pub cascades: bool,
}

impl Convoy<'_> {
    /// The tables that lead.
    pub fn leaders(&self) -> impl Iterator<Item = &TableName> {
        self.wagons[..self.leading.len()].iter().map(|wagon| &wagon.fit.live.name)
    }
}

/// One table of a convoy.
pub struct Wagon<'a> {
    /// Its columns and key. An owner that moves is no part of the key.
    pub fit: Fit<'a>,
    /// The foreign keys by which its rows hang on rows of the convoy.
    pub edges: Vec<Edge<'a>>,
    /// References upwards that must find a parent, with their child columns: where they lead, a row must be when it has moved.
    pub upwards: Vec<(&'a ForeignKey, Vec<usize>)>,
    /// Lists of columns by which enforced foreign keys refer to it, with their positions.
    pub referred: Vec<(Vec<Ident>, Vec<usize>)>,
    /// Of a table that leads, the columns that tell its rows from strangers who took their keys.
    pub telling: Vec<usize>,
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

/// Columns that move, by table.
type Moving = BTreeMap<TableName, BTreeSet<Ident>>;

/// All that moves when these columns do.
fn reach(
    live: &Catalog,
    carries: &[Carry],
    from: impl IntoIterator<Item = (TableName, BTreeSet<Ident>)>,
) -> Moving {
    let mut found = Moving::new();
    for (table, columns) in from {
        found.entry(table).or_default().extend(columns);
    }
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
        let moving: BTreeSet<TableName> =
            reach(live, carries, [(entry.table.clone(), columns)]).into_keys().collect();
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

/// All that moves with rows of the table when they get another owner.
fn moves_with(live: &Catalog, carries: &[Carry], (table, owner): (&TableName, &Ident)) -> Moving {
    reach(live, carries, [(table.clone(), BTreeSet::from([owner.clone()]))])
}

fn has_column(live: &Catalog, table: &TableName, column: &Ident) -> bool {
    live.tables.get(table).is_some_and(|table| table.column(column).is_some())
}

/// What misrouted rows may leave behind further down: rows with an owner of their own below tables that have none. `live` is the
/// whole catalog.
pub fn notes_on_tables_between(live: &Catalog, recipe: &Recipe, carries: &[Carry]) -> BTreeSet<String> {
    let owners = recipe.owners();
    let mut found = BTreeSet::new();
    for (table, owner) in &owners {
        let moving = moves_with(live, carries, (table, owner));
        let has_owner = |table: &TableName| has_column(live, table, owner);
        let mut seen: BTreeSet<&TableName> = moving.keys().collect();
        let mut open: Vec<&TableName> = moving.keys().collect();
        while let Some(parent) = open.pop() {
            for fk in live.foreign_keys.iter().filter(|fk| &fk.parent == parent) {
                let is_told = moving.contains_key(parent)
                    || owners.iter().any(|(table, of)| table == &fk.child && of == owner);
                if has_owner(&fk.child) && !moving.contains_key(&fk.child) && !is_told {
                    found.insert(format!(
                        "rows of {} that hang on misrouted rows of {table} over {parent}, which has no {owner}, have a {owner} of their own, which stays \
                         as it is and is not looked at: where it is wrong, too, an entry of their own sets it right",
                        fk.child
                    ));
                } else if !has_owner(&fk.child) && seen.insert(&fk.child) {
                    open.push(&fk.child);
                }
            }
        }
    }
    found
}

/// What misrouted rows may leave behind: rows that hang on them and have an owner of their own, which no reference moves, and rows
/// of which the backup cannot know.
pub fn notes(live: &Catalog, recipe: &Recipe, carries: &[Carry]) -> BTreeSet<String> {
    let owners = recipe.owners();
    let mut found = BTreeSet::new();
    for (table, owner) in &owners {
        let moving = moves_with(live, carries, (table, owner));
        let left = live.foreign_keys.iter().filter(|fk| {
            let named = owners.iter().any(|(table, of)| table == &fk.child && of == owner);
            moving.contains_key(&fk.parent)
                && !moving.contains_key(&fk.child)
                && has_column(live, &fk.child, owner)
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

/// A table of which rows make others move.
pub(super) struct Lead {
    /// The table.
    pub table: TableName,
    /// The columns whose change does so: positions in its fit.
    columns: BTreeSet<usize>,
    /// All that moves with it.
    pub moving: Moving,
}

/// What a table leads; `None` when nothing refers to the columns that its charges are about.
pub(super) fn lead(court: &Court<'_>, live: &Catalog, carries: &[Carry]) -> Option<Lead> {
    let table = &court.fit.live.name;
    let charged: BTreeSet<usize> =
        court.charges.iter().flat_map(|charge| charge.columns.iter().copied()).collect();
    let name = |at: &usize| court.fit.columns[*at].live.name.clone();
    let moving = reach(live, carries, [(table.clone(), charged.iter().map(name).collect())]);
    let referred = |at: &usize| {
        let moves = BTreeSet::from([name(at)]);
        let mut below = live.foreign_keys.iter().filter(|fk| &fk.parent == table);
        below.any(|fk| {
            fk.parent_columns().any(|column| moves.contains(column)) || beside(carries, fk, &moves).is_some()
        })
    };
    let columns: BTreeSet<usize> = charged.into_iter().filter(referred).collect();
    (!columns.is_empty()).then(|| Lead { table: table.clone(), columns, moving })
}

/// All convoys, in the order of the names of the tables that lead.
pub(super) fn all<'a>(
    courts: &BTreeMap<TableName, Court<'a>>,
    fits: &'a Fits<'a>,
    (live, carries): (&'a Catalog, &'a [Carry]),
    recipe: &Recipe,
) -> Result<Vec<Convoy<'a>>, DiffError> {
    let mut joint: Vec<Vec<Lead>> = Vec::new();
    for lead in courts.values().filter_map(|court| lead(court, live, carries)) {
        let meets = |others: &Vec<Lead>| others.iter().any(|other| need_each_other(live, &lead, other));
        let (met, mut others): (Vec<_>, Vec<_>) = joint.into_iter().partition(meets);
        others.push(met.into_iter().flatten().chain([lead]).collect());
        joint = others;
    }
    let mut found = Vec::new();
    for leads in joint {
        let mut convoy = of(&leads, fits, (live, carries), recipe)?;
        for wagon in &mut convoy.wagons[..convoy.leading.len()] {
            let Some(court) = courts.get(&wagon.fit.live.name) else { continue };
            let name = |at: usize| &court.fit.columns[at].live.name;
            let telling = court.identity.telling().into_iter().filter_map(|at| wagon.fit.position(name(at)));
            wagon.telling = telling.collect();
        }
        found.push(convoy);
    }
    Ok(found)
}

/// May a row hang on rows of both, by two references that hold the same column? Then it moves when both do, and not before. Where
/// one leads to the other, rows would be led twice.
fn need_each_other(live: &Catalog, one: &Lead, other: &Lead) -> bool {
    let ways = |lead: &Lead| -> Vec<&ForeignKey> {
        live.foreign_keys.iter().filter(|fk| holds(fk) && moves_along(fk, &lead.moving)).collect()
    };
    let others = ways(other);
    let shares = |fk: &ForeignKey, other: &ForeignKey| {
        let holds = |column: &Ident| fk.child_columns().any(|own| own == column);
        fk.child == other.child && fk != other && other.child_columns().any(holds)
    };
    let leads_to = |one: &Lead, other: &Lead| one.moving.contains_key(&other.table);
    leads_to(one, other)
        || leads_to(other, one)
        || ways(one).into_iter().any(|fk| others.iter().any(|other| shares(fk, other)))
}

fn of<'a>(
    leads: &[Lead],
    fits: &'a Fits<'a>,
    (live, carries): (&'a Catalog, &'a [Carry]),
    recipe: &Recipe,
) -> Result<Convoy<'a>, DiffError> {
    let moving = reach(live, carries, leads.iter().flat_map(|lead| lead.moving.clone()));
    let names: BTreeSet<TableName> = moving.keys().cloned().collect();
    let order_by = |leads: &dyn Fn(&ForeignKey) -> bool| {
        let inner: Vec<ForeignKey> = live.foreign_keys.iter().filter(|fk| leads(fk)).cloned().collect();
        parents_first(&names, &inner)
    };
    let cyclic = order_by(&|fk| moves_along(fk, &moving)).iter().any(|component| component.cyclic);
    let all = order_by(&|fk| moves_along(fk, &moving) || carries_along(fk, &moving, carries).is_some());
    let mut order: Vec<TableName> = all.into_iter().flat_map(|component| component.tables).collect();
    let lead_of = |table: &TableName| leads.iter().find(|lead| &lead.table == table);
    order.sort_by_key(|table| lead_of(table).is_none());
    let leading = order.iter().map_while(lead_of).map(|lead| lead.columns.clone()).collect();
    let mut wagons = Vec::new();
    for table in &order {
        wagons.push(wagon(table, (&order, &moving), fits, (live, carries), recipe)?);
    }
    let references = |wagon: &Wagon<'_>| wagon.edges.iter().filter(|edge| edge.beside.is_none()).count();
    let together = cyclic || leads.len() > 1 || wagons.iter().any(|wagon| references(wagon) > 1);
    let mut edges = wagons.iter().flat_map(|wagon| &wagon.edges).filter(|edge| edge.beside.is_none());
    let cascades =
        !together && edges.all(|edge| edge.fk.is_enforced() && edge.fk.on_update == Action::Cascade);
    Ok(Convoy { leading, wagons, together, cascades })
}

/// Must a row that refers by it find its parent? A condition is not asked here, nor what a document holds.
fn holds(fk: &ForeignKey) -> bool {
    fk.is_enforced() || (fk.when().is_none() && !fk.has_paths() && !fk.is_over_time())
}

fn moves_along(fk: &ForeignKey, moving: &Moving) -> bool {
    moving.get(&fk.parent).is_some_and(|columns| fk.parent_columns().any(|column| columns.contains(column)))
}

/// What rows carry along a reference that does not hold it.
fn carries_along<'c>(fk: &ForeignKey, moving: &Moving, carries: &'c [Carry]) -> Option<&'c Carry> {
    let carry = beside(carries, fk, moving.get(&fk.parent)?)?;
    (!moves_along(fk, moving) && moving.contains_key(&fk.child)).then_some(carry)
}

fn wagon<'a>(
    name: &TableName,
    (order, moving): (&[TableName], &Moving),
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
            edges.push(Edge { fk, parent, pairs, beside });
        }
    }
    let upwards = live
        .foreign_keys
        .iter()
        .filter(|fk| &fk.child == name && holds(fk))
        .filter_map(|fk| Some((fk, fit.positions(fk.child_columns())?)))
        .collect();
    let lists: BTreeSet<Vec<Ident>> = live
        .foreign_keys
        .iter()
        .filter(|fk| holds(fk) && &fk.parent == name)
        .map(|fk| fk.parent_columns().cloned().collect())
        .collect();
    let referred = lists.into_iter().filter_map(|list| Some((list.clone(), fit.positions(&list)?))).collect();
    Ok(Wagon { fit, edges, upwards, referred, telling: Vec::new() })
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
