//! Is the live row with the same key the same entity? The recipe decides; without it natural keys, creation timestamps,
//! other unique values, what is counted within a parent and foreign keys speak, in this order. Pure.

use std::collections::BTreeSet;

use super::drift::Fit;
use super::lookup::{RawKey, StagedRow, key_of};
use crate::catalog::ForeignKey;
use crate::catalog::telling::{
    KeySpeech, UniqueSpeech, is_creation_moment, is_creation_time, is_fed_by_sequence,
};
use crate::ident::{Ident, TableName};
use crate::value::copy_text::is_null;

/// The answer, with the reason for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entity {
    /// The same.
    Same,
    /// Another one.
    Other(String),
    /// Nothing to go by.
    Uncertain(String),
}

/// The links by which live's row hangs on parents that are not the backup's, or may not be: what is only unique among the
/// children of one parent tells nothing of such a row.
#[derive(Debug, Default)]
pub struct Doubt {
    /// Positions of the links' columns.
    pub columns: Vec<usize>,
    /// Why the row itself is another one, unless it says more of itself: it can only hang there since.
    pub stranger: Option<String>,
}

/// A unique constraint beside the key.
#[derive(Debug)]
pub struct Unique {
    /// Its name.
    pub name: Ident,
    /// Its columns, as positions in `Fit::columns`.
    pub positions: Vec<usize>,
    speech: UniqueSpeech,
}

/// What the structure of a table says about its rows' identity; made once for a table.
#[derive(Debug)]
pub struct IdentityRule {
    table: TableName,
    given: Vec<usize>,
    key: (KeySpeech, Vec<usize>),
    /// Do the key's numbers come from a sequence?
    in_sequence: bool,
    /// Columns that tell when a row was made, and whether to the moment.
    created: Vec<(usize, bool)>,
    uniques: Vec<Unique>,
    foreign: Vec<(String, Vec<usize>)>,
    /// Columns that a row gets a value for where nobody gives one: a random name, a plan to begin with.
    handed_out: Vec<usize>,
    /// Columns of e-mail addresses, by their names.
    addresses: Vec<usize>,
    /// Columns that may be wrong because rows above are under the wrong owner.
    moving: BTreeSet<usize>,
}

