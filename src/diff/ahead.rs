//! Chunks of staged rows with what live holds of them, looked up ahead of the judging: while one chunk is judged the server
//! works on the next ones. Chunks come in the order of the file, whoever answers first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::blocked::Parents;
use super::conditions::Refers;
use super::judge::Court;
use super::lookup::{Answer, LiveRow, Lookup, StagedRow, StagedRows};
use super::pass::Bench;
use super::refit::{self, Refitted};
use super::{DiffError, conditions, damage, joined, repoint};
use crate::pg::ReadSession;
use crate::recipe::Recreated;

/// Rows that are looked up together.
pub const CHUNK_ROWS: usize = 2000;

/// Fewer of them where rows are large: a chunk travels as one statement and comes back as one answer.
const CHUNK_BYTES: usize = 4 << 20;

/// Staged rows and all that is known of them before they are judged.
pub struct Chunk {
    /// The rows.
    pub rows: Vec<StagedRow>,
    /// Live's rows of the same keys.
    pub live: Vec<LiveRow>,
    /// Whether the condition of the only charge holds, where it was asked with them.
    pub holds: Option<Vec<bool>>,
    /// Which of the court's references apply to each.
    pub refers: Vec<Refers>,
    /// Rows that cannot be hung on what stands in for their parents, and why.
    pub stuck: BTreeMap<usize, String>,
    /// Values that live takes otherwise than they are staged, or not at all.
    pub refitted: Refitted,
}

/// A chunk that is being looked up.
struct Waiting {
    refers: Vec<Refers>,
    stuck: BTreeMap<usize, String>,
    refitted: Refitted,
    answer: Answering,
}

enum Answering {
    There(Vec<StagedRow>, Answer),
    Elsewhere(Task),
}

/// A look-up on another session; dropped, it goes no further.
struct Task(JoinHandle<Result<(Vec<StagedRow>, Answer), DiffError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads a table's staged rows and has them looked up.
pub struct Ahead<'a> {
    court: &'a Court<'a>,
    bench: &'a Bench<'a>,
    staged: StagedRows<'a>,
    lookup: Arc<Lookup>,
    /// Sessions that look up beside the bench's own; without them each chunk waits for its predecessor.
    sessions: &'a [Arc<ReadSession>],
    asked: usize,
    waiting: VecDeque<Waiting>,
}

impl<'a> Ahead<'a> {
    /// Opens the staging file. Where judging a chunk decides what the rows of the next one are hung on, nothing is looked
    /// up ahead.
    pub fn start(court: &'a Court<'a>, bench: &'a Bench<'a>) -> Result<Self, DiffError> {
        let sessions = if court.recreated == Recreated::Repoint { &[] } else { bench.lookups };
        Ok(Self {
            court,
            bench,
            staged: StagedRows::open(bench.staging, bench.file, court.fit)?,
            lookup: Arc::new(damage::lookup(court)),
            sessions,
            asked: 0,
            waiting: VecDeque::new(),
        })
    }

    /// The next chunk; `None` after the last.
    pub async fn next(&mut self, parents: &Parents) -> Result<Option<Chunk>, DiffError> {
        self.fill(parents).await?;
        let Some(waiting) = self.waiting.pop_front() else { return Ok(None) };
        let Waiting { refers, stuck, refitted, answer } = waiting;
        let (rows, answer) = match answer {
            Answering::There(rows, answer) => (rows, answer),
            Answering::Elsewhere(mut task) => joined((&mut task.0).await)??,
        };
        if !self.sessions.is_empty() {
            self.fill(parents).await?;
        }
        let Answer { live, holds } = answer;
        Ok(Some(Chunk { rows, live, holds, refers, stuck, refitted }))
    }

    async fn fill(&mut self, parents: &Parents) -> Result<(), DiffError> {
        while self.waiting.len() < self.sessions.len().max(1) {
            let Some(rows) = self.read()? else { break };
            let waiting = self.prepare(rows, parents).await?;
            self.waiting.push_back(waiting);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Vec<StagedRow>>, DiffError> {
        let mut chunk = Vec::with_capacity(CHUNK_ROWS);
        let mut bytes = 0;
        while chunk.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(row) = self.staged.next()? else { break };
            bytes += self.staged.bytes();
            chunk.push(row);
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    async fn prepare(&mut self, mut rows: Vec<StagedRow>, parents: &Parents) -> Result<Waiting, DiffError> {
        let (court, session) = (self.court, self.bench.session);
        let refitted = refit::refit(session, court.fit, &mut rows).await?;
        let refers = conditions::hold(session, court, &rows.iter().collect::<Vec<_>>()).await?;
        let mut stuck = BTreeMap::new();
        for (at, (row, refers)) in rows.iter_mut().zip(&refers).enumerate() {
            stuck.extend(repoint::rewrite(court, parents, row, refers).err().map(|problem| (at, problem)));
        }
        let answer = if self.sessions.is_empty() {
            let answer = self.lookup.ask(session, rows.iter()).await?;
            Answering::There(rows, answer)
        } else {
            let session = Arc::clone(&self.sessions[self.asked % self.sessions.len()]);
            let lookup = Arc::clone(&self.lookup);
            self.asked += 1;
            Answering::Elsewhere(Task(tokio::spawn(async move {
                let answer = lookup.ask(&session, rows.iter()).await?;
                Ok((rows, answer))
            })))
        };
        Ok(Waiting { refers, stuck, refitted, answer })
    }
}
