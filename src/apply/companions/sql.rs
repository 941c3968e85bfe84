//! The SQL behind the companions. Names go through `Ident`; keys and versions are JSON literals. Pure.

use super::{RowVersion, Shape};
use crate::apply::RowKey;
use crate::apply::row_key::json_array;
use crate::ident::{Ident, TableName};
use crate::plan::recall::{as_seen_sql, as_staged_sql};
use crate::plan::{Part, row_key_json};
use crate::sql::literal::literal;
use crate::sql::own_rows::own_rows;

/// A unique key of live, by the text of its elements.
pub(super) struct Unique {
    pub(super) expressions: Vec<String>,
    pub(super) operators: Vec<String>,
    pub(super) predicate: Option<String>,
    /// The columns that these are made of.
    pub(super) needs: Vec<Ident>,
}

impl Unique {
    /// The elements of a row `x`, numbered, and the condition on `x`; then the condition that `l` has the same as `s`.
    fn to_sql(&self) -> (String, String, String) {
        let values = self.expressions.iter().enumerate().map(|(at, text)| format!("({text}) as v{at}"));
        let holds = self.expressions.iter().zip(&self.operators).enumerate();
        let mut holds: Vec<String> =
            holds.map(|(at, (text, operator))| format!("({text}) {operator} s.v{at}")).collect();
        let staged_if = self.predicate.as_ref().map(|predicate| format!(" where ({predicate})"));
        holds.extend(self.predicate.iter().map(|predicate| format!("({predicate})")));
        (values.collect::<Vec<_>>().join(", "), staged_if.unwrap_or_default(), holds.join(" and "))
    }
}

/// A foreign key that refers to a table.
pub(in crate::apply) struct Referrer {
    pub(in crate::apply) child: TableName,
    pub(in crate::apply) columns: Vec<(Ident, Ident)>,
    pub(in crate::apply) operators: Vec<String>,
}

pub(in crate::apply) fn key_json(alias: &str, key: &[Ident]) -> String {
    let pairs: Vec<String> = key
        .iter()
        .map(|name| format!("{}, {alias}.{}::text", literal(name.as_str()), name.quoted()))
        .collect();
    format!("pg_catalog.jsonb_build_object({})", pairs.join(", "))
}

fn versions_json(rows: &[RowVersion]) -> String {
    literal(&serde_json::to_string(rows).unwrap_or_default())
}

fn same_key(part: &Part) -> String {
    let pairs = part.key.iter().map(|name| format!("l.{0} = r.{0}", name.quoted()));
    pairs.collect::<Vec<_>>().join(" and ")
}

/// Key and version of the rows whose number is not older than that of the open transaction; its savepoints have younger ones.
pub(super) fn young_rows(table: &TableName, key: &[Ident], parts: &[Part]) -> String {
    let mut own = String::new();
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.table == *table) {
        own.push_str(&format!(
            " and {} not in (select {} from pg_temp.\"rowback_{}\" as r)",
            key_json("l", &part.key),
            row_key_json(&part.key, part.action),
            at + 1
        ));
    }
    format!(
        "select {}::text, l.xmin::text from {} as l where pg_catalog.age(l.xmin) <= 0{own}",
        key_json("l", key),
        table.quoted()
    )
}

/// Key and version of rows that hold one of the values in these columns.
pub(in crate::apply) fn holding(table: &TableName, key: &[Ident], columns: &[Ident], values: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|name| format!("l.{}", name.quoted())).collect();
    format!(
        "select {}::text, l.xmin::text from {} as l where ({}) in (values {values})",
        key_json("l", key),
        table.quoted(),
        columns.join(", ")
    )
}

impl Shape {
    /// Is `l` the row that the JSON value `key` names?
    pub(super) fn is_row(&self, key: &str) -> String {
        let pairs = self.key.iter().map(|(name, of_type)| {
            format!("l.{} = ({key} ->> {})::{of_type}", name.quoted(), literal(name.as_str()))
        });
        pairs.chain([own_rows("l", &self.table)]).collect::<Vec<_>>().join(" and ")
    }

    /// The key of each row that is there, as it was given, and its version.
    pub(super) fn versions_sql(&self, rows: &[RowVersion]) -> String {
        let keys = json_array(rows.iter().map(|row| &row.key));
        format!(
            "select e.key::text, l.version from (select distinct k.key from pg_catalog.jsonb_array_elements({}::jsonb) as k(key)) as e \
             cross join lateral (select l.xmin::text as version from {} as l where {} offset 0) as l order by 1",
            literal(&keys),
            self.table.quoted(),
            self.is_row("e.key")
        )
    }

