//! Where all batches of a plan stand, told from the journal alone. Pure; asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::ApplyError;
use super::batch_history::{BatchHistory, Standing};
use super::companions::Made;
use super::journal::{Event, Line};
use super::moved::MovedRow;
use super::trace_book::TraceBook;
use crate::plan::Plan;

/// One end of all transactions that lines of the journal name: the oldest, or the newest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nothing was written yet.
    #[default]
    Nothing,
    /// Of all lines.
    Known(u64),
    /// An older version left no word of it in some line.
    Unknown,
}

impl Bound {
    fn note(&mut self, told: Option<&str>, end: fn(u64, u64) -> u64) {
        *self = match (*self, told.and_then(|told| told.parse().ok())) {
            (Self::Unknown, _) | (_, None) => Self::Unknown,
            (Self::Nothing, Some(told)) => Self::Known(told),
            (Self::Known(known), Some(told)) => Self::Known(end(known, told)),
        };
    }

    /// As rows tell it.
    pub(super) fn short(self) -> Option<String> {
        match self {
            Self::Known(bound) => super::trace_book::short(&bound.to_string()),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// The histories of a plan's batches, in the order of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    batches: BTreeMap<u32, BatchHistory>,
    /// Rows that a batch whose outcome is not known yet has moved.
    moved: BTreeMap<u32, Vec<MovedRow>>,
    /// Rows that triggers made while the batches were written.
    pub(super) made: Rc<Made>,
    /// What else triggers did.
    pub(super) traces: Rc<TraceBook>,
    /// The transactions of undo and their savepoints, as the server numbers them.
    pub(super) undo_transactions: BTreeSet<String>,
    /// The oldest transaction that ran while apply began to write; `None` where the journal does not tell it of all.
    pub(super) oldest: Bound,
    /// The newest transaction of apply: what carries a higher number was written since.
    pub(super) newest: Bound,
}

impl History {
    /// Reads the journal's lines; refuses when batches of another plan are not taken back.
    pub(super) fn of(plan: &Plan, lines: &[Line]) -> Result<Self, ApplyError> {
        let mut others: BTreeMap<(&str, u32), BatchHistory> = BTreeMap::new();
        let mut history = Self {
            batches: plan.batches.iter().map(|batch| (batch.number, BatchHistory::default())).collect(),
            moved: BTreeMap::new(),
            made: Rc::new(Made::of(plan)),
            traces: Rc::default(),
            undo_transactions: BTreeSet::new(),
            oldest: Bound::default(),
            newest: Bound::default(),
        };
        for line in lines {
            if line.plan == plan.seal {
                history.follow(line.batch, &line.event);
            } else {
                others.entry((&line.plan, line.batch)).or_default().follow(&line.event);
            }
        }
        let unsettled =
            others.values().filter(|batch| batch.standing == Standing::Committed || batch.pending.is_some());
        match unsettled.count() {
            0 => Ok(history),
            batches => Err(ApplyError::JournalOfAnotherPlan { batches }),
        }
    }

    /// The history of one batch.
    pub(super) fn batch(&self, number: u32) -> BatchHistory {
        self.batches.get(&number).cloned().unwrap_or_default()
    }

    /// Takes in what happened next.
    pub(super) fn follow(&mut self, number: u32, event: &Event) {
        match event {
            Event::Writing { made, xid, oldest, newest, traces, .. } => {
                self.oldest.note(oldest.as_deref(), u64::min);
                self.newest.note(newest.as_deref(), u64::max);
                if !made.is_empty() {
                    Rc::make_mut(&mut self.made).remember(number, made);
                }
                Rc::make_mut(&mut self.traces).announce(number, xid, traces);
            }
            Event::UndoWriting { xid, newest, traces, .. } => {
                if !traces.made.is_empty() {
                    Rc::make_mut(&mut self.made).remember(number, &traces.made);
                }
                Rc::make_mut(&mut self.traces).announce(number, xid, traces);
                self.undo_transactions.extend(numbers(xid, newest.as_deref()));
            }
            Event::RolledBack | Event::UndoRolledBack => Rc::make_mut(&mut self.traces).forget(number),
            Event::Committed => Rc::make_mut(&mut self.traces).keep(number, false),
            Event::Undone => Rc::make_mut(&mut self.traces).keep(number, true),
        }
        match event {
            Event::Writing { moved, .. } | Event::UndoWriting { moved, .. } => {
                self.moved.insert(number, moved.clone());
            }
            Event::RolledBack | Event::UndoRolledBack => drop(self.moved.remove(&number)),
            // The latest transaction that touched a row says how undo must find it.
            Event::Committed | Event::Undone => {
                for row in self.moved.remove(&number).unwrap_or_default() {
                    let batch = self.batches.entry(row.batch).or_default();
                    batch.moved.insert((row.part, row.key.clone()));
                    batch.stored.entry(row.part).or_default().insert(row.key, row.row);
                }
            }
        }
        self.batches.entry(number).or_default().follow(event);
    }

    /// Refuses to go on without lines that were there when `verify` found so many batches applied.
    pub(super) fn check_against(&self, certified: usize) -> Result<(), ApplyError> {
        let is_known = |batch: &&BatchHistory| batch.standing != Standing::Open || batch.pending.is_some();
        let known = self.batches.values().filter(is_known).count();
        if certified > known { Err(ApplyError::JournalLost { certified, known }) } else { Ok(()) }
    }

    /// The numbers of the batches that stand so, lowest first.
    pub(super) fn numbers(&self, standing: Standing) -> Vec<u32> {
        self.batches
            .iter()
            .filter(|(_, batch)| batch.standing == standing)
            .map(|(number, _)| *number)
            .collect()
    }

    /// All histories, lowest batch first.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &BatchHistory)> {
        self.batches.iter().map(|(number, batch)| (*number, batch))
    }
}

/// A transaction and what may be its savepoints: the numbers up to its last one.
fn numbers(xid: &str, newest: Option<&str>) -> Vec<String> {
    const AT_MOST: u64 = 1000;
    let (Ok(first), Some(Ok(last))) = (xid.parse::<u64>(), newest.map(str::parse::<u64>)) else {
        return vec![xid.to_owned()];
    };
    (first..=last.min(first + AT_MOST)).map(|number| number.to_string()).collect()
}
