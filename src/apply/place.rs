//! Where a run stopped, in words: which batch, and what is committed.

use std::fmt;

/// What is being done to the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Committing them.
    Apply,
    /// Trying them, to be rolled back.
    DryRun,
    /// Taking them back.
    Undo,
}

/// A batch, and what is done so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What was being done.
    pub task: Task,
    /// The batch at which it stopped.
    pub batch: u32,
    /// Batches of the plan.
    pub of: u32,
    /// Batches that are committed (undo: taken back), lowest first.
    pub done: Vec<u32>,
}

impl Place {
    /// What is done besides a batch in doubt, to be added to a message.
    pub(super) fn of_the_others(place: Option<&Self>) -> String {
        place.map_or_else(String::new, |place| match place.task {
            Task::Apply => format!("; {} committed", numbers(&place.done)),
            Task::Undo => format!("; {} taken back", numbers(&place.done)),
            Task::DryRun => String::new(),
        })
    }

    /// What state was left, as a sentence.
    pub(super) fn what_is_left(&self) -> String {
        match self.task {
            Task::Apply if self.done.is_empty() => "Nothing was changed.",
            Task::Apply => "Committed batches are not repeated; this one was rolled back.",
            Task::DryRun => "Nothing was changed.",
            Task::Undo if self.done.is_empty() => "Nothing was taken back.",
            Task::Undo => "What is taken back stays so; this batch was rolled back.",
        }
        .to_owned()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, of) = (self.batch, self.of);
        match self.task {
            Task::Apply => {
                write!(formatter, "stopped at batch {batch} of {of}; {} committed", numbers(&self.done))
            }
            Task::DryRun => write!(formatter, "the dry run stopped at batch {batch} of {of}"),
            Task::Undo => {
                write!(formatter, "undo stopped at batch {batch} of {of}; {} taken back", numbers(&self.done))
            }
        }
    }
}

/// `batches 1–3, 7 are`, `batch 1 is`, `none is`.
fn numbers(done: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &number in done {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let words: Vec<String> = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}–{last}") })
        .collect();
    match done.len() {
        0 => "none is".to_owned(),
        1 => format!("batch {} is", words.join(", ")),
        _ => format!("batches {} are", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_batches_are_named_as_ranges() {
        assert_eq!(numbers(&[]), "none is");
        assert_eq!(numbers(&[4]), "batch 4 is");
        assert_eq!(numbers(&[1, 2, 3, 5, 7, 8]), "batches 1–3, 5, 7–8 are");
        let place = Place { task: Task::Apply, batch: 41, of: 120, done: (1..=40).collect() };
        assert_eq!(place.to_string(), "stopped at batch 41 of 120; batches 1–40 are committed");
    }
}
