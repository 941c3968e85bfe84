//! Progress: bars on a terminal, a line every ten seconds elsewhere. Writes to stderr only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rowback::progress::{Progress, Step};

use super::output::{Chatter, Output, write_stderr};
use super::table::{grouped, sized};

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Bars or lines, by what stderr is.
pub fn progress(output: &Output) -> Box<dyn Progress> {
    match output.chatter() {
        Chatter::Silent => Box::new(rowback::progress::Silent),
        Chatter::Lines => Box::new(Lines::new(LINE_EVERY, write_stderr)),
        Chatter::Bars => Box::new(Bars::new()),
    }
}

fn verb(step: Step) -> &'static str {
    match step {
        Step::Inspect => "checking",
        Step::Load => "loading",
        Step::Extract => "staging",
        Step::Diff | Step::Compare => "comparing",
        Step::Apply => "applying",
        Step::Verify => "verifying",
        Step::Undo => "undoing",
    }
}

fn is_bytes(step: Step) -> bool {
    step == Step::Inspect
}

fn amount(step: Step, units: u64) -> String {
    if is_bytes(step) { sized(units) } else { format!("{} rows", grouped(units)) }
}

/// A poisoned lock only means that another thread panicked while it drew; the numbers are still good.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bars on a terminal, one for each step that runs.
struct Bars {
    all: MultiProgress,
    running: Mutex<HashMap<Step, ProgressBar>>,
}

impl Bars {
    fn new() -> Self {
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)),
            running: Mutex::default(),
        }
    }

    fn style(step: Step, total: Option<u64>) -> ProgressStyle {
        let template = match (is_bytes(step), total.is_some()) {
            (true, true) => {
                "{prefix:>9} {msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
            }
            (true, false) => "{prefix:>9} {msg} {spinner} {binary_bytes} {binary_bytes_per_sec}",
            (false, true) => "{prefix:>9} {msg} {wide_bar} {human_pos}/{human_len} rows {per_sec} {eta}",
            (false, false) => "{prefix:>9} {msg} {spinner} {human_pos} rows {per_sec}",
        };
        // A template of ours that does not parse costs the looks, not the run.
        let plain =
            if total.is_some() { ProgressStyle::default_bar() } else { ProgressStyle::default_spinner() };
        ProgressStyle::with_template(template).unwrap_or(plain).with_key(
            "per_sec",
            |state: &indicatif::ProgressState, writer: &mut dyn std::fmt::Write| {
                // A writer that refuses can only be indicatif's own string.
                write!(writer, "{:.0} rows/s", state.per_sec()).unwrap_or_default();
            },
        )
    }
}

impl Progress for Bars {
    fn start(&self, step: Step, object: &str, total: Option<u64>) {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let bar = self.all.add(bar.with_style(Self::style(step, total)));
        bar.set_prefix(verb(step));
        bar.set_message(object.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Some(earlier) = locked(&self.running).insert(step, bar) {
            earlier.finish_and_clear();
        }
    }

    fn advance(&self, step: Step, units: u64) {
        if let Some(bar) = locked(&self.running).get(&step) {
            bar.inc(units);
        }
    }

    fn finish(&self, step: Step) {
        if let Some(bar) = locked(&self.running).remove(&step) {
            bar.finish_and_clear();
        }
    }

    fn note(&self, line: &str) {
        self.all.suspend(|| write_stderr(&format!("{line}\n")));
    }
}

/// One line every ten seconds, for logs.
struct Lines<W> {
    every: Duration,
    write: W,
    running: Mutex<HashMap<Step, Run>>,
}

struct Run {
    object: String,
    total: Option<u64>,
    done: u64,
    started: Instant,
    told: Instant,
}

impl<W: Fn(&str) + Send + Sync> Lines<W> {
    fn new(every: Duration, write: W) -> Self {
        Self { every, write, running: Mutex::default() }
    }
}

impl Run {
    fn line(&self, step: Step) -> String {
        let total = self.total.map(|total| format!(" of {}", amount(step, total))).unwrap_or_default();
        let millis = self.started.elapsed().as_millis().max(1);
        let rate = u64::try_from(u128::from(self.done) * 1000 / millis).unwrap_or(u64::MAX);
        format!(
            "{} {}: {}{total}, {}/s\n",
            verb(step),
            self.object,
            amount(step, self.done),
            amount(step, rate)
        )
    }
}

impl<W: Fn(&str) + Send + Sync> Progress for Lines<W> {
    fn start(&self, step: Step, object: &str, total: Option<u64>) {
        let now = Instant::now();
        let run = Run { object: object.to_owned(), total, done: 0, started: now, told: now };
        locked(&self.running).insert(step, run);
    }

    fn advance(&self, step: Step, units: u64) {
        let mut running = locked(&self.running);
        let Some(run) = running.get_mut(&step) else { return };
        run.done += units;
        if run.told.elapsed() >= self.every {
            run.told = Instant::now();
            (self.write)(&run.line(step));
        }
    }

    fn finish(&self, step: Step) {
        let Some(run) = locked(&self.running).remove(&step) else { return };
        if run.started.elapsed() >= self.every {
            (self.write)(&run.line(step));
        }
    }

    fn note(&self, line: &str) {
        (self.write)(&format!("{line}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(every: Duration) -> Vec<String> {
        let written = Mutex::new(Vec::new());
        let lines = Lines::new(every, |line: &str| written.lock().unwrap().push(line.to_owned()));
        lines.start(Step::Load, "public.orders", Some(2000));
        lines.advance(Step::Load, 1204);
        lines.advance(Step::Diff, 5);
        lines.finish(Step::Load);
        lines.note("a note");
        drop(lines);
        written.into_inner().unwrap()
    }

    #[test]
    fn lines_come_at_their_time() {
        let all = lines(Duration::ZERO);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[0].starts_with("loading public.orders: 1,204 rows of 2,000 rows, "), "{all:?}");
        assert_eq!(lines(Duration::from_secs(3600)), ["a note\n"]);
    }

    #[test]
    fn bars_can_be_styled() {
        for step in [Step::Inspect, Step::Apply] {
            for total in [None, Some(3)] {
                drop(Bars::style(step, total));
            }
        }
        let bars = Bars::new();
        bars.start(Step::Load, "a", None);
        bars.start(Step::Load, "b", Some(1));
        bars.advance(Step::Load, 1);
        bars.finish(Step::Load);
        assert_eq!(locked(&bars.running).len(), 0);
    }
}
