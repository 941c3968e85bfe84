//! `journal.jsonl`: what each transaction is about to commit, flushed to disk before the commit, and what became of it.
//! One JSON object a line, only ever appended to. A last line that a crash has torn is recognised and left out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::companions::MadeRows;
use super::moved::MovedRow;
use super::traces::Traces;
use super::{ApplyError, Outcome, RowKey};
use crate::ident::TableName;
use crate::plan::Action;

/// Format number of each line.
pub const JOURNAL_FORMAT: u32 = 1;

const FILE: &str = "journal.jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Always [`JOURNAL_FORMAT`].
    pub format: u32,
    /// Seal of the plan that the batch belongs to.
    pub plan: String,
    /// The batch.
    pub batch: u32,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened to a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Event {
    /// About to commit what apply wrote.
    Writing {
        /// The transaction, for `txid_status`.
        xid: String,
        /// The oldest transaction that still ran when it began: rows of older ones were there before what it wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oldest: Option<String>,
        /// Its highest number, savepoints included: what carries a higher one was written by somebody else since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        newest: Option<String>,
        /// The cluster, where the role may ask.
        system_identifier: Option<String>,
        /// By part of the batch.
        written: Vec<PartRecord>,
        /// Recovered rows of other batches that triggers touched, as they are stored now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        moved: Vec<MovedRow>,
        /// Rows that triggers made in tables of which later batches insert rows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        made: Vec<MadeRows>,
        /// What else triggers did.
        #[serde(default, skip_serializing_if = "Traces::is_empty")]
        traces: Traces,
    },
    /// The commit is done.
    Committed,
    /// The transaction did not commit.
    RolledBack,
    /// About to commit what undo took back.
    UndoWriting {
        /// The transaction.
        xid: String,
        /// Its highest number, savepoints included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        newest: Option<String>,
        /// The cluster, where the role may ask.
        system_identifier: Option<String>,
        /// By part of the batch.
        taken: Vec<TakenRecord>,
        /// Recovered rows of other batches that triggers touched, as they are stored now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        moved: Vec<MovedRow>,
        /// What else triggers did.
        #[serde(default, skip_serializing_if = "Traces::is_empty")]
        traces: Traces,
    },
    /// The undo is committed.
    Undone,
    /// The transaction of the undo did not commit.
    UndoRolledBack,
}

/// What apply wrote to one table in one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The table.
    pub table: TableName,
    /// Insert or update.
    pub action: Action,
    /// Rows that this transaction wrote.
    pub rows: u64,
    /// Rows that did not end as staged; all others did.
    pub exceptions: Vec<Exception>,
}

/// A row that did not end as staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// The row.
    pub key: RowKey,
    /// What became of it.
    pub outcome: Outcome,
    /// An earlier transaction of apply had written it, so undo must take it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ours: bool,
    /// For `altered`: the row of the undo's stage with the values that are stored, COPY text without newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// For `refused`: what the server said; for others, which row of a trigger was in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What undo took back of one table in one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenRecord {
    /// The table.
    pub table: TableName,
    /// What apply had done: inserted rows are deleted, updated rows get their former values.
    pub action: Action,
    /// Rows taken back.
    pub rows: u64,
    /// Rows left alone.
    pub held: Vec<Held>,
}

/// A row that undo left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The row.
    pub key: RowKey,
    /// `gone`, `changed since`, or `still referred to by <table>`.
    pub reason: String,
}

/// The journal of a case, read whole; opened for appending by the first line that is added.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    lines: Vec<Line>,
    good_bytes: u64,
    file: Option<File>,
    /// Why a line could not be written: then no later one is, whoever asks, until the next run has cut off the torn end.
    broken: Option<String>,
}

impl Journal {
    /// Reads the journal of a case; one that is not there is empty.
    pub fn read(case: &Path) -> Result<Self, ApplyError> {
        let path = case.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(ApplyError::CaseUnreadable { path, cause: error.to_string() }),
        };
        let (lines, good_bytes) = parse(&text)?;
        Ok(Self { path, lines, good_bytes, file: None, broken: None })
    }

    /// All lines, oldest first.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Adds a line and returns when it is on disk.
    pub(super) fn append(&mut self, line: Line) -> Result<(), ApplyError> {
        if self.broken.is_none() {
            self.broken = self.write(&line).err().map(|error| error.to_string());
        }
        if let Some(cause) = self.broken.clone() {
            return Err(ApplyError::JournalUnwritable { cause });
        }
        self.lines.push(line);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
        text.push(b'\n');
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        file.write_all(&text)?;
        file.sync_data()?;
        self.good_bytes += u64::try_from(text.len()).map_err(io::Error::other)?;
        self.file = Some(file);
        Ok(())
    }

    /// Cuts off what a crash left behind the last whole line.
    fn open(&self) -> io::Result<File> {
        let new = !self.path.exists();
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        file.set_len(self.good_bytes)?;
        if let (true, Some(case)) = (new, self.path.parent()) {
            File::open(case)?.sync_all()?;
        }
        Ok(file)
    }
}

