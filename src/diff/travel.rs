//! One pass of a convoy: which rows move with the rows of a chunk, whether live would take all of them, and the files in
//! which the plan finds them. A leading row whose followers cannot move stays where it is, and they with it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DiffError;
use super::blocked::Parents;
use super::convoy::{Convoy, Edge};
use super::followers::{CHUNK_ROWS, Moving, Truth, add, gather};
use super::judge::Judgement;
use super::lookup::{LiveRow, RawKey, StagedRow, key_of};
use super::probe::obstacles;
use super::rows::{DiffRow, DiffWriter};
use super::verdict::{Evidence, RowAction, Verdict};
use super::verify_parents::in_live;
use crate::catalog::ForeignKey;
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::staging::{StagedFile, StagingFormat, make_directory};

/// The files of a convoy, in the diff's manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConvoyFiles {
    /// The table that leads.
    pub table: TableName,
    /// Its columns whose change makes others move.
    pub columns: Vec<Ident>,
    /// The directory of the files, inside that of the diff.
    pub directory: String,
    /// The tables, the leading one first, then parents before children.
    pub tables: Vec<ConvoyTable>,
}

/// One table of a convoy. Its file is a diff file with the number of the convoy's group before the key, rows ordered by
/// group; rows of one group must change in one statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConvoyTable {
    /// The table.
    pub table: TableName,
    /// Columns that name a row.
    pub key: Vec<Ident>,
    /// The file.
    pub file: StagedFile,
    /// Rows that are updated.
    pub moved: u64,
    /// Rows that PostgreSQL moves by ON UPDATE CASCADE.
    pub cascaded: u64,
    /// The owners that its rows carry beside a reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<OwnerBeside>,
}

/// An owner that rows carry in a column of their own, beside a reference to the row that has it too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OwnerBeside {
    /// The reference, as live has it.
    pub foreign_key: ForeignKey,
    /// The column of the child.
    pub owner: Ident,
    /// The column of the parent.
    pub owner_above: Ident,
}

impl ConvoyFiles {
    /// Is a row of the leading table's diff planned with the convoy, not by itself?
    pub fn leads(&self, row: &DiffRow) -> bool {
        row.action == RowAction::Update
            && matches!(row.verdict, Verdict::Damaged | Verdict::Misrouted)
            && row.columns.iter().any(|column| self.columns.contains(column))
    }
}

/// Leading rows that stay: by place in the chunk, with the verdict and one line.
type Held = BTreeMap<usize, (Verdict, String)>;

/// The pass.
pub struct Travel<'c, 'a> {
    convoy: &'c Convoy<'a>,
    directory: String,
    path: PathBuf,
    writers: Vec<DiffWriter>,
    /// Of each wagon, whether rows of its table are staged as well.
    staged: Vec<bool>,
    counts: Vec<(u64, u64)>,
    groups: i64,
    /// Rows that moved in an earlier chunk, where more than one may take them along.
    moved: HashMap<(usize, RawKey), Truth>,
}

impl<'c, 'a> Travel<'c, 'a> {
    /// Begins the files of a convoy in `<diff>/convoys/<number>`.
    pub fn start(
        convoy: &'c Convoy<'a>,
        diff: &Path,
        number: usize,
        format: StagingFormat,
        is_staged: impl Fn(&TableName) -> bool,
    ) -> Result<Self, DiffError> {
        let directory = format!("convoys/{number:04}");
        let path = diff.join(&directory);
        make_directory(&diff.join("convoys"))?;
        make_directory(&path)?;
        let mut writers = Vec::new();
        for wagon in &convoy.wagons {
            writers.push(DiffWriter::create_grouped(&path, &wagon.fit, format)?);
        }
        let counts = vec![(0, 0); writers.len()];
        let staged = convoy.wagons.iter().map(|wagon| is_staged(&wagon.fit.live.name)).collect();
        Ok(Self { convoy, directory, path, writers, staged, counts, groups: 0, moved: HashMap::new() })
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
        let mut moving = self.leaders(rows, live, judgements);
        gather(session, self.convoy, &mut moving).await?;
        let moving = self.forget_known(moving)?;
        let mut held = self.refused_by_constraints(session, &moving).await?;
        self.arrive(parents, &moving);
        self.refused_by_parents(session, parents, &moving, &mut held).await?;
        if self.convoy.together && !held.is_empty() {
            self.hold_entangled(&moving, &mut held)?;
        }
        for (leader, (verdict, reason)) in &held {
            let judgement = &mut judgements[*leader];
            judgement.verdict = *verdict;
            judgement.action = RowAction::None;
            judgement.reason.clone_from(reason);
        }
        self.note_keys(parents, &moving, &held);
        self.write(&moving, &held, judgements).await
    }

