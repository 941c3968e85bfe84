//! A private PostgreSQL server. It cannot outlive the test process, however that ends: a shell that waits on a pipe
//! from us stops the server and removes its directory when the pipe closes.

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::{run, wait_until};

/// The superuser of every test server; local connections through the socket need no password.
pub const SUPERUSER: &str = "postgres";

/// A running server, stopped when this value is dropped or the process ends.
pub struct Server {
    directory: PathBuf,
    port: u16,
    bin: PathBuf,
    major: u32,
    watchdog: Child,
    pipe: Option<ChildStdin>,
}

/// The server that all tests of a run share, started by the first one that asks.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&[]))
}

impl Server {
    /// Starts a server of its own, for tests that stop or starve one; `settings` are `name=value`.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(server_programs(), settings)
    }

    /// Starts a server of another version, one of those that `tests/servers.txt` names.
    pub fn of_version(major: u32) -> Self {
        Self::start_in(programs_of_version(major), &[])
    }

    fn start_in(bin: PathBuf, settings: &[&str]) -> Self {
        let major = major_of(&bin);
        let directory =
            tempfile::Builder::new().prefix("rbpg-").tempdir_in(super::parent_directory()).unwrap().keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        let user = server_user();
        if let Some((_, uid, gid)) = &user {
            chown(&directory, Some(*uid), Some(*gid)).unwrap();
        }
        let as_user = |program: &Path| {
            let mut command = match &user {
                Some((name, _, _)) => {
                    let mut command = Command::new("setpriv");
                    command
                        .arg(format!("--reuid={name}"))
                        .arg(format!("--regid={name}"))
                        .arg("--init-groups");
                    command.arg(program);
                    command
                }
                None => Command::new(program),
            };
            command.current_dir(&directory);
            command
        };
        run(as_user(&bin.join("initdb"))
            .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "--no-instructions"])
            .args(["--encoding=UTF8", "--locale=C", "-U", SUPERUSER, "-D"])
            .arg(directory.join("cluster")));
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut postgres = as_user(&bin.join("postgres"));
        postgres
            .arg("-D")
            .arg(directory.join("cluster"))
            .args(["-p", &port.to_string(), "-k"])
            .arg(&directory);
        for setting in BASE_SETTINGS.iter().chain(settings) {
            postgres.args(["-c", setting]);
        }
        let (watchdog, pipe) = supervise(&postgres, &directory);
        let server = Self { directory, port, bin, major, watchdog, pipe: Some(pipe) };
        wait_until("the test server accepts connections", Duration::from_secs(60), || {
            let mut probe = server.program("psql", "postgres");
            probe.args(["-XqAtc", "select 1"]).output().is_ok_and(|output| output.status.success())
        });
        server
    }

    /// The directory of the socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The port, of the socket and of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where `psql`, `pg_dump`, `initdb` and the rest are.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The superuser's URL of a database, through the socket.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    /// The URL of a database for another role, through the socket (no password is asked there).
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@/{database}?host={}&port={}", self.directory.display(), self.port)
    }

    /// The URL of a database over TCP, where the password counts.
    pub fn tcp_url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// A client program of this server, connected to `database` by its environment, which is otherwise empty.
    pub fn program(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PGHOST", &self.directory)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGDATABASE", database)
            .env("PGTZ", "UTC")
            .env("PGCLIENTENCODING", "UTF8")
            .env(
                "PGOPTIONS",
                "-c client_min_messages=warning -c datestyle=ISO,MDY -c intervalstyle=postgres",
            );
        command
    }

    /// Runs SQL in `database` with psql and returns stdout; panics with the server's message.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut command = self.program("psql", database);
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("psql: {error}; run `make test`"));
        let mut stdin = child.stdin.take().unwrap();
        let text = sql.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql in {database}: {stderr}\nwhile running:\n{sql}");
        writer.join().unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Stops the server at once, as a power cut would.
    pub fn stop(&mut self) {
        drop(self.pipe.take());
        self.watchdog.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

const BASE_SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_permissions=0777",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "shared_buffers=64MB",
    "autovacuum=off",
    "log_destination=stderr",
];

/// Starts `command` below a shell that kills it and removes `directory` as soon as the returned pipe is closed.
fn supervise(command: &Command, directory: &Path) -> (Child, ChildStdin) {
    let script = r#"directory=$1; shift
        "$@" >"$directory/log" 2>&1 </dev/null & server=$!
        cat >/dev/null
        kill -QUIT "$server" 2>/dev/null; wait "$server" 2>/dev/null
        rm -rf "$directory""#;
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", script, "supervise"])
        .arg(directory)
        .arg(command.get_program())
        .args(command.get_args());
    // A group of its own: Ctrl-C ends the tests, and the closed pipe then ends the server.
    shell.process_group(0).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut watchdog = shell.spawn().unwrap();
    let pipe = watchdog.stdin.take().unwrap();
    (watchdog, pipe)
}

/// The newest server programs of the machine.
fn server_programs() -> PathBuf {
    let mut candidates: Vec<(u32, PathBuf)> = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        candidates.push((0, PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())));
    }
    for versions in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let Ok(entries) = std::fs::read_dir(versions) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let major = name.to_string_lossy().trim_start_matches("postgresql@").parse().unwrap_or(0);
            candidates.push((major, entry.path().join("bin")));
        }
    }
    candidates.sort();
    let complete =
        |bin: &PathBuf| ["initdb", "postgres", "psql", "pg_dump"].iter().all(|it| bin.join(it).exists());
    let found = candidates.into_iter().rev().map(|(_, bin)| bin).find(complete);
    found.expect("no PostgreSQL server programs (initdb, postgres, psql, pg_dump) found; run `make test`, which installs them")
}

/// Where `scripts/servers.sh` puts them.
fn programs_of_version(major: u32) -> PathBuf {
    let list = std::fs::read_to_string(super::repository().join("tests/servers.txt")).unwrap();
    let version = list.lines().find(|line| line.starts_with(&format!("{major}."))).expect("a pinned version");
    let user = rustix::process::geteuid().as_raw();
    let bin = PathBuf::from(format!("/var/tmp/rowback-servers-{user}/{version}/bin"));
    assert!(
        bin.join("postgres").exists(),
        "{} is not there; run `make test`, which installs it",
        bin.display()
    );
    bin
}

fn major_of(bin: &Path) -> u32 {
    let output = Command::new(bin.join("postgres")).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    version.and_then(|version| version.split('.').next()?.parse().ok()).expect("postgres --version tells one")
}

/// The user a server runs as when we are root (which `initdb` refuses), else `None`.
fn server_user() -> Option<(String, u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let id = |flag: &str, name: &str| -> Option<u32> {
        let output = Command::new("id").args([OsStr::new(flag), OsStr::new(name)]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let named = |name: &str| Some((name.to_owned(), id("-u", name)?, id("-g", name)?));
    Some(named("postgres").or_else(|| named("nobody")).expect("neither a user `postgres` nor `nobody`"))
}
