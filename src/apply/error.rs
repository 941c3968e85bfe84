//! Everything that can stop apply or undo, each with what it left behind.

mod hints;

use std::path::PathBuf;
use std::time::Duration;

use super::place::{Place, Task};
use super::privileges::Lacking;
use super::several::{Midway, Several};
use super::tombstone_lists::TombstonesUnusable;
use crate::error::{Explain, Kind};
use crate::pg::{DbFacts, PgError};
use crate::plan::LiveIdentity;

/// A session that holds a lock that a batch needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process on the server.
    pub pid: i32,
    /// Its `application_name`, possibly empty.
    pub application: String,
    /// What it is doing, such as `idle in transaction`; possibly empty.
    pub state: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "pid {}", self.pid)?;
        if !self.application.is_empty() {
            write!(formatter, ", application \"{}\"", self.application)?;
        }
        if !self.state.is_empty() {
            write!(formatter, " ({})", self.state)?;
        }
        Ok(())
    }
}

/// Why apply or undo did not do its work, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The name of the database was not given.
    #[error("nothing is written without the name of the database as confirmation")]
    ConfirmationMissing,
    /// Another name was given.
    #[error("the confirmation names \"{given}\", but the connection leads to the database \"{dbname}\"")]
    ConfirmationWrong {
        /// What was given.
        given: String,
        /// Where the connection leads.
        dbname: String,
    },
    /// The case has no plan.
    #[error("there is no plan in \"{}\"", case.display())]
    PlanMissing {
        /// The case.
        case: PathBuf,
    },
    /// Live lost tables or columns that the plan names, or calls them otherwise.
    #[error("live is not as it was when the plan was made: {}", lines.join("; "))]
    LiveChanged {
        /// What is not there.
        lines: Vec<String>,
        /// Batches that are applied.
        applied: usize,
    },
    /// A file of the case cannot be read or understood.
    #[error("\"{}\" cannot be read", path.display())]
    CaseUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The plan is of a format that this version does not know.
    #[error("the plan has format {found}, this version of rowback knows format {known}")]
    PlanFormat {
        /// The number in the file.
        found: u32,
        /// The number that is understood.
        known: u32,
    },
    /// The seal does not fit the plan.
    #[error("plan.json was changed after it was made")]
    PlanEdited,
    /// A batch or undo file is not the one that was planned.
    #[error("\"{file}\" was changed after the plan was made")]
    FileEdited {
        /// Path inside the case.
        file: String,
    },
    /// Staging or diff were made again since.
    #[error("the plan is stale: \"{file}\" is not the one that it was made from")]
    PlanStale {
        /// Path inside the case.
        file: String,
    },
    /// A list of rows that were deleted on purpose cannot be read any more.
    #[error(transparent)]
    Tombstones(#[from] Box<TombstonesUnusable>),
    /// The plan was made for another database.
    #[error("the plan was made for another database than \"{}\"", found.dbname)]
    PlanForeign {
        /// What the plan says.
        planned: Box<LiveIdentity>,
        /// What the server says.
        found: Box<LiveIdentity>,
    },
    /// The server is a standby.
    #[error("the server of \"{dbname}\" is a standby, which takes no writes")]
    Standby {
        /// The database.
        dbname: String,
    },
    /// Transactions start read-only there, as when a database was frozen after the accident.
    #[error("transactions in \"{dbname}\" start read-only (default_transaction_read_only)")]
    ReadOnly {
        /// The database.
        dbname: String,
        /// The role.
        role: String,
    },
    /// The role may not write what the batches write.
    #[error("the role \"{}\" may not {}", lacking.role, what_for(*task))]
    NotPermitted {
        /// What was to be done.
        task: Task,
        /// What it lacks.
        lacking: Box<Lacking>,
    },
    /// Another run has the case.
    #[error("another run of rowback is at work on \"{}\"", case.display())]
    CaseBusy {
        /// The case.
        case: PathBuf,
    },
    /// A line of the journal makes no sense.
    #[error("the journal is damaged at line {line}")]
    JournalDamaged {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// The journal is of a format that this version does not know.
    #[error("the journal has format {found}, which this version of rowback does not know")]
    JournalFormat {
        /// The number in the file.
        found: u32,
    },
    /// The journal speaks of another plan that is still applied.
    #[error("the journal belongs to another plan, of which {batches} batches are applied and not taken back")]
    JournalOfAnotherPlan {
        /// How many.
        batches: usize,
    },
    /// The certificate tells of more than the journal does.
    #[error(
        "the journal is not whole: certificate.json tells of {certified} applied batches, journal.jsonl of {known}"
    )]
    JournalLost {
        /// Batches that were applied when `verify` ran.
        certified: usize,
        /// Batches of which the journal says that they were ever applied.
        known: usize,
    },
    /// The journal cannot be written.
    #[error("the journal cannot be written")]
    JournalUnwritable {
        /// What the system said.
        cause: String,
    },
    /// Live cannot keep the journal, or what it keeps cannot be used.
    #[error("the journal in live cannot be used")]
    LiveJournal {
        /// What is wrong.
        cause: String,
    },
    /// Before the first batch, the server or the connection failed.
    #[error(transparent)]
    Server(#[from] PgError),
    /// A lock, a deadlock or a serialization failure, at every attempt.
    #[error("{place}")]
    BatchBlocked {
        /// Where it stopped.
        place: Box<Place>,
        /// What was waited for.
        object: String,
        /// How long each attempt waited.
        waited: Duration,
        /// How many attempts.
        attempts: u32,
        /// The server's report.
        db: Box<DbFacts>,
        /// Who was in the way.
        holders: Vec<Holder>,
    },
    /// The server refused a batch.
    #[error("{place}")]
    BatchFailed {
        /// Where it stopped.
        place: Box<Place>,
        /// The tables of the batch.
        tables: String,
        /// Why.
        source: Box<PgError>,
    },
    /// Somebody asked to stop.
    #[error("{place} (stopped on request)")]
    Cancelled {
        /// Where it stopped.
        place: Box<Place>,
    },
    /// The connection broke.
    #[error("the connection was lost; {place}")]
    ConnectionLost {
        /// Where it stopped.
        place: Box<Place>,
        /// Why.
        source: Box<PgError>,
    },
    /// It is not known whether a batch is committed.
    #[error("the outcome of batch {batch} is not known yet{}", Place::of_the_others(place.as_deref()))]
    InDoubt {
        /// The batch.
        batch: u32,
        /// The transaction.
        xid: String,
        /// Its session, where it is still open.
        holder: Option<Holder>,
        /// What is done besides, where it is a batch of this very run.
        place: Option<Box<Place>>,
    },
    /// What else may stop a run, after other batches are through.
    #[error(transparent)]
    Midway(Box<Midway>),
    /// Batches that were written side by side stopped together.
    #[error(transparent)]
    Several(Box<Several>),
}

