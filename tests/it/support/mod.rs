//! The test harness. One PostgreSQL server per test run, a database per test, the built binary in a clean
//! environment. Nothing here is ever pointed at a server that the run did not start itself.
#![allow(dead_code, unused_imports, reason = "each test file uses the part it needs")]

mod binary;
mod colleague;
mod database;
mod digest;
mod rescue;
mod scenario;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use binary::{Output, Rowback, Running};
pub use colleague::{Colleague, wait_until_rowback_waits};
pub use database::TestDb;
pub use digest::Digest;
pub use rescue::Rescue;
pub use scenario::Scenario;
pub use server::{Server, server};

/// Where directories of the tests lie: in memory where there is enough of it, since making clusters is most of what the
/// tests wait for, else in `/tmp`; not where `TMPDIR` says, since a socket's path must stay short.
pub fn parent_directory() -> &'static Path {
    static PARENT: OnceLock<&'static str> = OnceLock::new();
    const ENOUGH: u64 = 4 << 30;
    let parent = PARENT.get_or_init(|| {
        let free = rustix::fs::statvfs("/dev/shm").map_or(0, |shm| shm.f_bavail * shm.f_frsize);
        if free >= ENOUGH { "/dev/shm" } else { "/tmp" }
    });
    Path::new(parent)
}

/// A directory that is gone when the value is dropped. It may be entered by other users, since a server that root starts
/// runs as another one.
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    /// Makes an empty directory; `name` only helps to recognise it.
    pub fn new(name: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir =
            tempfile::Builder::new().prefix(&format!("rbt-{name}-")).tempdir_in(parent_directory()).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file inside it and returns the path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Waits until `condition` holds; panics with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program of the machine (python, duckdb's venv, sha256sum …) and returns its stdout; panics with its stderr.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `make test`"));
    assert!(
        output.status.success(),
        "{command:?} failed with {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The Python with pyarrow, duckdb and pgdumplib that `make test` sets up: the second readers of our files.
pub fn python() -> Command {
    let program = repository().join(".venv/bin/python");
    assert!(program.exists(), "{} is missing; run `make test`, which makes it", program.display());
    Command::new(program)
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
