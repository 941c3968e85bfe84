//! The throw-away database: made, loaded with what is needed of the backup, removed.

pub mod chains;
pub mod choice;
pub mod cluster;
mod error;
pub mod filter;
pub mod keys;
mod later;
mod load;
pub mod locale;
pub mod programs;
mod rehearsal;
pub mod restore;
mod restore_error;
mod rows;
pub mod sweep;
mod unmade;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

pub use error::ScratchError;
pub use load::{Loading, Pass, Pushdown, Request};
pub use restore_error::RestoreError;

use self::choice::Choice;
use self::filter::Encoding;
use self::restore::RestoreFailure;
use crate::backup::{Backup, Entry};
use crate::cancel::CancelToken;
use crate::catalog::Catalog;
use crate::env::Env;
use crate::ident::TableName;
use crate::pg::{ConnectSettings, ScratchSession, ServerIdentity, SessionOptions};
use crate::progress::SharedProgress;

/// Where scratch is to be made.
#[derive(Debug, Clone, Default)]
pub struct ScratchOptions {
    /// A server to make a database on; without it a private cluster is started.
    pub url: Option<ConnectSettings>,
    /// Directory of `initdb` and `postgres` for the private cluster.
    pub pg_bin: Option<PathBuf>,
    /// How rows get there.
    pub loading: Loading,
}

/// A scratch database with the backup's structure in it. Gone when dropped.
pub struct Scratch {
    backup: Arc<Backup>,
    place: Place,
    session: ScratchSession,
    catalog: Catalog,
    failures: Vec<RestoreFailure>,
    loading: Loading,
    /// What was loaded of each table; locked while more of it comes.
    loaded: Mutex<BTreeMap<TableName, Arc<Mutex<Vec<Choice>>>>>,
    /// Tables that are being loaded, by name.
    under_way: std::sync::Mutex<Vec<String>>,
    /// Turns for streams of rows.
    streams: Semaphore,
    passes: Mutex<Vec<Pass>>,
    /// Sessions for streams of rows, kept for the next ones.
    idle: Mutex<Vec<ScratchSession>>,
    later: Option<later::Later>,
    progress: SharedProgress,
    cancel: CancelToken,
}

mod place;
use place::Place;
pub use rehearsal::Rehearsal;

impl Scratch {
    /// Makes the database and restores the structure of `backup`; no rows yet. Refuses a `--scratch` server database
    /// that is `live`.
    pub async fn prepare(
        backup: Arc<Backup>,
        options: &ScratchOptions,
        live: Option<&ServerIdentity>,
        env: &Env,
        progress: SharedProgress,
        cancel: CancelToken,
    ) -> Result<Self, RestoreError> {
        if backup.contents().missing_schema() {
            return Err(RestoreError::NoStructure);
        }
        let place = Place::make(&backup, options, live, env, &progress).await?;
        let session = ScratchSession::connect(&place.settings(), &session_options()).await?;
        let superuser = place.superuser_session().await?;
        let (catalog, failures) =
            restore::restore_structure(&backup, &session, superuser.as_ref(), &cancel).await?;
        place.keep_rows_on_disk(&session).await?;
        if !failures.is_empty() {
            progress.note(&format!(
                "{} objects of the backup were left out of scratch; they matter only where a wanted table needs them",
                failures.len()
            ));
        }
        let found = Self {
            streams: Semaphore::new(0),
            under_way: std::sync::Mutex::default(),
            backup,
            place,
            session,
            catalog,
            failures,
            loading: options.loading.clone(),
            loaded: Mutex::new(BTreeMap::new()),
            passes: Mutex::new(Vec::new()),
            idle: Mutex::new(Vec::new()),
            later: None,
            progress,
            cancel,
        };
        found.streams.add_permits(found.streams_at_once());
        Ok(found)
    }

    /// The backup's structure.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The session that owns everything in scratch.
    pub fn session(&self) -> &ScratchSession {
        &self.session
    }

    /// The backup that scratch was made from.
    pub fn backup(&self) -> &Arc<Backup> {
        &self.backup
    }

    /// Can texts of the backup be compared with ours byte by byte?
    pub fn encoding(&self) -> Encoding {
        Encoding::named(&self.backup.contents().encoding)
    }

    /// Another session on the scratch database.
    pub async fn connect(&self) -> Result<ScratchSession, RestoreError> {
        Ok(ScratchSession::connect(&self.place.settings(), &session_options()).await?)
    }

    /// How to connect to the scratch database.
    pub fn settings(&self) -> ConnectSettings {
        self.place.settings()
    }

    /// What scratch could not take of the backup.
    pub fn failures(&self) -> &[RestoreFailure] {
        &self.failures
    }

    /// Why a table that the backup defines is not in scratch; `None` where it is, or where the backup knows none of its name.
    pub fn why_not_made(&self, table: &TableName) -> Option<RestoreError> {
        let is_made = self.catalog.tables.contains_key(table) || self.catalog.partitions.contains_key(table);
        // The root of partitions has no rows of its own, and no place among the tables that have.
        let is_known =
            || self.backup.contents().tables.contains_key(table) || self.definition_of(table).is_some();
        (!is_made && is_known()).then(|| self.why_missing(table))
    }

    /// The entry that makes a table.
    fn definition_of(&self, table: &TableName) -> Option<&Entry> {
        self.backup.contents().entries.iter().find(|entry| {
            entry.kind == "TABLE"
                && entry.schema.as_deref() == Some(table.schema.as_str())
                && entry.name == table.name.as_str()
        })
    }

    /// Why a table that the backup names is not in scratch.
    fn why_missing(&self, table: &TableName) -> RestoreError {
        let entries = &self.backup.contents().entries;
        let reasons = self
            .definition_of(table)
            .map(|entry| restore::reasons(entries, &self.failures, entry.id))
            .unwrap_or_default()
            .into_iter()
            .map(unmade::told)
            .collect();
        RestoreError::TableNotRestored { table: table.clone(), reasons }
    }

    /// Removes scratch now and says so if that fails; dropping it does the same in silence.
    pub async fn remove(self) -> Result<(), RestoreError> {
        let Self { place, session, idle, .. } = self;
        drop((session, idle));
        place.remove().await
    }
}

fn session_options() -> SessionOptions {
    SessionOptions::named("rowback scratch")
}
