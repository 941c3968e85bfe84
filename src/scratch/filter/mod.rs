//! The recipe's condition as a filter over the dump's lines. A row is dropped only when its condition is certain not to
//! be true; whatever this cannot tell (a type with more than one text, a text that no server writes) keeps the row.
//! PostgreSQL evaluates the whole condition afterwards, so a filter may keep too much and never too little.

mod constant;
mod decimal;
mod moment;
mod orders;
mod outcomes;
mod row;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::constant::Meaning;
use self::outcomes::Outcomes;
pub use constant::packed_key;
pub(super) use constant::{is_canonical, whole_number};
pub use orders::Orders;
pub(super) use row::{Lines, SLOTS, field_at};

use self::constant::Test;
use crate::catalog::Table;
use crate::ident::Ident;
use crate::sql::condition::{Clause, ColumnTest};

/// A condition over the rows of one table, as far as it can be decided on their text.
#[derive(Debug, Clone)]
pub struct Condition {
    root: Arc<Node<Ident>>,
    text: String,
    undecided: Vec<String>,
}

/// A part of a condition; `C` names a column: by name, or by its slot in a stream.
#[derive(Debug)]
enum Node<C> {
    /// May turn out any way.
    Unknown,
    And(Vec<Node<C>>),
    Or(Vec<Node<C>>),
    Not(Box<Node<C>>),
    Test(C, Arc<Test>),
}

/// How a part must come out so that the row may be one of those asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    True,
    False,
}

impl Wanted {
    fn opposite(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
        }
    }
}

impl Condition {
    /// What of `clause` can be decided on the text of the rows of `table`; `None` when that drops no row. Texts of other
    /// encodings than UTF-8 (`utf8` false) are never compared.
    pub fn new(clause: &Clause, table: &Table, encoding: Encoding, orders: &Orders) -> Option<Self> {
        let mut undecided = Vec::new();
        let meaning = Meaning { table, encoding, orders };
        let root = node(clause, &meaning, &mut undecided);
        let text = words(&root, Wanted::True)?;
        Some(Self { root: Arc::new(root), text, undecided })
    }

    /// What is checked, in words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parts that only PostgreSQL decides, as it prints them.
    pub fn undecided(&self) -> &[String] {
        &self.undecided
    }

    /// The only values of `column` that a row can have for which the condition is true, as a dump writes them; `None`
    /// where it does not list them.
    pub fn values_of(&self, column: &Ident) -> Option<BTreeSet<Vec<u8>>> {
        values(&self.root, column)
    }

    /// The columns that are looked at.
    pub(super) fn columns(&self) -> BTreeSet<&Ident> {
        let mut found = BTreeSet::new();
        gather(&self.root, &mut found);
        found
    }

    /// The condition for a stream whose columns are found in slots; a column without one says nothing.
    pub(super) fn bind(&self, slot_of: &dyn Fn(&Ident) -> Option<usize>) -> Bound {
        Bound { root: bind(&self.root, slot_of) }
    }
}

/// Does the dump's text compare bytewise with ours?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The dump is UTF-8.
    Utf8,
    /// Another one: only numbers, times and the like have the same bytes.
    Other,
}

impl Encoding {
    /// By the name that the backup gives.
    pub fn named(name: &str) -> Self {
        if name == "UTF8" { Self::Utf8 } else { Self::Other }
    }
}

/// A condition made ready for one stream.
#[derive(Debug)]
pub(super) struct Bound {
    root: Node<usize>,
}

impl Bound {
    /// May the condition be true for this row?
    pub(super) fn may_be_true(&self, row: &Lines<'_>) -> bool {
        may_be(&self.root, Wanted::True, row)
    }
}

fn node(clause: &Clause, meaning: &Meaning<'_>, undecided: &mut Vec<String>) -> Node<Ident> {
    let mut all = |parts: &[Clause]| parts.iter().map(|part| node(part, meaning, undecided)).collect();
    match clause {
        Clause::And(parts) => Node::And(all(parts)),
        Clause::Or(parts) => Node::Or(all(parts)),
        Clause::Not(part) => Node::Not(Box::new(node(part, meaning, undecided))),
        Clause::Test(test) => {
            let found = meaning.of(test);
            found.map_or_else(
                || {
                    undecided.push(spelled(test));
                    Node::Unknown
                },
                |found| Node::Test(Ident::new(test.column.clone()), Arc::new(found)),
            )
        }
        Clause::Other(text) => {
            undecided.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
            Node::Unknown
        }
    }
}

