//! Which batches of a plan may be written side by side: those that cannot meet, whoever comes first. Live is asked what ties
//! its tables together just before; everything else is pure. What is not surely free of ties is written alone, in its turn.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use serde::Deserialize;

use crate::ident::{Ident, TableName};
use crate::pg::{PgError, WriteSession, column};
use crate::plan::script::Step;
use crate::plan::{Action, Batch, Part, Plan};
use crate::sql::registry::APPLY_TIES;
use crate::value::copy_text::{fields, is_null};

const WHAT: &str = "asking what ties tables together";

/// Values of one unique key that are held in memory; the batches of a table with more are written alone.
const VALUES_AT_MOST: usize = 4_000_000;

/// What live says about one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tie {
    /// Triggers or rules may do anything.
    alone: bool,
    /// A row may go from one partition to another.
    partitioned: bool,
    /// All unique keys; `None` where nobody can tell from their text whether rows collide.
    keys: Option<Vec<Key>>,
    /// Columns on whose values other rows, or the place of this one, may depend.
    settled: BTreeSet<Ident>,
    /// The tables that it refers to, of those that were asked about.
    parents: BTreeSet<TableName>,
}

/// A unique key of plain columns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Key {
    columns: Vec<Ident>,
    /// Are values different whose texts are?
    by_text: bool,
}

/// What live and the recipe say about the tables of a plan.
#[derive(Debug, Default)]
pub(super) struct Ties {
    tables: BTreeMap<TableName, Tie>,
}

impl Ties {
    /// Asks live about the tables of these batches.
    pub(super) async fn ask(session: &WriteSession, plan: &Plan, batches: &[Batch]) -> Result<Self, PgError> {
        let parts = batches.iter().filter_map(only_part);
        let names: BTreeSet<&TableName> = parts.map(|part| &part.table).collect();
        let names: Vec<&TableName> = names.into_iter().collect();
        let schemas: Vec<&str> = names.iter().map(|table| table.schema.as_str()).collect();
        let tables: Vec<&str> = names.iter().map(|table| table.name.as_str()).collect();
        let mut found = BTreeMap::new();
        for row in session.query(&APPLY_TIES, &[&schemas, &tables]).await? {
            let name = TableName::new(
                column::<String>(&row, "schema", WHAT)?,
                column::<String>(&row, "name", WHAT)?,
            );
            let parents: Vec<i64> = column::<Option<_>>(&row, "parents", WHAT)?.unwrap_or_default();
            let parent = |n: i64| names.get(usize::try_from(n).ok()?.checked_sub(1)?).copied().cloned();
            let mut tie = Tie {
                alone: column(&row, "alone", WHAT)?,
                partitioned: column(&row, "partitioned", WHAT)?,
                keys: column::<Option<String>>(&row, "keys", WHAT)?
                    .and_then(|keys| serde_json::from_str(&keys).ok()),
                settled: column::<Option<_>>(&row, "settled", WHAT)?.map(idents).unwrap_or_default(),
                parents: parents.into_iter().filter_map(parent).collect(),
            };
            let declared = plan.declared.iter().filter(|reference| reference.child == name);
            tie.parents.extend(declared.map(|reference| reference.parent.clone()));
            found.insert(name, tie);
        }
        Ok(Self { tables: found })
    }

