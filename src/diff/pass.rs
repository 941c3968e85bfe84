//! One pass over the staged rows of a table: look up, judge, ask live's constraints, tell the parents' book, write. A
//! table whose rows refer to each other is passed over until the book does not change any more.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::ahead::{Ahead, CHUNK_ROWS};
use super::blocked::{Block, Parents};
use super::conditions::Refers;
use super::judge::{Court, Judgement};
use super::lookup::{LiveRow, RawKey, StagedRow, StagedRows, by_key, key_of, text};
use super::refit::Refitted;
use super::rows::DiffWriter;
use super::transfer::{Moves, Outcome};
use super::travel::Travel;
use super::verdict::{Evidence, RowAction, Verdict};
use super::{DiffError, conditions, constraints, damage, verify_parents};
use crate::cancel::CancelToken;
use crate::catalog::column_list;
use crate::ident::Ident;
use crate::pg::ReadSession;
use crate::progress::{SharedProgress, Step};
use crate::staging::StagedFile;

/// What a pass counts.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Rows that will be written, by evidence.
    pub written: BTreeMap<Evidence, u64>,
    /// Rows of a verdict that is a conflict, with which the policy knows what to do.
    pub by_policy: BTreeMap<Verdict, u64>,
    /// Rows by action.
    pub actions: BTreeMap<RowAction, u64>,
    /// Lost rows that hang on a parent, by name of the foreign key.
    pub missing: BTreeMap<String, u64>,
    /// The highest number of a recovered row, by column that a sequence feeds.
    pub highest: BTreeMap<Ident, i64>,
    /// Rows that are only looked at for damage and are not in live.
    pub gone: u64,
    /// Damaged rows that keep other values that differ.
    pub beside: u64,
    /// Lost parents that only others need.
    pub lost_parents: u64,
    /// Did the parents' book learn something about this table?
    pub learned: bool,
}

impl Tally {
    /// Adds what another pass over the same table counted.
    pub fn add(&mut self, other: &Self) {
        for (verdict, count) in &other.verdicts {
            *self.verdicts.entry(*verdict).or_default() += count;
        }
        for (verdict, count) in &other.by_policy {
            *self.by_policy.entry(*verdict).or_default() += count;
        }
        for (action, count) in &other.actions {
            *self.actions.entry(*action).or_default() += count;
        }
        for (evidence, count) in &other.written {
            *self.written.entry(*evidence).or_default() += count;
        }
    }
}

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
}

/// Where a pass writes.
pub struct Output<'c, 'a> {
    /// What became of the rows.
    pub rows: DiffWriter,
    /// The rows that move with them, where there can be any.
    pub travel: Option<Travel<'c, 'a>>,
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
    fn waits_with(self, verdict: Verdict) -> bool {
        self == Self::First && matches!(verdict, Verdict::Changed | Verdict::Orphan)
    }
}

/// Runs one pass over the staged rows; without an output it only fills the parents' book.
pub async fn run(
    court: &Court<'_>,
    bench: &Bench<'_>,
    parents: &mut Parents,
    output: Option<&mut Output<'_, '_>>,
    phase: Phase,
) -> Result<Tally, DiffError> {
    let mut tally = Tally::default();
    let mut ahead = Ahead::start(court, bench)?;
    let mut output = output;
    loop {
        if bench.cancel.is_cancelled() {
            return Err(DiffError::Cancelled);
        }
        let Some(chunk) = ahead.next(parents).await? else { return Ok(tally) };
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
        judge_chunk(court, bench, parents, &found, output.as_deref_mut(), phase, &mut tally).await?;
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
    output: &mut Output<'_, '_>,
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
        judge_chunk(court, bench, parents, &found, Some(output), Phase::Settled, &mut tally).await?;
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
    output: Option<&mut Output<'_, '_>>,
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
    verify_parents::check(bench.session, court, parents, (rows, live), refers, &mut judgements).await?;
    constraints::ask(court, bench, rows, live, &mut judgements).await?;
    let mut output = output;
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
        record(court, parents, &referred, placed, judgement, (phase, output.is_some()), tally);
        if let Some(output) = output.as_deref_mut() {
            let seen = away.and_then(|away| away.seen(row));
            let shown = seen.as_deref().or(judgement.stand_in.as_deref()).or(live.as_deref());
            output.rows.write(court.fit, row, shown, judgement).await?;
        }
    }
    Ok(())
}

/// Columns by which children refer to rows: positions in `Fit::columns`, and names.
type Referred = (Vec<usize>, Vec<Ident>);

/// A row, live's row of the same key, and whether it was in its place all the time.
type Placed<'r> = (&'r StagedRow, Option<&'r [RawKey]>, bool);

