//! Asks live about planned rows: what it holds under their keys, and whether their parents are there. Keys travel as a
//! VALUES list; rows come back as COPY text and are compared byte for byte.

use super::rows::{PlannedRow, PlannedRows};
use crate::catalog::{Catalog, ForeignKey, Table};
use crate::ident::Ident;
use crate::pg::{PgError, ReadSession};
use crate::sql::literal::push_literal;
use crate::value::copy_text::{fields, is_null, unescape};

/// The raw fields of a row of live.
pub(super) type LiveFields = Vec<Box<[u8]>>;

/// Looks at one table.
pub(super) struct Looker<'a> {
    session: &'a ReadSession,
    catalog: &'a Catalog,
    table: &'a Table,
    key: Vec<Ident>,
    columns: Vec<Ident>,
}

impl<'a> Looker<'a> {
    pub(super) fn new(
        session: &'a ReadSession,
        catalog: &'a Catalog,
        table: &'a Table,
        rows: &PlannedRows,
    ) -> Self {
        Self { session, catalog, table, key: rows.key_names.clone(), columns: rows.columns.clone() }
    }

    /// The columns that are compared.
    pub(super) fn columns(&self) -> &[Ident] {
        &self.columns
    }

    /// Live's raw fields for each row, in the order of the columns: of all rows under its key. A key that lost the owner which
    /// it was about may name several.
    pub(super) async fn by_key(&self, rows: &[PlannedRow]) -> Result<Vec<Vec<LiveFields>>, PgError> {
        let names: Vec<String> = self.columns.iter().map(|name| format!("l.{}", name.quoted())).collect();
        let sql = format!(
            "copy (select k.rowback_n, {} from {} join {} as l on {}) to stdout",
            names.join(", "),
            self.keys(rows, "k"),
            self.table.from_sql(),
            self.same_key("l")
        );
        let mut found = vec![Vec::new(); rows.len()];
        let mut answer = self.session.copy_out(&format!("reading {} by key", self.table.name), &sql).await?;
        while let Some(row) = answer.next_row().await? {
            let mut parts = fields(&row);
            let at = parts.next().and_then(number);
            if let Some(slot) = at.and_then(|at| found.get_mut(at)) {
                slot.push(parts.map(Box::from).collect());
            }
        }
        Ok(found)
    }

    /// Can the key name but one row?
    pub(super) fn is_unique(&self) -> bool {
        let covered = |columns: &[Ident]| columns.iter().all(|name| self.key.contains(name));
        self.table
            .keys
            .iter()
            .any(|unique| unique.is_plain() && !unique.exclusion && covered(&unique.columns))
    }

    /// Numbers of the rows that live has and whose parent it has not.
    pub(super) async fn orphans(&self, fk: &ForeignKey, rows: &[PlannedRow]) -> Result<Vec<usize>, PgError> {
        // Qualified by the whole name: a condition of the recipe names the columns as they are, and the parent may be
        // the same table.
        let set: Vec<String> = fk
            .child_sql(&format!("{}.", self.table.name.quoted()))
            .into_iter()
            .map(|value| format!("{value} is not null"))
            .collect();
        let pairs: Vec<String> = (0..).zip(&fk.columns).map(|(at, pair)| self.same(fk, at, pair)).collect();
        let condition = fk.when().map_or_else(String::new, |when| format!(" and (\n{when}\n)"));
        let sql = format!(
            "select rowback_k.rowback_n from {} join {} on {} where {}{condition} and not exists (select from {} as rowback_p \
             where {}) order by 1",
            self.keys(rows, "rowback_k"),
            self.table.from_sql(),
            self.same_key_named(&self.table.name.quoted(), "rowback_k"),
            set.join(" and "),
            fk.parent.quoted(),
            pairs.join(" and ")
        );
        let what = format!("looking for parents by {}", fk.name);
        let answers = self.session.text_rows(&what, &sql).await?;
        Ok(answers.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse().ok()).collect())
    }

    /// The parent's column is the child's. Declared references may join different types: then by text.
    fn same(&self, fk: &ForeignKey, at: usize, (child, parent): &(Ident, Ident)) -> String {
        let own = fk.referring_sql(at, &format!("{}.{}", self.table.name.quoted(), child.quoted()));
        let table = self.catalog.tables.get(&fk.parent);
        let type_of = |table: Option<&Table>, name: &Ident| {
            table.and_then(|table| table.column(name)).map(|column| column.type_name.clone())
        };
        let (mine, theirs) = (type_of(Some(self.table), child), type_of(table, parent));
        if !fk.is_enforced() && (mine != theirs || theirs.is_none() || fk.path(at).is_some()) {
            return format!("rowback_p.{}::text = {own}::text", parent.quoted());
        }
        let equals = table.map_or("=", |table| table.equality(parent));
        format!("rowback_p.{} {equals} {own}", parent.quoted())
    }

    /// `(values (0, 'a'::type), (1, 'b')) as k(rowback_n, rowback_k1)`; only the first row needs casts.
    fn keys(&self, rows: &[PlannedRow], alias: &str) -> String {
        let mut sql = String::from("(values ");
        for (number, row) in rows.iter().enumerate() {
            sql.push_str(if number == 0 { "(" } else { ",\n(" });
            sql.push_str(&number.to_string());
            for (field, name) in row.key_fields.iter().zip(&self.key) {
                sql.push(',');
                match text(field) {
                    Some(value) => push_literal(&mut sql, &value),
                    None => sql.push_str("null"),
                }
                if let Some(column) = self.table.column(name).filter(|_| number == 0) {
                    sql.push_str("::");
                    sql.push_str(&column.type_name);
                }
            }
            sql.push(')');
        }
        let names: Vec<String> = (1..=self.key.len()).map(|at| format!("rowback_k{at}")).collect();
        format!("{sql}) as {alias}(rowback_n, {})", names.join(", "))
    }

    fn same_key(&self, alias: &str) -> String {
        self.same_key_named(alias, "k")
    }

    fn same_key_named(&self, table: &str, keys: &str) -> String {
        let pairs = self.key.iter().enumerate().map(|(at, name)| {
            let equals = self.table.equality(name);
            format!("{table}.{} {equals} {keys}.rowback_k{}", name.quoted(), at + 1)
        });
        pairs.collect::<Vec<_>>().join(" and ")
    }
}

fn number(field: &[u8]) -> Option<usize> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// COPY text of a UTF-8 session is UTF-8.
fn text(field: &[u8]) -> Option<String> {
    (!is_null(field)).then(|| String::from_utf8_lossy(&unescape(field)).into_owned())
}
