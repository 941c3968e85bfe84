//! How long the steps of a run took, for `--json` and the benchmark. Seconds; never part of a file that is compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::progress::{Progress, SharedProgress, Step};

/// Seconds by step: `scratch`, `load`, `extract`, `diff`, `plan`.
pub type Timings = BTreeMap<String, f64>;

/// Passes progress on and adds up how long one step took, however often it was started.
pub(super) struct StepClock {
    inner: SharedProgress,
    step: Step,
    spent: Mutex<(Option<Instant>, Duration)>,
}

impl StepClock {
    /// Watches `step`.
    pub(super) fn new(inner: SharedProgress, step: Step) -> Arc<Self> {
        Arc::new(Self { inner, step, spent: Mutex::new((None, Duration::ZERO)) })
    }

    /// The time between all starts and finishes so far.
    pub(super) fn spent(&self) -> Duration {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn mark(&self, step: Step, begins: bool) {
        if step == self.step {
            let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
            let since = spent.0.take().map_or(Duration::ZERO, |start| start.elapsed());
            spent.1 += since;
            spent.0 = begins.then(Instant::now);
        }
    }
}

impl Progress for StepClock {
    fn start(&self, step: Step, object: &str, total: Option<u64>) {
        self.mark(step, true);
        self.inner.start(step, object, total);
    }

    fn advance(&self, step: Step, units: u64) {
        self.inner.advance(step, units);
    }

    fn finish(&self, step: Step) {
        self.mark(step, false);
        self.inner.finish(step);
    }

    fn note(&self, line: &str) {
        self.inner.note(line);
    }
}
