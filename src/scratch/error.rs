//! What can go wrong on the way to a scratch database.

use std::path::PathBuf;

use crate::error::{Explain, Kind};
use crate::pg::PgError;

/// What can go wrong on the way to a scratch database.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// No directory with both `initdb` and `postgres`.
    #[error("no PostgreSQL server programs were found on this machine")]
    ProgramsMissing {
        /// Where was looked, in order.
        searched: Vec<PathBuf>,
    },
    /// Server programs are there, but all of an older major version than the backup's server.
    #[error("the PostgreSQL server programs on this machine are too old for this backup")]
    ProgramsTooOld {
        /// Directory and version text of each, newest first.
        found: Vec<(PathBuf, String)>,
        /// The major version that is needed.
        needed: u32,
    },
    /// The directory given as `--pg-bin` cannot be used.
    #[error("the server programs in \"{}\" cannot be used", directory.display())]
    ProgramsUnfit {
        /// The directory.
        directory: PathBuf,
        /// Why.
        problem: String,
    },
    /// We are root, the server must not be, and there is no account to run it as.
    #[error("there is no account to run the scratch server as")]
    NoAccount {
        /// The accounts that were tried.
        tried: Vec<String>,
    },
    /// The scratch directory cannot be made, written or locked.
    #[error("cannot {action} \"{}\"", path.display())]
    Directory {
        /// What was tried, for the message: "make", "write", "lock".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The account that runs the server cannot get to the scratch directory.
    #[error("the account \"{account}\" cannot enter \"{}\"", path.display())]
    Closed {
        /// The account that runs the server.
        account: String,
        /// The first directory on the way that it may not enter.
        path: PathBuf,
    },
    /// A program could not be run at all.
    #[error("cannot run \"{}\"", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb could not make the scratch cluster")]
    Initdb {
        /// Where the cluster was to be.
        directory: PathBuf,
        /// The last lines that it wrote.
        lines: Vec<String>,
    },
    /// The server ended while it started.
    #[error("the scratch server did not start")]
    ServerDied {
        /// Where the cluster is.
        directory: PathBuf,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        lines: Vec<String>,
    },
    /// The server runs, but lets nobody in within the time limit.
    #[error("the scratch server was not ready within {limit_secs} s")]
    ServerSlow {
        /// The time limit.
        limit_secs: u64,
        /// The last lines of its log.
        lines: Vec<String>,
    },
    /// A connection to the scratch database failed, or a statement there.
    #[error(transparent)]
    Pg(#[from] PgError),
}

/// Do these lines of a log speak of a full disk?
fn is_disk_full(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains("No space left on device") || line.contains("Disk quota exceeded"))
}

const INSTALL: &str = "Install the server (Debian, Ubuntu: `apt install postgresql`; Red Hat: `dnf install postgresql-server`; \
     macOS: `brew install postgresql`), name its directory with `--pg-bin DIR`, or use a server that runs with \
     `--scratch URL`.";

impl Explain for ScratchError {
    fn code(&self) -> &'static str {
        match self {
            Self::ProgramsMissing { .. } => "server-programs-missing",
            Self::ProgramsTooOld { .. } => "server-programs-too-old",
            Self::ProgramsUnfit { .. } => "server-programs-unfit",
            Self::NoAccount { .. } => "no-server-account",
            Self::Directory { .. } => "scratch-directory",
            Self::Closed { .. } => "scratch-directory-closed",
            Self::Spawn { .. } => "program-not-run",
            Self::Initdb { .. } => "initdb-failed",
            Self::ServerDied { .. } => "scratch-not-started",
            Self::ServerSlow { .. } => "scratch-not-ready",
            Self::Pg(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Pg(error) => error.kind(),
            _ => Kind::Input,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::ProgramsMissing { searched } => {
                let places: Vec<String> = searched.iter().map(|path| path.display().to_string()).collect();
                vec![format!("no directory with both `initdb` and `postgres` among {}", places.join(", "))]
            }
            Self::ProgramsTooOld { found, needed } => {
                let mut causes = vec![format!("the backup's server was version {needed}")];
                causes.extend(found.iter().map(|(path, version)| format!("{version} in {}", path.display())));
                causes
            }
            Self::ProgramsUnfit { problem, .. } => vec![problem.clone()],
            Self::NoAccount { tried } => {
                vec![format!(
                    "PostgreSQL refuses to run as root, and no account {} exists",
                    tried.join(" or ")
                )]
            }
            Self::Directory { source, .. } | Self::Spawn { source, .. } => vec![source.to_string()],
            Self::Closed { account, .. } => {
                vec![format!(
                    "PostgreSQL refuses to run as root, so the scratch server runs as \"{account}\""
                )]
            }
            Self::Initdb { lines, .. } | Self::ServerSlow { lines, .. } => lines.clone(),
            Self::ServerDied { status, lines, .. } => {
                std::iter::once(format!("it ended with {status}")).chain(lines.iter().cloned()).collect()
            }
            Self::Pg(error) => error.causes(),
        }
    }