    /// Tells the parents' book which rows will be where the backup has them, by their own keys: they are not lost. Who is held
    /// stays where it is, and so does what hangs on it.
    fn note_keys(&self, parents: &mut Parents, moving: &[Moving], held: &Held) {
        let follows = |row: &&Moving| row.wagon > 0 && self.staged[row.wagon];
        for row in moving.iter().filter(follows).filter(|row| !held.contains_key(&row.leader)) {
            let fit = &self.convoy.wagons[row.wagon].fit;
            let own = fit.live.key_columns().and_then(|key| Some((fit.positions(&key)?, key)));
            let own = own.and_then(|(positions, columns)| Some((key_of(&row.after(), &positions)?, columns)));
            if let Some((key, columns)) = own {
                let moved = row.truth.keys().map(|&at| fit.columns[at].live.name.clone());
                parents.bring(&fit.live.name, (columns, key), moved);
            }
        }
    }

    fn leaders(&self, rows: &[&StagedRow], live: &[LiveRow], judgements: &[Judgement]) -> Vec<Moving> {
        let mut found = Vec::new();
        for (leader, judgement) in judgements.iter().enumerate() {
            let leads = judgement.action == RowAction::Update
                && matches!(judgement.verdict, Verdict::Damaged | Verdict::Misrouted)
                && judgement.columns.iter().any(|column| self.convoy.columns.contains(column));
            let Some(live) = live[leader].as_ref().filter(|_| leads) else { continue };
            let mut truth: Truth =
                judgement.columns.iter().map(|&at| (at, rows[leader].fields[at].clone())).collect();
            truth.extend(judgement.truth.iter().cloned());
            found.push(Moving {
                wagon: 0,
                leader,
                live: live.clone(),
                truth,
                bound: BTreeSet::new(),
                cascades: false,
                why: judgement.reason.clone(),
            });
        }
        found
    }

