//! A table whose rows are named and made again, and the SQL for that.

use super::WHAT;
use crate::apply::RowKey;
use crate::apply::companions::key_json;
use crate::apply::row_key::json_array;
use crate::apply::trace_book::TraceBook;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, WriteSession, column};
use crate::sql::literal::literal;
use crate::sql::registry::APPLY_TYPES;

/// A table as far as its rows must be named and made again.
pub(super) struct Shape {
    pub(super) table: TableName,
    pub(super) key: Vec<Ident>,
    /// Name and type of each column that can be written.
    pub(super) columns: Vec<(Ident, String)>,
}

/// A row as it was.
pub(super) struct Row {
    pub(super) key: RowKey,
    pub(super) version: String,
    pub(super) values: Vec<Option<String>>,
}

impl Row {
    pub(super) fn parse(row: Vec<Option<String>>) -> Result<Self, PgError> {
        let mut fields = row.into_iter();
        let key = parse_key(fields.next().as_ref())?;
        let version = fields.next().flatten().ok_or_else(|| answer("no version"))?;
        Ok(Self { key, version, values: fields.collect() })
    }
}

impl Shape {
    pub(super) fn key_json(&self) -> String {
        key_json("l", &self.key)
    }

    pub(super) fn keys_sql(&self, condition: &str) -> String {
        format!("select ({})::text from {} as l where {condition}", self.key_json(), self.table.quoted())
    }

    /// Of these keys those that the open transaction does not see, but for those of `own` rows.
    pub(super) fn gone_sql(&self, keys: &str, own: &str) -> String {
        format!(
            "select e.key::text from pg_catalog.jsonb_array_elements({}::jsonb) as e(key) \
             where not exists (select from {} as l where {} = e.key){own}",
            literal(keys),
            self.table.quoted(),
            self.key_json()
        )
    }

    pub(super) fn there_sql(&self, keys: &str) -> String {
        self.keys_sql(&self.is_one_of(keys))
    }

    /// Are rows named by all that they hold?
    pub(super) fn is_whole_row(&self) -> bool {
        self.columns.iter().all(|(name, _)| self.key.contains(name)) && self.columns.len() == self.key.len()
    }

    pub(super) fn rows_sql(&self, condition: &str) -> String {
        let values = self.columns.iter().map(|(name, _)| format!(", l.{}::text", name.quoted()));
        format!(
            "select ({})::text, l.xmin::text{} from {} as l where {condition} order by l.ctid",
            self.key_json(),
            values.collect::<String>(),
            self.table.quoted()
        )
    }

    pub(super) fn is_one_of(&self, keys: &str) -> String {
        format!(
            "{} in (select e.key from pg_catalog.jsonb_array_elements({}::jsonb) as e(key))",
            self.key_json(),
            literal(keys)
        )
    }

    /// A row as it was before apply: what triggers had changed of it before one removed it goes back as well.
    pub(super) fn as_before(
        &self,
        traces: &TraceBook,
        key: RowKey,
        mut values: Vec<Option<String>>,
    ) -> Wanted {
        if let Some(before) = traces.before(&self.table, &key) {
            for ((name, _), value) in self.columns.iter().zip(&mut values) {
                if let Some(former) = before.get(name.as_str()) {
                    value.clone_from(former);
                }
            }
        }
        Wanted { key, values }
    }

    /// Inserts the rows, but for those whose key is there.
    pub(super) fn insert_sql(&self, rows: &[Wanted]) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.quoted()).collect();
        let typed = |(at, (name, of)): (usize, &(Ident, String))| {
            format!("(e.one ->> {at})::{of} as {}", name.quoted())
        };
        let values: Vec<String> = self.columns.iter().enumerate().map(typed).collect();
        let is_whole = self.is_whole_row();
        let same = self.key.iter().map(|name| {
            let name = name.quoted();
            if is_whole {
                format!("l.{name}::text is not distinct from r.{name}::text")
            } else {
                format!("l.{name} = r.{name}")
            }
        });
        let rows: serde_json::Value = rows.iter().map(|row| row.values.clone()).collect();
        format!(
            "insert into {table} as t ({names}) overriding system value select {names} from (select {values} \
             from pg_catalog.jsonb_array_elements({rows}::jsonb) as e(one)) as r \
             where not exists (select from {table} as l where {same}) returning ({key})::text",
            table = self.table.quoted(),
            names = names.join(", "),
            values = values.join(", "),
            rows = literal(&rows.to_string()),
            same = same.collect::<Vec<_>>().join(" and "),
            key = key_json("t", &self.key)
        )
    }
}

/// A row that is to come back.
pub(super) struct Wanted {
    pub(super) key: RowKey,
    pub(super) values: Vec<Option<String>>,
}

impl Wanted {
    /// The value in one of the table's columns.
    pub(super) fn value(&self, columns: &[(Ident, String)], name: &Ident) -> Option<&String> {
        let at = columns.iter().position(|(column, _)| column == name)?;
        self.values.get(at)?.as_ref()
    }
}

pub(super) async fn columns_of(
    session: &WriteSession,
    table: &TableName,
) -> Result<Vec<(Ident, String)>, PgError> {
    let mut columns = Vec::new();
    for row in session.query(&APPLY_TYPES, &[&table.schema.as_str(), &table.name.as_str()]).await? {
        if !column::<bool>(&row, "generated", WHAT)? {
            columns
                .push((Ident::new(column::<String>(&row, "name", WHAT)?), column(&row, "type_name", WHAT)?));
        }
    }
    Ok(columns)
}

pub(super) fn keys_of(rows: &[Vec<Option<String>>]) -> Result<String, PgError> {
    if rows.is_empty() {
        return Ok(String::new());
    }
    let keys = rows.iter().map(|row| parse_key(row.first())).collect::<Result<Vec<_>, _>>()?;
    Ok(json_array(keys.iter()))
}

pub(super) fn parse_key(field: Option<&Option<String>>) -> Result<RowKey, PgError> {
    let text = field.and_then(Option::as_deref).ok_or_else(|| answer("no key"))?;
    RowKey::parse(text).map_err(answer)
}

pub(super) fn answer(cause: impl std::fmt::Display) -> PgError {
    PgError::Answer { what: WHAT.to_owned(), cause: cause.to_string() }
}
