//! A private PostgreSQL cluster: made with `initdb`, reachable through one socket in a 0700 directory, gone when it is
//! dropped or this process ends. The role that restores a backup there can run no program and read no file.

pub(super) mod directory;
pub(super) mod launcher;
mod memory;
mod template;
mod watchdog;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use self::directory::{ScratchDirectory, first_closed, random_hex};
use self::launcher::{Launcher, ROWS, SERVER_LOG, Server, initdb_arguments, last_lines};
use self::template::{Template, cache_dir};
use self::watchdog::Watchdog;
use super::error::ScratchError;
use super::locale::Locale;
use super::programs::Programs;
use super::sweep::{SERVER_ACCOUNTS, sweep};
use crate::env::Env;
use crate::ident::Ident;
use crate::pg::{Account, ConnectSettings, PgError, Refusal, ScratchSession, SessionOptions};
use crate::sql::literal::literal;

/// The role that owns scratch databases: no superuser, and may do nothing outside of them.
pub const SCRATCH_ROLE: &str = "rowback_scratch";
const SUPERUSER: &str = "postgres";
const PORT: u16 = 5432;
/// Where tables and temporary files are while the catalogs are in memory.
const TABLESPACE: &str = "rowback_rows";
/// Longest path of a Unix socket, without the final zero byte, on the systems that have the least.
const SOCKET_PATH_BYTES: usize = 103;

/// How a private cluster is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Where its directory is made, with everything in it; `None` = in `temp_dir`, or in `/tmp` where the server's account
    /// cannot get there, and the catalogs in memory where there is room.
    pub root_dir: Option<PathBuf>,
    /// The directory for temporary files (`TMPDIR`).
    pub temp_dir: PathBuf,
    /// Where the result of `initdb` may be kept for the next time; `None` = nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Passed on to the programs: some packages find their libraries by it.
    pub library_path: Option<String>,
    /// Memory that all sessions share, in MB.
    pub shared_buffers_mb: u32,
    /// Memory of one index build or foreign-key check, in MB.
    pub maintenance_work_mem_mb: u32,
    /// Memory of one sort or hash, in MB.
    pub work_mem_mb: u32,
    /// How many sessions may be open.
    pub max_connections: u32,
    /// More settings of the server; they win over ours.
    pub settings: Vec<(String, String)>,
    /// How long the server may take to start.
    pub start_limit: Duration,
}

impl ClusterOptions {
    /// What fits a recovery on an ordinary machine; `TMPDIR` decides where.
    pub fn from_env(env: &Env) -> Self {
        let temp_dir = env.var("TMPDIR").filter(|path| path.starts_with('/')).unwrap_or("/tmp");
        Self {
            root_dir: None,
            temp_dir: PathBuf::from(temp_dir),
            cache_dir: cache_dir(env),
            library_path: env.var("LD_LIBRARY_PATH").map(str::to_owned),
            shared_buffers_mb: 128,
            maintenance_work_mem_mb: 64,
            work_mem_mb: 16,
            max_connections: 50,
            settings: Vec::new(),
            start_limit: Duration::from_secs(60),
        }
    }

    /// Where leftovers of killed runs may be.
    fn parents(&self) -> Vec<PathBuf> {
        let mut parents = vec![self.temp_dir.clone(), PathBuf::from("/tmp"), PathBuf::from(memory::MEMORY)];
        parents.extend(self.root_dir.clone());
        parents.sort();
        parents.dedup();
        parents
    }
}

/// A running private cluster. Dropping it stops the server and removes everything; that takes some 50 ms.
pub struct Cluster {
    // In this order: a server without its watchdog is better than a watchdog that finds a strange process.
    server: Server,
    socket: Option<ScratchDirectory>,
    memory: Option<ScratchDirectory>,
    directory: ScratchDirectory,
    watchdog: Watchdog,
    superuser_password: String,
    role_password: String,
    major: u32,
    /// What it was made from, instead of by `initdb`.
    template: Option<Template>,
}

