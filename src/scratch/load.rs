//! Loads rows of the backup into scratch, several streams at once, each row once. Remembers what was loaded, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use super::choice::Choice;
use super::{RestoreError, Scratch, rows};
use crate::backup::ReadCounts;
use crate::ident::TableName;
use crate::pg::ScratchSession;
use crate::progress::Step;

/// How rows are loaded.
#[derive(Debug, Clone)]
pub struct Loading {
    /// Are rows left out whose text already says that they cannot matter?
    pub pushdown: Pushdown,
    /// Streams of rows at once.
    pub jobs: usize,
    /// Memory for the sets of wanted keys and what is under way, in bytes.
    pub memory_bytes: usize,
}

/// Whether the dump's text may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushdown {
    /// Rows that cannot matter are left out.
    On,
    /// The needed tables are loaded whole.
    Off,
}

impl Default for Loading {
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Self { pushdown: Pushdown::On, jobs, memory_bytes: 256_000_000 }
    }
}

impl Loading {
    /// What the sets of wanted keys may take; the rest is for the streams and for staging.
    pub fn keys_bytes(&self) -> usize {
        self.memory_bytes / 8 * 3
    }
}

/// A table to load from.
#[derive(Debug, Clone)]
pub struct Request {
    /// The table; its partitions come along.
    pub table: TableName,
    /// Which of its rows.
    pub choice: Choice,
    /// Why, and what stood in the way of fewer rows.
    pub why: String,
}

impl Request {
    /// Rows of `table`.
    pub fn new(table: &TableName, choice: Choice, why: impl Into<String>) -> Self {
        Self { table: table.clone(), choice, why: why.into() }
    }

    /// One request for each table, in the order in which they are first named: a row that two of them want is loaded once.
    fn by_table(requests: Vec<Self>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for request in requests {
            let Some(known) = found.iter_mut().find(|known| known.table == request.table) else {
                found.push(request);
                continue;
            };
            match (&mut known.choice, request.choice) {
                (Choice::AnyOf(wishes), Choice::AnyOf(more)) => wishes.extend(more),
                (choice, _) => *choice = Choice::All,
            }
            known.why = format!("{}; {}", known.why, request.why);
        }
        found
    }
}

/// One pass over a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pass {
    /// The table.
    pub table: TableName,
    /// Which rows were let through.
    pub filter: String,
    /// Why.
    pub why: String,
    /// Rows in the backup.
    pub rows_read: u64,
    /// Rows that went into scratch.
    pub rows_kept: u64,
}

impl Scratch {
    /// Loads rows of one table; see [`Scratch::load_all`].
    pub async fn load(
        &self,
        table: &TableName,
        choice: Choice,
        why: impl Into<String>,
    ) -> Result<(), RestoreError> {
        self.load_all(vec![Request::new(table, choice, why)]).await
    }

