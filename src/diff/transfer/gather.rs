//! The rows that move: those that the recipe means, and whatever hangs on them in live, to any depth. Rows that hang on
//! each other are one group: all of it moves, or nothing.

use std::collections::{BTreeMap, HashMap};

use super::pairs::{Child, Pair};
use crate::diff::DiffError;
use crate::diff::drift::Fits;
use crate::diff::followers::{CHUNK_ROWS, Reference, referring};
use crate::diff::lookup::{RawKey, RawRow, StagedRow, key_of};
use crate::diff::verdict::Verdict;
use crate::pg::ReadSession;

/// A row that moves.
#[derive(Debug)]
pub(super) struct Mover {
    /// Number of its pair of tables.
    pub pair: usize,
    /// As the other table has it.
    pub row: RawRow,
    /// What is written instead, by position.
    pub truth: BTreeMap<usize, RawKey>,
    /// Does the recipe mean it? Others hang on such rows.
    pub leads: bool,
    /// Has the backup such a row of the right table, and is it staged?
    pub staged: bool,
    /// One line for the report.
    pub why: String,
}

impl Mover {
    /// The row as it will be.
    pub fn after(&self) -> RawRow {
        let mut row = self.row.clone();
        self.truth.iter().for_each(|(at, value)| row[*at].clone_from(value));
        row
    }

    /// Its values in the order of the staged table's columns, where the pair has them.
    pub fn values_in(&self, fits: &Fits<'_>, pair: &Pair<'_>) -> Vec<Option<RawKey>> {
        let after = self.after();
        let columns = fits.get(&pair.to.live.name).map(|fit| fit.columns.as_slice()).unwrap_or_default();
        columns.iter().map(|column| pair.to.position(&column.live.name).map(|at| after[at].clone())).collect()
    }

    /// Its key as staged rows of the right table spell it; `None` where nothing of that table is staged.
    pub fn key_in(&self, fits: &Fits<'_>, pair: &Pair<'_>) -> Option<RawKey> {
        fits.get(&pair.to.live.name)?;
        key_of(&self.row, &pair.to.key)
    }
}

/// Why a row stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub verdict: Verdict,
    pub reason: String,
}

/// All of them, with their groups.
#[derive(Debug, Default)]
pub(super) struct Movers {
    pub list: Vec<Mover>,
    /// A member of the same group; the first of a group names itself.
    group: Vec<usize>,
    held: Vec<Option<Held>>,
    known: HashMap<(usize, RawKey), usize>,
}

impl Movers {
    /// Adds a row, or finds it; returns its place.
    pub fn add(&mut self, mover: Mover, pairs: &[Pair<'_>]) -> usize {
        let key = (mover.pair, key_of(&mover.row, &pairs[mover.pair].from.key).unwrap_or_default());
        let at = self.list.len();
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        self.known.insert(key, at);
        self.list.push(mover);
        self.group.push(at);
        self.held.push(None);
        at
    }

    /// The group of a row, by its first member.
    pub fn group_of(&self, at: usize) -> usize {
        let mut at = at;
        while self.group[at] != at {
            at = self.group[at];
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.group_of(one), self.group_of(other));
        let (first, second) = (one.min(other), one.max(other));
        self.group[second] = first;
    }

    /// The row must stay, and its group with it. The first reason is the one that is told.
    pub fn hold(&mut self, at: usize, verdict: Verdict, reason: String) {
        self.held[at].get_or_insert(Held { verdict, reason });
    }

    /// Spreads what holds a row over its group.
    pub fn settle_groups(&mut self) {
        for at in 0..self.list.len() {
            let first = self.group_of(at);
            if first != at
                && self.held[first].is_none()
                && let Some(held) = self.held[at].clone()
            {
                self.held[first] = Some(held);
            }
        }
    }

    /// Why a row stays, once groups are settled.
    pub fn held_with(&self, at: usize) -> Option<&Held> {
        self.held[self.group_of(at)].as_ref()
    }
}

/// Follows the foreign keys downwards until nothing new is found. Rows that cannot move hold those on which they hang.
pub(super) async fn follow(
    session: &ReadSession,
    pairs: &[Pair<'_>],
    movers: &mut Movers,
) -> Result<(), DiffError> {
    let mut from = 0;
    while from < movers.list.len() {
        let until = movers.list.len();
        for (number, pair) in pairs.iter().enumerate() {
            let fresh: Vec<usize> = (from..until).filter(|&at| movers.list[at].pair == number).collect();
            for chunk in fresh.chunks(CHUNK_ROWS) {
                children_of(session, pairs, pair, chunk, movers).await?;
            }
        }
        from = until;
    }
    Ok(())
}

async fn children_of(
    session: &ReadSession,
    pairs: &[Pair<'_>],
    pair: &Pair<'_>,
    chunk: &[usize],
    movers: &mut Movers,
) -> Result<(), DiffError> {
    let rows: Vec<StagedRow> =
        chunk.iter().map(|&at| StagedRow::of(movers.list[at].row.clone(), String::new())).collect();
    let rows: Vec<&StagedRow> = rows.iter().collect();
    for down in &pair.downs {
        let child = match &down.child {
            Child::Moves(number) => &pairs[*number].from,
            Child::Alone(fit, _) => fit,
        };
        let reference = Reference { fk: down.fk, parent: &pair.from, child, pairs: &down.columns };
        for (ordinal, row) in referring(session, &reference, &rows).await? {
            let Some(&parent) = chunk.get(ordinal) else { continue };
            match &down.child {
                Child::Moves(number) => {
                    let why = format!("out of {}, with {}", child.live.name, pair.from.live.name);
                    let mover = Mover {
                        pair: *number,
                        row,
                        truth: BTreeMap::new(),
                        leads: false,
                        staged: false,
                        why,
                    };
                    let at = movers.add(mover, pairs);
                    movers.join(parent, at);
                }
                Child::Alone(_, why) => {
                    let reason = format!(
                        "kept: rows of {} hang on it by {} and cannot move: {why}",
                        child.live.name, down.fk.name
                    );
                    movers.hold(parent, Verdict::Changed, reason);
                }
            }
        }
    }
    Ok(())
}
