//! The rows of an update as the diff knew them: what tells each from a stranger who takes its key before the batch is
//! written, and may hold the very value that is to be repaired.

use std::borrow::Cow;

use super::parents::Seen;
use crate::catalog::{Action, ForeignKey, Origin, Table};
use crate::diff::{DiffRow, DiffedTable};
use crate::ident::Ident;
use crate::plan::{ParentGuard, Tells};
use crate::value::copy_text::{fields, is_null};

/// What tells the rows of a part from strangers.
pub(super) struct Itself<'a> {
    table: &'a Table,
    key: Vec<(Ident, usize)>,
    telling: Vec<(Ident, usize)>,
    tells: Tells,
    rows: Vec<u8>,
}

impl<'a> Itself<'a> {
    /// `tells` is what tells rows of the table apart; what the update itself sets does not. `None` where nothing else does.
    pub(super) fn of(table: &'a Table, diffed: &DiffedTable, tells: Tells, set: &[Ident]) -> Option<Self> {
        let key = diffed.staged.table.key.iter().map(|at| Some((diffed.columns.get(*at)?.clone()?, *at)));
        let key: Vec<(Ident, usize)> = key.collect::<Option<_>>()?;
        let stays = |group: &Vec<usize>| {
            group.iter().all(|at| tells.columns.get(*at).is_some_and(|name| !set.contains(name)))
        };
        let any_of: Vec<Vec<usize>> = tells.any_of.iter().filter(|group| stays(group)).cloned().collect();
        let sets_key = key.iter().any(|(name, _)| set.contains(name));
        if any_of.is_empty() || key.is_empty() || sets_key {
            return None;
        }
        let position = |name: &Ident| diffed.columns.iter().position(|column| column.as_ref() == Some(name));
        let telling = tells.columns.iter().map(|name| Some((name.clone(), position(name)?)));
        let telling = telling.collect::<Option<_>>()?;
        let tells = Tells { any_of, otherwise: Vec::new(), ..tells };
        Some(Self { table, key, telling, tells, rows: Vec::new() })
    }

    /// A row of which nothing tells who it is goes without a guard.
    pub(super) fn push(&mut self, staged: &[u8], diff: &DiffRow) {
        let raw: Vec<&[u8]> = fields(staged).collect();
        let seen = Seen { raw: &raw, diff };
        let values: Vec<Vec<u8>> = self.telling.iter().map(|(name, at)| seen.value(name, *at)).collect();
        let has_values =
            |group: &Vec<usize>| group.iter().all(|at| values.get(*at).is_some_and(|value| !is_null(value)));
        if !self.tells.any_of.iter().any(has_values) {
            return;
        }
        let key = self.key.iter().map(|(name, at)| seen.value(name, *at));
        self.rows.extend(key.chain(values).collect::<Vec<_>>().join(&b'\t'));
        self.rows.push(b'\n');
    }

    /// The guard of the rows so far; no row is left.
    pub(super) fn take(&mut self) -> Option<ParentGuard<'a>> {
        let rows = std::mem::take(&mut self.rows);
        let name = self.table.name.clone();
        let fk = ForeignKey {
            name: "itself".to_owned(),
            child: name.clone(),
            parent: name.clone(),
            columns: self.key.iter().map(|(column, _)| (column.clone(), column.clone())).collect(),
            operators: Vec::new(),
            paths: Vec::new(),
            on_delete: Action::NoAction,
            on_update: Action::NoAction,
            set_columns: Vec::new(),
            match_full: false,
            deferrable: false,
            origin: Origin::Catalog,
            carriers: vec![name],
        };
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
