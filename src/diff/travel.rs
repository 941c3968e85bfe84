//! Which rows move with leading rows, whether live would take all of them, and who stays: a leading row whose followers cannot
//! move stays where it is, and they with it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::DiffError;
use super::blocked::Parents;
use super::convoy::Convoy;
use super::convoy_files::{ConvoyFiles, ConvoyWriter};
use super::followers::{CHUNK_ROWS, Held, Moving, Ties, gather};
use super::judge::Judgement;
use super::lookup::{LiveRow, RawKey, StagedRow, key_of};
use super::probe::obstacles;
use super::verdict::{RowAction, Verdict};
use super::verify_parents::in_live;
use crate::catalog::ForeignKey;
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::staging::StagingFormat;

/// Leads rows of a convoy to where they belong.
pub struct Travel<'c, 'a> {
    convoy: &'c Convoy<'a>,
    files: ConvoyWriter<'c, 'a>,
    /// Of each wagon, whether rows of its table are staged as well.
    staged: Vec<bool>,
    /// Rows that moved before, where more than one leading row may take them along.
    moved: HashSet<(usize, RawKey)>,
}

/// Keys that rows will have when they have moved, by table and columns, with the leading row.
type Arrivals<'a> = HashMap<(&'a TableName, &'a [Ident]), HashMap<RawKey, usize>>;

impl<'c, 'a> Travel<'c, 'a> {
    /// Begins the files of a convoy.
    pub fn start(
        convoy: &'c Convoy<'a>,
        (diff, number): (&Path, usize),
        format: StagingFormat,
        is_staged: impl Fn(&TableName) -> bool,
    ) -> Result<Self, DiffError> {
        let files = ConvoyWriter::create(convoy, diff, number, format)?;
        let staged = convoy.wagons.iter().map(|wagon| is_staged(&wagon.fit.live.name)).collect();
        Ok(Self { convoy, files, staged, moved: HashSet::new() })
    }

    /// Lets the damaged rows of a chunk move with all that hangs on them, or holds them back.
    pub async fn follow(
        &mut self,
        session: &ReadSession,
        parents: &mut Parents,
        rows: &[&StagedRow],
        live: &[LiveRow],
        judgements: &mut [Judgement],
    ) -> Result<(), DiffError> {
        let moving = leading(self.convoy, 0, rows, live, judgements);
        for (leader, held) in self.lead(session, parents, moving, rows.len()).await? {
            hold(&mut judgements[leader], held);
        }
        Ok(())
    }

    /// Lets so many leading rows move with all that hangs on them; who stays is returned.
    pub async fn lead(
        &mut self,
        session: &ReadSession,
        parents: &mut Parents,
        mut moving: Vec<Moving>,
        leaders: usize,
    ) -> Result<Held, DiffError> {
        let mut ties = Ties::new(leaders);
        gather(session, self.convoy, &mut moving, &mut ties).await?;
        let moving = self.forget_known(moving);
        self.refused_by_constraints(session, &moving, &mut ties).await?;
        let arrivals = self.arrivals(&moving);
        self.refused_by_parents(session, parents, &moving, &arrivals, &mut ties).await?;
        let (held, groups) = ties.settle();
        let moving: Vec<Moving> = moving.into_iter().filter(|row| !held.contains_key(&row.leader)).collect();
        self.arrive(parents, &moving);
        self.note_keys(parents, &moving);
        self.write(&moving, &groups).await?;
        Ok(held)
    }

    /// Tells the parents' book which rows will be where the backup has them, by their own keys: they are not lost.
    fn note_keys(&self, parents: &mut Parents, moving: &[Moving]) {
        for row in moving.iter().filter(|row| !row.leads && self.staged[row.wagon]) {
            let fit = &self.convoy.wagons[row.wagon].fit;
            let own = fit.live.key_columns().and_then(|key| Some((fit.positions(&key)?, key)));
            let own = own.and_then(|(positions, columns)| Some((key_of(&row.after(), &positions)?, columns)));
            if let Some((key, columns)) = own {
                let moved = row.truth.keys().map(|&at| fit.columns[at].live.name.clone());
                parents.bring(&fit.live.name, (columns, key), moved);
            }
        }
    }