    /// The batches in stretches: those of one may be written side by side, one stretch after the other. What a batch looks at
    /// before it writes are parents of its rows, which other batches of its stretch leave alone.
    pub(super) fn stretches(&self, batches: &[Batch]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut open: Vec<&Part> = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            let part = only_part(batch).filter(|part| self.is_free(part));
            let joins =
                part.is_some_and(|part| !open.is_empty() && open.iter().all(|one| self.apart(one, part)));
            match found.last_mut() {
                Some(last) if joins => last.end = at + 1,
                _ => {
                    open.clear();
                    found.push(at..at + 1);
                }
            }
            // One of a sort speaks for all.
            open.extend(part.filter(|part| !open.iter().any(|one| same_sort(one, part))));
        }
        found
    }

    /// Can other batches of this sort do the same at the same time?
    fn is_free(&self, part: &Part) -> bool {
        let Some(tie) = self.tables.get(&part.table) else { return false };
        let free = match part.action {
            Action::Insert => self.told_apart(part).is_some(),
            Action::Update => !tie.partitioned && part.columns.iter().all(|name| !tie.settled.contains(name)),
            Action::Move => false,
        };
        free && !tie.alone && !tie.parents.contains(&part.table)
    }

    /// The unique keys of its table by which rows of a batch could collide with those of another one, and which their text
    /// tells; `None` where it does not. Rows of different batches have different keys of the part.
    fn told_apart(&self, part: &Part) -> Option<Vec<&Key>> {
        let tie = self.tables.get(&part.table)?;
        let covered = |key: &Key| part.key.iter().all(|name| key.columns.contains(name));
        let others = tie.keys.as_ref()?.iter().filter(|key| !covered(key));
        let told = |key: &Key| key.by_text && key.columns.iter().all(|name| part.columns.contains(name));
        others.map(|key| told(key).then_some(key)).collect()
    }

    /// Reads the rows of tables with several unique keys: where two batches hold the same value, all batches of the table
    /// are written alone, so that the first one gets it.
    pub(super) fn look_for_doubles<E>(
        &mut self,
        batches: &[Batch],
        steps: impl Fn(&Batch) -> Result<Vec<Step>, E>,
    ) -> Result<(), E> {
        let mut seen: BTreeMap<(&TableName, &[Ident]), HashSet<u64>> = BTreeMap::new();
        let mut alone = BTreeSet::new();
        for (batch, part) in batches.iter().filter_map(|batch| Some((batch, only_part(batch)?))) {
            let keys = self.told_apart(part).unwrap_or_default();
            let asked = part.action == Action::Insert && self.is_free(part) && !alone.contains(&part.table);
            if keys.is_empty() || !asked {
                continue;
            }
            let steps = steps(batch)?;
            let rows = steps.iter().find_map(|step| step.copy.as_ref()).map_or(&[][..], |copy| &copy.rows);
            for key in keys {
                let position = |name| part.columns.iter().position(|column| column == name);
                let positions: Vec<usize> = key.columns.iter().filter_map(position).collect();
                let seen = seen.entry((&part.table, key.columns.as_slice())).or_default();
                let found: HashSet<u64> = values(rows, &positions).collect();
                if seen.len() + found.len() > VALUES_AT_MOST || !seen.is_disjoint(&found) {
                    alone.insert(part.table.clone());
                }
                seen.extend(found);
            }
        }
        drop(seen);
        self.tables.retain(|table, _| !alone.contains(table));
        Ok(())
    }

    /// Can neither see what the other one does?
    fn apart(&self, one: &Part, other: &Part) -> bool {
        if one.table == other.table {
            return true;
        }
        let refers = |child: &Part, parent: &Part| {
            self.tables.get(&child.table).is_none_or(|tie| tie.parents.contains(&parent.table))
        };
        // What an update changes may be what tells a parent from another row, for a reference that only the recipe knows.
        let inserts = one.action == Action::Insert && other.action == Action::Insert;
        inserts && !refers(one, other) && !refers(other, one)
    }
}

/// The values at these positions, row by row, as hashes; rows with a NULL there collide with none.
fn values<'r>(rows: &'r [u8], positions: &'r [usize]) -> impl Iterator<Item = u64> + 'r {
    rows.split(|&byte| byte == b'\n').filter(|row| !row.is_empty()).filter_map(move |row| {
        let mut hasher = DefaultHasher::new();
        let all: Vec<&[u8]> = fields(row).collect();
        for at in positions {
            all.get(*at).filter(|field| !is_null(field))?.hash(&mut hasher);
        }
        Some(hasher.finish())
    })
}

fn only_part(batch: &Batch) -> Option<&Part> {
    match batch.parts.as_slice() {
        [part] => Some(part),
        _ => None,
    }
}

fn same_sort(one: &Part, other: &Part) -> bool {
    one.table == other.table && one.action == other.action && one.columns == other.columns
}