impl Explain for ApplyError {
    fn code(&self) -> &'static str {
        match self {
            Self::ConfirmationMissing => "confirmation-missing",
            Self::ConfirmationWrong { .. } => "confirmation-wrong",
            Self::PlanMissing { .. } => "plan-missing",
            Self::CaseUnreadable { .. } => "case-unreadable",
            Self::PlanFormat { .. } => "plan-format",
            Self::PlanEdited => "plan-edited",
            Self::FileEdited { .. } => "batch-edited",
            Self::PlanStale { .. } => "plan-stale",
            Self::Tombstones(error) => error.code(),
            Self::PlanForeign { .. } => "plan-foreign",
            Self::Standby { .. } => "live-is-standby",
            Self::ReadOnly { .. } => "live-is-read-only",
            Self::NotPermitted { .. } => "privilege-missing",
            Self::LiveChanged { .. } => "live-changed",
            Self::CaseBusy { .. } => "case-busy",
            Self::JournalDamaged { .. } => "journal-damaged",
            Self::JournalFormat { .. } => "journal-format",
            Self::JournalOfAnotherPlan { .. } => "journal-of-another-plan",
            Self::JournalLost { .. } => "journal-lost",
            Self::JournalUnwritable { .. } => "journal-unwritable",
            Self::LiveJournal { .. } => "journal-live",
            Self::Server(error) => error.code(),
            Self::BatchBlocked { .. } => "batch-blocked",
            Self::BatchFailed { .. } => "batch-failed",
            Self::Cancelled { .. } => "apply-cancelled",
            Self::ConnectionLost { .. } => "apply-connection-lost",
            Self::InDoubt { .. } => "batch-in-doubt",
            Self::Midway(midway) => midway.source.code(),
            Self::Several(several) => several.first.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::ConfirmationMissing | Self::ConfirmationWrong { .. } => Kind::Usage,
            Self::PlanMissing { .. }
            | Self::CaseUnreadable { .. }
            | Self::NotPermitted { .. }
            | Self::LiveJournal { .. } => Kind::Input,
            Self::PlanFormat { .. }
            | Self::PlanEdited
            | Self::FileEdited { .. }
            | Self::PlanStale { .. }
            | Self::PlanForeign { .. }
            | Self::Standby { .. }
            | Self::ReadOnly { .. }
            | Self::LiveChanged { .. }
            | Self::CaseBusy { .. }
            | Self::JournalDamaged { .. }
            | Self::JournalFormat { .. }
            | Self::JournalLost { .. }
            | Self::JournalOfAnotherPlan { .. } => Kind::Refused,
            Self::Tombstones(error) => error.kind(),
            Self::Server(error) => error.kind(),
            Self::BatchFailed { source, .. } if source.kind() == Kind::Bug => Kind::Bug,
            Self::Midway(midway) => midway.source.kind(),
            Self::Several(several) => several.first.kind(),
            Self::JournalUnwritable { .. }
            | Self::BatchBlocked { .. }
            | Self::BatchFailed { .. }
            | Self::Cancelled { .. }
            | Self::ConnectionLost { .. }
            | Self::InDoubt { .. } => Kind::Stopped,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::CaseUnreadable { cause, .. }
            | Self::JournalDamaged { cause, .. }
            | Self::JournalUnwritable { cause }
            | Self::LiveJournal { cause } => vec![cause.clone()],
            Self::PlanForeign { planned, found } => {
                vec![
                    format!("planned for {}", planned.describe()),
                    format!("connected to {}", found.describe()),
                ]
            }
            Self::NotPermitted { lacking, .. } => lacking.lines.clone(),
            Self::Server(error) => error.causes(),
            Self::BatchBlocked { object, waited, attempts, db, holders, .. } => {
                let mut lines = vec![blocked(object, *waited, *attempts, db, holders)];
                lines.extend(db.context.iter().map(|context| first_line(context)));
                lines
            }
            Self::BatchFailed { tables, source, .. } => {
                let mut lines = vec![format!("{source}, writing {tables}")];
                lines.extend(source.causes());
                lines
            }
            Self::Tombstones(error) => error.causes(),
            Self::ConnectionLost { source, .. } => source.causes(),
            Self::Midway(midway) => midway.causes(),
            Self::Several(several) => several.causes(),
            Self::InDoubt { xid, holder, .. } => vec![match holder {
                Some(holder) => format!("transaction {xid} is still open on the server: {holder}"),
                None => format!("the server could not be asked about transaction {xid}"),
            }],
            Self::ConfirmationMissing
            | Self::ConfirmationWrong { .. }
            | Self::PlanMissing { .. }
            | Self::PlanFormat { .. }
            | Self::PlanEdited
            | Self::FileEdited { .. }
            | Self::PlanStale { .. }
            | Self::Standby { .. }
            | Self::ReadOnly { .. }
            | Self::LiveChanged { .. }
            | Self::CaseBusy { .. }
            | Self::JournalFormat { .. }
            | Self::JournalOfAnotherPlan { .. }
            | Self::JournalLost { .. }
            | Self::Cancelled { .. } => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        hints::hint(self)
    }
}

fn what_for(task: Task) -> &'static str {
    match task {
        Task::Apply | Task::DryRun => "write all that the plan writes",
        Task::Undo => "take back what the plan wrote",
    }
}

fn blocked(object: &str, waited: Duration, attempts: u32, db: &DbFacts, holders: &[Holder]) -> String {
    let tries = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    let mut line = if db.sqlstate == "55P03" {
        format!("no lock on {object} within {}, {tries} (SQLSTATE 55P03)", seconds(waited))
    } else {
        format!("{}, {tries} (SQLSTATE {})", db.message, db.sqlstate)
    };
    if !holders.is_empty() {
        let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
        line.push_str(&format!("; held by {}", holders.join("; ")));
    }
    line
}

fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1000) { format!("{} s", millis / 1000) } else { format!("{millis} ms") }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