    fn hint(&self) -> String {
        let advice = match self {
            Self::ProgramsMissing { .. } => INSTALL.to_owned(),
            Self::ProgramsTooOld { needed, .. } => format!(
                "Install version {needed} or newer beside them (Debian, Ubuntu: `apt install postgresql-{needed}`), name its \
                 directory with `--pg-bin DIR`, or use a server that runs with `--scratch URL`."
            ),
            Self::ProgramsUnfit { .. } => {
                "Name the directory that holds both `initdb` and `postgres` (`pg_config --bindir` prints it), or leave `--pg-bin` out."
                    .to_owned()
            }
            Self::NoAccount { .. } => {
                "Run rowback as an ordinary user, make an account `postgres`, or use `--scratch URL`.".to_owned()
            }
            Self::Closed { path, .. } => format!(
                "Let that account enter it (`chmod o+x {}`), or set `TMPDIR` to a directory that all may enter.",
                path.display()
            ),
            Self::Initdb { directory, lines } | Self::ServerDied { directory, lines, .. } if is_disk_full(lines) => {
                format!(
                    "The disk of \"{}\" is full: make room, or set `TMPDIR` to a directory on another one.",
                    directory.parent().unwrap_or(directory).display()
                )
            }
            Self::Directory { .. } => {
                "Set `TMPDIR` to a directory with room that this account may write to.".to_owned()
            }
            Self::Spawn { .. } => {
                "Check that the account that runs the server may execute it, or name other programs with `--pg-bin DIR`."
                    .to_owned()
            }
            Self::Initdb { .. } | Self::ServerDied { .. } | Self::ServerSlow { .. } => {
                "Read the lines above; `--pg-bin DIR` names other programs, `--scratch URL` a server that runs.".to_owned()
            }
            Self::Pg(error) => return error.hint(),
        };
        format!("{advice} The scratch directory was removed; live was not touched.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> std::io::Error {
        std::io::Error::from(std::io::ErrorKind::PermissionDenied)
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table of all errors")]
    fn every_error_has_its_words() {
        let path = || PathBuf::from("/x/scratch");
        let lines = || vec!["FATAL:  something".to_owned()];
        for (error, code, message, cause) in [
            (
                ScratchError::ProgramsMissing { searched: vec!["/a".into(), "/b".into()] },
                "server-programs-missing",
                "no PostgreSQL server programs were found on this machine",
                "no directory with both `initdb` and `postgres` among /a, /b",
            ),
            (
                ScratchError::ProgramsTooOld {
                    found: vec![("/a".into(), "postgres 14.1".into())],
                    needed: 17,
                },
                "server-programs-too-old",
                "the PostgreSQL server programs on this machine are too old for this backup",
                "the backup's server was version 17",
            ),
            (
                ScratchError::ProgramsUnfit {
                    directory: "/a".into(),
                    problem: "there is no `postgres` in it".into(),
                },
                "server-programs-unfit",
                "the server programs in \"/a\" cannot be used",
                "there is no `postgres` in it",
            ),
            (
                ScratchError::NoAccount { tried: vec!["postgres".into(), "nobody".into()] },
                "no-server-account",
                "there is no account to run the scratch server as",
                "PostgreSQL refuses to run as root, and no account postgres or nobody exists",
            ),
            (
                ScratchError::Directory { action: "make", path: path(), source: denied() },
                "scratch-directory",
                "cannot make \"/x/scratch\"",
                "permission denied",
            ),
            (
                ScratchError::Closed { account: "postgres".into(), path: "/root".into() },
                "scratch-directory-closed",
                "the account \"postgres\" cannot enter \"/root\"",
                "PostgreSQL refuses to run as root, so the scratch server runs as \"postgres\"",
            ),
            (
                ScratchError::Spawn { program: "/a/initdb".into(), source: denied() },
                "program-not-run",
                "cannot run \"/a/initdb\"",
                "permission denied",
            ),
            (
                ScratchError::Initdb { directory: path(), lines: lines() },
                "initdb-failed",
                "initdb could not make the scratch cluster",
                "FATAL:  something",
            ),
            (
                ScratchError::ServerDied {
                    directory: path(),
                    status: "exit status: 1".into(),
                    lines: lines(),
                },
                "scratch-not-started",
                "the scratch server did not start",
                "it ended with exit status: 1",
            ),
            (
                ScratchError::ServerSlow { limit_secs: 60, lines: lines() },
                "scratch-not-ready",
                "the scratch server was not ready within 60 s",
                "FATAL:  something",
            ),
        ] {
            assert_eq!((error.code(), error.kind()), (code, Kind::Input));
            assert_eq!((error.to_string(), error.causes()[0].as_str()), (message.to_owned(), cause));
            assert!(error.hint().ends_with("live was not touched."), "{}", error.hint());
        }
        let full = ScratchError::Initdb {
            directory: path(),
            lines: vec!["could not extend file: No space left on device".into()],
        };
        assert_eq!(
            full.hint(),
            "The disk of \"/x\" is full: make room, or set `TMPDIR` to a directory on another one. \
             The scratch directory was removed; live was not touched."
        );
    }
}
