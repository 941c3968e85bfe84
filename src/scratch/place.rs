//! Where scratch lives: a private cluster, or a database of its own on a server that the user names.

use std::sync::Arc;

use super::cluster::{Cluster, ClusterOptions, first_locale};
use super::locale::{self, Locale};
use super::programs::Programs;
use super::{RestoreError, ScratchOptions};
use crate::backup::Backup;
use crate::env::Env;
use crate::ident::Ident;
use crate::pg::{ConnectSettings, ScratchSession, ServerIdentity, SessionOptions};
use crate::progress::SharedProgress;
use crate::sql::literal::literal;

const DATABASE: &str = "rowback_scratch";

/// A place for one scratch database; the database, or the whole cluster, goes with it.
pub(super) enum Place {
    /// A private cluster, removed when dropped.
    Private(Box<Cluster>),
    /// A database on somebody's server.
    Server(Box<ServerPlace>),
}

pub(super) struct ServerPlace {
    maintenance: ConnectSettings,
    settings: ConnectSettings,
    role: Option<String>,
    password: String,
    removed: bool,
}

impl Place {
    pub(super) async fn make(
        backup: &Arc<Backup>,
        options: &ScratchOptions,
        live: Option<&ServerIdentity>,
        env: &Env,
        progress: &SharedProgress,
    ) -> Result<Self, RestoreError> {
        let encoding = &backup.contents().encoding;
        match &options.url {
            None => {
                let programs =
                    Programs::find(options.pg_bin.as_deref(), backup.contents().server_major, env)?;
                let cluster = Cluster::start(&programs, &ClusterOptions::from_env(env)).await?;
                let locales = locale::candidates(backup.contents());
                let made = cluster.create_database(DATABASE, encoding, &locales).await?;
                note_locale(backup, &made, progress);
                Ok(Self::Private(Box::new(cluster)))
            }
            Some(url) => ServerPlace::make(backup, url, live, progress)
                .await
                .map(|place| Self::Server(Box::new(place))),
        }
    }

    /// How to connect to the scratch database, as a role without superuser.
    pub(super) fn settings(&self) -> ConnectSettings {
        match self {
            Self::Private(cluster) => cluster.settings(DATABASE),
            Self::Server(place) => place.settings.clone(),
        }
    }

    /// A superuser's session, to make extensions from the allow-list; only the private cluster has one.
    pub(super) async fn superuser_session(&self) -> Result<Option<ScratchSession>, RestoreError> {
        match self {
            Self::Private(cluster) => {
                let options = SessionOptions::named("rowback scratch");
                Ok(Some(ScratchSession::connect(&cluster.superuser_settings(DATABASE), &options).await?))
            }
            Self::Server(_) => Ok(None),
        }
    }

    /// Makes sure that no row gets to where only catalogs may be.
    pub(super) async fn keep_rows_on_disk(&self, session: &ScratchSession) -> Result<(), RestoreError> {
        match self {
            Self::Private(cluster) => Ok(cluster.keep_rows_on_disk(session).await?),
            Self::Server(_) => Ok(()),
        }
    }

    /// Removes the database or cluster.
    pub(super) async fn remove(self) -> Result<(), RestoreError> {
        match self {
            Self::Private(cluster) => Ok(cluster.stop().await?),
            Self::Server(mut place) => place.remove().await,
        }
    }
}

