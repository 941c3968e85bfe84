//! The references of a table's rows upwards: to whom a row refers, and which links are to be set again because the end of
//! their parent cut them, or because they still name a row that was made again. Pure.

use std::collections::BTreeMap;

use super::aftermath::Fate;
use super::blocked::Parents;
use super::judge::{Court, Settings};
use super::lookup::{RawKey, StagedRow, key_of};
use crate::catalog::ForeignKey;
use crate::recipe::Links;
use crate::value::copy_text::NULL;

/// A foreign key upwards from the table.
pub struct Upward<'a> {
    /// The reference.
    pub fk: &'a ForeignKey,
    /// Its child columns, as positions in `Fit::columns`.
    pub columns: Vec<usize>,
    /// The columns that a deletion of the parent sets, with what they are set to: raw COPY fields.
    pub set: Settings,
    /// Must a parent that is not staged be looked for in live?
    pub verify: bool,
}

impl Upward<'_> {
    /// The key to which a row refers.
    pub fn key(&self, row: &StagedRow) -> Option<RawKey> {
        self.fk.key_in(&row.fields, &self.columns)
    }

    /// The same as the backup has it.
    pub fn key_before(&self, row: &StagedRow) -> Option<RawKey> {
        if row.is_repointed(&self.columns) {
            self.fk.key_in(&row.before(), &self.columns)
        } else {
            self.key(row)
        }
    }

    /// Gives a row of live the key that the staged row has by now. In a document nothing else changes.
    pub(super) fn turn(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        cut: &mut Vec<usize>,
        truth: &mut BTreeMap<usize, RawKey>,
    ) {
        for (number, &at) in self.columns.iter().enumerate().filter(|(_, at)| row.was.contains_key(at)) {
            if self.fk.path(number).is_some() {
                let Some(value) = self.fk.referring(number, &row.fields[at]) else { continue };
                let document = truth.get(&at).unwrap_or(&live[at]);
                let Ok(document) = self.fk.refer(number, document, &value) else { continue };
                truth.insert(at, document);
            }
            cut.push(at);
        }
    }

    /// What a deletion of its parent leaves in a row that is recovered, and a word for it: the defaults, unless a row that must
    /// not get children has them.
    pub(super) fn left(&self, row: &StagedRow, parents: &Parents) -> (Settings, &'static str) {
        let mut fields = row.fields.clone();
        self.set.iter().for_each(|(at, value)| fields[*at].clone_from(value));
        let instead = key_of(&fields, &self.columns);
        if instead.is_some_and(|key| parents.blocked(self.fk, &key).is_none()) {
            return (self.set.clone(), "at its default");
        }
        (self.set.iter().map(|(at, _)| (*at, RawKey::from(NULL))).collect(), "empty")
    }
}

/// Columns of links that are to be set again.
#[derive(Default)]
pub struct Cut {
    /// Positions in `Fit::columns`.
    pub columns: Vec<usize>,
    /// What is written where that is not the staged row's value.
    pub truth: BTreeMap<usize, RawKey>,
}

impl Court<'_> {
    /// What the loss of a recovered parent emptied, and what still names one that was made again. Columns that are set right anyway
    /// say nothing of it.
    pub(super) fn cut_links(
        &self,
        row: &StagedRow,
        live: &[RawKey],
        refers: &[bool],
        parents: &Parents,
        is_set_right: impl Fn(usize) -> bool,
    ) -> Cut {
        let mut found = Cut::default();
        if self.links == Links::Leave {
            return found;
        }
        let cut = &mut found.columns;
        let told = self.told(row).map(|(_, fate)| fate);
        for (upward, _) in self.upwards.iter().zip(refers).filter(|(_, refers)| **refers) {
            let Some(key) = upward.key(row) else { continue };
            // A reference that nobody enforces still names the row that was lost.
            let lost = upward.key_before(row).filter(|lost| *lost != key);
            if lost.is_some() && upward.fk.key_in(live, &upward.columns) == lost {
                upward.turn(row, live, cut, &mut found.truth);
                continue;
            }
            if let Some(fate) = told {
                cut.extend(cut_in_accident(row, live, fate, upward, parents));
                continue;
            }
            if !upward.fk.cuts_link() {
                continue;
            }
            let is_set = |at: &usize| upward.set.iter().any(|(set, value)| set == at && live[*at] == *value);
            let is_kept = |at: &usize| row.fields[*at] == live[*at] || is_set_right(*at);
            let is_cut = upward.columns.iter().all(|at| is_set(at) || is_kept(at))
                && upward.set.iter().any(|(at, value)| live[*at] == *value && row.fields[*at] != *value);
            if is_cut && parents.is_recovered(upward.fk, &key) {
                cut.extend(upward.set.iter().map(|(at, _)| *at).filter(|&at| row.fields[at] != live[at]));
            }
        }
        cut.sort_unstable();
        cut.dedup();
        found
    }
}

/// Columns of a link that the accident emptied, whoever did it, and that live still holds as it left them.
fn cut_in_accident(
    row: &StagedRow,
    live: &[RawKey],
    fate: &Fate,
    upward: &Upward<'_>,
    parents: &Parents,
) -> Vec<usize> {
    let Fate::Stayed(changed) = fate else { return Vec::new() };
    let same = |number: usize, one: &[u8], two: &[u8]| {
        upward.fk.referring(number, one) == upward.fk.referring(number, two)
    };
    let pairs = || upward.columns.iter().copied().enumerate();
    let is_found = |(number, at): &(usize, usize)| {
        let is_as_left = |after: &RawKey| *after == live[*at] && !same(*number, after, &row.fields[*at]);
        changed.get(at).is_some_and(is_as_left)
    };
    let found: Vec<usize> = pairs().filter(is_found).map(|(_, at)| at).collect();
    let as_left = pairs().all(|(number, at)| found.contains(&at) || same(number, &row.fields[at], &live[at]));
    let key = upward.key(row).filter(|_| as_left && !found.is_empty());
    if key.is_some_and(|key| parents.is_recovered(upward.fk, &key)) { found } else { Vec::new() }
}
