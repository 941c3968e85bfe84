//! Holds whole tables of a backup against live without a scratch database: which rows live lacks, which differ, which
//! are new. The backup's rows are streamed from the archive, live's from COPY under the same settings; rows meet by key
//! and are held against each other as text. Reads only, and decides nothing: what it finds is where a recipe begins.

mod columns;
mod error;
mod feed;
mod instant;
mod key_types;
mod meeting;
mod parts;
mod pending;
mod tally;
mod walk;

pub use error::CompareError;
pub use parts::Held;
pub use tally::{BothValues, ChangedSample, ColumnChange, KeyTexts, Samples};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use self::columns::Compared;
use self::feed::Part;
use self::meeting::Meeting;
use self::parts::{Source, wanted};
use self::pending::Key;
use self::walk::Walk;
use crate::backup::Backup;
use crate::backup::definition::makes_table;
use crate::cancel::CancelToken;
use crate::catalog::load::{Place, load};
use crate::catalog::readable::{Bar, unreadable};
use crate::catalog::{Catalog, Table};
use crate::ident::{Ident, TableName};
use crate::pg::{ConnectSettings, ReadSession, ServerIdentity, SessionOptions};
use crate::progress::{SharedProgress, Step};
use crate::value::BaseType;

/// What is compared and how.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// The tables, as the backup names them; empty: all that it holds.
    pub tables: Vec<TableName>,
    /// About the most memory that waiting rows may take before they go to temporary files.
    pub memory_bytes: usize,
    /// Rows of each sort that are named.
    pub samples: usize,
    /// Most keys of missing and of changed rows to be kept for each table; beyond that none are.
    pub most_keys: usize,
    /// May values of rows be told, beside keys?
    pub show_values: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The live database.
    pub live: ServerIdentity,
    /// The tables that were compared, by name.
    pub tables: Vec<TableComparison>,
    /// Tables of the backup that could not be compared, and why.
    pub skipped: BTreeMap<TableName, String>,
    /// The tables among those that the role may not read whole.
    #[serde(skip)]
    pub unreadable: Vec<(TableName, Bar)>,
    /// Where a table that was compared has no key and hangs on others: the tables into which references can be followed all
    /// the same. `None`: into all.
    #[serde(skip)]
    pub followed: Option<Vec<TableName>>,
}

impl Comparison {
    /// Is every table that was asked for compared, with all columns that the backup has of it?
    pub fn is_complete(&self) -> bool {
        self.skipped.is_empty() && self.tables.iter().all(|table| table.unmatched.is_empty())
    }

    /// The tables whose differences no case can be about, with how many rows those are and why.
    pub fn unplanned(&self) -> BTreeMap<TableName, Unplanned> {
        self.tables.iter().filter_map(|table| Some((table.table.clone(), table.unplanned()?))).collect()
    }
}

/// Why rows that were found missing or changed are in no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unplanned {
    /// The table has no key: nothing names these rows.
    Nameless(u64),
    /// The backup has the rows of this table as those of others, as partitions of one, say.
    HeldAs(u64, BTreeSet<TableName>),
    /// Only part of the backup's table of this name is held against it, and the rows are too many to be listed.
    Part(u64),
}

impl Unplanned {
    /// How many rows.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Nameless(rows) | Self::HeldAs(rows, _) | Self::Part(rows) => *rows,
        }
    }
}

