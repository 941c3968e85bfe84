//! Rows that the table named by `misrouted_to` had in the backup under the keys of chosen rows: they are that table's own,
//! whatever they look like in live now.

use super::chosen::Chosen;
use super::{Entry, ExtractError, Family, closure, resolve};
use crate::catalog::{ForeignKey, Origin, Table};
use crate::ident::Ident;
use crate::recipe::Recipe;
use crate::scratch::Scratch;

/// Loads the other tables' rows of the chosen keys.
pub(super) async fn load(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    recipe: &Recipe,
    entries: &[Entry<'_>],
    families: &[Family<'_>],
) -> Result<(), ExtractError> {
    let mut requests = Vec::new();
    let mut memory = 0;
    for entry in entries {
        let key = resolve::key_of(recipe, entry.table)?;
        let Some(other) = other(chosen, entry, &key) else { continue };
        let family = families.iter().position(|family| *family == (&entry.following, None));
        let Some(family) = family.and_then(|family| i16::try_from(family).ok()) else { continue };
        let same_key = by_key(entry, other, &key);
        requests.push(
            closure::children_of(chosen, scratch, &other.name, &[&same_key], family, &mut memory).await?,
        );
    }
    Ok(scratch.load_all(requests).await?)
}

/// The table that an entry's rows ended up in, where the backup has it with the same key.
fn other<'a>(chosen: &Chosen<'a>, entry: &Entry<'_>, key: &[Ident]) -> Option<&'a Table> {
    let other = chosen.catalog.tables.get(entry.recover.misrouted_to.as_ref()?)?;
    key.iter().all(|name| other.column(name).is_some()).then_some(other)
}

/// That two rows have the same key, in the form of a reference.
fn by_key(entry: &Entry<'_>, other: &Table, key: &[Ident]) -> ForeignKey {
    let name = format!("the key of {}", entry.table.name);
    ForeignKey::by_key(&name, (&other.name, &entry.table.name), key, Origin::Declared { when: None })
}

/// An expression over the staged row `t`: `twin` and the numbers of the entries, or null.
pub(super) fn origin_sql(
    chosen: &Chosen<'_>,
    entries: &[Entry<'_>],
    table: &Table,
    key: &[Ident],
) -> Option<String> {
    let own = entries.iter().filter(|entry| entry.table.name == table.name);
    let cases: Vec<String> = own
        .filter_map(|entry| {
            let other = other(chosen, entry, key)?;
            let text = |alias: &str| {
                let columns = key.iter().map(|name| format!("{alias}.{}::text", name.quoted()));
                columns.collect::<Vec<_>>().join(", ")
            };
            let (mine, theirs) = (text("t"), text("o"));
            Some(format!(
                "case when ({mine}) in (select {theirs} from {} as o) then '{}' end",
                other.from_sql(),
                entry.number
            ))
        })
        .collect();
    (!cases.is_empty()).then(|| format!("'twin ' || nullif(concat_ws(',', {}), '')", cases.join(", ")))
}