    /// Leaves out rows of which an earlier chunk knows: they are written already. Where all leading rows come at once, there is
    /// no earlier one.
    fn forget_known(&mut self, moving: Vec<Moving>) -> Vec<Moving> {
        if self.convoy.together {
            return moving;
        }
        let wagons = &self.convoy.wagons;
        let is_new = |row: &Moving| {
            let wagon = &wagons[row.wagon];
            wagon.edges.len() < 2
                || self.moved.insert((row.wagon, key_of(&row.live, &wagon.fit.key).unwrap_or_default()))
        };
        moving.into_iter().filter(is_new).collect()
    }

    /// Leading rows with a follower that another row of live, or a CHECK, keeps out.
    async fn refused_by_constraints(
        &self,
        session: &ReadSession,
        moving: &[Moving],
        ties: &mut Ties,
    ) -> Result<(), DiffError> {
        for (number, wagon) in self.convoy.wagons.iter().enumerate() {
            let rows: Vec<&Moving> = moving.iter().filter(|row| row.wagon == number && !row.leads).collect();
            for chunk in rows.chunks(CHUNK_ROWS) {
                let after: Vec<StagedRow> =
                    chunk.iter().map(|row| StagedRow::of(row.after(), String::new())).collect();
                let asked: Vec<&StagedRow> = after.iter().collect();
                let found = obstacles(session, &wagon.fit, &asked).await?;
                for (row, obstacle) in chunk.iter().zip(found) {
                    let Some(obstacle) = obstacle.first() else { continue };
                    let reason = format!("kept: in {} {}", wagon.fit.live.name, obstacle.reason());
                    ties.hold(row.leader, Verdict::Changed, reason);
                }
            }
        }
        Ok(())
    }

    /// Tells the parents' book where the rows will be.
    fn arrive(&self, parents: &mut Parents, moving: &[Moving]) {
        for ((table, columns), keys) in self.arrivals(moving) {
            keys.into_keys().for_each(|key| parents.arrive(table, columns, key));
        }
    }

