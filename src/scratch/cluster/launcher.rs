//! Runs `initdb` and `postgres` for a private cluster: with the right account, environment and settings.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::directory::random_hex;
use super::template::{Site, Template};
use super::watchdog::Watchdog;
use super::{ClusterOptions, PORT, SUPERUSER};
use crate::ident::Ident;
use crate::pg::Account;
use crate::scratch::error::ScratchError;
use crate::scratch::programs::Programs;

/// The server process.
pub(super) struct Server {
    pub(super) child: Child,
}

impl Server {
    /// Ends it at once, as a power cut would: nothing of it is wanted any more.
    pub(super) fn stop(&mut self) {
        for signal in [Signal::QUIT, Signal::KILL] {
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline {
                match self.child.try_wait() {
                    Ok(None) => {}
                    _ => return,
                }
                // Sent again and again: a server that is just starting does not listen yet.
                kill_process(Pid::from_child(&self.child), signal).ok();
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) const SERVER_LOG: &str = "server.log";
const INITDB_LOG: &str = "initdb.log";
const PASSWORD_FILE: &str = "password";
/// The data directory inside ours; `sweep` looks for it by this name.
pub(in crate::scratch) const DATA: &str = "cluster";

/// Inside our directory, where the catalogs are elsewhere: the directories of the rows and of the log.
pub(super) const ROWS: &str = "rows";
const LOG: &str = "log";

/// Runs the programs with the right account, directory and environment.
pub(super) struct Launcher<'a> {
    pub(super) programs: &'a Programs,
    pub(super) options: &'a ClusterOptions,
    pub(super) account: Option<&'a Account>,
    pub(super) directory: &'a Path,
    /// The directory that holds the cluster's own: `directory`, or one in memory.
    pub(super) catalogs: &'a Path,
}

impl Launcher<'_> {
    fn command(&self, program: &str, log: &str) -> Result<Command, ScratchError> {
        let log = self.directory.join(log);
        let fail = |source| ScratchError::Directory { action: "write", path: log.clone(), source };
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&log).map_err(fail)?;
        let copy = file.try_clone().map_err(fail)?;
        let mut command = Command::new(self.programs.path(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.env("HOME", self.directory).current_dir(self.directory);
        command.envs(self.options.library_path.iter().map(|path| ("LD_LIBRARY_PATH", path)));
        command.stdin(Stdio::null()).stdout(file).stderr(copy).process_group(0);
        if let Some(account) = self.account {
            // The standard library clears the supplementary groups when root becomes somebody else.
            command.uid(account.uid).gid(account.gid);
        }
        Ok(command)
    }

    fn spawn(
        &self,
        program: &str,
        command: &mut Command,
        watchdog: &mut Watchdog,
    ) -> Result<Child, ScratchError> {
        let spawned = command.spawn();
        let child =
            spawned.map_err(|source| ScratchError::Spawn { program: self.programs.path(program), source })?;
        watchdog.watch(child.id());
        Ok(child)
    }

    /// Makes the data directory, out of the template where there is one; the superuser's password in it, and whether
    /// the template was used.
    pub(super) fn make_data(
        &self,
        template: Option<&Template>,
        watchdog: &mut Watchdog,
    ) -> Result<(String, bool), ScratchError> {
        let (data, rows, wal) =
            (self.catalogs.join(DATA), self.directory.join(ROWS), self.directory.join(LOG));
        let is_split = self.catalogs != self.directory;
        if is_split {
            self.make_directory(&rows)?;
        }
        if let Some(template) = template {
            let site = Site { data: &data, wal: is_split.then_some(wal.as_path()), account: self.account };
            if let Ok(password) = template.unpack(&site) {
                return Ok((password, true));
            }
            for path in [&data, &wal] {
                remove_if_there(path)?;
            }
        }
        let password = random_hex::<16>(self.directory)?;
        self.initdb(&password, watchdog)?;
        // What cannot be kept is made again the next time.
        template.map(|template| template.keep(&data, &password).ok());
        Ok((password, false))
    }

    fn initdb(&self, password: &str, watchdog: &mut Watchdog) -> Result<(), ScratchError> {
        let file = self.directory.join(PASSWORD_FILE);
        let fail = |source| ScratchError::Directory { action: "write", path: file.clone(), source };
        self.write_password(&file, password).map_err(fail)?;
        let mut command = self.command("initdb", INITDB_LOG)?;
        command.arg("-D").arg(self.catalogs.join(DATA)).arg("--pwfile").arg(&file);
        if self.catalogs != self.directory {
            command.arg("--waldir").arg(self.directory.join(LOG));
        }
        command.args(initdb_arguments(self.programs));
        let mut child = self.spawn("initdb", &mut command, watchdog)?;
        let ended = child.wait();
        std::fs::remove_file(&file).map_err(fail)?;
        if !ended.as_ref().is_ok_and(ExitStatus::success) {
            let lines = last_lines(&self.directory.join(INITDB_LOG));
            return Err(ScratchError::Initdb { directory: self.directory.to_owned(), lines });
        }
        // The only way in. Written over the file that initdb made, so that its owner stays.
        let rules = self.catalogs.join(DATA).join("pg_hba.conf");
        std::fs::write(&rules, "local all all scram-sha-256\n").map_err(|source| ScratchError::Directory {
            action: "write",
            path: rules,
            source,
        })
    }

    /// Makes a directory that the server's account owns.
    fn make_directory(&self, path: &Path) -> Result<(), ScratchError> {
        let fail = |source| ScratchError::Directory { action: "make", path: path.to_owned(), source };
        DirBuilder::new().mode(0o700).create(path).map_err(fail)?;
        self.account.map_or(Ok(()), |account| chown(path, Some(account.uid), Some(account.gid))).map_err(fail)
    }

    fn write_password(&self, path: &Path, password: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, password.as_bytes())?;
        self.account.map_or(Ok(()), |account| chown(path, Some(account.uid), Some(account.gid)))
    }

    pub(super) fn postgres(&self, socket: &Path, watchdog: &mut Watchdog) -> Result<Server, ScratchError> {
        let mut command = self.command("postgres", SERVER_LOG)?;
        command.arg("-D").arg(self.catalogs.join(DATA)).arg("-p").arg(PORT.to_string());
        for (name, value) in self.server_settings(socket) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        Ok(Server { child: self.spawn("postgres", &mut command, watchdog)? })
    }

    fn server_settings(&self, socket: &Path) -> Vec<(String, String)> {
        let options = self.options;
        let fixed = [
            ("listen_addresses", String::new()),
            // A list: quoted, so that commas and blanks in the path stay.
            ("unix_socket_directories", Ident::new(socket.display().to_string()).quoted()),
            ("unix_socket_permissions", "0700".to_owned()),
            ("shared_buffers", format!("{}MB", options.shared_buffers_mb)),
            ("maintenance_work_mem", format!("{}MB", options.maintenance_work_mem_mb)),
            ("work_mem", format!("{}MB", options.work_mem_mb)),
            ("max_connections", options.max_connections.to_string()),
        ];
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        let spoken = SERVER_SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        fixed.into_iter().map(owned).chain(spoken).chain(options.settings.iter().cloned()).collect()
    }
}

/// What `initdb` is told, whatever place it is for.
pub(super) fn initdb_arguments(programs: &Programs) -> Vec<&'static str> {
    let mut arguments =
        vec!["--username", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"];
    if programs.major >= 18 {
        // On by default from 18; they cost time and guard nothing that lives for an hour.
        arguments.push("--no-data-checksums");
    }
    arguments
}

fn remove_if_there(path: &Path) -> Result<(), ScratchError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ScratchError::Directory { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A server that may lose everything at any time, on a machine that others use, too.
const SERVER_SETTINGS: [(&str, &str); 20] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "2GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("jit", "off"),
    ("huge_pages", "off"),
    // Containers often give /dev/shm 64 MB only, and a parallel hash join then fails for want of it.
    ("dynamic_shared_memory_type", "mmap"),
    // A schema of thousands of objects is restored in few transactions.
    ("max_locks_per_transaction", "512"),
    ("max_parallel_workers_per_gather", "2"),
    ("max_parallel_maintenance_workers", "2"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("log_checkpoints", "off"),
    ("log_line_prefix", ""),
    // Statements hold values of the backup: they do not belong into a log.
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
];

/// The last lines of a log that are not empty.
pub(super) fn last_lines(path: &Path) -> Vec<String> {
    const MOST: usize = 12;
    let mut bytes = Vec::new();
    // A log that cannot be read tells nothing; the error that it would explain is told anyway.
    File::open(path).and_then(|mut file| io::Read::read_to_end(&mut file, &mut bytes)).ok();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(MOST)).map(|line| (*line).to_owned()).collect()
}
