//! The one error type of the library and what every error must be able to tell.
//! Each stage has its own enum; here they are only put side by side. Exit codes are the binary's business.

/// What sort of failure an error is, seen from the person who has to react to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command or recipe was wrong; nothing was touched.
    Usage,
    /// An input cannot be reached or read.
    Input,
    /// Going on would break a promise.
    Refused,
    /// Stopped midway; the same command goes on.
    Stopped,
    /// A bug of rowback.
    Bug,
}

/// The three parts of every message: what happened (`Display`), why (`causes`), what to do and what was left (`hint`).
pub trait Explain: std::error::Error {
    /// Permanent kebab-case name of the error, listed in `docs/errors.md`.
    fn code(&self) -> &'static str;
    /// What sort of failure it is.
    fn kind(&self) -> Kind;
    /// Facts, one line per source; database errors give message, SQLSTATE, detail and constraint.
    fn causes(&self) -> Vec<String>;
    /// Full sentences: what to do next and what state was left behind.
    fn hint(&self) -> String;
}

/// Was there no room for what was written?
pub fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
