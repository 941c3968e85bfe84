//! What all sessions of one run share: the case, the journal and what is known from it. The sessions work in one task, so
//! nothing is borrowed while a server is waited for; what must stay the same for that long is handed out as a copy.

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use tokio::sync::Mutex;

use super::batch_history::{BatchHistory, Standing};
use super::companions::Made;
use super::history::History;
use super::journal::{Event, JOURNAL_FORMAT, Journal, Line};
use super::live_journal::case_id;
use super::ours::Recovered;
use super::place::{Place, Task};
use super::row_key::RowName;
use super::runner::Surroundings;
use super::sealed::{Purpose, SealedCase};
use super::summary::Leftover;
use super::tombstones::Tombstones;
use super::trace_book::TraceBook;
use super::{ApplyError, CaseLock, RowKey};
use crate::clock;
use crate::ident::TableName;
use crate::pg::ServerIdentity;
use crate::plan::{Batch, Plan};

/// A case that is being worked on.
pub(super) struct Desk<'a> {
    pub(super) case: SealedCase,
    pub(super) around: Surroundings<'a>,
    pub(super) task: Task,
    pub(super) identity: ServerIdentity,
    history: RefCell<History>,
    journal: RefCell<Journal>,
    /// The name of the case in live's journal.
    pub(super) case_id: String,
    /// Does live keep a journal as well?
    in_live: Cell<bool>,
    /// What a person should know, each with the batch that it is about.
    notes: RefCell<Vec<(u32, String)>>,
    /// Rows in live that must not be there.
    named: RefCell<Vec<Leftover>>,
    recovered: RefCell<Rc<Recovered>>,
    /// Batches that this run took back.
    undone: RefCell<Vec<u32>>,
    /// Why rows that triggers removed could not be put back, as the last try found.
    stuck: RefCell<BTreeMap<RowName, String>>,
    /// Whoever reads the lists finds out all about them before the next one looks.
    pub(super) tombstones: Mutex<Tombstones>,
    _lock: CaseLock,
}

/// A case whose files are checked; no server was asked.
pub(super) struct OpenCase {
    case: SealedCase,
    history: History,
    journal: Journal,
    case_id: String,
    lock: CaseLock,
}

impl OpenCase {
    /// Takes the lock and reads plan and journal.
    pub(super) fn open(dir: &Path, purpose: Purpose) -> Result<Self, ApplyError> {
        // Before the lock, which would make a file in a directory that is no case.
        drop(super::sealed::read_plan(dir)?);
        let lock = CaseLock::take(dir)?;
        let case = SealedCase::open(dir, purpose)?;
        let journal = Journal::read(dir)?;
        let history = History::of(case.plan(), journal.lines())?;
        let case_id = case_id(dir, &case.plan().seal)?;
        Ok(Self { case, history, journal, case_id, lock })
    }

    /// The plan.
    pub(super) fn plan(&self) -> &Plan {
        self.case.plan()
    }

    /// Ready for work on this server.
    pub(super) fn on(self, identity: ServerIdentity, task: Task, around: Surroundings<'_>) -> Desk<'_> {
        let recovered = Recovered::of(&self.case.plan().batches);
        let tombstones = Tombstones::of(self.case.plan());
        Desk {
            case: self.case,
            around,
            task,
            identity,
            history: RefCell::new(self.history),
            journal: RefCell::new(self.journal),
            case_id: self.case_id,
            in_live: Cell::new(false),
            notes: RefCell::default(),
            named: RefCell::default(),
            recovered: RefCell::new(Rc::new(recovered)),
            undone: RefCell::default(),
            stuck: RefCell::default(),
            tombstones: Mutex::new(tombstones),
            _lock: self.lock,
        }
    }
}

impl Desk<'_> {
    /// The plan.
    pub(super) fn plan(&self) -> &Plan {
        self.case.plan()
    }

    /// The database's name.
    pub(super) fn dbname(&self) -> String {
        self.identity.dbname.clone()
    }

