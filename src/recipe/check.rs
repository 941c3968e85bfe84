//! What goes together in a recipe and what does not, as far as the recipe alone tells. Names are held against the
//! catalog later.

use std::collections::BTreeMap;

use super::entry::{ChildColumn, DeclaredForeignKey, Kind, Recover, Selection};
use super::error::{Place, RecipeError};
use super::policy::{BackupSource, ColumnMap};
use crate::ident::TableName;
use crate::sql::predicate::{ColumnRef, Predicate, PredicateError, Query};

/// One entry by itself; `place_of` tells where a key stands, or the entry for a key that is not there.
pub(super) fn entry(
    entry: &Recover,
    backup: &BackupSource,
    place_of: &dyn Fn(&str) -> Place,
) -> Result<(), RecipeError> {
    sql(entry, place_of)?;
    let place = &place_of("table");
    duplicates(entry, place)?;
    foreign_to_kind(entry, place)?;
    let told = backup.after.is_some() || matches!(entry.selection, Selection::Replay(_));
    match entry.kind {
        Kind::Corrupted if entry.damaged.is_none() && !told => Err(missing_damaged(entry, place)),
        Kind::Deleted | Kind::Corrupted => Ok(()),
        Kind::Misrouted => misrouted(entry, place, told),
    }
}

fn missing(place: &Place, what: String, advice: &str) -> RecipeError {
    RecipeError::MissingKey { place: place.clone(), what, advice: advice.to_owned() }
}

fn contradiction(place: &Place, what: String, advice: &str) -> RecipeError {
    RecipeError::Contradiction { place: place.clone(), what, advice: advice.to_owned() }
}

fn missing_damaged(entry: &Recover, place: &Place) -> RecipeError {
    missing(
        place,
        format!("nothing says when a row of {} is damaged", entry.table),
        "Add damaged = \"…\", a condition over live.column and backup.column; damaged = \"true\" says that every \
         difference is damage. A backup taken after the accident ([backup] after) or replay tells it as well.",
    )
}

fn misrouted(entry: &Recover, place: &Place, told: bool) -> Result<(), RecipeError> {
    match (&entry.owner, &entry.misrouted_to) {
        (None, None) => {
            return Err(missing(
                place,
                format!("nothing says who owns the rows of {}", entry.table),
                "Add owner = \"tenant_id\" (the column), or misrouted_to = \"schema.table\" when each tenant has its \
                 own schema.",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(contradiction(
                place,
                format!("the entry for {} names both owner and misrouted_to", entry.table),
                "Keep owner when rows carry their tenant in a column, misrouted_to when each tenant has its own table.",
            ));
        }
        (None, Some(_)) if entry.owner_from.is_some() => {
            return Err(contradiction(
                place,
                format!("the entry for {} names both owner_from and misrouted_to", entry.table),
                "owner_from goes with owner.",
            ));
        }
        (None, Some(other)) if *other == entry.table => {
            return Err(contradiction(
                place,
                format!("misrouted_to is the table itself, {}", entry.table),
                "Name the table that the rows ended up in.",
            ));
        }
        _ => {}
    }
    if entry.misrouted_to.is_some() && matches!(entry.selection, Selection::Replay(_)) {
        return Err(contradiction(
            place,
            format!("the entry for {} names both replay and misrouted_to", entry.table),
            "Say with where, query or damaged which rows went to the other table.",
        ));
    }
    let selected = entry.misrouted_to.is_some() && entry.selection != Selection::Everything;
    if entry.damaged.is_none() && !told && !selected {
        return Err(missing_damaged(entry, place));
    }
    Ok(())
}

/// Keys that mean nothing for the kind are mistakes, not decoration.
fn foreign_to_kind(entry: &Recover, place: &Place) -> Result<(), RecipeError> {
    let given = [
        ("columns", !entry.columns.is_empty(), &[Kind::Corrupted][..]),
        ("damaged", entry.damaged.is_some(), &[Kind::Corrupted, Kind::Misrouted]),
        ("owner", entry.owner.is_some(), &[Kind::Misrouted]),
        ("owner_from", entry.owner_from.is_some(), &[Kind::Misrouted]),
        ("misrouted_to", entry.misrouted_to.is_some(), &[Kind::Misrouted]),
    ];
    for (key, present, kinds) in given {
        if present && !kinds.contains(&entry.kind) {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("kind = \"{kind}\"")).collect();
            return Err(contradiction(
                place,
                format!(
                    "{key} means nothing for {}, whose kind is {:?}",
                    entry.table,
                    entry.kind.to_string()
                ),
                &format!("{key} goes with {}.", kinds.join(" and ")),
            ));
        }
    }
    Ok(())
}

fn duplicates(entry: &Recover, place: &Place) -> Result<(), RecipeError> {
    for (key, columns) in [("identity", &entry.identity), ("key", &entry.key), ("columns", &entry.columns)] {
        if let Some(twice) = first_duplicate(columns) {
            return Err(contradiction(
                place,
                format!("{key} of {} names {twice} twice", entry.table),
                "Name each column once.",
            ));
        }
    }
    if let Some(column) = entry.columns.iter().find(|column| entry.key.contains(column)) {
        return Err(contradiction(
            place,
            format!("{column} of {} is both in key and in columns", entry.table),
            "A row is found by its key, so the key itself cannot be repaired.",
        ));
    }
    Ok(())
}

fn first_duplicate<T: PartialEq>(columns: &[T]) -> Option<&T> {
    columns.iter().enumerate().find(|(at, column)| columns[..*at].contains(column)).map(|(_, column)| column)
}

fn sql(entry: &Recover, place_of: &dyn Fn(&str) -> Place) -> Result<(), RecipeError> {
    let wrong = |key: &'static str| {
        move |source: PredicateError| RecipeError::Predicate { place: place_of(key), key, source }
    };
    match &entry.selection {
        Selection::Where(text) => Predicate::parse(text).map(drop).map_err(wrong("where"))?,
        Selection::Query(text) => Query::parse(text).map(drop).map_err(wrong("query"))?,
        Selection::Replay(text) if text.trim().is_empty() => {
            return Err(wrong("replay")(PredicateError::Empty));
        }
        Selection::Replay(text) if !super::without_nul(text) => {
            return Err(wrong("replay")(PredicateError::Unfinished("it contains a NUL character")));
        }
        Selection::Replay(_) | Selection::Everything => {}
    }
    if let Some(text) = &entry.damaged {
        let damaged = Predicate::parse(text).map_err(wrong("damaged"))?;
        damaged_names(&damaged, entry, &place_of("damaged"))?;
    }
    if let Some(text) = &entry.owner_from {
        let begins_query = Query::parse(text).is_ok();
        if !begins_query {
            Predicate::parse(text).map_err(wrong("owner_from"))?;
        }
    }
    Ok(())
}