    /// Locks the rows that are there in their version; returns their keys.
    pub(super) fn lock_sql(&self, rows: &[RowVersion]) -> String {
        format!(
            "select e.row ->> 'key' from pg_catalog.jsonb_array_elements({}::jsonb) as e(row) \
             cross join lateral (select from {} as l where {} and l.xmin::text = e.row ->> 'version' offset 0 for update) as l",
            versions_json(rows),
            self.table.quoted(),
            self.is_row("(e.row -> 'key')")
        )
    }

    /// Deletes rows that are locked; returns their keys.
    pub(super) fn delete_sql(&self, keys: &[RowKey]) -> String {
        format!(
            "delete from {} as l using pg_catalog.jsonb_array_elements({}::jsonb) as e(key) where {} returning e.key::text",
            self.table.quoted(),
            literal(&json_array(keys.iter())),
            self.is_row("e.key")
        )
    }

    /// Who hangs on these rows: the row's key, and the child's key and version where `child_key` names its columns.
    pub(super) fn referring_sql(
        &self,
        keys: &[RowKey],
        fk: &Referrer,
        child_key: Option<&[Ident]>,
    ) -> String {
        let refers: Vec<String> = fk
            .columns
            .iter()
            .zip(&fk.operators)
            .map(|((child, parent), operator)| {
                format!("l.{} {operator} c.{}", parent.quoted(), child.quoted())
            })
            .collect();
        let child =
            child_key.map_or_else(|| "null::text".to_owned(), |key| format!("{}::text", key_json("c", key)));
        format!(
            "select e.key::text, {child}, c.xmin::text from pg_catalog.jsonb_array_elements({}::jsonb) as e(key) \
             join {} as l on {} join {} as c on {} and {}",
            literal(&json_array(keys.iter())),
            self.table.quoted(),
            self.is_row("e.key"),
            fk.child.quoted(),
            refers.join(" and "),
            own_rows("c", &fk.child)
        )
    }
}

/// Rows of live under the key of a staged one: the staged key, the row's own, its version.
pub(super) fn under_same_key(number: usize, part: &Part) -> String {
    format!(
        "select {}::text, l.found, l.version from pg_temp.\"rowback_{number}\" as r cross join lateral (select {}::text as found, \
         l.xmin::text as version from {} as l where {} offset 0) as l where r.rowback_held is null",
        row_key_json(&part.key, part.action),
        key_json("l", &part.key),
        part.table.quoted(),
        same_key(part)
    )
}

/// Rows of live under another key that hold a unique value of a staged one: as above.
pub(super) fn under_unique_key(number: usize, part: &Part, unique: &Unique) -> String {
    let (values, staged_if, holds) = unique.to_sql();
    format!(
        "select {}::text, l.found, l.version from pg_temp.\"rowback_{number}\" as r\n\
         cross join lateral (select {values} from (select r.*) as x{staged_if} offset 0) as s\n\
         cross join lateral (select {}::text as found, l.xmin::text as version from {} as l where {holds} and not ({}) offset 0) as l\n\
         where r.rowback_held is null",
        row_key_json(&part.key, part.action),
        key_json("l", &part.key),
        part.table.quoted(),
        same_key(part)
    )
}

/// Rows of live, named by `key`, that hold a unique value that an updated row is to get. Only for rows that are as the plan
/// saw them, and these are locked: no other is updated.
pub(super) fn under_unique_key_of_update(
    number: usize,
    part: &Part,
    unique: &Unique,
    key: &[Ident],
) -> String {
    let (values, staged_if, holds) = unique.to_sql();
    let written = |name: &Ident| part.columns.iter().position(|column| column == name);
    let row: Vec<String> = unique
        .needs
        .iter()
        .map(|name| match written(name) {
            Some(at) => format!("r.n{} as {}", at + 1, name.quoted()),
            None => format!("o.{0} as {0}", name.quoted()),
        })
        .collect();
    let found: Vec<String> = part
        .key
        .iter()
        .enumerate()
        .map(|(at, name)| format!("o.{} = r.k{}", name.quoted(), at + 1))
        .collect();
    let itself: Vec<String> = key.iter().map(|name| format!("l.{0} = o.{0}", name.quoted())).collect();
    let table = part.table.quoted();
    format!(
        "select {}::text, l.found, l.version from pg_temp.\"rowback_{number}\" as r\n\
         join {table} as o on {} and {}\n\
         cross join lateral (select {values} from (select {}) as x{staged_if} offset 0) as s\n\
         cross join lateral (select {}::text as found, l.xmin::text as version from {table} as l where {holds} and not ({}) offset 0) as l\n\
         where r.rowback_held is null for update of o",
        row_key_json(&part.key, part.action),
        found.join(" and "),
        as_seen_sql(part, "o"),
        row.join(", "),
        key_json("l", key),
        itself.join(" and ")
    )
}

