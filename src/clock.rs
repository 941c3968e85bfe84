//! The only place that reads the clock, so that everything else is a function of its input.

/// Now, as RFC 3339 in UTC with whole seconds.
pub fn now_utc() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
