//! The temporary tables of batch and undo files: their columns, their types, and the rows that go into them. Pure.

use super::script::{CopyBlock, Step, StepKind};
use super::{Action, BatchTable, moves};
use crate::ident::Ident;

/// Which file the table is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Apply,
    Undo,
}

/// `a` for an insert's columns, `k1, n1, s1` (key, new, seen) for an update's, `a, s1` and the group for those of rows that
/// move; each with the column it is made from.
pub(super) fn temporary_columns(key: &[Ident], columns: &[Ident], action: Action) -> Vec<(String, String)> {
    let numbered = |prefix: &'static str, columns: &[Ident]| {
        let named = columns.iter().enumerate();
        named.map(|(at, name)| (format!("{prefix}{}", at + 1), name.quoted())).collect::<Vec<_>>()
    };
    let named = || columns.iter().map(|name| (name.quoted(), name.quoted()));
    match action {
        Action::Insert => named().collect(),
        Action::Move => {
            let group = (moves::GROUP.to_owned(), "null::pg_catalog.int8".to_owned());
            named().chain(numbered("s", columns)).chain([group]).collect()
        }
        Action::Update => {
            let mut all = numbered("k", key);
            all.extend(numbered("n", columns));
            all.extend(numbered("s", columns));
            all
        }
    }
}

pub(super) fn stage(number: usize, part: &BatchTable<'_>, purpose: Purpose) -> Step {
    let columns = temporary_columns(&part.key, &part.columns, part.action);
    let selected: Vec<String> = columns.iter().map(|(name, source)| format!("{source} as {name}")).collect();
    let from = part.table.from_sql();
    let typed = match purpose {
        Purpose::Apply => typed_columns(part),
        Purpose::Undo => None,
    };
    let shape = typed.map_or_else(
        || {
            format!(
                "on commit drop as select {}, null::pg_catalog.text as rowback_held, null::pg_catalog.int4 as rowback_turn from {from} where false;",
                selected.join(", ")
            )
        },
        |typed| format!("({typed}, rowback_held pg_catalog.text, rowback_turn pg_catalog.int4) on commit drop;"),
    );
    let mut sql = format!("create temporary table \"rowback_{number}\" {shape}");
    sql.extend(generated_keys(number, part));
    let keys = part.key.iter().enumerate();
    let keys: Vec<String> = keys.map(|(at, name)| format!("{} as k{}", name.quoted(), at + 1)).collect();
    sql.push_str(&format!(
        "\ncreate temporary table \"rowback_done_{number}\" on commit drop as select {} from {from} where false;",
        keys.join(", ")
    ));
    let names: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
    let copy = CopyBlock {
        sql: format!("copy pg_temp.\"rowback_{number}\" ({}) from stdin", names.join(", ")),
        rows: part.rows.clone(),
    };
    Step { kind: StepKind::Stage, sql, copy: Some(copy) }
}

/// Columns of the key that are made of others are not staged, but rows are found by them: they are made here as well.
fn generated_keys(number: usize, part: &BatchTable<'_>) -> impl Iterator<Item = String> {
    let whole = part.action.writes_whole_rows();
    let made = part.key.iter().filter(move |name| whole && !part.columns.contains(name));
    let made = made.filter_map(|name| part.table.column(name));
    made.filter_map(move |column| {
        let (name, expression) = (column.name.quoted(), column.generated_as.as_deref()?);
        Some(format!(
            "\nalter table pg_temp.\"rowback_{number}\" add column {name} {} generated always as ({expression}) stored;",
            column.type_name
        ))
    })
}

/// The columns of the temporary table with the types that live had when the plan was made: a column whose type has become
/// narrower since must not round a value before it is compared.
fn typed_columns(part: &BatchTable<'_>) -> Option<String> {
    let type_of = |name: &Ident| part.table.column(name).map(|column| column.type_name.as_str());
    let typed = match part.action {
        Action::Insert => part
            .columns
            .iter()
            .map(|name| Some(format!("{} {}", name.quoted(), type_of(name)?)))
            .collect::<Option<Vec<_>>>(),
        Action::Move => {
            let named = part.columns.iter().map(|name| (name.quoted(), name));
            let seen = part.columns.iter().enumerate().map(|(at, name)| (format!("s{}", at + 1), name));
            let typed =
                named.chain(seen).map(|(as_name, name)| Some(format!("{as_name} {}", type_of(name)?)));
            let group = Some(format!("{} pg_catalog.int8", moves::GROUP));
            typed.chain([group]).collect()
        }
        Action::Update => {
            let prefixed = [("k", &part.key), ("n", &part.columns), ("s", &part.columns)];
            let all = prefixed.into_iter().flat_map(|(prefix, names)| {
                let numbered = names.iter().enumerate();
                numbered.map(move |(at, name)| Some(format!("{prefix}{} {}", at + 1, type_of(name)?)))
            });
            all.collect()
        }
    };
    typed.map(|typed| typed.join(", "))
}
