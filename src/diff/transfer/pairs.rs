//! The tables of the wrong schema whose rows can move, each with the one that takes its place in the right schema; and the
//! tables whose rows cannot. Found over the foreign keys, downwards from the tables that the recipe names.

use super::Station;
use crate::catalog::{ForeignKey, Table, column_list};
use crate::diff::DiffError;
use crate::diff::drift::Fit;
use crate::diff::structure::bounds_of;
use crate::ident::{Ident, TableName};

/// A table and the one that takes its place.
pub(in crate::diff) struct Pair<'a> {
    /// Where its rows belong. Columns in the same order as those of `from`; generated ones are left out.
    pub to: Fit<'a>,
    /// Where they are.
    pub from: Fit<'a>,
    /// The foreign keys by which other rows hang on those of `from`.
    pub downs: Vec<Down<'a>>,
}

/// A foreign key downwards.
pub(in crate::diff) struct Down<'a> {
    /// The reference.
    pub fk: &'a ForeignKey,
    /// Positions of parent and child column, pair by pair.
    pub columns: Vec<(usize, usize)>,
    /// What becomes of the rows that refer by it.
    pub child: Child<'a>,
}

/// Rows that hang on others.
pub(in crate::diff) enum Child<'a> {
    /// They move along: number of their pair.
    Moves(usize),
    /// They cannot move, for this reason.
    Alone(Box<Fit<'a>>, String),
}

/// All pairs: first those of the recipe, then what can hang on their rows.
pub(super) async fn all<'a>(station: &Station<'_, 'a>) -> Result<Vec<Pair<'a>>, DiffError> {
    let mut names: Vec<(&'a Table, &'a Table)> = Vec::new();
    for court in station.courts.values() {
        for transfer in &court.transfers {
            let (to, from) = (court.fit.live, transfer.other);
            if let Some(problem) = unlike(station, to, from) {
                let (table, other) = (to.name.clone(), from.name.clone());
                return Err(DiffError::TablesDiffer { table, other, problem });
            }
            names.push((to, from));
        }
    }
    let mut pairs = Vec::new();
    let mut next = 0;
    while let Some(&(to, from)) = names.get(next) {
        next += 1;
        let mut pair = pair(station, to, from);
        if to.partitioned {
            pair.to.bounds = Some(bounds_of(station.session, &to.name).await?);
        }
        for fk in station.live.children_of(&from.name) {
            pair.downs.extend(down(station, (to, &pair.from), fk, &mut names));
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

fn down<'a>(
    station: &Station<'_, 'a>,
    (to, from): (&Table, &Fit<'a>),
    fk: &'a ForeignKey,
    names: &mut Vec<(&'a Table, &'a Table)>,
) -> Option<Down<'a>> {
    let child = station.live.tables.get(&fk.child)?;
    let up = from.positions(fk.parent_columns());
    let pair_of = |fit: &Fit<'_>| {
        let down = fit.positions(fk.child_columns())?;
        Some(up.clone()?.into_iter().zip(down).collect::<Vec<_>>())
    };
    let known = names.iter().position(|(_, other)| other.name == fk.child);
    let found = match known {
        Some(number) => Ok(number),
        None => twin(station, to, &from.live.name, child).map(|twin| {
            names.push((twin, child));
            names.len() - 1
        }),
    };
    match found {
        Ok(number) => {
            let fit = fit(child, names[number].0, station);
            let columns = pair_of(&fit)?;
            Some(Down { fk, columns, child: Child::Moves(number) })
        }
        Err(why) => {
            let fit = fit(child, child, station);
            let columns = pair_of(&fit)?;
            Some(Down { fk, columns, child: Child::Alone(Box::new(fit), why) })
        }
    }
}

/// The table of the right schema that takes the place of one of the wrong schema, or why there is none.
fn twin<'a>(
    station: &Station<'_, 'a>,
    to: &Table,
    from: &TableName,
    child: &'a Table,
) -> Result<&'a Table, String> {
    let (right, wrong) = (&to.name.schema, &from.schema);
    if right == wrong || &child.name.schema != wrong {
        return Err(format!("{} is no table of {wrong} that {right} could have as well", child.name));
    }
    let name = TableName::new(right.as_str(), child.name.name.as_str());
    let twin = station.live.tables.get(&name).ok_or_else(|| format!("there is no {name}"))?;
    match unlike(station, twin, child) {
        Some(problem) => Err(format!("{name} is not like {}: {problem}", child.name)),
        None => Ok(twin),
    }
}

/// In what two tables differ so that rows cannot go from one to the other without a loss.
fn unlike(station: &Station<'_, '_>, to: &Table, from: &Table) -> Option<String> {
    let key = key_of(station, to);
    if key.is_empty() {
        return Some(format!("no key names the rows of {}", to.name));
    }
    for (one, other) in [(to, from), (from, to)] {
        for column in one.columns.iter().filter(|column| !column.generated) {
            let Some(twin) = other.column(&column.name).filter(|twin| !twin.generated) else {
                return Some(format!("{} has no column {}", other.name, column.name));
            };
            let (mine, theirs) = (in_schema(&column.type_name, one), in_schema(&twin.type_name, other));
            if mine != theirs {
                let (left, right) = (&column.type_name, &twin.type_name);
                return Some(format!(
                    "{} is {left} in {} and {right} in {}",
                    column.name, one.name, other.name
                ));
            }
        }
    }
    let identifies = |table: &Table| {
        let same = |columns: &[Ident]| {
            columns.len() == key.len() && columns.iter().all(|column| key.contains(column))
        };
        table.keys.iter().any(|unique| unique.identifies_rows() && same(&unique.columns))
    };
    let without = [to, from].into_iter().find(|table| !identifies(table))?;
    Some(format!("{} has no unique key over {}", without.name, column_list(&key)))
}

/// A type of the table's own schema counts as the same in every schema.
fn in_schema(type_name: &str, table: &Table) -> String {
    let schema = &table.name.schema;
    type_name.replace(&format!("{}.", schema.quoted()), ".").replace(&format!("{schema}."), ".")
}

fn key_of(station: &Station<'_, '_>, table: &Table) -> Vec<Ident> {
    if let Some(fit) = station.fits.get(&table.name) {
        return fit.key.iter().map(|&at| fit.columns[at].live.name.clone()).collect();
    }
    let given = station.input.recipe.key_of(&table.name).map(<[Ident]>::to_vec);
    given.or_else(|| table.key_columns()).unwrap_or_default()
}

fn pair<'a>(station: &Station<'_, 'a>, to: &'a Table, from: &'a Table) -> Pair<'a> {
    Pair { to: fit(to, to, station), from: fit(from, to, station), downs: Vec::new() }
}

/// The table with the columns and the key of `like`, in its order.
fn fit<'a>(table: &'a Table, like: &Table, station: &Station<'_, '_>) -> Fit<'a> {
    let written = like.columns.iter().filter(|column| !column.generated);
    let own = written.filter_map(|column| table.column(&column.name));
    Fit::of_live(table, own, &key_of(station, like))
}