fn spelled(test: &ColumnTest) -> String {
    let cast = test.cast.as_ref().map(|cast| format!("::{cast}")).unwrap_or_default();
    format!("a comparison of {}{cast}", Ident::new(test.column.clone()).quoted())
}

/// The decidable part in words; `None` when it can never be certain that the part is not `wanted`. For a conjunction
/// that is to be true one known part is enough; for one that is to be false, all are needed.
fn words(node: &Node<Ident>, wanted: Wanted) -> Option<String> {
    match (node, wanted) {
        (Node::Unknown, _) => None,
        (Node::Test(column, test), _) => Some(format!("{} {}", column.quoted(), test.words())),
        (Node::Not(part), _) => words(part, wanted.opposite()).map(|text| format!("not ({text})")),
        (Node::And(parts), Wanted::True) => some_words(parts, wanted, " and "),
        (Node::Or(parts), Wanted::False) => some_words(parts, wanted, " or "),
        (Node::And(parts), Wanted::False) => all_words(parts, wanted, " and "),
        (Node::Or(parts), Wanted::True) => all_words(parts, wanted, " or "),
    }
}

fn some_words(parts: &[Node<Ident>], wanted: Wanted, join: &str) -> Option<String> {
    let known: Vec<String> = parts.iter().filter_map(|part| words(part, wanted)).collect();
    (!known.is_empty()).then(|| known.join(join))
}

fn all_words(parts: &[Node<Ident>], wanted: Wanted, join: &str) -> Option<String> {
    let known: Option<Vec<String>> = parts.iter().map(|part| words(part, wanted)).collect();
    known.map(|known| format!("({})", known.join(join)))
}

fn gather<'a>(node: &'a Node<Ident>, found: &mut BTreeSet<&'a Ident>) {
    match node {
        Node::Unknown => {}
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| gather(part, found)),
        Node::Not(part) => gather(part, found),
        Node::Test(column, _) => {
            found.insert(column);
        }
    }
}

fn values(node: &Node<Ident>, column: &Ident) -> Option<BTreeSet<Vec<u8>>> {
    match node {
        Node::Test(name, test) if name == column => test.values(),
        Node::And(parts) => parts.iter().filter_map(|part| values(part, column)).min_by_key(BTreeSet::len),
        Node::Or(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(|part| values(part, column)).collect();
            Some(all?.into_iter().flatten().collect())
        }
        Node::Test(..) | Node::Not(_) | Node::Unknown => None,
    }
}

fn bind(node: &Node<Ident>, slot_of: &dyn Fn(&Ident) -> Option<usize>) -> Node<usize> {
    let all = |parts: &[Node<Ident>]| parts.iter().map(|part| bind(part, slot_of)).collect();
    match node {
        Node::Unknown => Node::Unknown,
        Node::And(parts) => Node::And(all(parts)),
        Node::Or(parts) => Node::Or(all(parts)),
        Node::Not(part) => Node::Not(Box::new(bind(part, slot_of))),
        Node::Test(column, test) => {
            slot_of(column).map_or(Node::Unknown, |slot| Node::Test(slot, test.clone()))
        }
    }
}

/// May the condition come out so? NULL is neither, and needs no account of its own: nothing here turns it into a truth.
fn may_be(node: &Node<usize>, wanted: Wanted, row: &Lines<'_>) -> bool {
    match (node, wanted) {
        (Node::Unknown, _) => true,
        (Node::Test(slot, test), _) => {
            let outcomes = row.field(*slot).map_or(Outcomes::ANY, |field| test.outcomes(field));
            match wanted {
                Wanted::True => outcomes.may_be_true(),
                Wanted::False => outcomes.may_be_false(),
            }
        }
        (Node::Not(part), _) => may_be(part, wanted.opposite(), row),
        (Node::And(parts), Wanted::True) | (Node::Or(parts), Wanted::False) => {
            parts.iter().all(|part| may_be(part, wanted, row))
        }
        (Node::And(parts), Wanted::False) | (Node::Or(parts), Wanted::True) => {
            parts.iter().any(|part| may_be(part, wanted, row))
        }
    }
}

#[cfg(test)]
mod tests;
