//! Asks live about planned rows: what it holds under their keys, and whether their parents are there. Rows come back as COPY
//! text and are compared byte for byte.

use super::rows::{PlannedRow, PlannedRows};
use crate::catalog::{Catalog, ForeignKey, RawFields, Relation, Table, same_across};
use crate::ident::Ident;
use crate::pg::{PgError, ReadSession};
use crate::sql::own_rows::own_rows;
use crate::value::copy_text::fields;

/// The raw fields of a row of live.
pub(super) type LiveFields = Vec<Box<[u8]>>;

/// What live says of a planned row.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// All rows under its key, in the order of the columns. A key that lost the owner which it was about may name several.
    pub(super) rows: Vec<LiveFields>,
    /// By foreign key, in the order of [`Looker::foreign_keys`]: does one of these rows lack the parent to which it refers?
    pub(super) orphaned: Vec<bool>,
}

impl RawFields for PlannedRow {
    fn raw(&self, position: usize) -> Option<&[u8]> {
        self.key_fields.get(position).map(|field| &**field)
    }
}

/// Looks at one table: all that does not depend on the rows, so that several sessions can be asked side by side.
pub(super) struct Looker<'a> {
    table: &'a Table,
    key: Vec<Ident>,
    columns: Vec<Ident>,
    foreign_keys: Vec<&'a ForeignKey>,
    keys: Relation,
    /// What stands before and behind the keys.
    around: (String, String),
}

impl<'a> Looker<'a> {
    /// `foreign_keys` are those whose parents must be there.
    pub(super) fn new(
        catalog: &Catalog,
        table: &'a Table,
        rows: &PlannedRows,
        foreign_keys: Vec<&'a ForeignKey>,
    ) -> Self {
        let (key, columns) = (rows.key_names.clone(), rows.columns.clone());
        let of_key = key.iter().filter_map(|name| table.column(name)).enumerate();
        // By the table's whole name: a condition of the recipe names the columns as they are, and a parent may be the same
        // table.
        let own = table.name.quoted();
        let asked = columns.iter().map(|name| format!("{own}.{}", name.quoted()));
        let asked = asked.chain(foreign_keys.iter().map(|fk| orphaned(catalog, table, fk)));
        let asked: Vec<String> =
            asked.enumerate().map(|(at, sql)| format!("{sql} as rowback_c{at}")).collect();
        let same = key.iter().enumerate().map(|(at, name)| {
            format!("{own}.{} {} rowback_k.k{}", name.quoted(), table.equality(name), at + 1)
        });
        let names: Vec<String> = (1..=key.len()).map(|at| format!("k{at}")).collect();
        // Row by row where an index has the key: a join of all may read the whole table.
        let each = if is_unique(table, &key) { " offset 0" } else { "" };
        let behind = format!(
            " as rowback_k(rowback_n, {}) cross join lateral (select {} from {} where {}{each}) as rowback_l) to stdout",
            names.join(", "),
            asked.join(", "),
            table.from_sql(),
            same.collect::<Vec<_>>().join(" and "),
        );
        let around = ("copy (select rowback_k.rowback_n, rowback_l.* from ".to_owned(), behind);
        Self { table, keys: Relation::of(of_key), key, columns, foreign_keys, around }
    }

    /// The columns that are compared.
    pub(super) fn columns(&self) -> &[Ident] {
        &self.columns
    }

    /// The foreign keys whose parents must be there.
    pub(super) fn foreign_keys(&self) -> &[&'a ForeignKey] {
        &self.foreign_keys
    }

    /// Can the key name but one row?
    pub(super) fn is_unique(&self) -> bool {
        is_unique(self.table, &self.key)
    }

    /// What live says of each row.
    pub(super) async fn look(
        &self,
        session: &ReadSession,
        rows: &[PlannedRow],
    ) -> Result<Vec<Found>, PgError> {
        let mut sql = self.around.0.clone();
        self.keys.push(&mut sql, rows.iter());
        sql.push_str(&self.around.1);
        let nothing = Found { rows: Vec::new(), orphaned: vec![false; self.foreign_keys.len()] };
        let mut found = vec![nothing; rows.len()];
        let mut answer = session.copy_out(&format!("reading {} by key", self.table.name), &sql).await?;
        while let Some(line) = answer.next_row().await? {
            let mut parts = fields(&line);
            let at = parts.next().and_then(number);
            let Some(slot) = at.and_then(|at| found.get_mut(at)) else { continue };
            slot.rows.push(parts.by_ref().take(self.columns.len()).map(Box::from).collect());
            // What is not known to be so, is not: a condition may be NULL.
            slot.orphaned.iter_mut().zip(parts).for_each(|(orphaned, is)| *orphaned |= is == b"t");
        }
        Ok(found)
    }
}

/// Is there a key over some of these columns?
fn is_unique(table: &Table, columns: &[Ident]) -> bool {
    let covered = |own: &[Ident]| own.iter().all(|name| columns.contains(name));
    table.keys.iter().any(|unique| unique.is_plain() && !unique.exclusion && covered(&unique.columns))
}

/// Says of a row of the table whether it refers to a parent that is not there.
fn orphaned(catalog: &Catalog, table: &Table, fk: &ForeignKey) -> String {
    let set = fk.child_sql(&format!("{}.", table.name.quoted())).into_iter();
    let set: Vec<String> = set.map(|value| format!("{value} is not null")).collect();
    let pairs = (0..).zip(&fk.columns).map(|(at, pair)| same(catalog, table, fk, at, pair));
    let condition = fk.when().map_or_else(String::new, |when| format!(" and (\n{when}\n)"));
    let own = fk.is_enforced().then(|| own_rows("rowback_p", &fk.parent));
    let pairs = pairs.chain(own).collect::<Vec<_>>().join(" and ");
    let from = format!("{} as rowback_p", fk.parent.quoted());
    let last = fk.columns.last().map_or_else(Default::default, |(child, parent)| {
        let own = format!("{}.{}", table.name.quoted(), child.quoted());
        (format!("rowback_p.{}", parent.quoted()), own)
    });
    let has_parent = fk.has_parent_sql((&from, &pairs), (&last.0, &last.1));
    format!("({}{condition} and not {has_parent})", set.join(" and "))
}

/// The parent's column is the child's. Declared references may join different types: then by text.
fn same(
    catalog: &Catalog,
    table: &Table,
    fk: &ForeignKey,
    at: usize,
    (child, parent): &(Ident, Ident),
) -> String {
    let own = fk.referring_sql(at, &format!("{}.{}", table.name.quoted(), child.quoted()));
    let of_parent = catalog.tables.get(&fk.parent);
    let (mine, theirs) = (table.column(child), of_parent.and_then(|table| table.column(parent)));
    let up = format!("rowback_p.{}", parent.quoted());
    if !fk.is_enforced() && fk.operator_told(at).is_none() {
        match mine.zip(theirs).filter(|_| fk.path(at).is_none()) {
            None => return format!("{up}::text = {own}::text"),
            Some((mine, theirs)) if mine.base_type != theirs.base_type => {
                return same_across((theirs, &up), (mine, &own));
            }
            Some(_) => {}
        }
    }
    let equals = match of_parent {
        // By what the server itself compares: of periods it asks that they overlap.
        _ if fk.is_enforced() || fk.operator_told(at).is_some() => fk.operator(at),
        Some(table) => table.equality(parent),
        None => "=",
    };
    format!("rowback_p.{} {equals} {own}", parent.quoted())
}

fn number(field: &[u8]) -> Option<usize> {
    std::str::from_utf8(field).ok()?.parse().ok()
}
