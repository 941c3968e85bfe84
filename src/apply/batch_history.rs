//! Where one batch stands, told from its events in the journal: what is committed, what is in doubt, which rows are apply's.
//! Pure; asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::{Event, Exception, PartRecord, TakenRecord};
use super::row_key::RowName;
use super::{Outcome, RowKey};
use crate::ident::TableName;

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