impl Cluster {
    /// Makes a cluster, starts its server and waits until it lets us in. Leftovers of killed runs are removed first.
    pub async fn start(programs: &Programs, options: &ClusterOptions) -> Result<Self, ScratchError> {
        let (owned_programs, owned_options) = (programs.clone(), options.clone());
        let launched =
            tokio::task::spawn_blocking(move || Self::launch(&owned_programs, &owned_options)).await;
        let mut cluster = launched.map_err(|error| ScratchError::Spawn {
            program: programs.path("initdb"),
            source: io::Error::other(error),
        })??;
        let session = match cluster.wait_until_ready(options.start_limit).await {
            Ok(session) => session,
            Err(error) => {
                // What was kept may be to blame; without it, the error is the one to tell.
                let Some(template) = cluster.template.take() else { return Err(error) };
                drop(cluster);
                template.discard();
                let options = ClusterOptions { cache_dir: None, ..options.clone() };
                return Box::pin(Self::start(programs, &options)).await;
            }
        };
        cluster.superuser_password = random_hex::<16>(cluster.directory())?;
        session.execute("setting scratch up", &cluster.quarantine()).await?;
        if cluster.memory.is_some() {
            let place = cluster.directory().join(ROWS);
            let text = place.to_string_lossy();
            let make = format!("create tablespace {TABLESPACE} location {}", literal(&text));
            session.execute("setting scratch up", &make).await?;
        }
        Ok(cluster)
    }

    /// How a superuser connects. For what the role cannot do (extensions that the server itself ships), never for
    /// anything out of a backup.
    pub fn superuser_settings(&self, dbname: &str) -> ConnectSettings {
        ConnectSettings::for_socket(
            self.socket_directory(),
            PORT,
            dbname,
            SUPERUSER,
            &self.superuser_password,
        )
    }