/// `damaged` is about two rows, so each column must say which.
fn damaged_names(damaged: &Predicate, entry: &Recover, place: &Place) -> Result<(), RecipeError> {
    let rows = ["live", "backup"];
    let stranger = |column: &&ColumnRef| match &column.qualifier {
        None => !rows.contains(&column.name.as_str()),
        Some(qualifier) => !rows.contains(&qualifier.split('.').next().unwrap_or_default()),
    };
    let Some(column) = damaged.columns().into_iter().flatten().find(stranger) else { return Ok(()) };
    let name = &column.name;
    let what = match &column.qualifier {
        Some(qualifier) => format!("damaged of {} names {qualifier}.{name}", entry.table),
        None => format!("damaged of {} names {name} without saying whose", entry.table),
    };
    Err(contradiction(place, what, &format!("Write live.{name} or backup.{name}.")))
}

/// A reference leads to columns, though it may start inside of a document.
pub(super) fn path_upwards(column: &ChildColumn, place: &Place) -> RecipeError {
    let what = format!("to of a [[foreign_key]] names {column}, a value inside of a document");
    contradiction(place, what, "Only from may have a path: name the column of the table referred to.")
}

/// A reference that the catalog does not know.
pub(super) fn foreign_key(key: &DeclaredForeignKey, place: &Place) -> Result<(), RecipeError> {
    if key.from_columns.len() != key.to_columns.len() {
        return Err(contradiction(
            place,
            format!("from has {} columns, to has {}", key.from_columns.len(), key.to_columns.len()),
            "Name the same number of columns on both sides, in the same order.",
        ));
    }
    let from: Vec<String> = key.from_columns.iter().map(ToString::to_string).collect();
    let to: Vec<String> = key.to_columns.iter().map(ToString::to_string).collect();
    for (table, columns) in [(&key.from_table, &from), (&key.to_table, &to)] {
        if let Some(twice) = first_duplicate(columns) {
            let what = format!("a [[foreign_key]] names {twice} of {table} twice");
            return Err(contradiction(place, what, "Name each column once."));
        }
    }
    match &key.when {
        Some(text) => Predicate::parse(text).map(drop).map_err(|source| RecipeError::Predicate {
            place: place.clone(),
            key: "when",
            source,
        }),
        None => Ok(()),
    }
}

/// The entries together: at least one, and no two that say different things of one table.
pub(super) fn entries(
    entries: &[(Place, &Recover)],
    columns: &BTreeMap<TableName, ColumnMap>,
    root: &Place,
) -> Result<(), RecipeError> {
    if entries.is_empty() {
        return Err(missing(root, "the recipe recovers nothing".to_owned(), "Add a [[recover]] section."));
    }
    for (at, (place, entry)) in entries.iter().enumerate() {
        for (other_place, other) in &entries[..at] {
            if other.table == entry.table {
                same_table(entry, place, other, other_place)?;
            }
        }
        let map = columns.get(&entry.table).map(|map| map.key.as_slice()).unwrap_or_default();
        if !map.is_empty() && !entry.key.is_empty() && map != entry.key {
            return Err(contradiction(
                place,
                format!("key of {} is not the key in [columns.\"{}\"]", entry.table, entry.table),
                "Keep one of them.",
            ));
        }
    }
    Ok(())
}

fn same_table(
    entry: &Recover,
    place: &Place,
    other: &Recover,
    other_place: &Place,
) -> Result<(), RecipeError> {
    for (name, one, two) in [("key", &entry.key, &other.key), ("identity", &entry.identity, &other.identity)]
    {
        if !one.is_empty() && !two.is_empty() && one != two {
            return Err(contradiction(
                place,
                format!("{name} of {} is not the {name} in the entry at {other_place}", entry.table),
                "A table has one of them; keep one.",
            ));
        }
    }
    if entry == other {
        return Err(contradiction(
            place,
            format!("the entry for {} is the same as the entry at {other_place}", entry.table),
            "Remove one of them.",
        ));
    }
    Ok(())
}
