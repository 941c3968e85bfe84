//! The journal in live, beside `journal.jsonl` (`--journal live`): each transaction of apply and undo says in a row of
//! `rowback.journal` what it did. The row is there when, and only when, the transaction is committed, so a case whose file was
//! lost, or that was copied to another machine before, is as good as the one that was at work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use super::journal::{Event, JOURNAL_FORMAT, Line};
use super::place::Task;
use super::runner::Runner;
use super::{ApplyError, Journal};
use crate::error::Explain;
use crate::pg::{PgError, ReadSession, Row, column};
use crate::sql::registry::{
    APPLY_JOURNAL_ADD, APPLY_JOURNAL_AWAIT, APPLY_JOURNAL_ENTER, APPLY_JOURNAL_KNOWN, APPLY_JOURNAL_LINES,
    APPLY_JOURNAL_SCHEMA, APPLY_JOURNAL_SHARE, APPLY_JOURNAL_STATE, APPLY_JOURNAL_TABLE, APPLY_JOURNAL_USAGE,
};

const WHAT: &str = "asking for the journal in live";

/// The file of a case that holds its name in live's journal.
pub const CASE_ID: &str = "case.id";

/// Where the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JournalPlace {
    /// In the case; in live as well if live has lines of this plan already.
    #[default]
    Case,
    /// In the case and in live, where a table is made for it.
    Live,
}

/// What live has.
struct State {
    schema_there: bool,
    there: bool,
    /// Is it a table as we make it, of which nobody hides rows?
    fits: bool,
    /// Does nothing else happen when it is written to?
    inert: bool,
    /// May its owner see and do whatever this role does?
    trusted: bool,
    readable: bool,
    writable: bool,
    /// May the role see which cases it is about?
    tells: bool,
    owner: Option<String>,
}

impl State {
    fn told(row: Option<&Row>) -> Result<Self, PgError> {
        let Some(row) = row else {
            return Err(PgError::Answer { what: WHAT.to_owned(), cause: "no row".to_owned() });
        };
        let flag = |name| column::<bool>(row, name, WHAT);
        Ok(Self {
            schema_there: flag("schema_there")?,
            there: flag("there")?,
            fits: flag("fits")?,
            inert: flag("inert")?,
            trusted: flag("trusted")?,
            readable: flag("readable")?,
            writable: flag("writable")?,
            tells: flag("tells")?,
            owner: column(row, "owner", WHAT)?,
        })
    }

    /// Why this role cannot keep its journal there.
    fn unusable(&self) -> Option<String> {
        let owner = self.owner.as_deref().unwrap_or("somebody else");
        if !self.fits || !self.inert {
            Some("live has a table rowback.journal that is not rowback's, or that has triggers, rules or row security".to_owned())
        } else if !self.trusted {
            Some(format!(
                "rowback.journal belongs to the role {owner:?}, which could read and change what is told there"
            ))
        } else if !self.readable || !self.writable {
            Some(format!("the role may not read and write rowback.journal, which belongs to {owner:?}"))
        } else {
            None
        }
    }
}

/// The name of a case in live's journal: it was made with the plan. A case that has none is known by its plan's seal.
pub(super) fn case_id(case: &Path, seal: &str) -> Result<String, ApplyError> {
    let path = case.join(CASE_ID);
    match fs::read_to_string(&path) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(seal.to_owned()),
        Err(error) => Err(ApplyError::CaseUnreadable { path, cause: error.to_string() }),
    }
}

/// How many transactions of a case's plan live's journal knows and the case's own does not; none where live keeps no journal.
pub async fn unknown_to(case: &Path, session: &ReadSession, seal: &str) -> Result<usize, ApplyError> {
    let state = State::told(session.query(&APPLY_JOURNAL_STATE, &[]).await?.first())?;
    if !state.there || !state.fits || !state.tells {
        return Ok(0);
    }
    let (journal, id) = (Journal::read(case)?, case_id(case, seal)?);
    let known = announced(&journal, seal);
    let mut unknown = 0;
    for row in session.query(&APPLY_JOURNAL_KNOWN, &[&id, &seal]).await? {
        let xid: String = column(&row, "xid", WHAT)?;
        unknown += usize::from(!known.iter().any(|one| one.xid == xid && one.committed == Some(true)));
    }
    Ok(unknown)
}

/// A transaction that the journal announces.
struct Announced<'j> {
    line: &'j Line,
    xid: &'j str,
    /// Did it commit? `None` as long as nobody knows.
    committed: Option<bool>,
}

