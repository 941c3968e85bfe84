//! Which rows of a table scratch asks the backup for: a superset of the rows that can matter, decided on the text of
//! the dump. PostgreSQL evaluates the real condition afterwards.

use std::sync::Arc;

use super::filter::{Bound, Condition, Lines, SLOTS, field_at};
use super::keys::KeySet;
use crate::backup::RowFilter;
use crate::catalog::column_list;
use crate::ident::Ident;

/// Rows whose `columns` hold one of `keys`.
#[derive(Debug, Clone)]
pub struct KeyMatch {
    /// The columns, in the order of the keys' fields.
    pub columns: Vec<Ident>,
    /// The wanted keys.
    pub keys: Arc<KeySet>,
}

/// One way to be wanted.
#[derive(Debug, Clone)]
pub enum Wish {
    /// By key.
    Keys(KeyMatch),
    /// By condition.
    Condition(Condition),
    /// By both.
    Both(Condition, KeyMatch),
}

impl Wish {
    /// Does it want every row that `other` wants? `false` where that is not plain to see.
    fn covers(&self, other: &Self) -> bool {
        let (Self::Keys(own), Self::Keys(other)) = (self, other) else { return false };
        own.columns == other.columns && other.keys.is_subset(&own.keys)
    }

    fn words(&self) -> String {
        let by_key =
            |keys: &KeyMatch| format!("({}) in {} keys", column_list(&keys.columns), keys.keys.len());
        match self {
            Self::Keys(keys) => by_key(keys),
            Self::Condition(condition) => condition.text().to_owned(),
            Self::Both(condition, keys) => format!("{} and {}", condition.text(), by_key(keys)),
        }
    }
}

/// What to load of a table.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Every row.
    All,
    /// Rows that match at least one of these.
    AnyOf(Vec<Wish>),
}

impl Choice {
    /// Does it want every row that `other` wants? `false` where that is not plain to see.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::AnyOf(_), Self::All) => false,
            (Self::AnyOf(own), Self::AnyOf(others)) => {
                others.iter().all(|other| own.iter().any(|wish| wish.covers(other)))
            }
        }
    }

    /// In words, for people.
    pub fn words(&self) -> String {
        let Self::AnyOf(wishes) = self else { return "every row".to_owned() };
        wishes.iter().map(Wish::words).collect::<Vec<_>>().join(" or ")
    }
}

/// A choice made ready for one stream, whose column order it knows.
#[derive(Debug)]
pub struct ChoiceFilter {
    wanted: Ready,
    earlier: Vec<Ready>,
}

/// How a choice decides depends on the choice and the stream's columns alone, never on the other choices of the run: what
/// an earlier pass has loaded must come out the same when a later one leaves it out.
#[derive(Debug)]
enum Ready {
    All,
    AnyOf(Vec<ReadyWish>),
}

/// All of these must hold.
#[derive(Debug)]
struct ReadyWish(Vec<ReadyPart>);

#[derive(Debug)]
struct ReadyPart {
    /// Positions of the columns it looks at, in order.
    positions: Vec<usize>,
    test: ReadyTest,
}

#[derive(Debug)]
enum ReadyTest {
    /// The slots of the key's columns, in the order of the key.
    Keys(Vec<usize>, Arc<KeySet>),
    Condition(Bound),
}

impl ChoiceFilter {
    /// Lets through what `choice` wants and none of the `earlier` choices wanted.
    pub fn new(choice: &Choice, earlier: &[Choice], columns: &[Ident]) -> Self {
        let ready = |choice: &Choice| Ready::new(choice, columns);
        Self { wanted: ready(choice), earlier: earlier.iter().map(ready).collect() }
    }
}

impl Ready {
    fn new(choice: &Choice, columns: &[Ident]) -> Self {
        let Choice::AnyOf(wishes) = choice else { return Self::All };
        // What a stream's columns cannot decide (a generated column is not among them) lets everything through.
        let ready: Vec<ReadyWish> = wishes.iter().map(|wish| ReadyWish::new(wish, columns)).collect();
        if ready.iter().any(|wish| wish.0.is_empty()) { Self::All } else { Self::AnyOf(ready) }
    }

    fn keeps(&self, row: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::AnyOf(wishes) => wishes.iter().any(|wish| wish.keeps(row)),
        }
    }
}

impl ReadyWish {
    /// The parts that the stream's columns can decide; none at all lets everything through.
    fn new(wish: &Wish, columns: &[Ident]) -> Self {
        Self(match wish {
            Wish::Keys(keys) => ReadyPart::keys(keys, columns).into_iter().collect(),
            Wish::Condition(condition) => vec![ReadyPart::condition(condition, columns)],
            Wish::Both(condition, keys) => {
                let by_key = ReadyPart::keys(keys, columns);
                std::iter::once(ReadyPart::condition(condition, columns)).chain(by_key).collect()
            }
        })
    }

    fn keeps(&self, row: &[u8]) -> bool {
        self.0.iter().all(|part| part.keeps(row))
    }
}

