//! What the structure of a table says about who its rows are: its key, its unique constraints, the time of creation. The
//! diff and the guards of the batches go by the same. Pure.

use super::{Column, ForeignKey, Table, UniqueKey};
use crate::ident::Ident;
use crate::sql::mention::may_name;
use crate::value::BaseType;

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

/// What a primary key says about who a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpeech {
    /// All: nobody hands it out twice by counting, or it names parents and nothing else.
    Natural,
    /// As much as its parent's key, where nothing else in the row says otherwise: order and line number.
    WithinParent,
    /// Nothing: it was counted.
    Counted,
}

impl KeySpeech {
    /// `key` are columns of `table`, `upward` the references with the table as child. A sequence counts whatever stands beside
    /// it: `(tenant_id, id)` says no more than `id`. A number beside a text says as much as within a parent.
    pub fn of(table: &Table, key: &[&Ident], upward: &[&ForeignKey]) -> Self {
        let own: Vec<&Column> = own(key, upward).filter_map(|name| table.column(name)).collect();
        if own.is_empty() {
            return if key.is_empty() { Self::Counted } else { Self::Natural };
        }
        let speaking = own.iter().filter(|column| speaks_for_itself(column)).count();
        if own.iter().any(|column| is_counted(column)) {
            Self::Counted
        } else if own.iter().any(|column| column.base_type == BaseType::Uuid) {
            Self::Natural
        } else if speaking > 0 {
            let numbers = own.iter().any(|column| is_whole_number(column));
            if numbers { Self::WithinParent } else { Self::Natural }
        } else if own.len() == key.len() {
            Self::Counted
        } else {
            Self::WithinParent
        }
    }
}

impl KeySpeech {
    /// Does the key say who a row is by saying who its parents are?
    pub fn leans_on_parents(table: &Table, key: &[&Ident], upward: &[&ForeignKey]) -> bool {
        let own = own(key, upward).count();
        own < key.len() && Self::of(table, key, upward) != Self::Counted
    }
}

/// What a unique constraint beside the key says about who a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueSpeech {
    /// Equal values say that it is the same, different ones that it is not.
    Both,
    /// The same where nothing else in the row says otherwise: a number within a parent, or the one row of a parent that a
    /// condition allows, is equal by chance as well.
    WithinParent,
    /// Different values say that it is not: what was counted is equal by chance.
    OnlyNo,
    /// Nothing: it holds what the key counts, and is equal with it.
    Nothing,
}

impl UniqueSpeech {
    /// `key` are columns of `table`, `upward` the references with the table as child.
    pub fn of(table: &Table, unique: &UniqueKey, key: &[&Ident], upward: &[&ForeignKey]) -> Self {
        let repeats = |name: &Ident| {
            let made_of_it = table.column(name).and_then(|column| column.generated_as.as_deref());
            let mut own = own(key, upward);
            own.any(|of_key| of_key == name || made_of_it.is_some_and(|made_of| may_name(made_of, of_key)))
        };
        if !unique.is_plain() || unique.exclusion || unique.columns.iter().any(repeats) {
            return Self::Nothing;
        }
        if unique.columns.iter().all(|name| key.contains(&name)) {
            return Self::Nothing;
        }
        let columns = || unique.columns.iter().filter_map(|name| table.column(name));
        if columns().any(is_counted) {
            return Self::OnlyNo;
        }
        let of_parent =
            |name: &Ident| upward.iter().any(|fk| fk.child_columns().any(|column| column == name));
        let own: Vec<&Column> = columns().filter(|column| !of_parent(&column.name)).collect();
        let has_parent = own.len() < unique.columns.len();
        let speaks = own.iter().any(|column| speaks_for_itself(column))
            || (!has_parent && own.iter().any(|column| is_whole_number(column)))
            || (own.is_empty() && unique.predicate.is_none());
        if speaks { Self::Both } else { Self::WithinParent }
    }

    /// May equal values say that it is the same?
    pub fn may_say_yes(self) -> bool {
        matches!(self, Self::Both | Self::WithinParent)
    }
}

/// Does it take the reference's parent to say who the table's rows are: is it in a key or a unique constraint that says so by
/// naming it? `upward` are the references with the table as child.
pub fn names_who_by(table: &Table, fk: &ForeignKey, upward: &[&ForeignKey]) -> bool {
    let key = table.key_columns().unwrap_or_default();
    let key: Vec<&Ident> = key.iter().collect();
    let in_key = KeySpeech::leans_on_parents(table, &key, upward)
        && fk.child_columns().any(|column| key.contains(&column));
    let mut speaking =
        table.keys.iter().filter(|unique| UniqueSpeech::of(table, unique, &key, upward).may_say_yes());
    let is_plain = fk.is_enforced() && !fk.is_over_time();
    is_plain && (in_key || speaking.any(|unique| fk.child_columns().any(|own| unique.columns.contains(own))))
}

/// The columns of a key that are not a parent's.
fn own<'k>(key: &'k [&'k Ident], upward: &'k [&'k ForeignKey]) -> impl Iterator<Item = &'k Ident> + 'k {
    let of_parent = |name: &Ident| upward.iter().any(|fk| fk.child_columns().any(|column| column == name));
    key.iter().copied().filter(move |name| !of_parent(name))
}

/// Values that nobody hands out twice by counting.
fn speaks_for_itself(column: &Column) -> bool {
    !column.deterministic
        || (!column.is_enum
            && matches!(
                column.base_type,
                BaseType::Text | BaseType::Varchar | BaseType::Bpchar | BaseType::Uuid | BaseType::Bytea
            ))
}

fn is_whole_number(column: &Column) -> bool {
    matches!(column.base_type, BaseType::Int2 | BaseType::Int4 | BaseType::Int8)
}

/// Does a sequence or a function hand out its numbers, or a sequence the numbers in its texts (`'C-' || nextval(…)`)?
fn is_counted(column: &Column) -> bool {
    let default = column.default.as_deref().unwrap_or_default();
    default.contains("nextval(")
        || default.contains("currval(")
        || (!speaks_for_itself(column)
            && (column.sequence.is_some()
                || column.identity.is_some()
                || (is_whole_number(column) && default.contains('('))))
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

/// Do the numbers of a key come from a sequence, so that none comes twice while nobody turns it back?
pub fn is_fed_by_sequence(table: &Table, key: &[&Ident]) -> bool {
    let mut columns = key.iter().filter_map(|name| table.column(name));
    columns.any(|column| column.sequence.is_some() || column.identity.is_some())
}

/// Is it that to the moment? Many rows are made on one day.
pub fn is_creation_moment(column: &Column) -> bool {
    is_creation_time(column) && column.base_type != BaseType::Date
}