    /// Where the rows will be once all of them have moved.
    fn arrivals(&self, moving: &[Moving]) -> Arrivals<'c> {
        let convoy: &'c Convoy<'a> = self.convoy;
        let mut found = Arrivals::new();
        for row in moving {
            let wagon = &convoy.wagons[row.wagon];
            let after = row.after();
            for (columns, positions) in &wagon.referred {
                if let Some(key) = key_of(&after, positions) {
                    found.entry((&wagon.fit.live.name, columns)).or_default().insert(key, row.leader);
                }
            }
        }
        found
    }

    /// Leading rows of which a row would refer to nothing afterwards: an owner that does not exist, for one. Who refers to a row
    /// that moves as well moves only with it.
    async fn refused_by_parents(
        &self,
        session: &ReadSession,
        parents: &Parents,
        moving: &[Moving],
        arrivals: &Arrivals<'c>,
        ties: &mut Ties,
    ) -> Result<(), DiffError> {
        for (number, wagon) in self.convoy.wagons.iter().enumerate() {
            for (fk, positions) in &wagon.upwards {
                let columns: Vec<Ident> = fk.parent_columns().cloned().collect();
                let come = arrivals.get(&(&fk.parent, columns.as_slice()));
                let mut open: BTreeMap<RawKey, Vec<&Moving>> = BTreeMap::new();
                for row in moving.iter().filter(|row| row.wagon == number) {
                    if !positions.iter().any(|at| row.truth.contains_key(at)) {
                        continue;
                    }
                    let Some(key) = key_of(&row.after(), positions) else { continue };
                    if let Some(block) = parents.blocked(fk, &key).filter(|block| block.is_in_live()) {
                        let reason = format!(
                            "kept: {} of {} would hang on {} that is {}: {}",
                            fk.name, wagon.fit.live.name, fk.parent, block.verdict, block.reason
                        );
                        ties.hold(row.leader, Verdict::Orphan, reason);
                    } else if let Some(with) = come.and_then(|come| come.get(&key)) {
                        ties.tie(row.leader, *with);
                    } else if !parents.is_surely_recovered(fk, &key) && !parents.has_arrived(fk, &key) {
                        open.entry(key).or_default().push(row);
                    }
                }
                let missing = self.missing(session, parents, (number, fk, positions), &open).await?;
                for row in
                    self.unless_missing_before(session, parents, (number, fk, positions), missing).await?
                {
                    let reason = format!(
                        "kept: {} of {} would refer to a row of {} that is not in live",
                        fk.name, wagon.fit.live.name, fk.parent
                    );
                    ties.hold(row.leader, Verdict::Orphan, reason);
                }
            }
        }
        Ok(())
    }

    /// The rows of which live has no parent under the key.
    async fn missing<'r>(
        &self,
        session: &ReadSession,
        parents: &Parents,
        (number, fk, positions): (usize, &ForeignKey, &[usize]),
        open: &BTreeMap<RawKey, Vec<&'r Moving>>,
    ) -> Result<Vec<&'r Moving>, DiffError> {
        let fit = &self.convoy.wagons[number].fit;
        let mut missing = Vec::new();
        let keys: Vec<&[u8]> = open.keys().map(|key| &**key).collect();
        let rows: Vec<&Vec<&'r Moving>> = open.values().collect();
        for (keys, rows) in keys.chunks(CHUNK_ROWS).zip(rows.chunks(CHUNK_ROWS)) {
            let there = in_live(session, (fit, parents), fk, positions, keys).await?;
            let gone = rows.iter().enumerate().filter(|(at, _)| !there.contains(at));
            missing.extend(gone.flat_map(|(_, rows)| rows.iter().copied()));
        }
        Ok(missing)
    }

    /// A reference that nobody enforces may have led nowhere before: then the move breaks nothing.
    async fn unless_missing_before<'r>(
        &self,
        session: &ReadSession,
        parents: &Parents,
        (number, fk, positions): (usize, &ForeignKey, &[usize]),
        rows: Vec<&'r Moving>,
    ) -> Result<Vec<&'r Moving>, DiffError> {
        if fk.is_enforced() || rows.is_empty() {
            return Ok(rows);
        }
        let mut before: BTreeMap<RawKey, Vec<&'r Moving>> = BTreeMap::new();
        for row in &rows {
            if let Some(key) = key_of(&row.live, positions) {
                before.entry(key).or_default().push(row);
            }
        }
        let dangled = self.missing(session, parents, (number, fk, positions), &before).await?;
        let dangled: HashSet<*const Moving> = dangled.into_iter().map(std::ptr::from_ref).collect();
        Ok(rows.into_iter().filter(|row| !dangled.contains(&std::ptr::from_ref(*row))).collect())
    }

    async fn write(&mut self, moving: &[Moving], groups: &[usize]) -> Result<(), DiffError> {
        let mut numbers: BTreeMap<usize, i64> = BTreeMap::new();
        for row in moving.iter().filter(|row| row.leads) {
            if let Entry::Vacant(free) = numbers.entry(groups[row.leader]) {
                free.insert(self.files.next_group());
            }
        }
        let mut rows: Vec<(i64, &Moving)> =
            moving.iter().filter_map(|row| Some((*numbers.get(&groups[row.leader])?, row))).collect();
        rows.sort_by_key(|(group, row)| (*group, row.wagon));
        for (group, row) in rows {
            self.files.write(group, row).await?;
        }
        Ok(())
    }

    /// Puts the files in place.
    pub async fn finish(self) -> Result<ConvoyFiles, DiffError> {
        self.files.finish().await
    }
}

/// The rows of a chunk whose repair makes others move, each led by its place in the chunk.
pub(super) fn leading(
    convoy: &Convoy<'_>,
    wagon: usize,
    rows: &[&StagedRow],
    live: &[LiveRow],
    judgements: &[Judgement],
) -> Vec<Moving> {
    let mut found = Vec::new();
    for (leader, judgement) in judgements.iter().enumerate() {
        let leads = leads(judgement, &convoy.leading[wagon]);
        let Some(live) = live[leader].as_ref().filter(|_| leads) else { continue };
        let staged = judgement.columns.iter().map(|&at| (at, rows[leader].fields[at].clone()));
        found.push(Moving {
            wagon,
            leader,
            live: live.clone(),
            truth: staged.chain(judgement.truth.iter().cloned()).collect(),
            bound: BTreeSet::new(),
            cascades: false,
            leads: true,
            verdict: judgement.verdict,
            evidence: judgement.evidence,
            why: judgement.reason.clone(),
        });
    }
    found
}

/// Does the row's repair make others move, by one of these columns?
pub(super) fn leads(judgement: &Judgement, columns: &BTreeSet<usize>) -> bool {
    judgement.action == RowAction::Update
        && matches!(judgement.verdict, Verdict::Damaged | Verdict::Misrouted)
        && judgement.columns.iter().any(|column| columns.contains(column))
}

/// The leading row stays where it is.
pub(super) fn hold(judgement: &mut Judgement, (verdict, reason): (Verdict, String)) {
    judgement.verdict = verdict;
    judgement.action = RowAction::None;
    judgement.reason = reason;
}
