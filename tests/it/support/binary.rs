//! The built `rowback`, run as a user would run it, in an environment of its own.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::server;

/// What a run of the command left.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Results.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
}

impl Output {
    /// Panics with everything that was printed unless the exit code is `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "exit code\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("stdout is no JSON ({error}):\n{}\n--- stderr\n{}", self.stdout, self.stderr)
        })
    }
}

/// A way to run the binary: its directory holds `home`, `tmp` and is the working directory.
#[derive(Debug, Clone)]
pub struct Rowback {
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Rowback {
    /// Runs in `directory`, with nothing of our environment but what is set here.
    pub fn new(directory: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt;
        for name in ["home", "tmp"] {
            let path = directory.join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", server().bin().display());
        let rowback = Self { directory: directory.to_owned(), environment: Vec::new() };
        rowback
            .env("HOME", directory.join("home"))
            .env("TMPDIR", directory.join("tmp"))
            // What `initdb` makes is kept for all tests of a run.
            .env("XDG_CACHE_HOME", server().socket_directory().join("cache"))
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
    }

    /// Sets one variable more.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs to the end with nothing on stdin.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        self.start(args).wait()
    }

    /// Runs to the end with `input` on stdin.
    pub fn run_with_input<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &str) -> Output {
        let mut running = self.spawn(args, Stdio::piped());
        let mut stdin = running.child.stdin.take().unwrap();
        // A program that does not want its input closes the pipe: no failure of the test.
        let _written = stdin.write_all(input.as_bytes());
        drop(stdin);
        running.wait()
    }

    /// Starts it and returns at once, for tests that kill or race it.
    pub fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        self.spawn(args, Stdio::null())
    }

    /// The command, not started, for tests with wishes of their own (limits, terminals).
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        for arg in &args {
            refuse_foreign_host(&arg.to_string_lossy());
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowback"));
        command.args(args).env_clear().envs(self.environment.iter().cloned()).current_dir(&self.directory);
        command
    }

    fn spawn<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, stdin: Stdio) -> Running {
        let mut command = self.command(args);
        Running { child: command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }
}

/// A run that has not ended yet.
pub struct Running {
    child: Child,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it ended by itself?
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal by name, as `kill -NAME` does.
    pub fn signal(&self, name: &str) {
        super::run(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()));
    }

    /// Waits for the end.
    pub fn wait(self) -> Output {
        let output = self.child.wait_with_output().unwrap();
        Output {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }
}

/// Tests may write to the database they name: it must be one of this machine.
pub fn refuse_foreign_host(arg: &str) {
    let Some(rest) = ["postgresql://", "postgres://"].iter().find_map(|scheme| arg.split_once(scheme)) else {
        return;
    };
    let (authority, query) = rest.1.split_once(['/', '?']).unwrap_or((rest.1, ""));
    let mut hosts =
        vec![authority.rsplit('@').next().unwrap_or("").rsplit_once(':').map_or_else(
            || authority.rsplit('@').next().unwrap_or("").to_owned(),
            |(host, _)| host.to_owned(),
        )];
    hosts.extend(query.split(['?', '&']).filter_map(|pair| pair.strip_prefix("host=")).map(str::to_owned));
    for host in hosts {
        let local = host.is_empty()
            || host.starts_with(['/', '%'])
            || host == "localhost"
            || host.starts_with("127.");
        assert!(local, "{host} is not this machine; tests only ever talk to servers they started");
    }
}
