//! Rows that ended up in another tenant's table, where every tenant has a schema of its own: which of them go back, what
//! moves along because it hangs on them, and what must stay, and why. A row moves only if live's other table holds it as
//! the backup knew it; what hangs on it moves as live has it now. Only reads live.

mod files;
mod gather;
mod holds;
mod leads;
mod pairs;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use files::{TransferFiles, TransferTable};
pub use leads::check;

use self::gather::Movers;
use self::holds::Ground;
use self::pairs::Pair;
use super::blocked::Parents;
use super::drift::Fits;
use super::judge::{Court, Judgement};
use super::lookup::{RawKey, RawRow, StagedRow};
use super::verdict::{RowAction, Verdict};
use super::{DiffError, DiffInput, SequenceState};
use crate::catalog::{Catalog, Table};
use crate::ident::TableName;
use crate::pg::ReadSession;
use crate::recipe::Recipe;

/// What an entry with `misrouted_to` says, held against live.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    /// Number of the entry in the recipe, from 0.
    pub number: u16,
    /// The table that the rows ended up in.
    pub other: &'a Table,
    /// Condition over `live.` (the other table's row) and `backup.`.
    pub damaged: Option<&'a str>,
}

/// The entries of a table that name another one.
pub fn of<'a>(
    recipe: &'a Recipe,
    table: &TableName,
    live: &'a Catalog,
) -> Result<Vec<Transfer<'a>>, DiffError> {
    let mut found = Vec::new();
    for (number, entry) in (0u16..).zip(&recipe.recover).filter(|(_, entry)| &entry.table == table) {
        let Some(other) = &entry.misrouted_to else { continue };
        let other =
            live.tables.get(other).ok_or_else(|| DiffError::OtherTableGone { table: other.clone() })?;
        found.push(Transfer { number, other, damaged: entry.damaged.as_deref() });
    }
    Ok(found)
}

/// The tables that the diff must know for the recipe's transfers: the other tables, all that can hang on their rows, what
/// takes the place of each in the right schema, and what any of these refers to.
pub fn companions(live: &Catalog, recipe: &Recipe) -> BTreeSet<TableName> {
    let mut found = BTreeSet::new();
    for entry in &recipe.recover {
        let Some(other) = &entry.misrouted_to else { continue };
        let mut down = BTreeSet::from([other.clone()]);
        let mut open = vec![other.clone()];
        while let Some(parent) = open.pop() {
            for fk in live.children_of(&parent) {
                if down.insert(fk.child.clone()) {
                    open.push(fk.child.clone());
                }
            }
        }
        let schema = entry.table.schema.as_str();
        let twins = down.iter().map(|table| TableName::new(schema, table.name.as_str()));
        found.extend(twins.filter(|table| live.tables.contains_key(table)));
        found.extend(down.iter().filter(|table| live.tables.contains_key(*table)).cloned());
    }
    let parents: Vec<TableName> =
        live.foreign_keys.iter().filter(|fk| found.contains(&fk.child)).map(|fk| fk.parent.clone()).collect();
    found.extend(parents);
    found
}

/// What becomes of a row that live lacks where it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It comes back out of the other table.
    Moves(String),
    /// It comes back with a row on which it hangs, with these values where the other table has the column.
    Follows(String, Vec<Option<RawKey>>),
    /// The other table keeps it.
    Stays {
        /// The verdict.
        verdict: Verdict,
        /// One line for the report.
        reason: String,
        /// Columns in which the other table's row differs: positions in the fit of the staged table.
        columns: Vec<usize>,
        /// The other table's row.
        seen: Option<RawRow>,
    },
    /// The other table does not hold it: it is lost, for this reason not misrouted.
    Nowhere(String),
}

impl Outcome {
    /// Says of the row what became of it, unless another entry brings it back in its own way.
    pub fn judge(&self, row: &StagedRow, judgement: &mut Judgement) {
        let back = |reason: &String, columns: Vec<usize>| Judgement {
            verdict: Verdict::Misrouted,
            action: RowAction::Move,
            evidence: judgement.evidence,
            reason: reason.clone(),
            columns,
            truth: Vec::new(),
            blocks: false,
            afterwards: false,
            comes_back: true,
            stand_in: None,
        };
        match self {
            Self::Moves(reason) => *judgement = back(reason, Vec::new()),
            Self::Follows(reason, values) => *judgement = back(reason, differing(row, values)),
            Self::Stays { verdict, reason, columns, .. } => {
                judgement.stop(*verdict, reason.clone());
                judgement.columns.clone_from(columns);
            }
            Self::Nowhere(reason) if judgement.action == RowAction::None => {
                judgement.reason.clone_from(reason);
            }
            Self::Nowhere(_) => {}
        }
    }

