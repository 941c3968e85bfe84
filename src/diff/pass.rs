//! One pass over the staged rows of a table: look up, judge, ask live's constraints, tell the parents' book, write. A
//! table whose rows refer to each other is passed over until the book does not change any more.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::ahead::{Ahead, CHUNK_ROWS};
use super::blocked::Parents;
use super::conditions::Refers;
use super::judge::{Court, Judgement};
use super::lookup::{LiveRow, RawKey, StagedRow, StagedRows, by_key};
use super::muster::{Fates, Muster};
use super::refit::Refitted;
use super::rows::DiffWriter;
use super::tally::{Referred, Stage, Tally, record};
use super::transfer::{Moves, Outcome};
use super::travel::Travel;
use super::verdict::Verdict;
use super::{DiffError, alike, conditions, constraints, damage, refit, verify_parents};
use crate::cancel::CancelToken;
use crate::pg::ReadSession;
use crate::progress::{SharedProgress, Step};
use crate::staging::StagedFile;

/// What a pass needs beside the court.
pub struct Bench<'a> {
    /// Live.
    pub session: &'a ReadSession,
    /// Where staging is.
    pub staging: &'a Path,
    /// The staged file of the table.
    pub file: &'a StagedFile,
    /// Progress.
    pub progress: &'a SharedProgress,
    /// Stop?
    pub cancel: &'a CancelToken,
    /// Other sessions in the snapshot of `session`, which only look rows up.
    pub lookups: &'a [Arc<ReadSession>],
    /// The keys of all staged rows, once somebody needed them.
    pub keys: OnceLock<HashSet<RawKey>>,
    /// What becomes of rows that ended up in another table.
    pub moves: &'a Moves,
    /// What is settled about rows that lead others and may only move together.
    pub fates: Option<&'a Fates>,
    /// May rows of the table move with such, of which nothing is settled yet?
    pub waits: bool,
}

/// Where a pass writes.
pub struct Output<'c, 'a> {
    /// What became of the rows.
    pub rows: DiffWriter,
    /// The rows that move with them, where there can be any.
    pub travel: Option<Travel<'c, 'a>>,
}

/// What a pass is for.
pub enum Purpose<'p, 'c, 'a> {
    /// It only fills the parents' book.
    Learn,
    /// It also gathers the rows that lead others.
    Muster(&'p mut Muster<'c, 'a>),
    /// It writes what became of the rows.
    Write(&'p mut Output<'c, 'a>),
}

impl<'c, 'a> Purpose<'_, 'c, 'a> {
    /// The same for another pass.
    pub fn again(&mut self) -> Purpose<'_, 'c, 'a> {
        match self {
            Self::Learn => Purpose::Learn,
            Self::Muster(muster) => Purpose::Muster(muster),
            Self::Write(output) => Purpose::Write(output),
        }
    }
}

/// How much is known when a pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of rows of the same table, or of tables that refer to each other: whether they come back is yet to be seen.
    First,
    /// Which rows could come back.
    Known,
    /// Also which lost parents are needed: those that nothing needs are left out.
    Settled,
}

impl Phase {
    /// Is it too early for a block with this verdict? Whether a row is changed, or only lost its link to one that comes
    /// back, and whether one has no parent, depends on other rows; and a block is never taken back.
    pub(super) fn waits_with(self, verdict: Verdict) -> bool {
        self == Self::First && matches!(verdict, Verdict::Changed | Verdict::Orphan)
    }
}

/// Runs one pass over the staged rows.
pub async fn run(
    court: &Court<'_>,
    bench: &Bench<'_>,
    parents: &mut Parents,
    mut purpose: Purpose<'_, '_, '_>,
    phase: Phase,
) -> Result<Tally, DiffError> {
    let mut tally = Tally::default();
    let mut ahead = Ahead::start(court, bench)?;
    loop {
        if bench.cancel.is_cancelled() {
            return Err(DiffError::Cancelled);
        }
        let Some(mut chunk) = ahead.next(parents).await? else { return Ok(tally) };
        alike::note(bench.session, court, &mut chunk.rows, &chunk.live).await?;
        let rows: Vec<&StagedRow> = chunk.rows.iter().collect();
        let mut stuck = chunk.stuck;
        stuck.extend(left_behind(court, bench, &rows).await?);
        let found = Found {
            rows: &rows,
            live: &chunk.live,
            holds: chunk.holds.as_deref(),
            refers: &chunk.refers,
            stuck: &stuck,
            refitted: &chunk.refitted,
        };
        judge_chunk(court, bench, parents, &found, purpose.again(), phase, &mut tally).await?;
        bench.progress.advance(Step::Diff, u64::try_from(rows.len()).unwrap_or(0));
    }
}

/// The keys of all staged rows, raw fields joined by tabs.
pub fn staged_keys(court: &Court<'_>, bench: &Bench<'_>) -> Result<HashSet<RawKey>, DiffError> {
    let mut staged = StagedRows::open(bench.staging, bench.file, court.fit)?;
    let mut found = HashSet::new();
    while let Some(row) = staged.next()? {
        found.extend(row.key(&court.fit.key));
    }
    Ok(found)
}

