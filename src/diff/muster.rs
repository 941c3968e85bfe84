//! Leading rows that may only move together: all of them are gathered, over all tables that lead, before any is judged for good.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::DiffError;
use super::blocked::Parents;
use super::convoy::Convoy;
use super::drift::Fit;
use super::followers::Moving;
use super::judge::Judgement;
use super::lookup::{LiveRow, RawKey, StagedRow};
use super::travel::{Travel, hold, leading, leads};
use super::verdict::Verdict;
use crate::ident::TableName;
use crate::pg::ReadSession;

/// What was found out about the leading rows of a table.
pub struct Fates {
    /// The columns whose change makes others move: positions in the fit.
    columns: BTreeSet<usize>,
    /// By their keys in the fit.
    rows: HashMap<RawKey, Judgement>,
}

/// Gathers the leading rows of a convoy.
pub struct Muster<'c, 'a> {
    convoy: &'c Convoy<'a>,
    /// Number of the table whose rows come now.
    wagon: usize,
    moving: Vec<Moving>,
    /// Of each leading row its table, key and judgement.
    leaders: Vec<(usize, RawKey, Judgement)>,
}

impl<'c, 'a> Muster<'c, 'a> {
    /// Nothing is gathered yet.
    pub fn new(convoy: &'c Convoy<'a>) -> Self {
        Self { convoy, wagon: 0, moving: Vec::new(), leaders: Vec::new() }
    }

    /// From now on come rows of this leading table, by its number.
    pub fn turn_to(&mut self, wagon: usize) {
        self.wagon = wagon;
    }

    /// Takes the rows of a chunk that lead.
    pub fn take(&mut self, fit: &Fit<'_>, rows: &[&StagedRow], live: &[LiveRow], judgements: &[Judgement]) {
        for mut row in leading(self.convoy, self.wagon, rows, live, judgements) {
            let Some(key) = rows[row.leader].key(&fit.key) else { continue };
            let judgement = judgements[row.leader].clone();
            row.leader = self.leaders.len();
            self.leaders.push((self.wagon, key, judgement));
            self.moving.push(row);
        }
    }

    /// Lets them move with all that hangs on them, or holds them back.
    pub async fn lead(
        self,
        travel: &mut Travel<'c, 'a>,
        session: &ReadSession,
        parents: &mut Parents,
    ) -> Result<BTreeMap<TableName, Fates>, DiffError> {
        let mut held = travel.lead(session, parents, self.moving, self.leaders.len()).await?;
        let columns = self.convoy.leading.iter().cloned();
        let mut fates: Vec<Fates> = columns.map(|columns| Fates { columns, rows: HashMap::new() }).collect();
        for (leader, (wagon, key, mut judgement)) in self.leaders.into_iter().enumerate() {
            held.remove(&leader).into_iter().for_each(|held| hold(&mut judgement, held));
            fates[wagon].rows.insert(key, judgement);
        }
        Ok(self.convoy.leaders().cloned().zip(fates).collect())
    }
}

impl Fates {
    /// What was found out counts. A row that could not be told of in time stays.
    pub fn settle(&self, fit: &Fit<'_>, rows: &[&StagedRow], judgements: &mut [Judgement]) {
        for (row, judgement) in rows.iter().zip(judgements) {
            match row.key(&fit.key).and_then(|key| self.rows.get(&key)) {
                Some(fate) => judgement.clone_from(fate),
                None if leads(judgement, &self.columns) => {
                    let reason =
                        "kept: whether all that hangs on it can move was not clear in time".to_owned();
                    hold(judgement, (Verdict::Changed, reason));
                }
                None => {}
            }
        }
    }
}