impl TableComparison {
    fn unplanned(&self) -> Option<Unplanned> {
        let rows = self.missing + self.changed;
        if rows == 0 {
            return None;
        }
        if self.key.is_empty() {
            return Some(Unplanned::Nameless(rows));
        }
        if !self.held.is_alike(&self.table) {
            return Some(Unplanned::HeldAs(rows, self.held.tables.clone()));
        }
        (!self.held.elsewhere.is_empty() && self.keys.is_none()).then_some(Unplanned::Part(rows))
    }
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableComparison {
    /// Its name.
    pub table: TableName,
    /// The key by which rows meet; empty where the table has none and whole rows were counted.
    pub key: Vec<Ident>,
    /// Rows in the backup.
    pub backup_rows: u64,
    /// Rows in live.
    pub live_rows: u64,
    /// Rows that are in the backup only.
    pub missing: u64,
    /// Rows that are in both and differ.
    pub changed: u64,
    /// Rows that are in live only.
    pub new: u64,
    /// Changed rows by column.
    pub changed_columns: BTreeMap<Ident, u64>,
    /// Columns that one side lacks, or that live generates: not compared.
    pub not_compared: Vec<Ident>,
    /// Those among them whose values the backup holds: what became of these in live, nobody has looked at.
    pub unmatched: Vec<Ident>,
    /// A few rows of each sort.
    pub samples: Samples,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Keys of missing and changed rows: raw COPY fields joined by tabs, sorted; `None` where there are too many, where
    /// there is no key, and where other tables inherit from this one: their rows are not compared with it.
    #[serde(skip)]
    pub keys: Option<Vec<Box<[u8]>>>,
    /// Where the backup holds the rows.
    #[serde(skip)]
    pub held: Held,
}

/// Where things are and who may stop us.
pub struct CompareInput<'a> {
    /// The backup.
    pub backup: Arc<Backup>,
    /// Live.
    pub live: &'a ConnectSettings,
    /// Progress.
    pub progress: &'a SharedProgress,
    /// Stop?
    pub cancel: &'a CancelToken,
}

/// Compares every table of the options, in one snapshot of live.
pub async fn run(input: &CompareInput<'_>, options: &CompareOptions) -> Result<Comparison, CompareError> {
    let session = ReadSession::connect(input.live, &SessionOptions::named("rowback")).await?;
    let catalog = load(Place::Live(&session)).await?;
    let mut skipped = BTreeMap::new();
    let mut wanted = wanted(&input.backup, &catalog, &options.tables, &mut skipped)?;
    let live = session.identity().await?;
    let unreadable = unreadable(&session, wanted.keys()).await?;
    for (name, bar) in &unreadable {
        wanted.remove(name);
        let reason = format!("{}; {}", bar.words(), bar.remedy(&live.user));
        skipped.insert(name.clone(), reason);
    }
    let mut tables = Vec::new();
    for (name, source) in wanted {
        let Some(table) = catalog.tables.get(&name) else {
            skipped.insert(name, "live has no such table".to_owned());
            continue;
        };
        input.progress.start(Step::Compare, &name.to_string(), None);
        let job = match Job::new(table, source) {
            Ok(job) => job,
            Err(reason) => {
                skipped.insert(name, reason);
                continue;
            }
        };
        let mut compared = job.run(input, &session, options).await?;
        if !catalog.heirs_of(&name).is_empty() {
            compared.keys = None;
        }
        tables.push(compared);
        input.progress.finish(Step::Compare);
    }
    let followed = followed(&input.backup, &catalog, &tables);
    Ok(Comparison { live, tables, skipped, unreadable, followed })
}

/// See [`Comparison::followed`].
fn followed(backup: &Backup, live: &Catalog, compared: &[TableComparison]) -> Option<Vec<TableName>> {
    let nameless: BTreeSet<&TableName> =
        compared.iter().filter(|table| table.key.is_empty()).map(|table| &table.table).collect();
    if !live.foreign_keys.iter().any(|fk| nameless.contains(&fk.child)) {
        return None;
    }
    let contents = backup.contents();
    let all: BTreeSet<&TableName> = contents.tables.keys().map(|stored| live.root_of(stored)).collect();
    let followed = all.into_iter().filter(|&name| !nameless.contains(name) && makes_table(contents, name));
    Some(followed.filter(|&name| live.tables.contains_key(name)).cloned().collect())
}

/// One table to be compared.
struct Job<'a> {
    table: &'a Table,
    parts: Vec<Part>,
    columns: Vec<Ident>,
    compared: Vec<Compared>,
    key: Vec<Ident>,
    not_compared: Vec<Ident>,
    unmatched: Vec<Ident>,
    held: Held,
    notes: Vec<String>,
}

