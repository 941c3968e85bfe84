//! Does a server wait for its disk, as the time of look-ups tells?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// From so many rows on a look-up tells.
const TELLING_ROWS: usize = 500;

/// What one row may take where its pages are in memory: some 10 to 30 µs there, 100 µs and more for each page from a disk.
const SLOW_ROW: Duration = Duration::from_micros(100);

/// What the look-ups told. It stays slow once it was: what memory has by now says nothing of the next table.
#[derive(Debug, Default)]
pub(super) struct Pace {
    slow: AtomicBool,
}

impl Pace {
    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// A look-up of `rows` rows took so long.
    pub(super) fn looked_up(&self, rows: usize, took: Duration) {
        if rows >= TELLING_ROWS && took > SLOW_ROW * u32::try_from(rows).unwrap_or(u32::MAX) {
            self.slow.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_that_took_long_tell_that_a_server_is_slow() {
        let (pace, second) = (Pace::default(), Duration::from_secs(1));
        let mut told = vec![];
        for (rows, took) in [(499, second), (2000, second / 5), (2000, second / 4), (2000, second / 50)] {
            pace.looked_up(rows, took);
            told.push(pace.is_slow());
        }
        assert_eq!(told, [false, false, true, true]);
    }
}