/// The transactions of a plan, oldest first.
fn announced<'j>(journal: &'j Journal, seal: &str) -> Vec<Announced<'j>> {
    let mut found: Vec<Announced<'j>> = Vec::new();
    let mut last = BTreeMap::new();
    for line in journal.lines().iter().filter(|line| line.plan == seal) {
        let ended = match &line.event {
            Event::Writing { xid, .. } | Event::UndoWriting { xid, .. } => {
                last.insert(line.batch, found.len());
                found.push(Announced { line, xid, committed: None });
                continue;
            }
            Event::Committed | Event::Undone => true,
            Event::RolledBack | Event::UndoRolledBack => false,
        };
        // A batch that only moves sequences is taken back without a transaction.
        if let Some(one) = last.remove(&line.batch).and_then(|at: usize| found.get_mut(at)) {
            one.committed = Some(ended);
        }
    }
    found
}

impl Runner<'_> {
    /// Takes in what live's journal knows of the case and its own does not, and finds out whether it is kept on.
    pub(super) async fn take_from_live(&self) -> Result<(), ApplyError> {
        let state = State::told(self.session.query(&APPLY_JOURNAL_STATE, &[]).await?.first())?;
        let asked = self.around.journal == JournalPlace::Live;
        self.keep_in_live(asked);
        if !state.there {
            return Ok(());
        }
        let told = state.fits && state.tells && self.is_told().await?;
        if !asked && !told {
            if !state.tells || !state.fits {
                let note = "rowback.journal of live is not as rowback makes it, or this role may not use it: whether it tells of this \
                            case is not known.";
                self.tell(0, note.to_owned());
            }
            return Ok(());
        }
        if let Some(cause) = state.unusable() {
            return Err(ApplyError::LiveJournal { cause });
        }
        let rows = self.lines_in_live().await?;
        self.keep_in_live(true);
        let known: BTreeMap<String, Option<bool>> = {
            let journal = self.journal();
            let announced = announced(&journal, &self.plan().seal);
            announced.into_iter().map(|one| (one.xid.to_owned(), one.committed)).collect()
        };
        let mut taken = 0;
        for (xid, text) in rows.iter().filter(|(xid, _)| known.get(xid) != Some(&Some(true))) {
            self.take_line(xid, text, known.get(xid) == Some(&None))?;
            taken += 1;
        }
        if taken > 0 {
            let batches = if taken == 1 { "transaction" } else { "transactions" };
            self.tell(
                0,
                format!(
                    "journal.jsonl lacked {taken} {batches} that live's journal knows: they are in it now."
                ),
            );
        }
        Ok(())
    }

    /// Does live's journal know the case?
    async fn is_told(&self) -> Result<bool, PgError> {
        let (id, seal) = (&self.case_id, &self.plan().seal);
        Ok(!self.session.query(&APPLY_JOURNAL_KNOWN, &[id, seal]).await?.is_empty())
    }

    /// What live knows of the case, number of transaction and line, once all have ended that were about to add to it.
    async fn lines_in_live(&self) -> Result<Vec<(String, String)>, PgError> {
        let (id, seal) = (&self.case_id, &self.plan().seal);
        self.session.begin().await?;
        let rows = match self.session.query(&APPLY_JOURNAL_AWAIT, &[id]).await {
            Ok(_) => self.session.query(&APPLY_JOURNAL_LINES, &[id, seal]).await,
            Err(error) => Err(error),
        };
        // Nothing was written; the first error is the one to tell.
        let left = self.session.rollback().await;
        let rows = rows?;
        left?;
        rows.iter().map(|row| Ok((column(row, "xid", WHAT)?, column(row, "line", WHAT)?))).collect()
    }

    /// Adds a committed transaction to the case's journal, which may have announced it already. What that calls rolled back and
    /// live calls committed is committed: its row says so.
    fn take_line(&self, xid: &str, text: &str, is_announced: bool) -> Result<(), ApplyError> {
        let damaged = |cause: String| ApplyError::LiveJournal {
            cause: format!("the line of transaction {xid} cannot be read: {cause}"),
        };
        let line: Line = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        if line.format != JOURNAL_FORMAT {
            return Err(ApplyError::JournalFormat { found: line.format });
        }
        let ending = match &line.event {
            Event::Writing { .. } => Event::Committed,
            Event::UndoWriting { .. } => Event::Undone,
            _ => return Err(damaged("it announces nothing".to_owned())),
        };
        let batch = line.batch;
        if !is_announced {
            self.write(line)?;
        }
        self.record(batch, ending)
    }

    /// Makes live's journal where it is not there, and tells it what the case's knows and it does not. In the open transaction.
    pub(super) async fn fill_live(&self) -> Result<(), ApplyError> {
        if !self.keeps_in_live() {
            return Ok(());
        }
        let refused = |error: PgError| match error.sqlstate() {
            Some(_) => {
                let mut causes = vec![error.to_string()];
                causes.extend(error.causes());
                ApplyError::LiveJournal { cause: causes.join(": ") }
            }
            None => error.into(),
        };
        let state = State::told(self.session.query(&APPLY_JOURNAL_STATE, &[]).await?.first())?;
        if let Some(cause) = state.unusable().filter(|_| state.there) {
            return Err(ApplyError::LiveJournal { cause });
        }
        if !state.schema_there {
            self.session.query(&APPLY_JOURNAL_SCHEMA, &[]).await.map_err(refused)?;
            self.session.query(&APPLY_JOURNAL_USAGE, &[]).await.map_err(refused)?;
        }
        if !state.there {
            self.session.query(&APPLY_JOURNAL_TABLE, &[]).await.map_err(refused)?;
            self.session.query(&APPLY_JOURNAL_SHARE, &[]).await.map_err(refused)?;
        }
        if !state.there && self.task != Task::DryRun {
            let note = "Live keeps the journal as well now, in the table rowback.journal; drop it when nothing is to be undone \
                        any more.";
            self.tell(0, note.to_owned());
        }
        let (id, seal) = (&self.case_id, &self.plan().seal);
        let rows = self.session.query(&APPLY_JOURNAL_KNOWN, &[id, seal]).await.map_err(refused)?;
        let known =
            rows.iter().map(|row| column(row, "xid", WHAT)).collect::<Result<BTreeSet<String>, _>>()?;
        let missing: Vec<(u32, String, String)> = {
            let journal = self.journal();
            let committed = announced(&journal, seal).into_iter().filter(|one| one.committed == Some(true));
            let missing = committed.filter(|one| !known.contains(one.xid));
            let told = |one: Announced<'_>| Ok((one.line.batch, one.xid.to_owned(), json(one.line)?));
            missing.map(told).collect::<Result<_, PgError>>()?
        };
        for (batch, xid, text) in missing {
            self.add(batch, &xid, &text).await.map_err(refused)?;
        }
        Ok(())
    }

    /// The same in a transaction of its own. A dry run does it in the one that it rolls back.
    pub(super) async fn fill_live_for_good(&self) -> Result<(), ApplyError> {
        if !self.keeps_in_live() || self.task == Task::DryRun {
            return Ok(());
        }
        self.session.begin().await?;
        if let Err(error) = self.fill_live().await {
            // The first error is the one to tell; without its connection the server rolls back by itself.
            drop(self.session.rollback().await);
            return Err(error);
        }
        Ok(self.session.commit().await?)
    }

    /// Makes other runs that read live's journal wait for the transaction that has just begun.
    pub(super) async fn enter_live(&self) -> Result<(), PgError> {
        if self.keeps_in_live() {
            drop(self.session.query(&APPLY_JOURNAL_ENTER, &[&self.case_id]).await?);
        }
        Ok(())
    }

    /// Tells live what the open transaction did, if live keeps a journal.
    pub(super) async fn tell_live(&self, line: &Line) -> Result<(), PgError> {
        match &line.event {
            Event::Writing { xid, .. } | Event::UndoWriting { xid, .. } if self.keeps_in_live() => {
                self.add(line.batch, xid, &json(line)?).await
            }
            _ => Ok(()),
        }
    }

    async fn add(&self, batch: u32, xid: &str, text: &str) -> Result<(), PgError> {
        let number = i32::try_from(batch).unwrap_or(i32::MAX);
        let (id, seal) = (&self.case_id, &self.plan().seal);
        self.session.query(&APPLY_JOURNAL_ADD, &[id, seal, &number, &xid, &text]).await.map(drop)
    }
}

/// The line as it stands in the file.
fn json(line: &Line) -> Result<String, PgError> {
    let what = || "writing the journal in live".to_owned();
    serde_json::to_string(line).map_err(|error| PgError::Answer { what: what(), cause: error.to_string() })
}