    /// What the journal says so far.
    pub(super) fn history(&self) -> Ref<'_, History> {
        self.history.borrow()
    }

    /// The history of one batch.
    pub(super) fn history_of(&self, number: u32) -> BatchHistory {
        self.history.borrow().batch(number)
    }

    /// How many batches are committed.
    pub(super) fn committed(&self) -> usize {
        self.history.borrow().numbers(Standing::Committed).len()
    }

    /// Rows that triggers made, as far as it is known now.
    pub(super) fn made(&self) -> Rc<Made> {
        Rc::clone(&self.history.borrow().made)
    }

    /// What else triggers did, as far as it is known now.
    pub(super) fn traces(&self) -> Rc<TraceBook> {
        Rc::clone(&self.history.borrow().traces)
    }

    /// The rows that the plan inserts into these tables, and those that it repairs there.
    pub(super) fn recovered_in<'t>(&self, tables: impl Iterator<Item = &'t TableName>) -> Rc<Recovered> {
        let mut recovered = self.recovered.borrow_mut();
        for table in tables.filter(|table| !recovered.has_read(table)).collect::<Vec<_>>() {
            Rc::make_mut(&mut recovered).read(&self.case, &self.plan().batches, table);
        }
        Rc::clone(&recovered)
    }

    /// Batches that this run took back.
    pub(super) fn undone(&self) -> Vec<u32> {
        self.undone.borrow().clone()
    }

    /// Remembers that this run took a batch back.
    pub(super) fn note_undone(&self, batch: u32) {
        self.undone.borrow_mut().push(batch);
    }

    /// Remembers why a row could not be put back.
    pub(super) fn note_stuck(&self, row: RowName, why: String) {
        self.stuck.borrow_mut().insert(row, why);
    }

    /// Why it could not.
    pub(super) fn why_stuck(&self, row: &RowName) -> Option<String> {
        self.stuck.borrow().get(row).cloned()
    }

    /// Remembers what a person should know, once.
    pub(super) fn tell(&self, batch: u32, note: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.iter().any(|(_, known)| *known == note) {
            notes.push((batch, note));
        }
    }

    /// How many notes there are.
    pub(super) fn told(&self) -> usize {
        self.notes.borrow().len()
    }

    /// Puts the notes since then in the order of the batches.
    pub(super) fn order_notes_since(&self, told: usize) {
        if let Some(since) = self.notes.borrow_mut().get_mut(told..) {
            since.sort_by_key(|(batch, _)| *batch);
        }
    }

    /// All notes.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.borrow().iter().map(|(_, note)| note.clone()).collect()
    }

    /// Rows in live that must not be there.
    pub(super) fn named(&self) -> Ref<'_, Vec<Leftover>> {
        self.named.borrow()
    }

    /// Remembers rows in live that must not be there.
    pub(super) fn name(&self, rows: Vec<Leftover>) {
        self.named.borrow_mut().extend(rows);
    }

    /// Is the row one of them?
    pub(super) fn is_named(&self, table: &TableName, key: &RowKey) -> bool {
        self.named.borrow().iter().any(|row| row.table == *table && row.key == *key)
    }

    /// The case's journal.
    pub(super) fn journal(&self) -> Ref<'_, Journal> {
        self.journal.borrow()
    }

    /// Does live keep a journal as well?
    pub(super) fn keeps_in_live(&self) -> bool {
        self.in_live.get()
    }

    /// Says whether live keeps a journal as well.
    pub(super) fn keep_in_live(&self, kept: bool) {
        self.in_live.set(kept);
    }

    /// A line about what happens now.
    pub(super) fn line(&self, batch: u32, event: Event) -> Line {
        let plan = self.plan().seal.clone();
        Line { format: JOURNAL_FORMAT, plan, batch, at: clock::now_utc(), event }
    }

    /// Adds to the history and, unless nothing of this run may last, to the case's journal.
    pub(super) fn write(&self, line: Line) -> Result<(), ApplyError> {
        self.history.borrow_mut().follow(line.batch, &line.event);
        if self.task == Task::DryRun {
            return Ok(());
        }
        self.journal.borrow_mut().append(line)
    }

    /// The same about what happens now.
    pub(super) fn record(&self, batch: u32, event: Event) -> Result<(), ApplyError> {
        self.write(self.line(batch, event))
    }

    /// Where a run is that is at this batch.
    pub(super) fn place(&self, batch: &Batch) -> Place {
        let of = u32::try_from(self.plan().batches.len()).unwrap_or(u32::MAX);
        Place { task: self.task, batch: batch.number, of, done: self.done() }
    }

    /// The batches that this task has done with.
    pub(super) fn done(&self) -> Vec<u32> {
        match self.task {
            Task::Undo => self.history.borrow().numbers(Standing::Undone),
            Task::Apply => self.history.borrow().numbers(Standing::Committed),
            Task::DryRun => Vec::new(),
        }
    }
}