/// Runs a pass over rows of live that no staged row stands for, named by their keys. Each is its own backup: only its
/// owner can be wrong.
pub async fn run_found(
    court: &Court<'_>,
    bench: &Bench<'_>,
    parents: &mut Parents,
    (entry, keys): (u16, &[RawKey]),
    mut purpose: Purpose<'_, '_, '_>,
) -> Result<Tally, DiffError> {
    let mut tally = Tally::default();
    for chunk in keys.chunks(CHUNK_ROWS) {
        if bench.cancel.is_cancelled() {
            return Err(DiffError::Cancelled);
        }
        let named: Vec<StagedRow> = chunk.iter().map(|key| StagedRow::named(key, court.fit)).collect();
        let found = by_key(bench.session, court.fit, &named.iter().collect::<Vec<_>>()).await?;
        let live: Vec<LiveRow> = found.into_iter().flatten().map(Some).collect();
        let rows: Vec<StagedRow> = live
            .iter()
            .flatten()
            .map(|fields| StagedRow::of(fields.clone(), format!("predicate {entry}")))
            .collect();
        let rows: Vec<&StagedRow> = rows.iter().collect();
        let refers = conditions::hold(bench.session, court, &rows).await?;
        let refitted = Refitted::default();
        let stuck = BTreeMap::new();
        let found = Found {
            rows: &rows,
            live: &live,
            holds: None,
            refers: &refers,
            stuck: &stuck,
            refitted: &refitted,
        };
        judge_chunk(court, bench, parents, &found, purpose.again(), Phase::Settled, &mut tally).await?;
        bench.progress.advance(Step::Diff, u64::try_from(chunk.len()).unwrap_or(0));
    }
    Ok(tally)
}

/// Staged rows and what is known of them.
struct Found<'f> {
    rows: &'f [&'f StagedRow],
    /// Live's rows of the same keys.
    live: &'f [LiveRow],
    /// Whether the condition of the only charge holds, where it was asked with them.
    holds: Option<&'f [bool]>,
    /// Which of the court's references apply to each.
    refers: &'f [Refers],
    /// Rows that cannot be hung on what stands in for their parents, and why.
    stuck: &'f BTreeMap<usize, String>,
    /// Values that live takes otherwise than they are staged, or not at all.
    refitted: &'f Refitted,
}

/// Rows whose own key names a parent that was made again, and that live still has under the old key: a reference that
/// nobody enforces.
async fn left_behind(
    court: &Court<'_>,
    bench: &Bench<'_>,
    rows: &[&StagedRow],
) -> Result<Vec<(usize, String)>, DiffError> {
    let moved: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].is_repointed(&court.fit.key)).collect();
    let mut old = Vec::new();
    for &at in &moved {
        if let Some(key) = rows[at].key_before(&court.fit.key) {
            old.push((at, StagedRow::named(&key, court.fit)));
        }
    }
    let live = by_key(bench.session, court.fit, &old.iter().map(|(_, row)| row).collect::<Vec<_>>()).await?;
    let there = old.iter().zip(live).filter(|(_, live)| live.is_some());
    let problem = "live has it under its old key, of which the reference is a part";
    Ok(there.map(|((at, _), _)| (*at, problem.to_owned())).collect())
}

async fn judge_chunk(
    court: &Court<'_>,
    bench: &Bench<'_>,
    parents: &mut Parents,
    found: &Found<'_>,
    purpose: Purpose<'_, '_, '_>,
    phase: Phase,
    tally: &mut Tally,
) -> Result<(), DiffError> {
    let Found { rows, live, holds, refers, stuck, refitted } = *found;
    let findings = damage::find(bench.session, court, rows, live, holds).await?;
    let mut judgements: Vec<Judgement> = rows
        .iter()
        .zip(live)
        .zip(refers.iter().zip(findings))
        .map(|((row, live), (refers, finding))| court.judge(row, live.as_deref(), refers, parents, finding))
        .collect();
    let away: Vec<Option<&Outcome>> = rows
        .iter()
        .zip(live)
        .map(|(row, live)| match live {
            None => bench.moves.of(&court.fit.live.name, &row.key(&court.fit.key)?),
            Some(_) => None,
        })
        .collect();
    for ((row, judgement), outcome) in rows.iter().zip(&mut judgements).zip(&away) {
        outcome.iter().for_each(|outcome| outcome.judge(row, judgement));
    }
    for (&at, problem) in stuck {
        if judgements[at].verdict != Verdict::Excluded {
            judgements[at].stop(Verdict::Recreated, problem.clone());
        }
    }
    refitted.judge(&mut judgements);
    refit::keep_identities(court.fit, &mut judgements);
    verify_parents::check(bench.session, court, parents, (rows, live), refers, (&mut judgements, phase))
        .await?;
    constraints::ask(court, bench, rows, live, &mut judgements).await?;
    if let Some(fates) = bench.fates {
        fates.settle(court.fit, rows, &mut judgements);
    }
    let mut output = match purpose {
        Purpose::Learn => None,
        Purpose::Muster(muster) => {
            muster.take(court.fit, rows, live, &judgements);
            None
        }
        Purpose::Write(output) => Some(output),
    };
    if let Some(travel) = output.as_deref_mut().and_then(|output| output.travel.as_mut()) {
        travel.follow(bench.session, parents, rows, live, &mut judgements).await?;
    }
    let referred: Vec<Referred> = parents
        .columns_of(&court.fit.live.name)
        .into_iter()
        .filter_map(|columns| Some((court.fit.positions(&columns)?, columns)))
        .collect();
    let all = rows.iter().zip(live).zip(refers.iter().zip(away)).zip(&mut judgements);
    for (((row, live), (refers, away)), judgement) in all {
        let never_away = court.was_never_away(row, live.as_deref(), refers, parents);
        let placed = (*row, live.as_deref(), never_away);
        let stage = Stage { phase, written: output.is_some(), waits: bench.waits };
        record(court, parents, &referred, placed, judgement, stage, tally);
        if let Some(output) = output.as_deref_mut() {
            let seen = away.and_then(|away| away.seen(row));
            let shown = seen.as_deref().or(judgement.stand_in.as_deref()).or(live.as_deref());
            output.rows.write(court.fit, row, shown, judgement).await?;
        }
    }
    Ok(())
}
