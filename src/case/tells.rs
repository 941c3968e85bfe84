//! What tells the rows of a table apart, for the guards of the batches, and which parents tell it. Pure.

use std::collections::BTreeSet;

use crate::catalog::telling::{KeySpeech, UniqueSpeech, is_creation_moment, moves_often};
use crate::catalog::{Catalog, Column, ForeignKey, Table};
use crate::diff::DiffedTable;
use crate::ident::Ident;
use crate::plan::Tells;

/// What tells rows of this table apart, by the diff's rule: the recipe's identity, a key that nobody hands out twice,
/// unique values, the time of creation. A lost row without any of them must agree in its texts, and one without texts in
/// everything: numbers and times are what triggers move. Where a row is counted within its parent, its key will do then.
pub(super) fn tells(table: &Table, diffed: &DiffedTable, given: &[Ident], upward: &[&ForeignKey]) -> Tells {
    let is_staged = |name: &Ident| diffed.columns.iter().flatten().any(|column| column == name);
    let key: Vec<&Ident> =
        diffed.staged.table.key.iter().filter_map(|at| diffed.columns.get(*at)?.as_ref()).collect();
    let of_parent = |name: &Ident| upward.iter().any(|fk| fk.child_columns().any(|column| column == name));
    let mut found = Tells::default();
    if !given.is_empty() && given.iter().all(is_staged) {
        found.columns = given.to_vec();
        found.otherwise = (0..given.len()).collect();
        found.any_of = vec![found.otherwise.clone()];
        return found;
    }
    let speech = KeySpeech::of(table, &key, upward);
    // Whether the base of a row that extends one comes with the plan as well nobody knows here: its own values speak, too.
    let extends = matches!(key[..], [name] if of_parent(name));
    if speech == KeySpeech::Natural && !extends {
        return found;
    }
    let stored = |name: &Ident| is_staged(name) && table.column(name).is_some_and(|column| !column.generated);
    let saying = |speech: UniqueSpeech| -> Vec<Vec<Ident>> {
        let uniques = table.keys.iter().filter(|unique| {
            UniqueSpeech::of(table, unique, &key, upward) == speech
                && !key.iter().all(|name| unique.columns.contains(name))
                && unique.columns.iter().all(stored)
        });
        uniques.map(|unique| unique.columns.clone()).collect()
    };
    let mut groups = saying(UniqueSpeech::Both);
    if groups.is_empty() {
        groups = saying(UniqueSpeech::WithinParent);
    }
    let others =
        || table.columns.iter().filter(|column| stored(&column.name) && !key.contains(&&column.name));
    let required = |column: &&Column| column.not_null && of_parent(&column.name);
    let mut rest: Vec<&Column> = others().filter(|column| !moves_often(column) || required(column)).collect();
    if rest.is_empty() {
        rest = others().collect();
    }
    let mut place = |name: &Ident| {
        let known = found.columns.iter().position(|column| column == name);
        known.unwrap_or_else(|| {
            found.columns.push(name.clone());
            found.columns.len() - 1
        })
    };
    let created =
        others().filter(|column| is_creation_moment(column)).map(|column| place(&column.name)).collect();
    let any_of = groups.iter().map(|group| group.iter().map(&mut place).collect()).collect();
    let rest = rest.into_iter().filter(|_| extends || speech == KeySpeech::Counted);
    let otherwise = rest.map(|column| place(&column.name)).collect();
    Tells { created, any_of, otherwise, ..found }
}

/// The columns referred to are the same in any row that is found by them: by a reference to another column than the key, the key
/// tells, and so does what is left of the rest.
pub(super) fn beside_the_reference(
    mut found: Tells,
    diffed: &DiffedTable,
    given: &[Ident],
    referred: &[Ident],
) -> Tells {
    let key = diffed.staged.table.key.iter().map(|at| diffed.columns.get(*at)?.clone());
    let Some(key) = key.collect::<Option<Vec<Ident>>>().filter(|key| !key.is_empty()) else { return found };
    if !given.is_empty() || key.iter().all(|name| referred.contains(name)) {
        return found;
    }
    let columns = found.columns.clone();
    found
        .any_of
        .retain(|group| group.iter().any(|at| columns.get(*at).is_some_and(|name| !referred.contains(name))));
    let place = |name: &Ident| {
        found.columns.iter().position(|column| column == name).unwrap_or_else(|| {
            found.columns.push(name.clone());
            found.columns.len() - 1
        })
    };
    let group = key.iter().map(place).collect();
    found.any_of.insert(0, group);
    found
}

/// References that nobody declared: where the parent's key tells who it is by that of its own parent (an order's line, a link
/// between two, what extends a row under the same key), children ask for that one as well.
pub(super) fn beyond(catalog: &Catalog, direct: &[&ForeignKey]) -> Vec<ForeignKey> {
    let is_plain = |fk: &ForeignKey| fk.is_enforced() && !fk.is_over_time();
    let mut found: Vec<ForeignKey> = Vec::new();
    let mut open: Vec<ForeignKey> =
        direct.iter().filter(|fk| !fk.is_over_time()).map(|fk| (*fk).clone()).collect();
    let mut known: BTreeSet<_> = direct.iter().map(|fk| (fk.parent.clone(), fk.columns.clone())).collect();
    while let Some(fk) = open.pop() {
        let Some(parent) = catalog.tables.get(&fk.parent) else { continue };
        let upward: Vec<&ForeignKey> = catalog.parents_of(&fk.parent).collect();
        let key: Vec<&Ident> = parent.primary_key().map_or(Vec::new(), |key| key.columns.iter().collect());
        if !KeySpeech::leans_on_parents(parent, &key, &upward) {
            continue;
        }
        for up in upward.into_iter().filter(|up| is_plain(up)) {
            let place = |name: &Ident| fk.parent_columns().position(|of| of == name);
            let places: Option<Vec<usize>> = up.child_columns().map(place).collect();
            let in_key = up.child_columns().any(|name| key.contains(&name));
            let Some(places) = places.filter(|_| in_key) else { continue };
            let pairs = places.iter().zip(up.parent_columns());
            let columns: Vec<(Ident, Ident)> =
                pairs.map(|(at, of)| (fk.columns[*at].0.clone(), of.clone())).collect();
            if !known.insert((up.parent.clone(), columns.clone())) {
                continue;
            }
            let paths = places.iter().map(|at| fk.path(*at).cloned()).filter(|_| fk.has_paths()).collect();
            let parent = up.parent.clone();
            let further = ForeignKey { parent, columns, paths, operators: Vec::new(), ..fk.clone() };
            open.push(further.clone());
            found.push(further);
        }
    }
    found
}
