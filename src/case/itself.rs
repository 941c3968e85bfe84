//! The rows of an update as the diff saw them: what tells each from a stranger who takes its key before the batch is
//! written, and may hold the very value that is to be repaired.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::Value;

use super::convoys::MovingRows;
use crate::catalog::{ForeignKey, Origin, Table};
use crate::diff::{DiffRow, DiffedTable};
use crate::ident::Ident;
use crate::plan::{ParentGuard, Tells};
use crate::value::copy_text::push_field;

/// What tells the rows of a part from strangers.
pub(super) struct Itself<'a> {
    table: &'a Table,
    key: Vec<Ident>,
    tells: Tells,
    rows: Vec<u8>,
    /// What moves with others before.
    moving: Rc<MovingRows>,
}

impl<'a> Itself<'a> {
    /// `tells` is what tells rows of the table apart; what the update itself sets does not. `None` where nothing else does.
    pub(super) fn of(
        table: &'a Table,
        diffed: &DiffedTable,
        tells: &Tells,
        set: &[Ident],
        moving: Rc<MovingRows>,
    ) -> Option<Self> {
        let key = diffed.staged.table.key.iter().map(|at| diffed.columns.get(*at)?.clone());
        let key: Vec<Ident> = key.collect::<Option<_>>()?;
        let mut own = Tells::default();
        let push = |own: &mut Tells, names: Vec<&Ident>| {
            own.any_of.push((own.columns.len()..own.columns.len() + names.len()).collect());
            own.columns.extend(names.into_iter().cloned());
        };
        let groups = tells.any_of.iter();
        let groups = groups.map(|group| group.iter().filter_map(|at| tells.columns.get(*at)));
        let groups: Vec<Vec<&Ident>> = groups.map(Iterator::collect).collect();
        for names in &groups {
            if !names.iter().any(|name| set.contains(name)) {
                push(&mut own, names.clone());
            }
        }
        for name in tells.created.iter().filter_map(|at| tells.columns.get(*at)) {
            if !set.contains(name) {
                own.created.push(own.columns.len());
                own.columns.push(name.clone());
            }
        }
        if own.speaking().next().is_none() {
            // What is set must hold the value that was seen: with that the rest of the group still tells.
            for mut names in groups {
                names.retain(|name| !set.contains(name));
                if !names.is_empty() {
                    push(&mut own, names);
                }
            }
        }
        let is_told =
            own.speaking().next().is_some() && !key.is_empty() && !key.iter().any(|name| set.contains(name));
        is_told.then_some(Self { table, key, tells: own, rows: Vec::new(), moving })
    }

    /// A row of which nothing tells who it is goes without a guard.
    pub(super) fn push(&mut self, diff: &DiffRow) {
        let Some(seen) = &diff.itself else { return };
        let moved = self.moving.get(&diff.key);
        let value = |name: &Ident| match moved.and_then(|moved| moved.get(name)) {
            Some(then) => then.as_deref(),
            None => seen.get(name.as_str()).and_then(Value::as_str),
        };
        let is_told =
            |group: &[usize]| group.iter().all(|at| self.tells.columns.get(*at).and_then(value).is_some());
        if !self.tells.speaking().any(is_told) {
            return;
        }
        for (at, key) in diff.key.iter().enumerate() {
            push_field(&mut self.rows, at == 0, Some(key.as_bytes()));
        }
        for name in &self.tells.columns {
            push_field(&mut self.rows, false, value(name).map(str::as_bytes));
        }
        self.rows.push(b'\n');
    }

    /// Is this the key by which it knows rows?
    pub(super) fn is_by(&self, key: &[Ident]) -> bool {
        self.key == key
    }

    /// Adds the rows of another one about the same table and columns.
    pub(super) fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// The guard of the rows so far; no row is left.
    pub(super) fn take(&mut self) -> Option<ParentGuard<'a>> {
        let rows = std::mem::take(&mut self.rows);
        let name = &self.table.name;
        let fk = ForeignKey::by_key("itself", (name, name), &self.key, Origin::Catalog);
        let guard = ParentGuard {
            fk: Cow::Owned(fk),
            parent: self.table,
            tells: self.tells.clone(),
            rows,
            itself: true,
        };
        (!guard.rows.is_empty()).then_some(guard)
    }
}
