//! Where each batch stands, told from the journal alone: what is committed, what is in doubt, which rows are apply's.
//! Pure; asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::companions::Made;
use super::journal::{Event, Exception, Line, PartRecord, TakenRecord};
use super::moved::MovedRow;
use super::row_key::RowName;
use super::traces::TraceBook;
use super::{ApplyError, Outcome, RowKey};
use crate::ident::TableName;
use crate::plan::Plan;

/// A transaction whose commit was announced, and of which the journal does not say how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// Of apply.
    Write {
        /// The transaction.
        xid: String,
        /// What it wrote.
        written: Vec<PartRecord>,
    },
    /// Of undo.
    Undo {
        /// The transaction.
        xid: String,
        /// What it took back.
        taken: Vec<TakenRecord>,
    },
}

/// Where a batch stands, pending transactions aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// Not applied.
    #[default]
    Open,
    /// Applied.
    Committed,
    /// Applied and taken back.
    Undone,
}

/// Which rows of a batch apply wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ours {
    /// All but these.
    AllBut(BTreeSet<RowName>),
    /// Only these.
    Only(BTreeSet<RowName>),
}

impl Ours {
    /// Is this row one of them?
    pub(super) fn contains(&self, table: &TableName, key: &RowKey) -> bool {
        // A tuple of references cannot be looked up in a set of tuples.
        let name = (table.clone(), key.clone());
        match self {
            Self::AllBut(others) => !others.contains(&name),
            Self::Only(rows) => rows.contains(&name),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Only(rows) if rows.is_empty())
    }

    /// From what a transaction of apply wrote.
    pub(super) fn of(written: &[PartRecord]) -> Self {
        let not_ours = |exception: &&Exception| !exception.ours && !exception.outcome.wrote();
        let names = written.iter().flat_map(|part| {
            part.exceptions
                .iter()
                .filter(not_ours)
                .map(|exception| (part.table.clone(), exception.key.clone()))
        });
        Self::AllBut(names.collect())
    }
}

impl Default for Ours {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

/// One batch's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BatchHistory {
    /// Where it stands.
    pub(super) standing: Standing,
    /// A transaction in doubt.
    pub(super) pending: Option<Pending>,
    /// What the last committed transaction of apply wrote.
    pub(super) written: Vec<PartRecord>,
    /// What undo took back since, one transaction after the other.
    pub(super) taken: Vec<TakenRecord>,
    /// Where in `taken` the last transaction of undo begins: only its complaints still hold.
    pub(super) held_since: usize,
    /// Rows that apply wrote and undo did not take back.
    pub(super) ours: Ours,
    /// Values that triggers made of rows of ours, by position of the part.
    pub(super) stored: BTreeMap<usize, BTreeMap<RowKey, String>>,
    /// Rows that triggers of a later batch left with other values, by position of the part.
    pub(super) moved: BTreeSet<(usize, RowKey)>,
}

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
            Self::Known(bound) => super::traces::short(&bound.to_string()),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

impl BatchHistory {
    /// Is there anything that undo could take back?
    pub(super) fn can_be_undone(&self) -> bool {
        match self.standing {
            Standing::Open => false,
            Standing::Committed => true,
            Standing::Undone => !self.ours.is_empty(),
        }
    }

    /// Rows that the batch's next transaction will find in live because of us. A pending transaction counts: whoever
    /// asks has found out that the server does not know its outcome any more.
    pub(super) fn ours_before(&self) -> Ours {
        match &self.pending {
            Some(Pending::Write { written, .. }) => Ours::of(written),
            _ => self.ours.clone(),
        }
    }

    /// Takes in what happened next.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::Writing { xid, written, .. } => {
                self.pending = Some(Pending::Write { xid: xid.clone(), written: written.clone() });
            }
            Event::UndoWriting { xid, taken, .. } => {
                self.pending = Some(Pending::Undo { xid: xid.clone(), taken: taken.clone() });
            }
            Event::RolledBack | Event::UndoRolledBack => self.pending = None,
            Event::Committed => {
                if let Some(Pending::Write { written, .. }) = self.pending.take() {
                    self.commit(written);
                }
            }
            Event::Undone => match self.pending.take() {
                Some(Pending::Undo { taken, .. }) => self.undo(taken),
                _ => self.undo(Vec::new()),
            },
        }
    }

    fn commit(&mut self, written: Vec<PartRecord>) {
        self.standing = Standing::Committed;
        self.ours = Ours::of(&written);
        for (at, part) in written.iter().enumerate() {
            let altered = part
                .exceptions
                .iter()
                .filter_map(|exception| Some((exception.key.clone(), exception.stored.clone()?)));
            self.stored.entry(at).or_default().extend(altered);
        }
        self.written = written;
        self.taken.clear();
        self.moved.clear();
        self.held_since = 0;
    }

    fn undo(&mut self, taken: Vec<TakenRecord>) {
        self.held_since = self.taken.len();
        self.standing = Standing::Undone;
        let held = taken.iter().flat_map(|part| {
            let still_there = part.held.iter().filter(|held| held.reason != GONE);
            still_there.map(|held| (part.table.clone(), held.key.clone()))
        });
        self.ours = Ours::Only(held.collect());
        self.taken.extend(taken);
    }
}