    /// How the role that owns scratch databases connects.
    pub fn settings(&self, dbname: &str) -> ConnectSettings {
        ConnectSettings::for_socket(self.socket_directory(), PORT, dbname, SCRATCH_ROLE, &self.role_password)
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The cluster's directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The server's process number.
    pub fn pid(&self) -> u32 {
        self.server.child.id()
    }

    /// Makes a database that the role owns, in the backup's encoding (as PostgreSQL names it, `UTF8`, `LATIN1`, …)
    /// and with the first of `locales` that this machine has; tells which. Locale C always is there.
    pub async fn create_database(
        &self,
        name: &str,
        encoding: &str,
        locales: &[Locale],
    ) -> Result<Locale, ScratchError> {
        let options = SessionOptions::named("rowback scratch");
        let what = "making the scratch database";
        let session = ScratchSession::connect(&self.superuser_settings(SUPERUSER), &options).await?;
        let (name_sql, role) = (Ident::new(name).quoted(), Ident::new(SCRATCH_ROLE).quoted());
        // The way that logs every page takes twice as long, and is what a server does by itself from 15 on.
        let strategy = if self.major >= 15 { " strategy file_copy" } else { "" };
        let start = format!("create database {name_sql} owner {role} template template0{strategy}");
        let locale = first_locale(&session, &start, encoding, locales).await?;
        session.execute(what, &format!("revoke all on database {name_sql} from public")).await?;
        if self.memory.is_some() {
            let rows_on_disk = format!(
                "grant create on tablespace {TABLESPACE} to {role};
                 alter database {name_sql} set default_tablespace = {TABLESPACE};
                 alter database {name_sql} set temp_tablespaces = {TABLESPACE}"
            );
            session.execute(what, &rows_on_disk).await?;
        }
        // Before version 15 the schema "public" belongs to the superuser, and a dump that alters it would fail.
        let inside = ScratchSession::connect(&self.superuser_settings(name), &options).await?;
        inside.execute(what, &format!("alter schema public owner to {role}")).await?;
        Ok(locale)
    }

    /// Moves tables and indexes of the connected database to the disk that a backup's own statements put elsewhere: only
    /// catalogs may be in memory.
    pub async fn keep_rows_on_disk(&self, session: &ScratchSession) -> Result<(), ScratchError> {
        if self.memory.is_none() {
            return Ok(());
        }
        for kind in ["table", "index", "materialized view"] {
            let role = Ident::new(SCRATCH_ROLE).quoted();
            let alter = format!(
                "alter {kind} all in tablespace pg_default owned by {role} set tablespace {TABLESPACE}"
            );
            session.execute("keeping rows on the disk", &alter).await?;
        }
        Ok(())
    }

    /// Stops the server and removes everything; like dropping it, but says what went wrong.
    pub async fn stop(mut self) -> Result<(), ScratchError> {
        let path = self.directory.path().to_owned();
        let stopped = tokio::task::spawn_blocking(move || self.clean_up()).await;
        let lost =
            |error| ScratchError::Directory { action: "remove", path, source: io::Error::other(error) };
        stopped.map_err(lost)?
    }

    fn socket_directory(&self) -> &Path {
        self.socket.as_ref().unwrap_or(&self.directory).path()
    }

    /// Everything up to the started server process.
    fn launch(programs: &Programs, options: &ClusterOptions) -> Result<Self, ScratchError> {
        sweep(&options.parents());
        let account = server_account()?;
        let parent = choose_parent(options, account.as_ref())?;
        let start = |in_memory| Self::launch_in(programs, options, &parent, account.as_ref(), in_memory);
        if options.root_dir.is_none() && memory::has_place(account.as_ref(), &parent) {
            // Whatever is wrong with the memory, the disk may do.
            return start(true).or_else(|_| start(false));
        }
        start(false)
    }

    fn launch_in(
        programs: &Programs,
        options: &ClusterOptions,
        parent: &Path,
        account: Option<&Account>,
        in_memory: bool,
    ) -> Result<Self, ScratchError> {
        let directory = ScratchDirectory::create(parent, account)?;
        let memory = in_memory.then(|| directory.create_twin(Path::new(memory::MEMORY), account));
        let memory = memory.transpose()?;
        let fits = directory.path().join(format!(".s.PGSQL.{PORT}")).as_os_str().len() <= SOCKET_PATH_BYTES;
        // The short path is for the socket alone: the room for the files may be elsewhere.
        let elsewhere = (!fits).then(|| ScratchDirectory::create(Path::new("/tmp"), account));
        let socket = elsewhere.transpose()?;
        let directories: Vec<&Path> =
            socket.iter().chain(&memory).chain([&directory]).map(ScratchDirectory::path).collect();
        let mut watchdog = Watchdog::start(&directories)?;
        let role_password = random_hex::<16>(directory.path())?;
        let catalogs = memory.as_ref().unwrap_or(&directory).path();
        let launcher = Launcher { programs, options, account, directory: directory.path(), catalogs };
        let template = Template::of(programs, options, &initdb_arguments(programs));
        let (superuser_password, is_copy) = launcher.make_data(template.as_ref(), &mut watchdog)?;
        let template = template.filter(|_| is_copy);
        let socket_path = socket.as_ref().unwrap_or(&directory).path();
        let server = launcher.postgres(socket_path, &mut watchdog)?;
        let major = programs.major;
        Ok(Self {
            server,
            socket,
            memory,
            directory,
            watchdog,
            superuser_password,
            role_password,
            major,
            template,
        })
    }

    async fn wait_until_ready(&mut self, limit: Duration) -> Result<ScratchSession, ScratchError> {
        let settings = self.superuser_settings(SUPERUSER);
        let options = SessionOptions::named("rowback scratch");
        let deadline = Instant::now() + limit;
        loop {
            let error = match ScratchSession::connect(&settings, &options).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if let Ok(Some(status)) = self.server.child.try_wait() {
                let directory = self.directory.path().to_owned();
                return Err(ScratchError::ServerDied {
                    lines: last_lines(&directory.join(SERVER_LOG)),
                    status: status.to_string(),
                    directory,
                });
            }
            if !is_starting(&error) {
                return Err(error.into());
            }
            if Instant::now() >= deadline {
                let lines = last_lines(&self.directory.path().join(SERVER_LOG));
                return Err(ScratchError::ServerSlow { limit_secs: limit.as_secs(), lines });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A password of this run's own, the role, and no way out of its databases. It may bypass row security: with `row_security = off`, the owner
    /// of a table under FORCE ROW LEVEL SECURITY could not read it otherwise.
    fn quarantine(&self) -> String {
        format!(
            "alter role {superuser} password {new};
             create role {role} login nosuperuser nocreatedb nocreaterole noreplication bypassrls password {password};
             revoke all on database postgres from public;
             revoke all on database template1 from public",
            role = Ident::new(SCRATCH_ROLE).quoted(),
            password = literal(&self.role_password),
            superuser = Ident::new(SUPERUSER).quoted(),
            new = literal(&self.superuser_password)
        )
    }

    fn clean_up(&mut self) -> Result<(), ScratchError> {
        self.server.stop();
        let beside = self.socket.iter_mut().chain(&mut self.memory);
        let beside = beside.map(ScratchDirectory::remove).fold(Ok(()), Result::and);
        let directory = self.directory.remove();
        self.watchdog.dismiss();
        beside.and(directory)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What could not be removed is swept by the next run; `stop` is there for those who want to know.
        self.clean_up().ok();
    }
}

/// Not listening yet, or "the database system is starting up".
fn is_starting(error: &PgError) -> bool {
    let PgError::Connect { failures, .. } = error else { return matches!(error, PgError::Lost { .. }) };
    failures.iter().all(|failure| match &failure.refusal {
        Refusal::Unreachable(_) | Refusal::TimedOut(_) => true,
        Refusal::Rejected(db) => db.sqlstate == "57P03",
        _ => false,
    })
}

/// The account to run the server as: ourselves, unless we are root, which PostgreSQL refuses.
fn server_account() -> Result<Option<Account>, ScratchError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let account = SERVER_ACCOUNTS.iter().find_map(|name| Account::by_name(name));
    let tried = || SERVER_ACCOUNTS.iter().map(|name| (*name).to_owned()).collect();
    account.map(Some).ok_or_else(|| ScratchError::NoAccount { tried: tried() })
}

fn choose_parent(options: &ClusterOptions, account: Option<&Account>) -> Result<PathBuf, ScratchError> {
    let wanted = options.root_dir.as_ref().unwrap_or(&options.temp_dir);
    let Some(account) = account else { return Ok(wanted.clone()) };
    match first_closed(wanted, account) {
        None => Ok(wanted.clone()),
        Some(_) if options.root_dir.is_none() && first_closed(Path::new("/tmp"), account).is_none() => {
            Ok(PathBuf::from("/tmp"))
        }
        Some(path) => Err(ScratchError::Closed { account: account.name.clone(), path }),
    }
}

/// Makes a database with the first locale that the server takes: one that the machine lacks, or that does not go with the
/// encoding, is refused with 42809 or 22023; a provider that the server does not know with 42601, or was built without, with 0A000.
pub(super) async fn first_locale(
    session: &ScratchSession,
    start: &str,
    encoding: &str,
    locales: &[Locale],
) -> Result<Locale, ScratchError> {
    let last = Locale::c();
    for (at, locale) in locales.iter().chain([&last]).enumerate() {
        let create = format!("{start} encoding {} {}", literal(encoding), locale.sql());
        match session.execute("making the scratch database", &create).await {
            Ok(()) => return Ok(locale.clone()),
            Err(error) if at < locales.len() && is_about_locale(error.sqlstate()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(last)
}

fn is_about_locale(sqlstate: Option<&str>) -> bool {
    matches!(sqlstate, Some("42809" | "22023" | "42601" | "0A000"))
}
