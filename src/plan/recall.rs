//! SQL with which `apply` remembers what a batch really stored, and `undo` narrows its staged rows down to those that
//! apply wrote. Works on the temporary tables of a batch or undo file while they are open. Pure: text in, text out.

use super::script::CopyBlock;
use super::sql::{row_key_json, same_text};
use super::stages::temporary_columns;
use super::{Action, Part};
use crate::catalog::quoted_list;
use crate::ident::{Ident, TableName};
use crate::sql::literal::literal;

/// Which of the staged rows a list of keys speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrow {
    /// The listed rows go.
    Drop,
    /// Only the listed rows stay.
    Keep,
}

/// Removes rows from the temporary table of part `number` (from 1) by key; `keys` is a JSON array of keys in the form
/// that the reports use.
pub fn narrow_sql(number: usize, part: &Part, keys: &str, narrow: Narrow) -> String {
    let negation = match narrow {
        Narrow::Drop => "",
        Narrow::Keep => "not ",
    };
    format!(
        "delete from pg_temp.\"rowback_{number}\" as r where {negation}exists (select from \
         pg_catalog.jsonb_array_elements({}::jsonb) as e(key) where e.key = {});",
        literal(keys),
        row_key_json(&part.key, part.action)
    )
}

/// `copy … to stdout` of the listed rows of part `number` as live holds them now: first the key as JSON, then a row
/// that fits the part's stage. `keys` as in [`narrow_sql`].
pub fn stored_sql(number: usize, part: &Part, keys: &str) -> String {
    let (columns, same_key) = match part.action {
        Action::Insert | Action::Move => {
            let pairs = part.key.iter().map(|name| format!("l.{0} = r.{0}", name.quoted()));
            let mut columns = vec![quoted_list("l.", &part.columns)];
            if part.action == Action::Move {
                columns.extend((1..=part.columns.len()).map(|at| format!("r.s{at}")));
                columns.push(format!("r.{}", super::moves::GROUP));
            }
            (columns.join(", "), pairs.collect::<Vec<_>>())
        }
        Action::Update => {
            let numbered = |prefix: &str, columns: &[Ident]| {
                (1..=columns.len()).map(|at| format!("r.{prefix}{at}")).collect::<Vec<_>>()
            };
            let mut columns = numbered("k", &part.key);
            columns.extend(part.columns.iter().map(|name| format!("l.{}", name.quoted())));
            columns.extend(numbered("s", &part.columns));
            let pairs = part.key.iter().enumerate();
            let pairs = pairs.map(|(at, name)| format!("l.{} = r.k{}", name.quoted(), at + 1));
            (columns.join(", "), pairs.collect())
        }
    };
    let key = row_key_json(&part.key, part.action);
    format!(
        "copy (select {key}::text, {columns} from pg_temp.\"rowback_{number}\" as r join {} as l on {} where {key} in \
         (select e.key from pg_catalog.jsonb_array_elements({}::jsonb) as e(key))) to stdout",
        part.table.quoted(),
        same_key.join(" and "),
        literal(keys)
    )
}

/// Do all columns of a row `l` of live hold what the staged row `r` of an insert says?
pub fn as_staged_sql(part: &Part) -> String {
    let pairs =
        part.columns.iter().map(|name| (format!("l.{}", name.quoted()), format!("r.{}", name.quoted())));
    same_text(&pairs.collect::<Vec<_>>())
}

/// Do all written columns of a row of live, called `live`, hold what was seen when the plan was made? Not for inserts.
pub fn as_seen_sql(part: &Part, live: &str) -> String {
    let pairs = part.columns.iter().enumerate();
    let pairs = pairs.map(|(at, name)| (format!("{live}.{}", name.quoted()), format!("r.s{}", at + 1)));
    same_text(&pairs.collect::<Vec<_>>())
}

/// Which way rows move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Where they belong.
    Home,
    /// Where apply had found them.
    Back,
}