impl IdentityRule {
    /// `given` is the recipe's `identity`; `foreign_keys` are live's, with the table as child.
    pub fn of<'a>(
        fit: &Fit<'_>,
        given: &[Ident],
        foreign_keys: impl Iterator<Item = &'a ForeignKey>,
    ) -> Self {
        let keys: Vec<&Ident> = fit.key.iter().map(|&at| &fit.columns[at].live.name).collect();
        let foreign: Vec<&ForeignKey> = foreign_keys.collect();
        let uniques = fit.live.keys.iter().filter(|key| {
            key.is_plain() && !key.exclusion && !keys.iter().all(|name| key.columns.contains(name))
        });
        let not_null = |fk: &&&ForeignKey| {
            fk.child_columns().all(|name| fit.live.column(name).is_some_and(|column| column.not_null))
        };
        Self {
            table: fit.live.name.clone(),
            given: fit.positions(given).unwrap_or_default(),
            key: (KeySpeech::of(fit.live, &keys, &foreign), fit.key.clone()),
            in_sequence: is_fed_by_sequence(fit.live, &keys),
            created: created_columns(fit),
            handed_out: (0..fit.columns.len())
                .filter(|&at| {
                    fit.columns[at].live.default.is_some() || fit.columns[at].live.identity.is_some()
                })
                .collect(),
            addresses: (0..fit.columns.len())
                .filter(|&at| fit.columns[at].live.name.as_str().to_lowercase().contains("mail"))
                .collect(),
            uniques: uniques
                .filter_map(|unique| {
                    let speech = UniqueSpeech::of(fit.live, unique, &keys, &foreign);
                    let (name, positions) = (unique.name.clone(), fit.positions(&unique.columns)?);
                    Some(Unique { name, positions, speech })
                })
                .collect(),
            foreign: foreign
                .iter()
                .filter(not_null)
                .filter(|fk| fk.is_enforced() && !fk.child_columns().all(|name| keys.contains(&name)))
                .filter_map(|fk| Some((fk.name.clone(), fit.positions(fk.child_columns())?)))
                .collect(),
            moving: BTreeSet::new(),
        }
    }

    /// A difference in these columns says nothing: rows get them from rows above that the recipe sets right.
    pub fn note_moving(&mut self, columns: impl Iterator<Item = usize>) {
        self.moving.extend(columns);
    }

    /// Columns whose values tell who is who by being equal: those that the recipe names, those of unique keys.
    pub fn told_by_values(&self) -> BTreeSet<usize> {
        self.given.iter().chain(self.uniques.iter().flat_map(|unique| &unique.positions)).copied().collect()
    }

    /// Columns that tell who a row is, or those among which a batch finds them.
    pub fn telling(&self) -> Vec<usize> {
        let mut all = self.told_by_values();
        all.extend(self.created.iter().map(|(at, _)| *at));
        all.into_iter().collect()
    }

    /// May the column be wrong because a row above is under the wrong owner?
    pub fn is_moving(&self, at: usize) -> bool {
        self.moving.contains(&at)
    }

    /// Compares the staged row with live's row of the same key. What is known to be `damaged` says nothing.
    pub fn judge(&self, staged: &StagedRow, live: &[RawKey], damaged: &[usize], doubt: &Doubt) -> Entity {
        let is_sound = |at: &&usize| !damaged.contains(at);
        let is_equal = |&at: &usize| staged.has_value_of(live, at);
        let mut given = self.given.iter().filter(is_sound).peekable();
        if given.peek().is_some() {
            return if given.all(is_equal) {
                Entity::Same
            } else {
                Entity::Other("the recipe's identity columns differ".into())
            };
        }
        let is_told = |positions: &[usize]| !positions.iter().any(|at| doubt.columns.contains(at));
        let (speech, key) = (self.key.0, &*self.key.1);
        if speech == KeySpeech::Natural && is_told(key) {
            return Entity::Same;
        }
        let (mut unique_differs, mut unique_equal, mut counts_alike) = (None, false, false);
        let are_sound = |positions: &[usize]| positions.iter().all(|at| !damaged.contains(at));
        let speaks =
            |unique: &&Unique| unique.speech != UniqueSpeech::Nothing && are_sound(&unique.positions);
        for Unique { name, positions, speech } in self.uniques.iter().filter(speaks) {
            if key_of(&staged.fields, positions).is_none() || key_of(live, positions).is_none() {
                continue;
            }
            if !positions.iter().all(is_equal) {
                let differs = positions.iter().any(|at| !is_equal(at) && !self.moving.contains(at));
                unique_differs = unique_differs.or_else(|| differs.then_some(name));
            } else if is_told(positions) {
                unique_equal |= *speech == UniqueSpeech::Both;
                counts_alike |= *speech == UniqueSpeech::WithinParent;
            }
        }
        let dated =
            |at: &usize| !damaged.contains(at) && !is_null(&staged.fields[*at]) && !is_null(&live[*at]);
        let mut same_day = false;
        for &(at, to_the_moment) in self.created.iter().filter(|(at, _)| dated(at)) {
            if !is_same_second(&staged.fields[at], &live[at]) {
                return Entity::Other(self.unless("it was created at another time"));
            }
            if to_the_moment {
                return Entity::Same;
            }
            same_day = true;
        }
        if unique_equal {
            return Entity::Same;
        }
        if let Some(name) = unique_differs {
            return Entity::Other(self.unless(&format!("the values of {name} differ")));
        }
        if let Some(reason) = &doubt.stranger {
            return Entity::Other(reason.clone());
        }
        if counts_alike || (speech == KeySpeech::WithinParent && is_told(key)) {
            return Entity::Same;
        }
        for (name, positions) in self.foreign.iter().filter(|(_, positions)| are_sound(positions)) {
            let rest: Vec<usize> = positions.iter().copied().filter(|at| !self.moving.contains(at)).collect();
            if key_of(&staged.fields, &rest) != key_of(live, &rest) {
                return Entity::Other(self.unless(&format!("{name} points elsewhere")));
            }
        }
        // Many rows are made on a day, but a sequence hands out no number twice unless somebody turns it back.
        if same_day && self.in_sequence {
            return Entity::Same;
        }
        Entity::Uncertain(format!(
            "nothing tells whether it is the same entity; `identity = [...]` for {} decides",
            self.table
        ))
    }

    /// With the recipe's line that would decide otherwise.
    fn unless(&self, reason: &str) -> String {
        format!("{reason} (unless `identity = [...]` for {} says more)", self.table)
    }

    /// Unique keys over plain columns beside the one by which rows are found.
    pub fn uniques(&self) -> &[Unique] {
        &self.uniques
    }

    /// Do the columns that the recipe names say that it is another one?
    pub fn says_other(&self, staged: &StagedRow, live: &[RawKey]) -> bool {
        !self.given.iter().all(|&at| staged.has_value_of(live, at))
    }

    /// Does the unique constraint say nothing for sure by being equal? The recipe's `identity` would.
    pub fn is_equal_by_chance(&self, constraint: &Ident) -> bool {
        let mut named = self.uniques.iter().filter(|unique| &unique.name == constraint);
        self.given.is_empty() && named.any(|unique| unique.speech == UniqueSpeech::WithinParent)
    }

    /// What says that a live row that holds unique values of the staged one is another thing all the same: another e-mail address
    /// (a telephone number or a login may be another one by now), or another required parent, that nobody hands out anew for a
    /// row that is made again. The recipe's `identity` knows better.
    pub fn difference_beside(&self, live: &[RawKey], staged: &StagedRow) -> Option<String> {
        if !self.given.is_empty() {
            return None;
        }
        let differ = |positions: &[usize]| {
            let told = key_of(live, positions).is_some() && key_of(&staged.fields, positions).is_some();
            told && !positions
                .iter()
                .all(|&at| staged.has_value_of(live, at) || self.handed_out.contains(&at))
        };
        let unique = self
            .uniques
            .iter()
            .find(|unique| {
                unique.positions.iter().any(|at| self.addresses.contains(at)) && differ(&unique.positions)
            })
            .map(|unique| self.unless(&format!("the values of {} differ", unique.name)));
        let elsewhere = || {
            let mut foreign = self.foreign.iter();
            let (name, _) = foreign.find(|(_, positions)| differ(positions))?;
            Some(self.unless(&format!("{name} points elsewhere")))
        };
        unique.or_else(elsewhere)
    }

    /// Was live's row made before the backup's? Then it is not that row made again.
    pub fn is_older(&self, live: &[RawKey], staged: &StagedRow) -> bool {
        // Of ISO texts the order is that of the times, but for infinity, BC and years of five digits.
        let is_plain = |value: &[u8]| {
            value.first().is_some_and(u8::is_ascii_digit)
                && value.get(4) == Some(&b'-')
                && !value.ends_with(b"BC")
        };
        self.created.iter().any(|&(at, _)| {
            is_plain(&live[at]) && is_plain(&staged.fields[at]) && live[at] < staged.fields[at]
        })
    }

    /// Was live's row made at another time than the backup's? Then the accident took the old one.
    pub fn was_made_again(&self, staged: &StagedRow, live: &[RawKey]) -> bool {
        self.created.iter().any(|&(at, _)| !is_same_second(&staged.fields[at], &live[at]))
    }
}

/// Are two times the same but for fractions of a second? Programs that write a whole row back cut these off.
fn is_same_second(one: &[u8], other: &[u8]) -> bool {
    const TO_THE_SECOND: usize = "2026-01-01 10:00:00".len();
    let cut = |value: &[u8]| {
        value.get(TO_THE_SECOND) == Some(&b'.')
            || value.get(TO_THE_SECOND) == Some(&b'+')
            || value.len() == TO_THE_SECOND
    };
    one == other || (cut(one) && cut(other) && one[..TO_THE_SECOND] == other[..TO_THE_SECOND])
}

fn created_columns(fit: &Fit<'_>) -> Vec<(usize, bool)> {
    fit.columns
        .iter()
        .enumerate()
        .filter(|(_, column)| is_creation_time(column.live))
        .map(|(at, column)| (at, is_creation_moment(column.live)))
        .collect()
}