    /// Leaves out rows of which an earlier chunk knows: they are written already.
    fn forget_known(&mut self, moving: Vec<Moving>) -> Result<Vec<Moving>, DiffError> {
        let together = self.convoy.together;
        let mut fresh = Vec::new();
        for row in moving {
            if !together && self.convoy.wagons[row.wagon].edges.len() < 2 {
                fresh.push(row);
                continue;
            }
            let fit = &self.convoy.wagons[row.wagon].fit;
            let key = (row.wagon, key_of(&row.live, &fit.key).unwrap_or_default());
            match self.moved.entry(key) {
                Entry::Occupied(mut known) if together => {
                    add(known.get_mut(), row.truth, &fit.live.name)?;
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(free) => {
                    free.insert(row.truth.clone());
                    fresh.push(row);
                }
            }
        }
        Ok(fresh)
    }

    /// Leading rows with a follower that another row of live, or a CHECK, keeps out.
    async fn refused_by_constraints(
        &self,
        session: &ReadSession,
        moving: &[Moving],
    ) -> Result<Held, DiffError> {
        let mut held = BTreeMap::new();
        for (number, wagon) in self.convoy.wagons.iter().enumerate().skip(1) {
            let rows: Vec<&Moving> = moving.iter().filter(|row| row.wagon == number).collect();
            for chunk in rows.chunks(CHUNK_ROWS) {
                let after: Vec<StagedRow> =
                    chunk.iter().map(|row| StagedRow::of(row.after(), String::new())).collect();
                let asked: Vec<&StagedRow> = after.iter().collect();
                let found = obstacles(session, &wagon.fit, &asked).await?;
                for (row, obstacle) in chunk.iter().zip(found) {
                    let Some(obstacle) = obstacle.first() else { continue };
                    let reason = format!("kept: in {} {}", wagon.fit.live.name, obstacle.reason());
                    held.entry(row.leader).or_insert((Verdict::Changed, reason));
                }
            }
        }
        Ok(held)
    }

    /// Tells the parents' book where the rows will be.
    fn arrive(&self, parents: &mut Parents, moving: &[Moving]) {
        for row in moving {
            let wagon = &self.convoy.wagons[row.wagon];
            let after = row.after();
            for (columns, positions) in &wagon.referred {
                if let Some(key) = key_of(&after, positions) {
                    parents.arrive(&wagon.fit.live.name, columns, key);
                }
            }
        }
    }

    /// Leading rows of which a row would refer to nothing afterwards: an owner that does not exist, for one.
    async fn refused_by_parents(
        &self,
        session: &ReadSession,
        parents: &Parents,
        moving: &[Moving],
        held: &mut Held,
    ) -> Result<(), DiffError> {
        for (number, wagon) in self.convoy.wagons.iter().enumerate() {
            for (fk, positions) in &wagon.upwards {
                let mut open: BTreeMap<RawKey, Vec<usize>> = BTreeMap::new();
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
                        held.entry(row.leader).or_insert((Verdict::Orphan, reason));
                    } else if !parents.is_recovered(fk, &key) && !parents.has_arrived(fk, &key) {
                        open.entry(key).or_default().push(row.leader);
                    }
                }
                let keys: Vec<&[u8]> = open.keys().map(|key| &**key).collect();
                for (chunk, rows) in keys.chunks(CHUNK_ROWS).zip(chunks_of(&open)) {
                    let there = in_live(session, (&wagon.fit, parents), fk, positions, chunk).await?;
                    for (_, leaders) in rows.iter().enumerate().filter(|(at, _)| !there.contains(at)) {
                        for leader in *leaders {
                            let reason = format!(
                                "kept: {} of {} would refer to a row of {} that is not in live",
                                fk.name, wagon.fit.live.name, fk.parent
                            );
                            held.entry(*leader).or_insert((Verdict::Orphan, reason));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Where rows hang on several leading rows, one that stays keeps the others.
    fn hold_entangled(&self, moving: &[Moving], held: &mut Held) -> Result<(), DiffError> {
        let first = held.values().next().map(|(_, reason)| reason.clone()).unwrap_or_default();
        if self.groups > 0 {
            let table = self.convoy.wagons[0].fit.live.name.clone();
            return Err(DiffError::Entangled { table, problem: first });
        }
        let leaders: BTreeSet<usize> = moving.iter().map(|row| row.leader).collect();
        for leader in leaders {
            held.entry(leader).or_insert((
                Verdict::Changed,
                format!("kept: it can only move with others, of which one is {first}"),
            ));
        }
        Ok(())
    }

    async fn write(
        &mut self,
        moving: &[Moving],
        held: &Held,
        judgements: &[Judgement],
    ) -> Result<(), DiffError> {
        let mut groups: BTreeMap<usize, i64> = BTreeMap::new();
        for row in moving.iter().filter(|row| row.wagon == 0 && !held.contains_key(&row.leader)) {
            if !self.convoy.together || self.groups == 0 {
                self.groups += 1;
            }
            groups.insert(row.leader, self.groups);
        }
        for (number, wagon) in self.convoy.wagons.iter().enumerate() {
            let mut rows: Vec<(i64, &Moving)> = moving
                .iter()
                .filter(|row| row.wagon == number)
                .filter_map(|row| Some((*groups.get(&row.leader)?, row)))
                .collect();
            rows.sort_by_key(|(group, _)| *group);
            for (group, row) in rows {
                let judgement = travelling(row, &wagon.fit.key, &judgements[row.leader]);
                let staged = StagedRow::of(row.live.clone(), String::new());
                self.writers[number]
                    .write_grouped(group, &wagon.fit, &staged, Some(&row.live), &judgement)
                    .await?;
                let (moved, cascaded) = &mut self.counts[number];
                *(if row.cascades { cascaded } else { moved }) += 1;
            }
        }
        Ok(())
    }

    /// Puts the files in place.
    pub async fn finish(self) -> Result<ConvoyFiles, DiffError> {
        let mut tables = Vec::new();
        for ((wagon, writer), (moved, cascaded)) in
            self.convoy.wagons.iter().zip(self.writers).zip(self.counts)
        {
            tables.push(ConvoyTable {
                table: wagon.fit.live.name.clone(),
                key: wagon.fit.key.iter().map(|&at| wagon.fit.columns[at].live.name.clone()).collect(),
                file: writer.finish().await?,
                moved,
                cascaded,
                beside: wagon.edges.iter().filter_map(owner_beside).collect(),
            });
        }
        debug_assert!(self.path.ends_with(&self.directory));
        let leader = &self.convoy.wagons[0].fit;
        Ok(ConvoyFiles {
            table: leader.live.name.clone(),
            columns: self.convoy.columns.iter().map(|&at| leader.columns[at].live.name.clone()).collect(),
            directory: self.directory,
            tables,
        })
    }
}

fn owner_beside(edge: &Edge<'_>) -> Option<OwnerBeside> {
    let carry = edge.beside.as_ref()?.carry;
    let (owner, owner_above) = (carry.owner.clone(), carry.owner_above.clone());
    Some(OwnerBeside { foreign_key: edge.fk.clone(), owner, owner_above })
}

/// Leaders by key, in the chunks in which the keys are asked about.
fn chunks_of(open: &BTreeMap<RawKey, Vec<usize>>) -> Vec<Vec<&Vec<usize>>> {
    let all: Vec<&Vec<usize>> = open.values().collect();
    all.chunks(CHUNK_ROWS).map(<[_]>::to_vec).collect()
}

/// What the convoy's file says of a row. The columns of the reference go along unchanged, so that a row that was hung
/// elsewhere in the meantime is left alone.
fn travelling(row: &Moving, key: &[usize], leader: &Judgement) -> Judgement {
    let columns: BTreeSet<usize> = row.truth.keys().chain(&row.bound).copied().collect();
    let columns: Vec<usize> = columns.into_iter().filter(|at| !key.contains(at)).collect();
    Judgement {
        verdict: if row.wagon == 0 { leader.verdict } else { Verdict::Misrouted },
        action: if row.cascades { RowAction::None } else { RowAction::Update },
        evidence: if row.wagon == 0 { leader.evidence } else { Evidence::Cascade },
        reason: row.why.clone(),
        columns,
        truth: row.truth.iter().map(|(at, value)| (*at, value.clone())).collect(),
        blocks: false,
        afterwards: false,
        comes_back: false,
        stand_in: None,
    }
}