/// Gives rows of live their staged values.
pub(super) fn set_to_staged(
    number: usize,
    part: &Part,
    settable: &[Ident],
    keys: &[RowKey],
) -> Option<String> {
    let columns: Vec<String> = part
        .columns
        .iter()
        .filter(|name| settable.contains(name) && !part.key.contains(name))
        .map(|name| format!("{0} = r.{0}", name.quoted()))
        .collect();
    (!columns.is_empty()).then(|| {
        format!(
            "update {} as l set {} from pg_temp.\"rowback_{number}\" as r where {} and {} and not ({})",
            part.table.quoted(),
            columns.join(", "),
            is_listed(part, keys),
            same_key(part),
            as_staged_sql(part)
        )
    })
}

/// The listed rows that do not hold their staged values.
pub(super) fn not_as_staged(number: usize, part: &Part, keys: &[RowKey]) -> String {
    format!(
        "select {}::text from pg_temp.\"rowback_{number}\" as r join {} as l on {} where {} and not ({})",
        row_key_json(&part.key, part.action),
        part.table.quoted(),
        same_key(part),
        is_listed(part, keys),
        as_staged_sql(part)
    )
}

/// Counts the listed rows among those that the batch has written.
pub(super) fn mark_done(number: usize, part: &Part, keys: &[RowKey]) -> String {
    let columns: Vec<String> = part.key.iter().map(|name| format!("l.{}", name.quoted())).collect();
    format!(
        "insert into pg_temp.\"rowback_done_{number}\" select {} from pg_temp.\"rowback_{number}\" as r join {} as l on {} where {}",
        columns.join(", "),
        part.table.quoted(),
        same_key(part),
        is_listed(part, keys)
    )
}

fn is_listed(part: &Part, keys: &[RowKey]) -> String {
    format!(
        "{} in (select e.key from pg_catalog.jsonb_array_elements({}::jsonb) as e(key))",
        row_key_json(&part.key, part.action),
        literal(&json_array(keys.iter()))
    )
}

/// Takes the rows of a part out of their place.
pub(super) fn put_away(number: usize) -> String {
    format!(
        "create temporary table \"rowback_whole_{number}\" on commit drop as select * from pg_temp.\"rowback_{number}\"; \
         delete from pg_temp.\"rowback_{number}\""
    )
}

/// Puts the rows of a part into their place again, with NULL in the columns of `cut`.
pub(super) fn put_back(number: usize, cut: &[Ident]) -> String {
    let columns: Vec<String> = cut.iter().map(|name| format!("{} = null", name.quoted())).collect();
    let without = if columns.is_empty() {
        String::new()
    } else {
        format!("; update pg_temp.\"rowback_{number}\" set {}", columns.join(", "))
    };
    format!(
        "delete from pg_temp.\"rowback_{number}\"; \
         insert into pg_temp.\"rowback_{number}\" select * from pg_temp.\"rowback_whole_{number}\"{without}"
    )
}

/// Takes out again what triggers put into the columns of `cut`, which the rows were written without: a link to a row that is
/// to give way.
pub(super) fn cut_links(number: usize, part: &Part, cut: &[Ident]) -> String {
    let columns: Vec<String> = cut.iter().map(|name| format!("{} = null", name.quoted())).collect();
    let filled: Vec<String> = cut.iter().map(|name| format!("l.{} is not null", name.quoted())).collect();
    let done = part.key.iter().enumerate();
    let done: Vec<String> = done.map(|(at, name)| format!("d.k{} = l.{}", at + 1, name.quoted())).collect();
    format!(
        "update {} as l set {} from pg_temp.\"rowback_done_{number}\" as d where {} and ({})",
        part.table.quoted(),
        columns.join(", "),
        done.join(" and "),
        filled.join(" or ")
    )
}

/// Sets the columns of `cut` in the rows that were written without them.
pub(super) fn set_links(number: usize, part: &Part, cut: &[Ident]) -> String {
    let columns: Vec<String> = cut.iter().map(|name| format!("{0} = r.{0}", name.quoted())).collect();
    let differs: Vec<String> =
        cut.iter().map(|name| format!("l.{0} is null and r.{0} is not null", name.quoted())).collect();
    let done = part.key.iter().enumerate();
    let done: Vec<String> = done.map(|(at, name)| format!("d.k{} = r.{}", at + 1, name.quoted())).collect();
    format!(
        "update {} as l set {} from pg_temp.\"rowback_{number}\" as r join pg_temp.\"rowback_done_{number}\" as d on {} where {} and ({})",
        part.table.quoted(),
        columns.join(", "),
        done.join(" and "),
        same_key(part),
        differs.join(" or ")
    )
}
