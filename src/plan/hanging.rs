//! Keeps updates off rows on which others hang: an update of a column that a foreign key refers to by `ON UPDATE SET NULL` or
//! `SET DEFAULT` would cut links that nobody asked to cut, and no undo would know them. Pure.

use super::script::{Step, StepKind};
use super::sql::same_key;
use super::{Action, BatchTable};
use crate::catalog::{Action as OnChange, ForeignKey};
use crate::sql::literal::literal;
use crate::sql::own_rows::own_rows;

/// Locks the rows that are updated, so that nothing can be hung on them any more, and marks those on which something
/// hangs that the same batch does not write; `why` becomes the mark.
pub(super) fn hold(
    tables: &[BatchTable<'_>],
    foreign_keys: &[ForeignKey],
    why: fn(&ForeignKey) -> String,
) -> Option<Step> {
    let mut statements = Vec::new();
    for (number, part) in (1..).zip(tables).filter(|(_, part)| part.action == Action::Update) {
        let cut = |fk: &&ForeignKey| {
            let cuts = matches!(fk.on_update, OnChange::SetNull | OnChange::SetDefault);
            cuts && fk.parent == part.table.name
                && fk.parent_columns().any(|name| part.columns.contains(name))
        };
        let referring: Vec<&ForeignKey> = foreign_keys.iter().filter(cut).collect();
        if referring.is_empty() {
            continue;
        }
        let (from, key) = (part.table.from_sql(), same_key(part));
        statements.push(format!(
            "  perform 1 from {from} as l join pg_temp.\"rowback_{number}\" as r on {key} for update of l;"
        ));
        statements.extend(referring.into_iter().map(|fk| mark((number, part), (fk, why), tables)));
    }
    if statements.is_empty() {
        return None;
    }
    let sql = format!("do $rowback$\nbegin\n{}\nend\n$rowback$;", statements.join("\n"));
    Some(Step::sql(StepKind::Hold, sql))
}

fn mark(
    (number, part): (usize, &BatchTable<'_>),
    (fk, why): (&ForeignKey, fn(&ForeignKey) -> String),
    tables: &[BatchTable<'_>],
) -> String {
    let pairs: Vec<String> = (fk.child_columns().zip(fk.parent_columns()))
        .enumerate()
        .map(|(at, (down, up))| format!("l.{} {} c.{}", up.quoted(), fk.operator(at), down.quoted()))
        .collect();
    let beside: Vec<String> = (1..)
        .zip(tables)
        .filter(|(_, other)| other.table.name == fk.child && other.action == Action::Update)
        .map(|(at, other)| {
            let same =
                other.key.iter().enumerate().map(|(k, name)| format!("b.k{} = c.{}", k + 1, name.quoted()));
            let same = same.collect::<Vec<_>>().join(" and ");
            format!(" and not exists (select from pg_temp.\"rowback_{at}\" as b where {same})")
        })
        .collect();
    format!(
        "  update pg_temp.\"rowback_{number}\" as r set rowback_held = {} from {} as l\n    where r.rowback_held is null and {} \
         and exists (select from {} as c where {} and {}{});",
        literal(&why(fk)),
        part.table.from_sql(),
        same_key(part),
        fk.child.quoted(),
        pairs.join(" and "),
        own_rows("c", &fk.child),
        beside.concat()
    )
}
