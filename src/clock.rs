//! The only place that reads the clock, so that everything else is a function of its input.

use std::fs::Metadata;
use std::io;
use std::time::{Duration, SystemTime};

/// How long ago a file was written; an error for one of the future.
pub fn age_of(file: &Metadata) -> io::Result<Duration> {
    SystemTime::now().duration_since(file.modified()?).map_err(io::Error::other)
}

/// Now, as RFC 3339 in UTC with whole seconds.
pub fn now_utc() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
