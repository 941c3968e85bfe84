//! Which batches of a plan may be written side by side: those that cannot meet, whoever comes first. Live is asked what ties
//! its tables together just before; everything else is pure. What is not surely free of ties is written alone, in its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::ident::{Ident, TableName};
use crate::pg::{PgError, WriteSession, column};
use crate::plan::{Action, Batch, Part, Plan};
use crate::sql::registry::APPLY_TIES;

const WHAT: &str = "asking what ties tables together";

/// What live says about one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tie {
    /// Triggers or rules may do anything.
    alone: bool,
    /// A row may go from one partition to another.
    partitioned: bool,
    /// The columns of the only unique key, empty without any; `None` where rows of several batches could collide.
    only_key: Option<BTreeSet<Ident>>,
    /// Columns on whose values other rows, or the place of this one, may depend.
    settled: BTreeSet<Ident>,
    /// The tables that it refers to, of those that were asked about.
    parents: BTreeSet<TableName>,
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
                only_key: column::<Option<Vec<String>>>(&row, "only_key", WHAT)?.map(idents),
                settled: column::<Option<_>>(&row, "settled", WHAT)?.map(idents).unwrap_or_default(),
                parents: parents.into_iter().filter_map(parent).collect(),
            };
            let declared = plan.declared.iter().filter(|reference| reference.child == name);
            tie.parents.extend(declared.map(|reference| reference.parent.clone()));
            found.insert(name, tie);
        }
        Ok(Self { tables: found })
    }

    /// The batches in stretches: those of one may be written side by side, one stretch after the other. `guarded` says of
    /// an update whether it looks at parents before it writes.
    pub(super) fn stretches(&self, batches: &[Batch], guarded: impl Fn(&Batch) -> bool) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut open: Vec<&Part> = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            let part = only_part(batch).filter(|part| self.is_free(part));
            let part = part.filter(|part| part.action == Action::Insert || !guarded(batch));
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
            Action::Insert => tie.only_key.as_ref().is_some_and(|key| {
                key.is_empty() || part.key.iter().cloned().collect::<BTreeSet<_>>() == *key
            }),
            Action::Update => !tie.partitioned && part.columns.iter().all(|name| !tie.settled.contains(name)),
            Action::Move => false,
        };
        free && !tie.alone && !tie.parents.contains(&part.table)
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

    fn ties(tables: &[(&str, &[&str])]) -> Ties {
        let tie = |parents: &[&str]| Tie {
            only_key: Some(idents(vec!["id".to_owned()])),
            settled: idents(vec!["id".to_owned(), "code".to_owned()]),
            parents: parents.iter().map(|name| TableName::new("public", *name)).collect(),
            ..Tie::default()
        };
        let tables = tables.iter().map(|(name, parents)| (TableName::new("public", *name), tie(parents)));
        Ties { tables: tables.collect() }
    }

    fn lengths(ties: &Ties, batches: &[Batch]) -> Vec<usize> {
        ties.stretches(batches, |_| false).into_iter().map(|stretch| stretch.len()).collect()
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
        let mut known = ties(&[("a", &[]), ("b", &[])]);
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
        let guarded = known.stretches(&free, |_| true);
        assert_eq!(guarded.into_iter().map(|stretch| stretch.len()).collect::<Vec<_>>(), [2, 1, 1]);
        let mut both = insert("a");
        both.parts.push(both.parts[0].clone());
        assert_eq!(lengths(&known, &[both.clone(), both]), [1, 1], "several tables in one statement");

        let table = TableName::new("public", "a");
        let mut with = |change: fn(&mut Tie)| {
            let before = known.tables[&table].clone();
            change(known.tables.get_mut(&table).unwrap());
            let found = lengths(&known, &free);
            known.tables.insert(table.clone(), before);
            found
        };
        assert_eq!(with(|tie| tie.alone = true), [1, 1, 1, 1], "triggers");
        assert_eq!(with(|tie| tie.only_key = None), [1, 1, 2], "a second unique key");
        assert_eq!(with(|tie| tie.only_key = Some(BTreeSet::new())), [4], "no unique key");
        assert_eq!(with(|tie| tie.partitioned = true), [2, 1, 1], "rows that may change the partition");
    }
}
