//! What the recipe's entries of kind `corrupted` and `misrouted` say about a table's rows, held against live's columns.
//! Pure.

use super::DiffError;
use super::aftermath::Teller;
use super::drift::Fit;
use crate::ident::Ident;
use crate::recipe::{Kind, Recipe, Recover};
use crate::sql::predicate::Predicate;

/// What one entry says.
#[derive(Debug, Clone)]
pub struct Charge<'a> {
    /// Number of the entry in the recipe, from 0.
    pub number: u16,
    /// The kind of accident.
    pub kind: Kind,
    /// Positions in `Fit::columns` of the columns that it is about.
    pub columns: Vec<usize>,
    /// Of them, those that the recipe names as damaged, in `columns` or in `damaged`: they say nothing about who a row is.
    pub named: Vec<usize>,
    /// Condition over `live.` and `backup.`; without one every difference is damage.
    pub damaged: Option<&'a str>,
    /// Expression over live's row that gives the true owner; without one the backup's value is the truth.
    pub owner_from: Option<&'a str>,
    /// Who tells what the accident made of its rows; then only what live still holds of that is damage.
    pub teller: Option<Teller>,
    /// Are its rows looked for in live, and so in every row of the table?
    pub in_live: bool,
}

/// The charges against rows of a table, in the order of the recipe.
pub fn of<'a>(recipe: &'a Recipe, fit: &Fit<'_>) -> Result<Vec<Charge<'a>>, DiffError> {
    let mut found = Vec::new();
    for (number, entry) in (0u16..).zip(&recipe.recover) {
        let is_about_values = entry.kind != Kind::Deleted && entry.misrouted_to.is_none();
        if entry.table == fit.live.name && is_about_values {
            found.push(charge(number, entry, recipe, fit)?);
        }
    }
    Ok(found)
}

fn charge<'a>(
    number: u16,
    entry: &'a Recover,
    recipe: &Recipe,
    fit: &Fit<'_>,
) -> Result<Charge<'a>, DiffError> {
    let named: Vec<&Ident> = entry.columns.iter().chain(&entry.owner).collect();
    let mut columns = Vec::new();
    for column in &named {
        columns.push(position(column, entry, recipe, fit)?);
    }
    let mut spoken_of = columns.clone();
    if named.is_empty() {
        columns = fit.written().map(|(at, _)| at).filter(|at| !fit.key.contains(at)).collect();
        let mentioned = mentioned(entry);
        let is_mentioned = |at: &usize| mentioned.iter().any(|name| *name == fit.columns[*at].live.name);
        spoken_of = columns.iter().copied().filter(is_mentioned).collect();
    }
    Ok(Charge {
        number,
        kind: entry.kind,
        columns,
        named: spoken_of,
        damaged: entry.damaged.as_deref(),
        owner_from: entry.owner_from.as_deref(),
        teller: teller_of(recipe, entry).filter(|_| !entry.is_found_in_live()),
        in_live: entry.is_found_in_live(),
    })
}

/// Live's columns that `damaged` speaks of. One that is not understood speaks of none, and then they tell who a row is.
fn mentioned(entry: &Recover) -> Vec<Ident> {
    let parsed = entry.damaged.as_deref().and_then(|text| Predicate::parse(text).ok());
    let columns = parsed.as_ref().and_then(Predicate::columns).into_iter().flatten();
    let of_live = columns.filter(|column| column.qualifier.as_deref() == Some("live"));
    of_live.map(|column| Ident::new(column.name.as_str())).collect()
}

/// Who tells what the accident made of the rows of an entry.
fn teller_of(recipe: &Recipe, entry: &Recover) -> Option<Teller> {
    match recipe.replay_of(entry) {
        Some(number) => Some(Teller::Replay(number)),
        None => recipe.backup.after.as_ref().map(|_| Teller::Bracket),
    }
}

/// Who tells which rows were deleted.
pub fn tellers_of_deletions(recipe: &Recipe) -> Vec<Teller> {
    let mut found: Vec<Teller> = recipe.backup.after.iter().map(|_| Teller::Bracket).collect();
    let deleted = recipe.recover.iter().filter(|entry| entry.kind == Kind::Deleted);
    found.extend(deleted.filter_map(|entry| recipe.replay_of(entry)).map(Teller::Replay));
    found.sort_unstable();
    found.dedup();
    found
}

/// Where a column of the recipe is in live; it must be one that an update can set.
fn position(column: &Ident, entry: &Recover, recipe: &Recipe, fit: &Fit<'_>) -> Result<usize, DiffError> {
    let map = recipe.columns.get(&entry.table);
    let name = map.and_then(|map| map.map.get(column)).unwrap_or(column);
    let refused =
        |problem| DiffError::NotRepairable { table: entry.table.clone(), column: column.clone(), problem };
    let at = fit.position(name).ok_or_else(|| refused("[columns] of the recipe ignores it"))?;
    if fit.columns[at].live.generated {
        return Err(refused("it is a generated column: it follows the columns that it is made of"));
    }
    if fit.key.contains(&at) {
        return Err(refused("it is a column of the key by which rows are found"));
    }
    Ok(at)
}
