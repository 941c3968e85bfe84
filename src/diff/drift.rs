//! Holds the backup's columns against live's: what is called differently, what is gone, what is new. Pure.

use std::collections::BTreeMap;

use super::DiffError;
use crate::catalog::{Column, Table};
use crate::extract::{AFTER_COLUMN, ORIGIN_COLUMN};
use crate::ident::{Ident, TableName};
use crate::recipe::{ColumnMap, nearest};
use crate::staging::StagedTable;

/// How one staged table fits live's table.
#[derive(Debug, Clone)]
pub struct Fit<'a> {
    /// The table in live.
    pub live: &'a Table,
    /// The columns that are compared and written: position in the staged row, and live's column.
    pub columns: Vec<FitColumn<'a>>,
    /// Positions in `columns` of the key.
    pub key: Vec<usize>,
    /// Position in the staged row of the origin, where there is one.
    pub origin: Option<usize>,
    /// Position in the staged row of what the accident made of it, where something tells.
    pub after: Option<usize>,
    /// What a person should know about the difference in structure.
    pub notes: Vec<String>,
    /// The constraints of the partitions of a partitioned table, once they were asked for.
    pub bounds: Option<Vec<String>>,
    /// Is a column's type another than in the backup?
    pub has_other_types: bool,
}

/// A column that both sides have.
#[derive(Debug, Clone, Copy)]
pub struct FitColumn<'a> {
    /// Position in the staged row.
    pub staged: usize,
    /// Live's column.
    pub live: &'a Column,
    /// Its type in the backup.
    pub was: &'a str,
}

impl<'a> Fit<'a> {
    /// These columns of a table of which nothing is staged. Its key is empty where it has not all of `key`.
    pub fn of_live(table: &'a Table, columns: impl Iterator<Item = &'a Column>, key: &[Ident]) -> Self {
        let columns = columns
            .enumerate()
            .map(|(staged, live)| FitColumn { staged, live, was: &live.type_name })
            .collect();
        let mut fit = Self {
            live: table,
            columns,
            key: Vec::new(),
            origin: None,
            after: None,
            notes: Vec::new(),
            bounds: None,
            has_other_types: false,
        };
        fit.key = fit.positions(key).unwrap_or_default();
        fit
    }
}

impl Fit<'_> {
    /// Position in `columns` of a live column.
    pub fn position(&self, name: &Ident) -> Option<usize> {
        self.columns.iter().position(|column| &column.live.name == name)
    }

    /// Positions in `columns` of several live columns; `None` when one is missing.
    pub fn positions<'b>(&self, names: impl IntoIterator<Item = &'b Ident>) -> Option<Vec<usize>> {
        names.into_iter().map(|name| self.position(name)).collect()
    }

    /// Notes columns whose values cannot be written because live computes them, and the backup did not.
    pub fn note_generated(&mut self, staged: &StagedTable, backup: &Table) {
        for column in self.columns.iter().filter(|column| column.live.generated) {
            let was = staged.columns.get(column.staged).and_then(|staged| backup.column(&staged.name));
            if was.is_some_and(|was| !was.generated) {
                self.notes.push(format!(
                    "{}.{} is generated in live and was not in the backup: the backup's values are not written, live \
                     computes its own",
                    staged.table, column.live.name
                ));
            }
        }
    }

    /// The columns that are written: all but generated ones.
    pub fn written(&self) -> impl Iterator<Item = (usize, &FitColumn<'_>)> {
        self.columns.iter().enumerate().filter(|(_, column)| !column.live.generated)
    }
}

/// Matches staged columns to live's. A column that live no longer has must be mapped or ignored by name.
pub fn fit<'a>(
    staged: &'a StagedTable,
    live: Option<&'a Table>,
    map: Option<&ColumnMap>,
) -> Result<Fit<'a>, DiffError> {
    let live = live.ok_or_else(|| DiffError::TableGone { table: staged.table.clone() })?;
    let mut found = Fit {
        live,
        columns: Vec::new(),
        key: Vec::new(),
        origin: None,
        after: None,
        notes: Vec::new(),
        bounds: None,
        has_other_types: false,
    };
    let none = ColumnMap::default();
    let map = map.unwrap_or(&none);
    for (position, column) in staged.columns.iter().enumerate() {
        if column.name.as_str() == ORIGIN_COLUMN {
            found.origin = Some(position);
            continue;
        }
        if column.name.as_str() == AFTER_COLUMN {
            found.after = Some(position);
            continue;
        }
        if map.ignore.contains(&column.name) {
            continue;
        }
        let wanted = map.map.get(&column.name).unwrap_or(&column.name);
        let Some(live_column) = live.column(wanted) else {
            return Err(column_gone(&staged.table, wanted, &column.name, live));
        };
        if live_column.type_name != column.pg_type {
            found.has_other_types = true;
            found.notes.push(format!(
                "{}.{wanted} is {} in live and was {} in the backup",
                staged.table, live_column.type_name, column.pg_type
            ));
        }
        found.columns.push(FitColumn { staged: position, live: live_column, was: &column.pg_type });
    }
    note_new_columns(&mut found, &staged.table)?;
    for &position in &staged.key {
        let at = found.columns.iter().position(|column| column.staged == position);
        found.key.push(at.ok_or_else(|| DiffError::KeyIgnored { table: staged.table.clone() })?);
    }
    Ok(found)
}

fn note_new_columns(found: &mut Fit<'_>, table: &TableName) -> Result<(), DiffError> {
    for column in &found.live.columns {
        if found.columns.iter().any(|known| known.live.name == column.name) || column.generated {
            continue;
        }
        if column.not_null && column.default.is_none() && column.identity.is_none() {
            return Err(DiffError::ColumnNew { table: table.clone(), column: column.name.clone() });
        }
        let gets = column.default.as_deref().unwrap_or("null");
        found.notes.push(format!("{table}.{} is new in live; recovered rows get {gets}", column.name));
    }
    Ok(())
}

fn column_gone(table: &TableName, column: &Ident, backup: &Ident, live: &Table) -> DiffError {
    let names: Vec<&str> = live.column_names().map(Ident::as_str).collect();
    DiffError::ColumnGone {
        table: table.clone(),
        column: column.clone(),
        backup: Box::new(backup.clone()),
        nearest: nearest(column.as_str(), names).map(Box::from),
    }
}

/// The fits of all staged tables, by name.
pub type Fits<'a> = BTreeMap<TableName, Fit<'a>>;