fn idents(names: Vec<String>) -> BTreeSet<Ident> {
    names.into_iter().map(Ident::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::script::{CopyBlock, StepKind};

    fn batch(table: &str, action: Action, columns: &[&str]) -> Batch {
        let part = Part {
            table: TableName::new("public", table),
            action,
            key: vec![Ident::new("id")],
            columns: columns.iter().map(|name| Ident::new(*name)).collect(),
            rows: 1,
            from: None,
        };
        let (file, sha256) = (String::new(), String::new());
        Batch { number: 1, file, sha256, undo_file: None, undo_sha256: None, parts: vec![part] }
    }

    fn insert(table: &str) -> Batch {
        batch(table, Action::Insert, &["id", "what"])
    }

    fn update(table: &str, column: &str) -> Batch {
        batch(table, Action::Update, &[column])
    }

    fn unique(column: &str) -> Key {
        Key { columns: vec![Ident::new(column)], by_text: true }
    }

    fn ties(tables: &[(&str, &[&str])]) -> Ties {
        let tie = |parents: &[&str]| Tie {
            keys: Some(vec![unique("id")]),
            settled: idents(vec!["id".to_owned(), "code".to_owned()]),
            parents: parents.iter().map(|name| TableName::new("public", *name)).collect(),
            ..Tie::default()
        };
        let tables = tables.iter().map(|(name, parents)| (TableName::new("public", *name), tie(parents)));
        Ties { tables: tables.collect() }
    }

    fn lengths(ties: &Ties, batches: &[Batch]) -> Vec<usize> {
        ties.stretches(batches).into_iter().map(|stretch| stretch.len()).collect()
    }

    #[test]
    fn tables_that_know_nothing_of_each_other_share_a_stretch_and_children_wait() {
        let known = ties(&[("a", &[]), ("b", &[]), ("c", &["a"]), ("tree", &["tree"])]);
        let plan = ["a", "a", "b", "c", "c", "b", "tree", "tree", "unknown", "a"].map(insert);
        assert_eq!(lengths(&known, &plan), [3, 3, 1, 1, 1, 1]);
        assert_eq!(lengths(&known, &[]), [0; 0]);
    }

    #[test]
    fn whatever_could_meet_is_written_alone() {
        let known = ties(&[("a", &[]), ("b", &[])]);
        let free = [insert("a"), insert("a"), update("a", "what"), update("a", "what")];
        assert_eq!(lengths(&known, &free), [4]);
        assert_eq!(lengths(&known, &[insert("a"), update("b", "what"), update("b", "what")]), [1, 2]);
        assert_eq!(
            lengths(&known, &[update("a", "code"), update("a", "code")]),
            [1, 1],
            "others depend on it"
        );
        let moves = [batch("a", Action::Move, &["id"]), batch("a", Action::Move, &["id"])];
        assert_eq!(lengths(&known, &moves), [1, 1]);
        let own = ties(&[("a", &["a"])]);
        assert_eq!(lengths(&own, &free), [1, 1, 1, 1], "it may look at rows that the other one writes");
        let mut both = insert("a");
        both.parts.push(both.parts[0].clone());
        assert_eq!(lengths(&known, &[both.clone(), both]), [1, 1], "several tables in one statement");

        let with = |change: &dyn Fn(&mut Tie)| {
            let mut known = ties(&[("a", &[])]);
            change(known.tables.get_mut(&TableName::new("public", "a")).unwrap());
            lengths(&known, &free)
        };
        assert_eq!(with(&|tie| tie.alone = true), [1, 1, 1, 1], "triggers");
        assert_eq!(with(&|tie| tie.partitioned = true), [2, 1, 1], "rows that may change the partition");
        assert_eq!(with(&|tie| tie.keys = None), [1, 1, 2], "a unique key that nobody can compare");
        assert_eq!(with(&|tie| tie.keys = Some(vec![])), [4], "no unique key");
        let beside = |key: Key| with(&|tie| tie.keys = Some(vec![unique("id"), key.clone()]));
        assert_eq!(beside(unique("what")), [4], "different texts are different values");
        assert_eq!(beside(Key { by_text: false, ..unique("what") }), [1, 1, 2], "of numerics they are not");
        assert_eq!(beside(unique("new")), [1, 1, 2], "a column that live fills itself");
    }

    #[test]
    fn tables_whose_batches_hold_the_same_unique_value_are_written_alone() {
        let mut known = ties(&[("a", &[]), ("b", &[])]);
        for tie in known.tables.values_mut() {
            tie.keys.get_or_insert_default().push(unique("what"));
        }
        let batches: Vec<Batch> = ["a", "a", "a", "b", "b"].into_iter().map(insert).collect();
        // Twice in one batch is that batch's own affair; what is NULL collides with nothing.
        let texts = ["1\tx\n2\tx\n", "3\t\\N\n4\ty\n", "5\t\\N\n6\tz\n", "1\tx\n", "2\ty\n"];
        let look = |known: &mut Ties, texts: [&'static str; 5]| {
            let left = std::cell::RefCell::new(texts.into_iter());
            let steps = |_: &Batch| {
                let rows = left.borrow_mut().next().unwrap().as_bytes().to_vec();
                let copy = Some(CopyBlock { sql: String::new(), rows });
                Ok::<_, ()>(vec![Step { kind: StepKind::Stage, sql: String::new(), copy }])
            };
            known.look_for_doubles(&batches, steps).unwrap();
            lengths(known, &batches)
        };
        assert_eq!(look(&mut known, texts), [5]);
        let mut planted = texts;
        planted[2] = "5\tx\n";
        assert_eq!(look(&mut known, planted), [1, 1, 1, 2]);
    }
}
