//! What the accident made of a row, where a backup taken after it or a replay tells: gone, or there with these values.
//! Read from staging as extraction writes it down. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::drift::Fit;
use super::lookup::{RawKey, RawRow, text};
use super::verdict::Evidence;
use crate::value::copy_text::push_field;

/// Who tells what the accident did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Teller {
    /// The statement that did it, run again; the number of the first entry of the recipe that has it.
    Replay(u16),
    /// A second backup, taken after it.
    Bracket,
}

impl Teller {
    /// How we know what it tells.
    pub fn evidence(self) -> Evidence {
        match self {
            Self::Replay(_) => Evidence::Replay,
            Self::Bracket => Evidence::Bracket,
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match word.split_once(' ') {
            None if word == "bracket" => Some(Self::Bracket),
            Some(("replay", number)) => number.parse().ok().map(Self::Replay),
            _ => None,
        }
    }
}

/// What became of one row in the accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was deleted.
    Gone,
    /// It stayed; the columns that changed, as positions in `Fit::columns`, with their values afterwards: raw COPY
    /// fields.
    Stayed(BTreeMap<usize, RawKey>),
}

impl Fate {
    /// The value that the accident left in a column of a row that is `before` in the backup.
    pub fn value<'r>(&'r self, before: &'r RawRow, column: usize) -> Option<&'r [u8]> {
        match self {
            Self::Gone => None,
            Self::Stayed(changed) => Some(changed.get(&column).unwrap_or(&before[column])),
        }
    }
}

/// All that is told about one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aftermath(BTreeMap<Teller, Fate>);

impl Aftermath {
    /// Reads the raw field of staging's column; what is not there, or not written by extraction, tells nothing.
    pub fn parse(field: &[u8], fit: &Fit<'_>) -> Self {
        let told = text(field).and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
        let one = |(word, fate): (String, Value)| Some((Teller::parse(&word)?, read(&fate, fit)?));
        Self(told.into_iter().flatten().filter_map(one).collect())
    }

    /// The values that something left in a column, as raw COPY fields.
    pub fn left_in(&self, column: usize) -> impl Iterator<Item = &RawKey> {
        self.0.values().filter_map(move |fate| match fate {
            Fate::Gone => None,
            Fate::Stayed(changed) => changed.get(&column),
        })
    }

    /// Writes them as live does.
    pub fn reprint(&mut self, column: usize, print: impl Fn(&RawKey) -> Option<RawKey>) {
        for fate in self.0.values_mut() {
            let Fate::Stayed(changed) = fate else { continue };
            if let Some(value) = changed.get_mut(&column)
                && let Some(printed) = print(value)
            {
                *value = printed;
            }
        }
    }

    /// What this teller says.
    pub fn by(&self, teller: Teller) -> Option<&Fate> {
        self.0.get(&teller)
    }

    /// Does something tell of the row, and nothing that the accident deleted it?
    pub fn stayed(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|fate| matches!(fate, Fate::Stayed(_)))
    }

    /// The fate to show beside the backup's and live's values: the strongest.
    pub fn shown(&self) -> Option<&Fate> {
        self.0.values().next()
    }
}

fn read(fate: &Value, fit: &Fit<'_>) -> Option<Fate> {
    let Value::Object(changed) = fate else { return fate.is_null().then_some(Fate::Gone) };
    let mut found = BTreeMap::new();
    for (staged, value) in changed {
        let Ok(staged) = staged.parse::<usize>() else { return None };
        let Some(at) = fit.columns.iter().position(|column| column.staged == staged) else { continue };
        let mut field = Vec::new();
        push_field(&mut field, true, value.as_str().map(str::as_bytes));
        found.insert(at, field.into());
    }
    Some(Fate::Stayed(found))
}