impl<'a> Job<'a> {
    /// Why it cannot be compared, otherwise.
    fn new(table: &'a Table, Source { parts, held, mut notes }: Source) -> Result<Self, String> {
        let on_both = |name: &Ident| {
            let written = table.column(name).is_some_and(|column| !column.generated);
            written && parts.iter().all(|part| part.columns.contains(name))
        };
        let first = parts.first().map(|part| part.columns.clone()).unwrap_or_default();
        let columns: Vec<Ident> = first.into_iter().filter(&on_both).collect();
        let stored: BTreeSet<&Ident> = parts.iter().flat_map(|part| &part.columns).collect();
        let not_compared: BTreeSet<&Ident> =
            stored.iter().copied().chain(table.column_names()).filter(|name| !on_both(name)).collect();
        let unmatched = not_compared.intersection(&stored).copied().cloned().collect();
        let not_compared = not_compared.into_iter().cloned().collect();
        if columns.is_empty() {
            return Err("backup and live have no column in common".to_owned());
        }
        let key = table.key_columns().unwrap_or_default();
        if let Some(lacking) = key.iter().find(|name| !columns.contains(name)) {
            return Err(format!("its key column \"{lacking}\" is not in the backup"));
        }
        if key.is_empty() {
            notes.push(
                "it has no key: whole rows are counted, and a changed row counts as missing and as new"
                    .into(),
            );
        }
        let kinds = columns.iter().filter_map(|name| table.column(name)).map(Compared::of).collect();
        Ok(Self { table, columns, compared: kinds, key, not_compared, unmatched, held, notes, parts })
    }

    /// Can a list of the key's texts name rows? A single column is compared by its type; several as text, so only where
    /// equal values have equal texts on every server.
    fn names_rows(&self) -> bool {
        use BaseType::{Bool, Date, Int2, Int4, Int8, Text, Timestamp, TimestampTz, Uuid, Varchar};
        let plain = |name: &Ident| {
            self.table.column(name).is_some_and(|column| {
                column.deterministic
                    && matches!(
                        column.base_type,
                        Bool | Date | Int2 | Int4 | Int8 | Text | Timestamp | TimestampTz | Uuid | Varchar
                    )
            })
        };
        self.key.len() == 1 || !self.key.is_empty() && self.key.iter().all(plain)
    }

    /// Where the key's columns stand among those compared.
    fn row_key(&self) -> Key {
        let place = |name: &Ident| self.columns.iter().position(|column| column == name);
        if self.key.is_empty() { Key::Row } else { Key::Columns(self.key.iter().filter_map(place).collect()) }
    }

    async fn run(
        self,
        input: &CompareInput<'_>,
        session: &ReadSession,
        options: &CompareOptions,
    ) -> Result<TableComparison, CompareError> {
        let encoding = &input.backup.contents().encoding;
        let live = feed::live(session, self.table, &self.columns, encoding).await?;
        let backup =
            feed::backup(&input.backup, &self.parts, &self.columns, self.table, input.progress, input.cancel);
        let mut walk = Walk::new(backup.rows, live.rows);
        let mut meeting = Meeting::new(self.row_key(), &self.compared, &self.table.name, options);
        let outcome = loop {
            if input.cancel.is_cancelled() {
                break Err(CompareError::Cancelled);
            }
            match walk.next(|side, row| meeting.add(side, row)).await {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
            if meeting.is_full() {
                meeting.ask(input, encoding).await?;
            }
        };
        let (backup_rows, live_rows) = (walk.backup.rows, walk.live.rows);
        // Closing the channels ends both tasks; their own errors come first, since they cut the rows short.
        drop(walk);
        if outcome.is_ok() {
            backup.task.await??;
            live.task.await??;
        }
        outcome?;
        meeting.finish(input, encoding).await.map(|(mut tally, asked)| {
            let keys = tally.take_keys().filter(|_| self.names_rows());
            let mut notes = self.notes;
            notes.extend(asked);
            if tally.missing > 0 && tally.new > 0 {
                notes.extend(key_types::note(input.backup.contents(), self.table, &self.key));
            }
            TableComparison {
                table: self.table.name.clone(),
                backup_rows,
                live_rows,
                keys,
                missing: tally.missing,
                changed: tally.changed,
                new: tally.new,
                changed_columns: tally
                    .columns
                    .iter()
                    .map(|(&at, count)| (self.columns[at].clone(), *count))
                    .collect(),
                samples: tally.samples(&self.key, &self.columns, options.show_values),
                key: self.key,
                not_compared: self.not_compared,
                unmatched: self.unmatched,
                held: self.held,
                notes,
            }
        })
    }
}