impl ServerPlace {
    async fn make(
        backup: &Arc<Backup>,
        url: &ConnectSettings,
        live: Option<&ServerIdentity>,
        progress: &SharedProgress,
    ) -> Result<Self, RestoreError> {
        let options = SessionOptions::named("rowback scratch");
        let session = ScratchSession::connect(url, &options).await?;
        let identity = session.identity().await?;
        if let Some(live) = live.filter(|live| live.is_same_database(&identity)) {
            let number =
                live.system_identifier.clone().unwrap_or_else(|| "system identifier not readable".into());
            return Err(RestoreError::IsLive { target: url.describe(), identity: number });
        }
        let (server, needed) = (u32::try_from(identity.major()).unwrap_or(0), backup.contents().server_major);
        if server < needed {
            return Err(RestoreError::TooOld { server, backup: needed });
        }
        let (name, password) = (unique_name()?, random_hex(24)?);
        let settings = url.with_database(&name);
        let mut place = Self { maintenance: url.clone(), settings, role: None, password, removed: false };
        if identity.is_superuser {
            place.settings = place.settings.with_user(&name).with_password(&place.password);
            place.role = Some(name.clone());
        }
        let made = place.create(&session, &name, backup).await?;
        note_locale(backup, &made, progress);
        if place.role.is_some()
            && let Err(source) = ScratchSession::connect(&place.settings, &options).await
        {
            place.remove().await?;
            return Err(RestoreError::NoSafeRole { target: url.describe(), source });
        }
        Ok(place)
    }
}

impl ServerPlace {
    /// Makes role (for a superuser's URL) and database, both of the same unique name.
    async fn create(
        &self,
        session: &ScratchSession,
        name: &str,
        backup: &Backup,
    ) -> Result<Locale, RestoreError> {
        let what = "making the scratch database";
        let quoted = Ident::new(name).quoted();
        let owner = if self.role.is_some() {
            let password = literal(&self.password);
            let role =
                format!("create role {quoted} login nosuperuser nocreatedb nocreaterole password {password}");
            session.execute(what, &role).await?;
            format!(" owner {quoted}")
        } else {
            String::new()
        };
        let start = format!("create database {quoted}{owner} template template0");
        let locales = locale::candidates(backup.contents());
        let locale = first_locale(session, &start, &backup.contents().encoding, &locales).await?;
        let private = format!("revoke all on database {quoted} from public");
        session.execute(what, &private).await?;
        Ok(locale)
    }

    async fn remove(&mut self) -> Result<(), RestoreError> {
        let what = "removing the scratch database";
        let session =
            ScratchSession::connect(&self.maintenance, &SessionOptions::named("rowback scratch")).await?;
        let quoted = Ident::new(self.settings.dbname()).quoted();
        session.execute(what, &format!("drop database if exists {quoted} with (force)")).await?;
        if self.role.is_some() {
            session.execute(what, &format!("drop role if exists {quoted}")).await?;
        }
        self.removed = true;
        Ok(())
    }
}

impl Drop for ServerPlace {
    /// The way out by error or panic: the database goes all the same. A thread of its own, because a runtime that is
    /// being left cannot wait.
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let mut place = Self {
            maintenance: self.maintenance.clone(),
            settings: self.settings.clone(),
            role: self.role.take(),
            password: String::new(),
            removed: false,
        };
        self.removed = true;
        let remover = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // The server may be gone; then there is nobody to tell and nothing to remove.
            runtime.is_ok_and(|runtime| {
                runtime.block_on(place.remove()).is_ok() || {
                    place.removed = true;
                    false
                }
            })
        });
        remover.join().unwrap_or_default();
    }
}

/// Says so where predicates may sort texts in another way than the backup's server did.
fn note_locale(backup: &Backup, made: &Locale, progress: &SharedProgress) {
    let (sorted, cased) = made.words();
    let how = format!("predicates sort by {sorted} and fold case by {cased}");
    match locale::of_backup(backup.contents()) {
        Some(wanted) if !wanted.is_like(made) => {
            progress.note(&format!("the backup's locale {} is not on this machine: {how}", wanted.words().0));
        }
        Some(_) => {}
        None => progress.note(&format!(
            "the backup does not say its database's locale (plain dumps do with --create only): {how}"
        )),
    }
}

/// A name that no other run uses.
fn unique_name() -> Result<String, RestoreError> {
    Ok(format!("rowback_scratch_{}", random_hex(8)?))
}

fn random_hex(bytes: usize) -> Result<String, RestoreError> {
    let mut random = vec![0u8; bytes];
    openssl::rand::rand_bytes(&mut random).map_err(RestoreError::Random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