/// The reason of undo for a row that somebody else deleted.
pub(super) const GONE: &str = "gone";

/// The same when somebody has put it there again since.
pub(super) const BACK: &str = "was gone when undo looked, and is there again since";

/// The reason of undo for a row that somebody else changed.
pub(super) const CHANGED: &str = "changed since";

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

/// Marks the exceptions that are rows of ours from an earlier transaction.
pub(super) fn mark_ours(written: &mut [PartRecord], before: &Ours) {
    for part in written {
        let table = part.table.clone();
        for exception in &mut part.exceptions {
            let could_be = matches!(exception.outcome, Outcome::Present | Outcome::Kept);
            exception.ours = could_be && before.contains(&table, &exception.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Traces;
    use crate::apply::journal::Held;
    use crate::plan::Action;

    fn key(id: u32) -> RowKey {
        RowKey::parse(&format!("{{\"id\":\"{id}\"}}")).unwrap()
    }

    fn table() -> TableName {
        TableName::new("public", "t")
    }

    fn writing(exceptions: &[(u32, Outcome)]) -> Event {
        let exceptions = exceptions.iter().map(|&(id, outcome)| Exception {
            key: key(id),
            outcome,
            ours: false,
            stored: (outcome == Outcome::Altered).then(|| format!("{id}\tstored")),
            because: None,
        });
        let part =
            PartRecord { table: table(), action: Action::Insert, rows: 5, exceptions: exceptions.collect() };
        Event::Writing {
            xid: "9".into(),
            oldest: None,
            newest: None,
            system_identifier: None,
            written: vec![part],
            moved: Vec::new(),
            made: Vec::new(),
            traces: Traces::default(),
        }
    }

    fn undoing(held: &[(u32, &str)]) -> Event {
        let held = held.iter().map(|&(id, reason)| Held { key: key(id), reason: reason.into() });
        let part = TakenRecord { table: table(), action: Action::Insert, rows: 3, held: held.collect() };
        Event::UndoWriting {
            xid: "10".into(),
            newest: None,
            system_identifier: None,
            taken: vec![part],
            moved: Vec::new(),
            traces: Traces::default(),
        }
    }

    fn after(events: &[Event]) -> BatchHistory {
        let mut history = BatchHistory::default();
        events.iter().for_each(|event| history.follow(event));
        history
    }

    fn owned(history: &BatchHistory) -> Vec<u32> {
        (1..=5).filter(|&id| history.ours.contains(&table(), &key(id))).collect()
    }

    #[test]
    fn rows_that_apply_did_not_write_are_not_its_own() {
        let events = [
            writing(&[
                (1, Outcome::Present),
                (2, Outcome::Kept),
                (3, Outcome::Altered),
                (4, Outcome::Blocked),
            ]),
            Event::Committed,
        ];
        let history = after(&events);
        assert_eq!((history.standing, owned(&history)), (Standing::Committed, vec![3, 5]));
        assert_eq!(history.stored[&0], BTreeMap::from([(key(3), "3\tstored".to_owned())]));
        let doubtful = after(&events[..1]);
        assert_eq!(
            (doubtful.standing, owned(&doubtful), doubtful.pending.is_some()),
            (Standing::Open, vec![], true)
        );
        let aborted = after(&[events[0].clone(), Event::RolledBack]);
        assert_eq!(aborted, BatchHistory::default());
    }

    #[test]
    fn what_undo_had_to_leave_stays_ours() {
        let mut history = after(&[
            writing(&[]),
            Event::Committed,
            undoing(&[(1, GONE), (2, CHANGED), (3, "still referred to by public.c")]),
            Event::Undone,
        ]);
        assert_eq!((history.standing, owned(&history)), (Standing::Undone, vec![2, 3]));
        assert!(history.can_be_undone());
        // Applied once more: rows 2 and 3 are found there, and they are ours.
        let mut again = writing(&[(2, Outcome::Kept), (3, Outcome::Present), (4, Outcome::Present)]);
        let Event::Writing { written, .. } = &mut again else { unreachable!() };
        mark_ours(written, &history.ours_before());
        history.follow(&again);
        history.follow(&Event::Committed);
        assert_eq!((history.standing, owned(&history)), (Standing::Committed, vec![1, 2, 3, 5]));
        history.follow(&undoing(&[]));
        history.follow(&Event::Undone);
        assert!(!history.can_be_undone());
    }
}
