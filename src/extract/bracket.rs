//! The second of two backups, taken after the accident: tells which chosen rows were gone by then, and what the others
//! held. Only rows with the keys of chosen ones are read from it.

use super::aftermath::{BRACKET, told_table};
use super::chosen::{Chosen, PARENTS, side_name};
use super::{ExtractError, keys, resolve};
use crate::catalog::{Table, quoted_list};
use crate::ident::{Ident, TableName};
use crate::recipe::Recipe;
use crate::scratch::Scratch;
use crate::scratch::choice::{Choice, KeyMatch, Wish};
use crate::scratch::keys::KeySort;

/// How much of a table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Rows with the keys of chosen ones.
    Chosen,
    /// Every row, since more rows will be chosen of it.
    Whole,
}

/// Looks the chosen rows of a table up that were not looked up before; columns that the later backup does not have go
/// into the notes.
pub(super) async fn tell(
    chosen: &mut Chosen<'_>,
    (scratch, recipe): (&Scratch, &Recipe),
    name: &TableName,
    extent: Extent,
    notes: &mut Vec<String>,
) -> Result<(), ExtractError> {
    if !chosen.tables().contains(name) {
        return Ok(());
    }
    let table = chosen.table(name)?;
    let first = !chosen.told.contains(name);
    let told = told_table(chosen, table).await?;
    let new = format!(
        "(select distinct tab, place from {} as c where family <> {PARENTS} and not exists (select from {told} as a \
         where a.rowback_tab = c.tab and a.rowback_place = c.place and a.rowback_teller = {BRACKET}))",
        side_name(table)
    );
    let key = resolve::key_of(recipe, table)?;
    let later = TableName::new("rowback_scratch", format!("later_{}", table.oid));
    if first {
        let from = table.from_sql();
        let create = format!("create unlogged table {} as select * from {from} with no data", later.quoted());
        chosen.session.execute("preparing extraction", &create).await?;
    }
    let Some(choice) = choice(chosen, scratch, table, (&new, &key), extent).await? else { return Ok(()) };
    let none = std::collections::BTreeMap::new();
    let renamed = recipe.columns.get(name).map_or(&none, |map| &map.map);
    let unknown = scratch.load_later(table, &later, renamed, choice).await?;
    if let Some(column) = key.iter().find(|column| unknown.contains(*column)) {
        return Err(ExtractError::LaterWithoutKey { table: name.clone(), column: column.clone() });
    }
    if first && !unknown.is_empty() {
        let columns: Vec<&str> = unknown.iter().map(Ident::as_str).collect();
        notes.push(format!(
            "the backup taken after the accident has no column {} of {name}: nothing tells whether it was damaged",
            columns.join(", ")
        ));
    }
    // What the later backup does not know counts as unchanged, so nothing there is ever taken for damage.
    let values: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let from = if unknown.contains(&column.name) || column.generated { "t" } else { "l" };
            format!("{from}.{}", column.name.quoted())
        })
        .collect();
    let insert = format!(
        "insert into {told} (rowback_teller, rowback_tab, rowback_place, rowback_gone, {}) \
         select {BRACKET}, n.tab, n.place, l.{} is null, {} from {new} as n join {} as t on t.tableoid = n.tab and t.ctid = n.place \
         left join {} as l on {}; analyze {told}",
        quoted_list("", table.column_names()),
        key.first().map(Ident::quoted).unwrap_or_default(),
        values.join(", "),
        table.from_sql(),
        later.quoted(),
        same_key(table, &key, "l"),
    );
    Ok(chosen.session.execute("comparing the two backups", &insert).await?)
}

/// `l."id" = t."id" and …`, with the operators of the table's own keys.
pub(super) fn same_key(table: &Table, key: &[Ident], other: &str) -> String {
    let pair = |name: &Ident| format!("{other}.{0} {1} t.{0}", name.quoted(), table.equality(name));
    key.iter().map(pair).collect::<Vec<_>>().join(" and ")
}

/// What to read of the table; `None` when no row is new.
async fn choice(
    chosen: &Chosen<'_>,
    scratch: &Scratch,
    table: &Table,
    (new, key): (&str, &[Ident]),
    extent: Extent,
) -> Result<Option<Choice>, ExtractError> {
    let sql = format!(
        "copy (select {} from {} as t join {new} as n on n.tab = t.tableoid and n.place = t.ctid) to stdout",
        quoted_list("t.", key),
        table.from_sql()
    );
    // Keys are compared as the later backup's text has them.
    let sort = scratch.later_encoding().and_then(|encoding| keys::sort_of_key(table, key, encoding));
    let found = keys::read(chosen.session, scratch, &sql, sort.unwrap_or(KeySort::Text), &mut 0).await?;
    Ok(match found {
        keys::Found::Keys(keys) if keys.is_empty() => None,
        keys::Found::Keys(keys) if sort.is_some() && extent == Extent::Chosen => {
            Some(Choice::AnyOf(vec![Wish::Keys(KeyMatch { columns: key.to_vec(), keys })]))
        }
        _ => Some(Choice::All),
    })
}
