//! From TOML to a [`Recipe`]: sorts of values, names of keys, defaults, paths. What goes together is checked in
//! `check.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::check;
use super::entry::{Children, DeclaredForeignKey, Kind, Links, Recover, Selection, parse_end};
use super::error::RecipeError;
use super::policy::{BackupLocation, BackupSource, ColumnMap, LiveSource, Policy};
use super::section::{Section, Source};
use super::{Recipe, without_nul};
use crate::ident::{Ident, TableName};

const TABLE: &str = "a table as \"schema.table\"";
const COLUMNS: &str = "a list of column names";

/// Reads and checks the text of a recipe; `base` is the folder that its relative paths start from.
pub(super) fn recipe(text: &str, file: &str, base: &Path) -> Result<Recipe, RecipeError> {
    let source = Source { file, text };
    let document = DeTable::parse(text).map_err(|error| RecipeError::Syntax {
        place: source.place(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let root = Section::root(source, document.get_ref());
    root.allow(&["backup", "live", "recover", "foreign_key", "policy", "columns"])?;
    let backup = root.section("backup", "[backup]")?.map(|s| backup(&s, base)).transpose()?;
    let live = root.section("live", "[live]")?.map(|s| live(&s)).transpose()?;
    let policy = root.section("policy", "[policy]")?.map(|s| policy(&s, base)).transpose()?;
    let columns = root.section("columns", "[columns]")?.map(|s| columns(&s)).transpose()?;
    let backup = backup.unwrap_or_default();
    let mut recover: Vec<(Section<'_>, Recover)> = Vec::new();
    for section in root.sections("recover")? {
        let entry = entry(&section, base)?;
        check::entry(&entry, &backup, &|key| section.place_of(key))?;
        recover.push((section, entry));
    }
    let columns = columns.unwrap_or_default();
    check::entries(
        &recover.iter().map(|(s, entry)| (s.place(), entry)).collect::<Vec<_>>(),
        &columns,
        &root.place(),
    )?;
    let foreign_keys =
        root.sections("foreign_key")?.iter().map(foreign_key).collect::<Result<Vec<_>, RecipeError>>()?;
    Ok(Recipe {
        backup,
        live: live.unwrap_or_default(),
        recover: recover.into_iter().map(|(_, entry)| entry).collect(),
        foreign_keys,
        policy: policy.unwrap_or_default(),
        columns,
    })
}

fn column(text: &str) -> Option<Ident> {
    (!text.is_empty() && without_nul(text)).then(|| Ident::new(text))
}

fn table(text: &str) -> Option<TableName> {
    without_nul(text).then(|| TableName::parse(text))?
}

fn path(text: &str, base: &Path) -> Option<PathBuf> {
    (!text.is_empty() && without_nul(text)).then(|| base.join(text))
}

fn backup(section: &Section<'_>, base: &Path) -> Result<BackupSource, RecipeError> {
    section.allow(&["path", "url", "after"])?;
    let location = |key: &str| {
        section.parsed(key, "a path", |text| match BackupLocation::parse(text) {
            BackupLocation::Path(_) => path(text, base).map(BackupLocation::Path),
            url @ BackupLocation::Url(_) => Some(url),
        })
    };
    if section.has("path") && section.has("url") {
        return Err(RecipeError::Contradiction {
            place: section.place_of("url"),
            what: "[backup] names both path and url".to_owned(),
            advice: "Write one of them.".to_owned(),
        });
    }
    let url = section.parsed("url", "a PostgreSQL URL", |text| {
        (!text.is_empty()).then(|| BackupLocation::Url(text.to_owned()))
    })?;
    Ok(BackupSource { before: url.or(location("path")?), after: location("after")? })
}

fn live(section: &Section<'_>) -> Result<LiveSource, RecipeError> {
    section.allow(&["url"])?;
    let url = section.parsed("url", "a PostgreSQL URL or key=value string", |text| {
        (!text.trim().is_empty()).then(|| text.to_owned())
    })?;
    Ok(LiveSource { url })
}

fn entry(section: &Section<'_>, base: &Path) -> Result<Recover, RecipeError> {
    section.allow(&[
        "table",
        "kind",
        "where",
        "where_file",
        "query",
        "replay",
        "children",
        "links",
        "identity",
        "key",
        "columns",
        "damaged",
        "owner",
        "owner_from",
        "misrouted_to",
    ])?;
    let table = section.parsed("table", TABLE, table)?.ok_or_else(|| RecipeError::MissingKey {
        place: section.place(),
        what: "a [[recover]] without a table".to_owned(),
        advice: "Add table = \"schema.table\".".to_owned(),
    })?;
    let kind = section.choice::<Kind>("kind")?.unwrap_or_default();
    let list = |key: &str| section.list(key, COLUMNS, column).map(Option::unwrap_or_default);
    Ok(Recover {
        table,
        kind,
        selection: selection(section, base)?,
        children: children(section)?,
        links: if section.flag("links")?.unwrap_or(true) { Links::Repair } else { Links::Leave },
        identity: list("identity")?,
        key: list("key")?,
        columns: list("columns")?,
        damaged: section.text("damaged")?,
        owner: section.parsed("owner", "a column name", column)?,
        owner_from: section.text("owner_from")?,
        misrouted_to: section.parsed("misrouted_to", TABLE, self::table)?,
    })
}

fn selection(section: &Section<'_>, base: &Path) -> Result<Selection, RecipeError> {
    let given: Vec<&str> =
        ["where", "where_file", "query", "replay"].into_iter().filter(|key| section.has(key)).collect();
    if let [first, second, ..] = given[..] {
        return Err(RecipeError::Contradiction {
            place: section.place_of(second),
            what: format!("a [[recover]] names both {first} and {second}"),
            advice: "Keep one of them, or write two entries for the table.".to_owned(),
        });
    }
    if let Some(text) = section.text("where")? {
        return Ok(Selection::Where(text));
    }
    if let Some(path) = section.parsed("where_file", "a path", |text| path(text, base))? {
        let text = std::fs::read_to_string(&path).map_err(|source| RecipeError::Unreadable {
            what: "the where_file",
            path,
            source,
        })?;
        return Ok(Selection::Where(text.trim_end().to_owned()));
    }
    if let Some(text) = section.text("query")? {
        return Ok(Selection::Query(text));
    }
    Ok(section.text("replay")?.map_or(Selection::Everything, Selection::Replay))
}

fn children(section: &Section<'_>) -> Result<Children, RecipeError> {
    const EXPECTED: &str = "\"all\", \"none\" or a list of tables";
    match section.text("children") {
        Ok(None) => Ok(Children::All),
        Ok(Some(word)) => match word.as_str() {
            "all" => Ok(Children::All),
            "none" => Ok(Children::None),
            other => Err(section.wrong_text("children", other, EXPECTED)),
        },
        Err(_) => Ok(section.list("children", EXPECTED, table)?.map_or(Children::All, |tables| {
            if tables.is_empty() { Children::None } else { Children::Only(tables) }
        })),
    }
}

fn foreign_key(section: &Section<'_>) -> Result<DeclaredForeignKey, RecipeError> {
    const END: &str = "\"schema.table(column, …)\"";
    const FROM: &str = "\"schema.table(column, …)\", where a column of type json or jsonb may be followed by a path that ends in ->> or \
         #>>: payload->'customer'->>'id', or payload#>>'{customer,id}'";
    section.allow(&["from", "to", "when"])?;
    let end = |key: &str, expected: &str| {
        section.parsed(key, expected, |text| without_nul(text).then(|| parse_end(text))?)?.ok_or_else(|| {
            RecipeError::MissingKey {
                place: section.place(),
                what: format!("a [[foreign_key]] without {key}"),
                advice: format!("Add {key} = {END}."),
            }
        })
    };
    let (from_table, from_columns) = end("from", FROM)?;
    let (to_table, referred) = end("to", END)?;
    if let Some(inside) = referred.iter().find(|column| column.path.is_some()) {
        return Err(check::path_upwards(inside, &section.place()));
    }
    let to_columns = referred.into_iter().map(|column| column.name).collect();
    let key =
        DeclaredForeignKey { from_table, from_columns, to_table, to_columns, when: section.text("when")? };
    check::foreign_key(&key, &section.place())?;
    Ok(key)
}

fn policy(section: &Section<'_>, base: &Path) -> Result<Policy, RecipeError> {
    section.allow(&[
        "changed",
        "recreated",
        "parents",
        "triggers",
        "exclude_keys",
        "max_rows",
        "recreate",
    ])?;
    let default = Policy::default();
    let mut exclude_keys = BTreeMap::new();
    if let Some(files) = section.section("exclude_keys", "exclude_keys")? {
        for name in files.keys() {
            let table = table(name).ok_or_else(|| files.wrong_text(name, name, TABLE))?;
            if let Some(path) = files.parsed(name, "a path", |text| path(text, base))? {
                exclude_keys.insert(table, path);
            }
        }
    }
    Ok(Policy {
        changed: section.choice("changed")?.unwrap_or(default.changed),
        recreated: section.choice("recreated")?.unwrap_or(default.recreated),
        parents: section.choice("parents")?.unwrap_or(default.parents),
        triggers: section.choice("triggers")?.unwrap_or(default.triggers),
        exclude_keys,
        max_rows: section.count("max_rows")?.unwrap_or(default.max_rows),
        recreate: section.flag("recreate")?.unwrap_or(default.recreate),
    })
}

fn columns(section: &Section<'_>) -> Result<BTreeMap<TableName, ColumnMap>, RecipeError> {
    let mut found = BTreeMap::new();
    for name in section.keys() {
        let table = table(name).ok_or_else(|| section.wrong_text(name, name, TABLE))?;
        let title = format!("[columns.\"{table}\"]");
        let Some(one) = section.section(name, &title)? else { continue };
        one.allow(&["map", "ignore", "key"]).map_err(|error| unquoted_table(error, &one, name))?;
        let mut map = BTreeMap::new();
        if let Some(renamed) = one.section("map", "map")? {
            for old in renamed.keys() {
                if let Some(new) = renamed.parsed(old, "a column name", column)? {
                    map.insert(Ident::new(old), new);
                }
            }
        }
        let list = |key: &str| one.list(key, COLUMNS, column).map(Option::unwrap_or_default);
        found.insert(table, ColumnMap { map, ignore: list("ignore")?, key: list("key")? });
    }
    Ok(found)
}

/// `[columns.public.orders]` without quotes is a section in a section; say so instead of "unknown key".
fn unquoted_table(error: RecipeError, section: &Section<'_>, schema: &str) -> RecipeError {
    match error {
        // A name with a dot is that of a table already: what stands in it is a misspelt key.
        RecipeError::UnknownKey { place, key, .. }
            if !schema.contains('.') && matches!(section.section(&key, ""), Ok(Some(_))) =>
        {
            RecipeError::WrongValue {
                place,
                key: "columns".into(),
                found: format!("[columns.{schema}.{key}]").into(),
                expected: format!("[columns.\"{schema}.{key}\"]").into(),
                nearest: None,
            }
        }
        other => other,
    }
}