impl ReadyPart {
    fn keys(found: &KeyMatch, columns: &[Ident]) -> Option<Self> {
        let position = |wanted: &Ident| columns.iter().position(|column| column == wanted);
        let of_key: Vec<usize> = found.columns.iter().map(position).collect::<Option<_>>()?;
        let positions = in_order(of_key.iter().copied());
        let slots = of_key.iter().map(|at| positions.binary_search(at).ok()).collect::<Option<_>>()?;
        let fits = of_key.len() <= SLOTS;
        fits.then(|| Self { positions, test: ReadyTest::Keys(slots, found.keys.clone()) })
    }

    fn condition(condition: &Condition, columns: &[Ident]) -> Self {
        let position = |wanted: &Ident| columns.iter().position(|column| column == wanted);
        let mut positions = in_order(condition.columns().into_iter().filter_map(position));
        positions.truncate(SLOTS);
        let slot_of = |column: &Ident| positions.binary_search(&position(column)?).ok();
        let bound = condition.bind(&slot_of);
        Self { positions, test: ReadyTest::Condition(bound) }
    }

    fn keeps(&self, row: &[u8]) -> bool {
        // A row that is too short is for PostgreSQL to refuse.
        if let (ReadyTest::Keys(slots, keys), [position]) = (&self.test, self.positions.as_slice())
            && slots.len() == 1
        {
            return field_at(row, *position).is_none_or(|field| keys.may_contain(&[field], &mut Vec::new()));
        }
        let fields = Lines::new(row, &self.positions);
        match &self.test {
            ReadyTest::Condition(bound) => bound.may_be_true(&fields),
            ReadyTest::Keys(slots, keys) => {
                let mut key: [&[u8]; SLOTS] = [&[]; SLOTS];
                for (place, slot) in key.iter_mut().zip(slots) {
                    let Some(field) = fields.field(*slot) else { return true };
                    *place = field;
                }
                keys.may_contain(&key[..slots.len()], &mut Vec::new())
            }
        }
    }
}

fn in_order(positions: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut positions: Vec<usize> = positions.collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

impl RowFilter for ChoiceFilter {
    fn keep(&self, row: &[u8]) -> bool {
        self.wanted.keeps(row) && !self.earlier.iter().any(|earlier| earlier.keeps(row))
    }

    fn keeps_all(&self) -> bool {
        matches!(self.wanted, Ready::All) && self.earlier.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::keys::KeySort;

    fn keys(sort: KeySort, rows: &[&str]) -> Arc<KeySet> {
        let mut set = KeySet::new(sort);
        assert!(rows.iter().all(|row| set.insert(row.as_bytes())));
        Arc::new(set)
    }

    fn idents(names: &[&str]) -> Vec<Ident> {
        names.iter().copied().map(Ident::from).collect()
    }

    #[test]
    fn keeps_wanted_rows_once() {
        let by_a = Wish::Keys(KeyMatch { columns: idents(&["a"]), keys: keys(KeySort::Whole, &["7"]) });
        let by_pair =
            Wish::Keys(KeyMatch { columns: idents(&["c", "a"]), keys: keys(KeySort::Text, &["x\t8"]) });
        let columns = idents(&["a", "b", "c"]);
        let choice = Choice::AnyOf(vec![by_a.clone(), by_pair]);
        let filter = ChoiceFilter::new(&choice, &[], &columns);
        let kept = |filter: &ChoiceFilter| {
            ["7\t1\tz", "8\t1\tx", "8\t1\ty", "77\t1\tx", "\\N\t1\tx"].map(|row| filter.keep(row.as_bytes()))
        };
        assert_eq!(kept(&filter), [true, true, false, false, false]);
        let second = ChoiceFilter::new(&choice, &[Choice::AnyOf(vec![by_a.clone()])], &columns);
        assert_eq!(kept(&second), [false, true, false, false, false]);
        let rest = ChoiceFilter::new(&Choice::All, &[Choice::AnyOf(vec![by_a])], &columns);
        assert_eq!(kept(&rest), [false, true, true, true, true]);
        let undecidable = ChoiceFilter::new(&choice, &[], &idents(&["a", "b"]));
        assert_eq!(kept(&undecidable), [true; 5]);
        assert_eq!(choice.words(), "(a) in 1 keys or (c, a) in 1 keys");
    }

    #[test]
    fn a_choice_covers_what_it_plainly_wants() {
        let by = |column: &str, rows: &[&str]| {
            Wish::Keys(KeyMatch { columns: idents(&[column]), keys: keys(KeySort::Whole, rows) })
        };
        let any = |wishes: &[&Wish]| Choice::AnyOf(wishes.iter().copied().cloned().collect());
        let (few, many, other) = (by("a", &["1", "2"]), by("a", &["1", "2", "3"]), by("b", &["1"]));
        let texts = Wish::Keys(KeyMatch { columns: idents(&["a"]), keys: keys(KeySort::Text, &["1", "2"]) });
        for (one, another, covers) in [
            (Choice::All, Choice::All, true),
            (Choice::All, any(&[&few]), true),
            (any(&[&few]), Choice::All, false),
            (any(&[&many]), any(&[&few]), true),
            (any(&[&few]), any(&[&many]), false),
            (any(&[&many]), any(&[&few, &other]), false),
            (any(&[&other, &many]), any(&[&few, &other]), true),
            (any(&[&texts]), any(&[&few]), false),
            (any(&[&few]), any(&[]), true),
        ] {
            assert_eq!(one.covers(&another), covers, "{} of {}", one.words(), another.words());
        }
    }
}
