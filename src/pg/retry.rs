//! When to try again: which SQLSTATEs are worth it, and how long to wait before each attempt.
//! Never decides what to repeat; the caller hands in one whole transaction.

use std::time::Duration;

use super::error::PgError;

/// How often and how patiently a transaction is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How many attempts in all; at least one is made.
    pub attempts: u32,
    /// The pause before the second attempt.
    pub first_pause: Duration,
    /// No pause is longer than this.
    pub longest_pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { attempts: 5, first_pause: Duration::from_millis(200), longest_pause: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// The pause after `failed` attempts (1 = the first one failed), doubling each time; `None` when that was the last.
    pub fn pause_after(&self, failed: u32) -> Option<Duration> {
        if failed >= self.attempts.max(1) {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(31);
        let pause = self.first_pause.saturating_mul(1_u32 << doublings);
        Some(pause.min(self.longest_pause))
    }
}

/// Is this SQLSTATE gone when the same transaction is tried again?
/// 55P03 lock not available, 40001 serialization failure, 40P01 deadlock.
pub fn is_worth_retrying(sqlstate: &str) -> bool {
    matches!(sqlstate, "55P03" | "40001" | "40P01")
}

/// Runs `attempt` (one whole transaction, rolled back by itself when it fails) until it succeeds, fails for another
/// reason, or the attempts are used up; `on_retry` hears of each pause.
pub async fn retry<T, E, Attempt>(
    backoff: Backoff,
    mut attempt: Attempt,
    mut on_retry: impl FnMut(u32, Duration, &E),
) -> Result<T, E>
where
    Attempt: AsyncFnMut(u32) -> Result<T, E>,
    E: RetryCause,
{
    let mut failed = 0;
    loop {
        let error = match attempt(failed + 1).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        failed += 1;
        let again = error.retry_sqlstate().is_some_and(is_worth_retrying);
        match backoff.pause_after(failed) {
            Some(pause) if again => {
                on_retry(failed, pause, &error);
                tokio::time::sleep(pause).await;
            }
            _ => return Err(error),
        }
    }
}

/// An error that may stem from a server; implemented by each stage's error that wraps [`PgError`].
pub trait RetryCause {
    /// The SQLSTATE behind the error, if a server gave one.
    fn retry_sqlstate(&self) -> Option<&str>;
}

impl RetryCause for PgError {
    fn retry_sqlstate(&self) -> Option<&str> {
        self.sqlstate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let backoff = Backoff {
            attempts: 6,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(1),
        };
        let pauses: Vec<_> = (1..=6).map(|failed| backoff.pause_after(failed)).collect();
        let millis = |number| Some(Duration::from_millis(number));
        assert_eq!(pauses, [millis(200), millis(400), millis(800), millis(1000), millis(1000), None]);
        assert_eq!(Backoff { attempts: 0, ..backoff }.pause_after(1), None);
        let patient = Backoff { attempts: u32::MAX, ..backoff };
        assert_eq!(patient.pause_after(4_000_000), millis(1000));
    }

    #[derive(Debug, PartialEq)]
    struct Failure(&'static str);

    impl RetryCause for Failure {
        fn retry_sqlstate(&self) -> Option<&str> {
            Some(self.0)
        }
    }

    async fn run(codes: &[&'static str]) -> (Result<u32, Failure>, Vec<u32>) {
        let backoff = Backoff { attempts: 3, first_pause: Duration::ZERO, longest_pause: Duration::ZERO };
        let mut heard = Vec::new();
        let mut left = codes.iter();
        let attempt = async |number| left.next().map_or(Ok(number), |code| Err(Failure(code)));
        let outcome = retry(backoff, attempt, |failed, _, _| heard.push(failed)).await;
        (outcome, heard)
    }

    #[tokio::test]
    async fn only_passing_failures_are_repeated() {
        assert_eq!(run(&[]).await, (Ok(1), vec![]));
        assert_eq!(run(&["55P03", "40P01"]).await, (Ok(3), vec![1, 2]));
        assert_eq!(run(&["40001"; 3]).await, (Err(Failure("40001")), vec![1, 2]));
        assert_eq!(run(&["23505"]).await, (Err(Failure("23505")), vec![]));
    }
}
