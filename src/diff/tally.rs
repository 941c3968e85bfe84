//! What a pass counts, and what it tells the parents' book of each row.

use std::collections::BTreeMap;

use super::blocked::{Block, Parents};
use super::judge::{Court, Judgement};
use super::lookup::{RawKey, StagedRow, key_of, text};
use super::pass::Phase;
use super::verdict::{Evidence, RowAction, Verdict};
use crate::catalog::column_list;
use crate::ident::Ident;

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
    /// Rows that are not in live though a second backup says that the accident left them.
    pub outlived: u64,
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

/// Columns by which children refer to rows: positions in `Fit::columns`, and names.
pub(super) type Referred = (Vec<usize>, Vec<Ident>);

/// A row, live's row of the same key, and whether it was in its place all the time.
pub(super) type Placed<'r> = (&'r StagedRow, Option<&'r [RawKey]>, bool);

/// How much is known when a row is recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// Of the parents.
    pub phase: Phase,
    /// Is what becomes of the row written?
    pub written: bool,
    /// May it still move with others?
    pub waits: bool,
}

/// Tells the parents' book what children of this row must know, and counts. Needs are told only by judgements that stand,
/// `written` ones or those of the last phase: before, a row may still turn out not to come back.
pub(super) fn record(
    court: &Court<'_>,
    parents: &mut Parents,
    referred: &[Referred],
    (row, live, never_away): Placed<'_>,
    judgement: &mut Judgement,
    Stage { phase, written, waits }: Stage,
    tally: &mut Tally,
) {
    let table = &court.fit.live.name;
    let inserts = judgement.action == RowAction::Insert;
    let only_needed = inserts && judgement.evidence == Evidence::Needed;
    let mut wanted = inserts && !only_needed;
    let goes_home = court.goes_home(row, parents);
    for (positions, columns) in referred {
        let Some(before) = row.key_before(positions) else { continue };
        let key = match &judgement.stand_in {
            Some(live) => key_of(live, positions),
            None => row.key(positions),
        };
        if let Some(block) =
            block_of(court, (row, live), judgement, positions, (key.is_some(), waits, &goes_home))
        {
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

/// Why nothing may be hung on a row by these columns; `has_key` says whether children can name it by them at all, `waits` whether
/// it may still move with others, `goes_home` what it gets when it does.
fn block_of(
    court: &Court<'_>,
    (row, live): (&StagedRow, Option<&[RawKey]>),
    judgement: &Judgement,
    positions: &[usize],
    (has_key, waits, goes_home): (bool, bool, &[usize]),
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
    // Children name their parent by these values: when live has others, nobody is there to hang on. By the key the row was found,
    // however it is spelled.
    let live = live?;
    let is_named = |at: &usize| {
        let may_go = waits && court.identity.is_moving(*at);
        goes_home.contains(at) || may_go || judgement.columns_to_set().contains(at)
    };
    let moved = |at: &&usize| !court.fit.key.contains(at) && !row.has_value_of(live, **at) && !is_named(at);
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
    tally.outlived += u64::from(judgement.verdict == Verdict::Excluded && judgement.afterwards);
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