/// One side of a move: rows come to the table `to`, whose columns have these `types`. Returns their number.
pub fn come_sql(number: usize, part: &Part, to: &TableName, types: &[String], way: Way) -> String {
    let columns = quoted_list("", &part.columns);
    let values = part.columns.iter().zip(types).enumerate().map(|(at, (name, type_name))| match way {
        Way::Home => format!("r.{}", name.quoted()),
        // Types of a schema of their own only have the same texts.
        Way::Back => format!("r.s{}::text::{type_name}", at + 1),
    });
    format!(
        "with w as (insert into {} ({columns}) overriding system value select {} from pg_temp.\"rowback_{number}\" as r \
         where r.rowback_held is null returning 1) select pg_catalog.count(*) from w",
        to.quoted(),
        values.collect::<Vec<_>>().join(", ")
    )
}

/// The other side: they go from the table that `from` names (with `only` where it has no partitions), under the guard of what
/// they were seen or staged with. Returns their number.
pub fn go_sql(number: usize, part: &Part, from: &str, way: Way) -> String {
    let same = match way {
        Way::Home => as_seen_sql(part, "l"),
        Way::Back => as_staged_sql(part),
    };
    let keys = part.key.iter().map(|name| format!("l.{0} = r.{0}", name.quoted()));
    format!(
        "with w as (delete from {from} as l using pg_temp.\"rowback_{number}\" as r where r.rowback_held is null and {} \
         and {same} returning 1) select pg_catalog.count(*) from w",
        keys.collect::<Vec<_>>().join(" and ")
    )
}

/// Notes the rows of a part that moves as written; returns their number.
pub fn moved_sql(number: usize, part: &Part) -> String {
    format!(
        "with w as (insert into pg_temp.\"rowback_done_{number}\" select {} from pg_temp.\"rowback_{number}\" as r \
         where r.rowback_held is null returning 1) select pg_catalog.count(*) from w",
        quoted_list("r.", &part.key)
    )
}

/// The columns of a part's temporary table, quoted, as a list.
pub fn staged_columns(part: &Part) -> String {
    let names = temporary_columns(&part.key, &part.columns, part.action).into_iter().map(|(name, _)| name);
    names.collect::<Vec<_>>().join(", ")
}

/// Rows (COPY text, each with its newline) for the temporary table of part `number`.
pub fn copy_block(number: usize, part: &Part, rows: Vec<u8>) -> CopyBlock {
    let names = staged_columns(part);
    CopyBlock { sql: format!("copy pg_temp.\"rowback_{number}\" ({names}) from stdin"), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(action: Action) -> Part {
        Part {
            table: TableName::new("s", "t"),
            action,
            key: vec![Ident::new("id")],
            columns: vec![Ident::new("id"), Ident::new("n")],
            rows: 1,
            from: None,
        }
    }

    #[test]
    fn the_sql_follows_the_shape_of_the_temporary_table() {
        assert_eq!(
            narrow_sql(2, &part(Action::Insert), r#"[{"id":"1"}]"#, Narrow::Keep),
            "delete from pg_temp.\"rowback_2\" as r where not exists (select from \
             pg_catalog.jsonb_array_elements('[{\"id\":\"1\"}]'::jsonb) as e(key) where e.key = \
             pg_catalog.jsonb_build_object('id', r.\"id\"::text));"
        );
        assert_eq!(
            stored_sql(1, &part(Action::Update), "[]"),
            "copy (select pg_catalog.jsonb_build_object('id', r.k1::text)::text, r.k1, l.\"id\", l.\"n\", r.s1, r.s2 from \
             pg_temp.\"rowback_1\" as r join \"s\".\"t\" as l on l.\"id\" = r.k1 where \
             pg_catalog.jsonb_build_object('id', r.k1::text) in (select e.key from \
             pg_catalog.jsonb_array_elements('[]'::jsonb) as e(key))) to stdout"
        );
        assert_eq!(
            copy_block(1, &part(Action::Insert), Vec::new()).sql,
            "copy pg_temp.\"rowback_1\" (\"id\", \"n\") from stdin"
        );
        assert_eq!(
            copy_block(1, &part(Action::Update), Vec::new()).sql,
            "copy pg_temp.\"rowback_1\" (k1, n1, n2, s1, s2) from stdin"
        );
    }
}
