//! Undo and the references of the recipe, which no server enforces: a row that came to refer to a recovered one keeps it in
//! its place. A row that refers and was there before its parent came back keeps nobody: it dangled before, and dangles again.
//! Pure.

use super::BatchTable;
use super::sql::same_key;
use super::undo::unless_leaving;
use crate::catalog::ForeignKey;
use crate::ident::Ident;
use crate::sql::literal::literal;

/// The setting in which `rowback undo` names its own transactions, as a list of `xid` with commas: rows that it gave their
/// former values back are as old as before. Run by hand, an undo file knows of none, and leaves more rows alone.
pub const OWN_TRANSACTIONS: &str = "rowback.undo_transactions";

/// The setting in which `rowback undo` names the oldest transaction that ran when apply began to write. Rows of older ones were
/// there before; a younger one may have written a row after the parent came back, also where its number is below that of the
/// batch.
pub const OLDEST_TRANSACTION: &str = "rowback.undo_oldest";

/// Marks rows of the part that must stay. Which rows were there before, nobody but the server's numbers of transactions tells.
pub(super) fn hold(
    number: usize,
    part: &BatchTable<'_>,
    fk: &ForeignKey,
    leaving: &[(usize, &[Ident])],
) -> String {
    let refers: Vec<String> = fk
        .child_sql("c.")
        .into_iter()
        .zip(fk.parent_columns())
        .enumerate()
        .map(|(at, (child, parent))| {
            let parent = format!("l.{}", parent.quoted());
            match fk.operator_told(at) {
                Some(operator) => format!("{parent} {operator} {child}"),
                None => format!("{} = {}", alike(&child), alike(&parent)),
            }
        })
        .collect();
    let child = fk.child.quoted();
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    // A statement inside `if` is only looked at when it is reached: a table that is gone refers to nobody.
    format!(
        "    if pg_catalog.to_regclass({}) is not null then\n      \
         update pg_temp.\"rowback_{number}\" as r set rowback_held = {} from {} as l where rowback_held is null and {}\n        \
         and exists (select from (select *, xmin as rowback_since from {child}{condition}) as c where {}\n          \
         and not coalesce(pg_catalog.age(c.rowback_since) > \
         pg_catalog.age(nullif(pg_catalog.current_setting('{OLDEST_TRANSACTION}', true), '')::pg_catalog.xid), false)\n          \
         and c.rowback_since::text <> all (pg_catalog.string_to_array(\
         coalesce(pg_catalog.current_setting('{OWN_TRANSACTIONS}', true), ''), ',')){});\n      \
         get diagnostics moved = row_count;\n      total := total + moved;\n    end if;",
        literal(&child),
        literal(&format!("still referred to by {}", fk.child)),
        part.table.from_sql(),
        same_key(part),
        refers.join(" and "),
        unless_leaving(leaving)
    )
}

/// The text of a value in which equal values of types that may be joined are alike, and some others, too: each side by
/// itself, so that the server can hash. Who is taken for referring only stays in its place. Whatever looks like a number is
/// one: a domain does not tell its type.
fn alike(value: &str) -> String {
    let text = format!("({value})::text");
    format!(
        "case when {text} collate pg_catalog.\"C\" ~ '^-?[0-9]{{1,250}}([.][0-9]{{1,250}})?$' or pg_catalog.pg_typeof({value}) in ('pg_catalog.numeric'::pg_catalog.regtype, \
         'pg_catalog.float4'::pg_catalog.regtype, 'pg_catalog.float8'::pg_catalog.regtype) then pg_catalog.trim_scale({text}::pg_catalog.numeric)::text \
         when pg_catalog.pg_typeof({value}) in ('pg_catalog.date'::pg_catalog.regtype, 'pg_catalog.timestamp'::pg_catalog.regtype, \
         'pg_catalog.timestamptz'::pg_catalog.regtype) then ({text}::pg_catalog.timestamptz)::text \
         when pg_catalog.pg_typeof({value}) = 'pg_catalog.interval'::pg_catalog.regtype \
         then pg_catalog.date_part('epoch', {text}::pg_catalog.interval)::text else pg_catalog.lower({text}) end"
    )
}
