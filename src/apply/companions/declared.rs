//! Who hangs on a row that a trigger made by a reference of the recipe, which no foreign key of live enforces. Says how to
//! ask; only reads.

use std::collections::BTreeMap;

use super::clear::Going;
use super::sql::key_json;
use super::{Made, Shape, WHAT};
use crate::apply::RowKey;
use crate::apply::row_key::json_array;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, WriteSession, column};
use crate::plan::Reference;
use crate::sql::literal::literal;
use crate::sql::registry::APPLY_TYPES;

/// Types of which every two compare by their numbers.
const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];

/// Who refers by one reference.
pub(super) enum Who {
    /// This asks: the row's key, and the child's key and version.
    Asked(String),
    /// The role may not look.
    Unknown,
}

/// Columns with their types.
type Types = BTreeMap<Ident, String>;

/// The references to a table by which rows of `child` may hang on rows that go.
pub(super) async fn referrers(
    session: &WriteSession,
    made: &Made,
    shape: &Shape,
    keys: &[RowKey],
    going: Going,
) -> Result<Vec<(TableName, Who)>, PgError> {
    let mut found = Vec::new();
    if going == Going::AndComing {
        return Ok(found);
    }
    for reference in made.declared.iter().filter(|reference| reference.parent == shape.table) {
        let (parent, _) = types(session, &shape.table).await?;
        let (child, readable) = types(session, &reference.child).await?;
        let pairs = reference.columns.iter();
        let there = pairs.clone().all(|(own, theirs)| child.contains_key(own) && parent.contains_key(theirs));
        if !there {
            continue;
        }
        let who = if readable {
            let child_key = made.key_columns(&reference.child);
            Who::Asked(sql(shape, keys, reference, child_key.as_deref(), [&child, &parent], going))
        } else {
            Who::Unknown
        };
        found.push((reference.child.clone(), who));
    }
    Ok(found)
}

async fn types(session: &WriteSession, table: &TableName) -> Result<(Types, bool), PgError> {
    let (mut types, mut readable) = (Types::new(), true);
    for row in session.query(&APPLY_TYPES, &[&table.schema.as_str(), &table.name.as_str()]).await? {
        types.insert(Ident::new(column::<String>(&row, "name", WHAT)?), column(&row, "type_name", WHAT)?);
        readable &= column::<bool>(&row, "readable", WHAT)?;
    }
    Ok((types, readable))
}

/// The condition of a reference names the child's columns as they are, so the child is by itself below. Columns of two
/// sorts are compared by their text, as everywhere where references of the recipe are followed.
fn sql(
    shape: &Shape,
    keys: &[RowKey],
    reference: &Reference,
    child_key: Option<&[Ident]>,
    [own, theirs]: [&Types; 2],
    going: Going,
) -> String {
    let table = reference.child.quoted();
    let (mut values, mut pairs) = (Vec::new(), Vec::new());
    for (at, (child, parent)) in reference.columns.iter().enumerate() {
        let path = reference.paths.get(at).and_then(Option::as_ref);
        let value = format!("{table}.{}", child.quoted());
        let value = path.map_or_else(|| value.clone(), |path| path.to_sql(&value));
        values.push(format!("{value} as rowback_v{at}"));
        let [child, parent_type] = [own.get(child), theirs.get(parent)];
        let integer = |name: Option<&String>| name.is_some_and(|name| INTEGERS.contains(&name.as_str()));
        let alike = child == parent_type || (integer(child) && integer(parent_type));
        let cast = if path.is_none() && alike { "" } else { "::text" };
        pairs.push(format!("l.{}{cast} = c.rowback_v{at}{cast}", parent.quoted()));
    }
    if going == Going::Back {
        pairs.push("pg_catalog.age(c.rowback_version) <= pg_catalog.age(l.xmin)".to_owned());
    }
    let key = child_key
        .filter(|key| key.iter().all(|name| own.contains_key(name)))
        .map_or_else(|| "null".to_owned(), |key| key_json(&table, key));
    let when = reference.when.as_ref().map_or_else(String::new, |when| format!(" where (\n{when}\n)"));
    format!(
        "select e.key::text, c.rowback_key::text, c.rowback_version::text from pg_catalog.jsonb_array_elements({}::jsonb) as e(key) \
         join {} as l on {} join (select {}, {table}.xmin as rowback_version, {key} as rowback_key from {table}{when}) as c on {}",
        literal(&json_array(keys.iter())),
        shape.table.quoted(),
        shape.is_row("e.key"),
        values.join(", "),
        pairs.join(" and ")
    )
}
