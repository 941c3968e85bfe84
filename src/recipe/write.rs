//! A [`Recipe`] as TOML with every default written out, so that the case says what was run. Passwords are left out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::entry::{Children, Links, Recover, Selection, show_end, show_table};
use super::password::without_password;
use super::policy::BackupLocation;
use super::{Recipe, RecipeError};
use crate::ident::Ident;

/// The whole text.
pub(super) fn recipe(recipe: &Recipe) -> Result<String, RecipeError> {
    toml::to_string(&document(recipe)).map_err(|error| RecipeError::Unwritable { message: error.to_string() })
}

#[derive(Serialize)]
struct Document<'a> {
    backup: BTreeMap<&'static str, String>,
    live: BTreeMap<&'static str, String>,
    policy: PolicyTable,
    recover: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    foreign_key: Vec<BTreeMap<&'static str, String>>,
    columns: BTreeMap<String, ColumnTable<'a>>,
}

#[derive(Serialize)]
struct PolicyTable {
    changed: String,
    recreated: String,
    parents: String,
    triggers: String,
    max_rows: u64,
    recreate: bool,
    exclude_keys: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    table: String,
    kind: String,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    condition: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<&'a str>,
    children: ChildrenValue,
    links: bool,
    identity: &'a [Ident],
    key: &'a [Ident],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    columns: &'a [Ident],
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a Ident>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    misrouted_to: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ChildrenValue {
    Word(&'static str),
    Tables(Vec<String>),
}

#[derive(Serialize)]
struct ColumnTable<'a> {
    ignore: &'a [Ident],
    key: &'a [Ident],
    map: &'a BTreeMap<Ident, Ident>,
}

fn document(recipe: &Recipe) -> Document<'_> {
    let mut backup = BTreeMap::new();
    match &recipe.backup.before {
        Some(BackupLocation::Path(path)) => backup.insert("path", path.to_string_lossy().into_owned()),
        Some(BackupLocation::Url(url)) => backup.insert("url", without_password(url)),
        None => None,
    };
    match &recipe.backup.after {
        Some(BackupLocation::Path(path)) => backup.insert("after", path.to_string_lossy().into_owned()),
        Some(BackupLocation::Url(url)) => backup.insert("after", without_password(url)),
        None => None,
    };
    let policy = &recipe.policy;
    let exclude_keys = policy
        .exclude_keys
        .iter()
        .map(|(table, path)| (show_table(table), path.to_string_lossy().into_owned()));
    Document {
        backup,
        live: recipe.live.url.iter().map(|url| ("url", without_password(url))).collect(),
        policy: PolicyTable {
            changed: policy.changed.to_string(),
            recreated: policy.recreated.to_string(),
            parents: policy.parents.to_string(),
            triggers: policy.triggers.to_string(),
            max_rows: policy.max_rows,
            recreate: policy.recreate,
            exclude_keys: exclude_keys.collect(),
        },
        recover: recipe.recover.iter().map(entry).collect(),
        foreign_key: recipe
            .foreign_keys
            .iter()
            .map(|key| {
                let mut table = BTreeMap::from([
                    ("from", show_end(&key.from_table, &key.from_columns)),
                    (
                        "to",
                        show_end(
                            &key.to_table,
                            &key.to_columns.iter().cloned().map(Into::into).collect::<Vec<_>>(),
                        ),
                    ),
                ]);
                table.extend(key.when.iter().map(|when| ("when", when.clone())));
                table
            })
            .collect(),
        columns: recipe
            .columns
            .iter()
            .map(|(table, map)| {
                (show_table(table), ColumnTable { ignore: &map.ignore, key: &map.key, map: &map.map })
            })
            .collect(),
    }
}

fn entry(recover: &Recover) -> Entry<'_> {
    let of = |wanted: fn(&Selection) -> Option<&str>| wanted(&recover.selection);
    Entry {
        table: show_table(&recover.table),
        kind: recover.kind.to_string(),
        condition: of(|selection| match selection {
            Selection::Where(text) => Some(text),
            _ => None,
        }),
        query: of(|selection| match selection {
            Selection::Query(text) => Some(text),
            _ => None,
        }),
        replay: of(|selection| match selection {
            Selection::Replay(text) => Some(text),
            _ => None,
        }),
        children: match &recover.children {
            Children::All => ChildrenValue::Word("all"),
            Children::None => ChildrenValue::Word("none"),
            Children::Only(tables) => ChildrenValue::Tables(tables.iter().map(show_table).collect()),
        },
        links: recover.links == Links::Repair,
        identity: &recover.identity,
        key: &recover.key,
        columns: &recover.columns,
        damaged: recover.damaged.as_deref(),
        owner: recover.owner.as_ref(),
        owner_from: recover.owner_from.as_deref(),
        misrouted_to: recover.misrouted_to.as_ref().map(show_table),
    }
}