/// Tells the parents' book what children of this row must know, and counts. Needs are told only by judgements that stand,
/// `written` ones or those of the last phase: before, a row may still turn out not to come back.
fn record(
    court: &Court<'_>,
    parents: &mut Parents,
    referred: &[Referred],
    (row, live, never_away): Placed<'_>,
    judgement: &mut Judgement,
    (phase, written): (Phase, bool),
    tally: &mut Tally,
) {
    let table = &court.fit.live.name;
    let inserts = judgement.action == RowAction::Insert;
    let only_needed = inserts && judgement.evidence == Evidence::Needed;
    let mut wanted = inserts && !only_needed;
    for (positions, columns) in referred {
        let Some(before) = row.key_before(positions) else { continue };
        let key = match &judgement.stand_in {
            Some(live) => key_of(live, positions),
            None => row.key(positions),
        };
        if let Some(block) = block_of(court, (row, live), judgement, positions, key.is_some()) {
            if !phase.waits_with(block.verdict) {
                tally.learned |= parents.block(table, columns, before, block);
            }
            continue;
        }
        let Some(key) = key else { continue };
        if never_away {
            parents.leave(table, columns, key.clone());
        }
        if key != before {
            tally.learned |= parents.repoint(table, columns, before, &key);
        }
        if judgement.comes_back {
            parents.recover(table, columns, key.clone());
        }
        if only_needed && phase != Phase::Settled {
            parents.mark_unneeded(table, columns, key);
        } else if only_needed {
            wanted |= !parents.is_unneeded(table, columns, &key);
        }
    }
    if only_needed && phase == Phase::Settled && !wanted {
        judgement.action = RowAction::None;
        judgement.reason = "no recovered row needs it".into();
    }
    if wanted && (written || phase == Phase::Settled) {
        for upward in &court.upwards {
            if let Some(key) = upward.key(row) {
                tally.learned |= parents.need(upward.fk, &key);
            }
        }
    }
    count(court, row, judgement, only_needed, tally);
}

/// Why nothing may be hung on a row by these columns; `has_key` says whether children can name it by them at all.
fn block_of(
    court: &Court<'_>,
    (row, live): (&StagedRow, Option<&[RawKey]>),
    judgement: &Judgement,
    positions: &[usize],
    has_key: bool,
) -> Option<Block> {
    let verdict = judgement.verdict;
    if judgement.blocks {
        let (reason, afterwards) = (judgement.reason.clone(), judgement.afterwards);
        return Some(Block { verdict, reason, afterwards });
    }
    let name = |at: usize| court.fit.columns[at].live.name.clone();
    if !has_key {
        let columns: Vec<Ident> = positions.iter().map(|&at| name(at)).collect();
        let reason = format!("live's row has no {}", column_list(&columns));
        return Some(Block { verdict, reason, afterwards: false });
    }
    if judgement.stand_in.is_some() {
        return None;
    }
    // Children name their parent by these values: when live has others, nobody is there to hang on.
    let live = live?;
    let moved = |at: &&usize| row.fields[**at] != live[**at] && !judgement.columns_to_set().contains(at);
    let at = *positions.iter().find(moved)?;
    let reason = format!("live's {} is another value now", name(at));
    Some(Block { verdict: Verdict::Changed, reason, afterwards: false })
}

fn count(court: &Court<'_>, row: &StagedRow, judgement: &Judgement, only_needed: bool, tally: &mut Tally) {
    *tally.verdicts.entry(judgement.verdict).or_default() += 1;
    *tally.actions.entry(judgement.action).or_default() += 1;
    tally.lost_parents += u64::from(only_needed);
    let stays_out = judgement.action == RowAction::None && judgement.evidence != Evidence::Needed;
    tally.gone += u64::from(judgement.verdict == Verdict::Lost && stays_out && !judgement.comes_back);
    let repaired = matches!(judgement.verdict, Verdict::Damaged | Verdict::Misrouted);
    tally.beside += u64::from(repaired && judgement.evidence.is_told() && !judgement.reason.is_empty());
    if judgement.verdict.is_conflict() && judgement.action != RowAction::None {
        *tally.by_policy.entry(judgement.verdict).or_default() += 1;
    }
    if judgement.action.writes() {
        *tally.written.entry(judgement.evidence).or_default() += 1;
    }
    if judgement.verdict == Verdict::Lost && !only_needed {
        for upward in court.upwards.iter().filter(|upward| upward.key(row).is_some()) {
            *tally.missing.entry(super::missing_key(&upward.fk.child, &upward.fk.name)).or_default() += 1;
        }
    }
    if judgement.action == RowAction::Insert {
        for (at, column) in court.fit.written().filter(|(_, column)| column.live.sequence.is_some()) {
            if let Some(value) = text(&row.fields[at]).and_then(|text| text.parse::<i64>().ok()) {
                let highest = tally.highest.entry(column.live.name.clone()).or_insert(value);
                *highest = value.max(*highest);
            }
        }
    }
}