/// The whole lines and how many bytes they take. Only the last line may be damaged.
fn parse(text: &[u8]) -> Result<(Vec<Line>, u64), ApplyError> {
    let mut lines = Vec::new();
    let mut good = 0usize;
    let pieces: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    for (at, piece) in pieces.iter().enumerate() {
        let last = at + 1 == pieces.len();
        if let Some(found) = format_of(piece).filter(|&found| found != JOURNAL_FORMAT) {
            return Err(ApplyError::JournalFormat { found });
        }
        match serde_json::from_slice::<Line>(piece) {
            // Without its newline it was never flushed, so its transaction was not committed yet, or can be asked for.
            Ok(_) if !piece.ends_with(b"\n") => {}
            Ok(line) => {
                lines.push(line);
                good += piece.len();
            }
            Err(error) => match serde_json::from_slice::<serde_json::Value>(piece) {
                Err(_torn) if last => {}
                _ => return Err(ApplyError::JournalDamaged { line: at + 1, cause: error.to_string() }),
            },
        }
    }
    Ok((lines, u64::try_from(good).unwrap_or(u64::MAX)))
}

/// The format number of a line that is JSON, even of one that a newer version wrote.
fn format_of(piece: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct FormatNumber {
        format: u32,
    }
    serde_json::from_slice::<FormatNumber>(piece).ok().map(|line| line.format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(batch: u32, event: Event) -> Line {
        Line { format: JOURNAL_FORMAT, plan: "seal".into(), batch, at: "2026-11-19T14:03:00Z".into(), event }
    }

    fn writing() -> Event {
        Event::Writing {
            xid: "742".into(),
            oldest: Some("740".into()),
            newest: Some("743".into()),
            system_identifier: Some("7384120045".into()),
            written: vec![PartRecord {
                table: TableName::new("public", "customers"),
                action: Action::Insert,
                rows: 2,
                exceptions: vec![Exception {
                    key: RowKey::parse(r#"{"id":"7"}"#).unwrap(),
                    outcome: Outcome::Kept,
                    ours: false,
                    stored: None,
                    because: None,
                }],
            }],
            moved: Vec::new(),
            made: Vec::new(),
            traces: Traces::default(),
        }
    }

    #[test]
    fn a_line_is_the_documented_json() {
        assert_eq!(
            serde_json::to_string(&line(1, writing())).unwrap(),
            r#"{"format":1,"plan":"seal","batch":1,"at":"2026-11-19T14:03:00Z","state":"writing","xid":"742","oldest":"740","newest":"743","system_identifier":"7384120045","written":[{"table":"public.customers","action":"insert","rows":2,"exceptions":[{"key":{"id":"7"},"outcome":"kept"}]}]}"#
        );
        assert_eq!(
            serde_json::to_string(&line(1, Event::Committed)).unwrap(),
            r#"{"format":1,"plan":"seal","batch":1,"at":"2026-11-19T14:03:00Z","state":"committed"}"#
        );
    }

    #[test]
    fn lines_come_back_and_a_torn_end_is_cut_off() {
        let case = tempfile::tempdir().unwrap();
        let mut journal = Journal::read(case.path()).unwrap();
        assert_eq!(journal.lines(), []);
        journal.append(line(1, writing())).unwrap();
        journal.append(line(1, Event::Committed)).unwrap();
        let whole = fs::read(case.path().join(FILE)).unwrap();
        for torn in 1..whole.len() {
            fs::write(case.path().join(FILE), &whole[..torn]).unwrap();
            let mut again = Journal::read(case.path()).unwrap();
            let kept = whole[..torn].split(|&byte| byte == b'\n').count() - 1;
            assert_eq!(again.lines().len(), kept, "{torn} bytes");
            again.append(line(2, Event::RolledBack)).unwrap();
            let read = Journal::read(case.path()).unwrap();
            assert_eq!(read.lines(), again.lines(), "{torn} bytes");
        }
    }

    #[test]
    fn damage_in_the_middle_and_a_newer_format_are_refused() {
        let case = tempfile::tempdir().unwrap();
        let good = serde_json::to_string(&line(1, Event::Committed)).unwrap();
        fs::write(case.path().join(FILE), format!("{{\"format\":1\n{good}\n")).unwrap();
        assert!(matches!(Journal::read(case.path()), Err(ApplyError::JournalDamaged { line: 1, .. })));
        fs::write(case.path().join(FILE), "{\"format\":2,\"of\":\"the future\"}\n").unwrap();
        assert!(matches!(Journal::read(case.path()), Err(ApplyError::JournalFormat { found: 2 })));
    }
}