    /// The other table's row, where it is shown beside the backup's.
    pub fn seen(&self, row: &StagedRow) -> Option<RawRow> {
        match self {
            Self::Stays { seen, .. } => seen.clone(),
            Self::Follows(_, values) => {
                let both = values.iter().zip(&row.fields);
                Some(both.map(|(value, staged)| value.as_ref().unwrap_or(staged).clone()).collect())
            }
            _ => None,
        }
    }
}

/// Where the row that moves is not as the backup has it.
fn differing(row: &StagedRow, values: &[Option<RawKey>]) -> Vec<usize> {
    let differs = |at: &usize| values[*at].as_ref().is_some_and(|value| *value != row.fields[*at]);
    (0..values.len().min(row.fields.len())).filter(differs).collect()
}

/// What is known of the rows that move.
#[derive(Debug, Default)]
pub struct Moves {
    rows: BTreeMap<TableName, HashMap<RawKey, Outcome>>,
    /// The rows for the plan; `None` where nothing moves.
    pub files: Option<TransferFiles>,
    /// Sequences of the right tables that the moved rows touch.
    pub sequences: Vec<SequenceState>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Moves {
    /// What became of a row that live lacks, by the raw fields of its key.
    pub fn of(&self, table: &TableName, key: &[u8]) -> Option<&Outcome> {
        self.rows.get(table)?.get(key)
    }

    fn tell(&mut self, table: &TableName, key: RawKey, outcome: Outcome) {
        self.rows.entry(table.clone()).or_default().insert(key, outcome);
    }
}

/// What finding the rows needs.
pub struct Station<'s, 'a> {
    /// The stage's input.
    pub input: &'s DiffInput<'a>,
    /// Live.
    pub session: &'s ReadSession,
    /// Live's structure.
    pub live: &'a Catalog,
    /// How staged tables fit live's.
    pub fits: &'a Fits<'a>,
    /// How rows of each staged table are judged.
    pub courts: &'s BTreeMap<TableName, Court<'a>>,
}

/// Finds all rows that move, once the parents that they may need have been judged, and writes the files for the plan.
pub async fn prepare(station: &Station<'_, '_>, parents: &mut Parents) -> Result<Moves, DiffError> {
    let pairs = pairs::all(station).await?;
    let mut book = Moves::default();
    let mut movers = Movers::default();
    for court in station.courts.values().filter(|court| !court.transfers.is_empty()) {
        leads::find(station, court, &pairs, &mut movers, &mut book).await?;
    }
    gather::follow(station.session, &pairs, &mut movers).await?;
    holds::check(&Ground { station, pairs: &pairs }, parents, &mut movers).await?;
    movers.settle_groups();
    for (at, mover) in movers.list.iter().enumerate() {
        let pair = &pairs[mover.pair];
        let held = movers.held_with(at);
        if let Some(key) = mover.key_in(station.fits, pair) {
            let outcome = match held {
                Some(held) => Outcome::Stays {
                    verdict: held.verdict,
                    reason: held.reason.clone(),
                    columns: Vec::new(),
                    seen: None,
                },
                None if mover.leads => Outcome::Moves(mover.why.clone()),
                None => {
                    let values = mover.values_in(station.fits, pair);
                    Outcome::Follows(mover.why.clone(), values)
                }
            };
            // A row that only hangs on one that stays is what it is without it.
            if mover.leads || held.is_none() {
                book.tell(&pair.to.live.name, key, outcome);
            }
        }
        if held.is_none() {
            arrive(station, parents, pair, &mover.after());
        }
    }
    files::write(station, &pairs, &movers, &mut book).await?;
    Ok(book)
}

/// The parents' book learns of a row that will be there, and of the parents that it needs.
fn arrive(station: &Station<'_, '_>, parents: &mut Parents, pair: &Pair<'_>, after: &[RawKey]) {
    let name = &pair.to.live.name;
    for columns in parents.columns_of(name) {
        let key = pair.to.positions(&columns).and_then(|at| super::lookup::key_of(after, &at));
        if let Some(key) = key {
            parents.recover(name, &columns, key);
        }
    }
    for fk in station.live.parents_of(name) {
        let key = pair.to.positions(fk.child_columns()).and_then(|at| fk.key_in(after, &at));
        if let Some(key) = key {
            parents.need(fk, &key);
        }
    }
}
