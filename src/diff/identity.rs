//! Is the live row with the same key the same entity? The recipe decides; without it natural keys, creation timestamps,
//! other unique values and foreign keys speak, in this order. Pure.

use std::collections::BTreeSet;

use super::drift::Fit;
use super::lookup::{RawKey, StagedRow, key_of};
use crate::catalog::{Column, ForeignKey, Table};
use crate::ident::{Ident, TableName};
use crate::value::BaseType;
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

/// What a primary key says about who a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpeech {
    /// All: nobody hands it out twice by counting, or it links several parents and is nothing else.
    Natural,
    /// As much as its parent's key, where nothing else in the row says otherwise: order and line number.
    WithinParent,
    /// Nothing: it was counted.
    Counted,
}

impl KeySpeech {
    /// `key` are columns of `table`, `upward` the references with the table as child. A sequence counts whatever stands beside
    /// it: `(tenant_id, id)` says no more than `id`.
    pub fn of(table: &Table, key: &[&Ident], upward: &[&ForeignKey]) -> Self {
        let of_parent =
            |name: &Ident| upward.iter().any(|fk| fk.child_columns().any(|column| column == name));
        let own: Vec<&Column> =
            key.iter().filter(|name| !of_parent(name)).filter_map(|name| table.column(name)).collect();
        let speaks =
            |column: &&Column| !column.deterministic || speaks_for_itself(column.base_type, column.is_enum);
        if own.is_empty() {
            return if key.len() > 1 { Self::Natural } else { Self::Counted };
        }
        if own.iter().any(|column| !speaks(column) && column.sequence.is_some()) {
            Self::Counted
        } else if own.iter().any(speaks) {
            Self::Natural
        } else if own.len() == key.len() {
            Self::Counted
        } else {
            Self::WithinParent
        }
    }
}

/// Column names that tell when a row was made.
const CREATED: [&str; 10] = [
    "created_at",
    "created",
    "created_on",
    "creation_date",
    "create_date",
    "date_created",
    "inserted_at",
    "createdat",
    "creation_time",
    "create_time",
];

/// What the structure of a table says about its rows' identity; made once for a table.
#[derive(Debug)]
pub struct IdentityRule {
    table: TableName,
    given: Vec<usize>,
    key: KeySpeech,
    created: Vec<usize>,
    uniques: Vec<(Ident, Vec<usize>)>,
    foreign: Vec<(String, Vec<usize>)>,
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
            key: KeySpeech::of(fit.live, &keys, &foreign),
            created: created_columns(fit),
            uniques: uniques
                .filter_map(|key| Some((key.name.clone(), fit.positions(&key.columns)?)))
                .collect(),
            foreign: foreign
                .iter()
                .filter(not_null)
                .filter(|fk| fk.is_enforced() && !fk.child_columns().all(|name| keys.contains(&name)))
                .filter_map(|fk| Some((fk.name.clone(), fit.positions(fk.child_columns())?)))
                .collect(),
        }
    }

    /// Columns whose values tell who is who by being equal: those that the recipe names, those of unique keys.
    pub fn told_by_values(&self) -> BTreeSet<usize> {
        self.given.iter().chain(self.uniques.iter().flat_map(|(_, positions)| positions)).copied().collect()
    }

    /// Compares the staged row with live's row of the same key. What is known to be `damaged` says nothing.
    pub fn judge(&self, staged: &StagedRow, live: &[RawKey], damaged: &[usize]) -> Entity {
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
        if self.key == KeySpeech::Natural {
            return Entity::Same;
        }
        let mut unique_differs = None;
        let are_sound = |positions: &[usize]| positions.iter().all(|at| !damaged.contains(at));
        for (name, positions) in self.uniques.iter().filter(|(_, positions)| are_sound(positions)) {
            match (key_of(&staged.fields, positions), key_of(live, positions)) {
                (Some(_), Some(_)) if positions.iter().all(is_equal) => return Entity::Same,
                (Some(_), Some(_)) => unique_differs = Some(name),
                _ => {}
            }
        }
        for &at in self.created.iter().filter(is_sound) {
            if !is_null(&staged.fields[at]) && !is_null(&live[at]) {
                return if staged.fields[at] == live[at] {
                    Entity::Same
                } else {
                    Entity::Other("it was created at another time".into())
                };
            }
        }
        if let Some(name) = unique_differs {
            return Entity::Other(format!("the values of {name} differ"));
        }
        if self.key == KeySpeech::WithinParent {
            return Entity::Same;
        }
        for (name, positions) in self.foreign.iter().filter(|(_, positions)| are_sound(positions)) {
            if key_of(&staged.fields, positions) != key_of(live, positions) {
                return Entity::Other(format!("{name} points elsewhere"));
            }
        }
        Entity::Uncertain(format!(
            "nothing tells whether it is the same entity; `identity = [...]` for {} decides",
            self.table
        ))
    }

    /// Unique keys over plain columns beside the one by which rows are found: names and positions.
    pub fn uniques(&self) -> &[(Ident, Vec<usize>)] {
        &self.uniques
    }

    /// Do the columns that the recipe names say that it is another one?
    pub fn says_other(&self, staged: &StagedRow, live: &[RawKey]) -> bool {
        !self.given.iter().all(|&at| staged.has_value_of(live, at))
    }

    /// Was live's row made before the backup's? Then it is not that row made again.
    pub fn is_older(&self, live: &[RawKey], staged: &StagedRow) -> bool {
        // Of ISO texts the order is that of the times, but for infinity, BC and years of five digits.
        let is_plain = |value: &[u8]| {
            value.first().is_some_and(u8::is_ascii_digit)
                && value.get(4) == Some(&b'-')
                && !value.ends_with(b"BC")
        };
        self.created
            .iter()
            .any(|&at| is_plain(&live[at]) && is_plain(&staged.fields[at]) && live[at] < staged.fields[at])
    }

    /// Was live's row made at another time than the backup's? Then the accident took the old one.
    pub fn was_made_again(&self, staged: &StagedRow, live: &[RawKey]) -> bool {
        self.created.iter().any(|&at| staged.fields[at] != live[at])
    }
}

/// Values that nobody hands out twice by counting.
fn speaks_for_itself(base_type: BaseType, is_enum: bool) -> bool {
    !is_enum
        && matches!(
            base_type,
            BaseType::Text | BaseType::Varchar | BaseType::Bpchar | BaseType::Uuid | BaseType::Bytea
        )
}

/// Is it a number or a time? Triggers move these: counters, totals, the time of the last change.
pub fn moves_often(column: &Column) -> bool {
    !matches!(
        column.base_type,
        BaseType::Text
            | BaseType::Varchar
            | BaseType::Bpchar
            | BaseType::Name
            | BaseType::Uuid
            | BaseType::Bytea
    )
}

/// Does the column tell when its row was made?
pub fn is_creation_time(column: &Column) -> bool {
    matches!(column.base_type, BaseType::Date | BaseType::Timestamp | BaseType::TimestampTz)
        && CREATED.contains(&column.name.as_str().to_lowercase().as_str())
}

fn created_columns(fit: &Fit<'_>) -> Vec<usize> {
    fit.columns
        .iter()
        .enumerate()
        .filter(|(_, column)| is_creation_time(column.live))
        .map(|(at, _)| at)
        .collect()
}