    /// Loads rows of several tables; what an earlier call loaded is never loaded twice. Calls may go on
    /// side by side: one that names a table of another waits for it.
    pub async fn load_all(&self, requests: Vec<Request>) -> Result<(), RestoreError> {
        let requests = Request::by_table(requests);
        // In the order of their names, so that no two calls wait for each other.
        let tables: BTreeSet<&TableName> = requests.iter().map(|request| &request.table).collect();
        let mut loaded = BTreeMap::new();
        for table in tables {
            let choices = self.loaded.lock().await.entry(table.clone()).or_default().clone();
            loaded.insert(table.clone(), choices.lock_owned().await);
        }
        let mut wanted = Vec::new();
        for mut request in requests {
            if self.loading.pushdown == Pushdown::Off && !matches!(request.choice, Choice::All) {
                request.choice = Choice::All;
                request.why.push_str("; filters are switched off");
            }
            if !loaded[&request.table].iter().any(|earlier| earlier.covers(&request.choice)) {
                wanted.push(request);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = wanted.iter().map(|request| request.table.to_string()).collect();
        let mut streams = Vec::new();
        for (at, request) in wanted.iter().enumerate() {
            streams.extend(self.streams_of(&request.table)?.into_iter().map(|stream| (at, stream)));
        }
        if self.backup.is_read_in_order() {
            // One pass serves all of them when each goes on where the one before ended.
            streams.sort_by_key(|(_, stream)| stream.entry);
        }
        self.begin(&names);
        let work = streams.into_iter().map(|(at, stream)| {
            let request = &wanted[at];
            let earlier = &loaded[&request.table];
            async move { self.copy(stream, &request.choice, earlier).await.map(|counts| (at, counts)) }
        });
        let mut running = stream::iter(work).buffer_unordered(self.streams_at_once());
        let mut counts = vec![ReadCounts::default(); wanted.len()];
        while let Some(done) = running.next().await {
            let (at, read) = done?;
            counts[at].rows_read += read.rows_read;
            counts[at].rows_kept += read.rows_kept;
        }
        drop(running);
        self.remember(wanted, &counts, &mut loaded).await?;
        self.end(&names);
        Ok(())
    }

    /// Streams that may be open at the same time.
    pub(super) fn streams_at_once(&self) -> usize {
        if self.backup.is_read_in_order() { 1 } else { self.loading.jobs.max(1) }
    }

    /// Tells that these tables are being read; [`Scratch::end`] tells that they were.
    pub(super) fn begin(&self, names: &[String]) {
        let mut tables = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        tables.extend_from_slice(names);
        self.progress.start(Step::Load, &tables.join(", "), None);
    }

    pub(super) fn end(&self, names: &[String]) {
        let mut tables = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|table| !names.contains(table));
        if tables.is_empty() {
            self.progress.finish(Step::Load);
        }
    }

    /// Puts the passes behind the first `from` into the order of their tables' places; those of one table stay as they came.
    pub async fn order_passes(&self, from: usize, place: impl Fn(&TableName) -> Option<usize>) {
        let mut passes = self.passes.lock().await;
        if let Some(later) = passes.get_mut(from..) {
            later.sort_by_key(|pass| place(&pass.table));
        }
    }

    /// Every pass so far, in order.
    pub async fn passes(&self) -> Vec<Pass> {
        self.passes.lock().await.clone()
    }

    /// How rows are loaded.
    pub fn loading(&self) -> &Loading {
        &self.loading
    }

    async fn remember(
        &self,
        requests: Vec<Request>,
        counts: &[ReadCounts],
        loaded: &mut BTreeMap<TableName, OwnedMutexGuard<Vec<Choice>>>,
    ) -> Result<(), RestoreError> {
        let session = self.spare_session().await?;
        for (request, counts) in requests.into_iter().zip(counts) {
            let analyze = format!("analyze {}", request.table.quoted());
            session.execute("analyzing scratch", &analyze).await?;
            self.passes.lock().await.push(Pass {
                table: request.table.clone(),
                filter: request.choice.words(),
                why: request.why,
                rows_read: counts.rows_read,
                rows_kept: counts.rows_kept,
            });
            loaded.entry(request.table).and_modify(|choices| choices.push(request.choice));
        }
        self.give_back(session).await;
        Ok(())
    }

    /// Does the backup hold the rows of this table?
    pub fn has_rows_of(&self, table: &TableName) -> bool {
        self.streams_of(table).is_ok()
    }

    pub(super) fn streams_of(&self, table: &TableName) -> Result<Vec<rows::Stream>, RestoreError> {
        let found = self.catalog.tables.get(table).ok_or_else(|| self.why_missing(table))?;
        if let Some(refused) = self.why_not_whole(table) {
            return Err(refused);
        }
        let names = std::iter::once(table).chain(self.catalog.partitions_of(table));
        rows::streams(&self.backup, names, found.partitioned.then_some(table))
    }

    async fn copy(
        &self,
        stream: rows::Stream,
        choice: &Choice,
        earlier: &[Choice],
    ) -> Result<ReadCounts, RestoreError> {
        // Closed by nobody.
        let _turn = self.streams.acquire().await;
        let session = self.spare_session().await?;
        let backup = self.backup.clone();
        let counts =
            rows::copy_stream(backup, &session, stream, choice, earlier, &self.progress, &self.cancel)
                .await?;
        self.give_back(session).await;
        Ok(counts)
    }

    /// A session beside [`Scratch::session`], for work side by side; to be given back when it can be used again.
    pub async fn spare_session(&self) -> Result<ScratchSession, RestoreError> {
        let idle = self.idle.lock().await.pop();
        match idle {
            Some(session) => Ok(session),
            None => self.connect().await,
        }
    }

    /// Keeps a session that is done with for whoever needs one next.
    pub async fn give_back(&self, session: ScratchSession) {
        self.idle.lock().await.push(session);
    }
}
