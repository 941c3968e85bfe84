//! Holds the names of a recipe against the backup's catalog.

use std::collections::BTreeSet;

use super::closure::reachable_down;
use super::{AFTER_COLUMN, Entry, ExtractError, KeyColumns, ORIGIN_COLUMN, Unfollowed};
use crate::catalog::load::TypedKey;
use crate::catalog::{Action, Catalog, Column, ForeignKey, Origin, Table, column_list};
use crate::error::Explain;
use crate::ident::{Ident, TableName};
use crate::recipe::{ChildColumn, Children, DeclaredForeignKey, Recipe, Recover};
use crate::scratch::Scratch;
use crate::value::BaseType;

/// The tables that the recipe names, those to which it is about first.
pub(super) fn named_tables(recipe: &Recipe) -> impl Iterator<Item = &TableName> {
    let children = recipe.recover.iter().flat_map(|entry| match &entry.children {
        Children::Only(children) => children.as_slice(),
        _ => &[],
    });
    let ends = recipe.foreign_keys.iter().flat_map(|fk| [&fk.from_table, &fk.to_table]);
    recipe.recover.iter().map(|entry| &entry.table).chain(children).chain(ends)
}

/// Every table and column that the recipe names must be in the backup.
pub(super) fn check_recipe(recipe: &Recipe, catalog: &Catalog) -> Result<(), ExtractError> {
    for recover in &recipe.recover {
        let table = table(catalog, &recover.table)?;
        let named = recover.identity.iter().chain(&recover.key).chain(&recover.columns).chain(&recover.owner);
        named.into_iter().try_for_each(|column| has_column(table, column))?;
        if let Children::Only(children) = &recover.children {
            for child in children {
                self::table(catalog, child)?;
            }
        }
    }
    for (name, map) in &recipe.columns {
        let table = table(catalog, name)?;
        let named = map.map.keys().chain(&map.ignore).chain(&map.key);
        named.into_iter().try_for_each(|column| has_column(table, column))?;
    }
    recipe.policy.exclude_keys.keys().try_for_each(|name| table(catalog, name).map(|_| ()))
}

/// A list of children leads down step by step: what it names is only followed where it hangs on the entry's table or on another
/// one of the list. Tables of other entries may be there for these.
pub(super) fn unreached_children(entries: &[Entry<'_>], catalog: &Catalog) -> Vec<String> {
    let mut found = Vec::new();
    for entry in entries {
        let Children::Only(children) = &entry.recover.children else { continue };
        let follows = |fk: &&ForeignKey| entry.following.follows(fk);
        let followed: Vec<(u16, &ForeignKey)> =
            (0u16..).zip(catalog.foreign_keys.iter().filter(follows)).collect();
        let table = &entry.recover.table;
        let reached = reachable_down(&BTreeSet::from([table.clone()]), &followed);
        let is_of_entry = |child: &&TableName| entries.iter().any(|other| &other.recover.table == *child);
        for child in children.iter().filter(|child| !reached.contains(child) && !is_of_entry(child)) {
            let above: BTreeSet<String> = catalog.parents_of(child).map(|fk| fk.parent.to_string()).collect();
            let above = if above.is_empty() {
                "no table at all".to_owned()
            } else {
                above.into_iter().collect::<Vec<_>>().join(", ")
            };
            found.push(format!(
                "`children` of {table} lists {child}, which no foreign key leads to from there by listed tables (it hangs on {above}): \
                 none of its rows are looked for"
            ));
        }
    }
    found
}

/// Columns of their own stand beside all columns of a table in staging and batch files, and beside those of the key in diff files.
pub(super) fn refuse_reserved(table: &Table, key: &[Ident]) -> Result<(), ExtractError> {
    let is_taken = |name: &&Ident| {
        [ORIGIN_COLUMN, AFTER_COLUMN, "rowback_held", "rowback_turn", "rowback_group"]
            .contains(&name.as_str())
            || (name.as_str().starts_with("rowback_") && key.contains(name))
    };
    match table.column_names().find(is_taken) {
        None => Ok(()),
        Some(column) => {
            Err(ExtractError::ReservedColumn { table: table.name.clone(), column: column.clone() })
        }
    }
}

/// Leaves out what is computed whenever it is read, unless the recipe names it: nothing of it is written, and for a row that
/// somebody wants the expression may fail.
pub(super) fn leave_virtual_columns(recipe: &Recipe, catalog: &mut Catalog) {
    for table in catalog.tables.values_mut() {
        let name = table.name.clone();
        table.columns.retain(|column| !column.is_virtual || names_column(recipe, &name, &column.name));
    }
}

fn names_column(recipe: &Recipe, table: &TableName, column: &Ident) -> bool {
    let of_entry = |entry: &Recover| {
        let mut named = entry.identity.iter().chain(&entry.key).chain(&entry.columns).chain(&entry.owner);
        let mut texts = entry.damaged.iter().chain(&entry.owner_from);
        named.any(|name| name == column) || texts.any(|text| text.contains(column.as_str()))
    };
    let of_reference = |fk: &DeclaredForeignKey| {
        (&fk.from_table == table && fk.from_columns.iter().any(|from| &from.name == column))
            || (&fk.to_table == table && fk.to_columns.contains(column))
            || fk.when.as_ref().is_some_and(|when| when.contains(column.as_str()))
    };
    let of_columns = recipe.columns.get(table);
    recipe.recover.iter().any(of_entry)
        || recipe.foreign_keys.iter().any(of_reference)
        || of_columns.is_some_and(|of| of.map.contains_key(column) || of.key.contains(column))
}

fn table<'a>(catalog: &'a Catalog, name: &TableName) -> Result<&'a Table, ExtractError> {
    catalog.tables.get(name).ok_or_else(|| ExtractError::unknown_table(name, catalog))
}

fn has_column(table: &Table, name: &Ident) -> Result<(), ExtractError> {
    if table.column(name).is_some() { Ok(()) } else { Err(ExtractError::unknown_column(table, name)) }
}

/// The child has the column, and a document in it where the reference starts inside of one.
fn refers(child: &Table, referring: &ChildColumn) -> Result<(), ExtractError> {
    has_column(child, &referring.name)?;
    match (&referring.path, child.column(&referring.name)) {
        (Some(path), Some(column)) if !column.is_document() => Err(ExtractError::NoDocument {
            table: child.name.clone(),
            column: column.name.clone(),
            type_name: column.type_name.as_str().into(),
            path: path.to_string().into(),
        }),
        _ => Ok(()),
    }
}

/// The recipe's references as foreign keys.
pub fn resolve_foreign_keys(recipe: &Recipe, catalog: &Catalog) -> Result<Vec<ForeignKey>, ExtractError> {
    recipe.foreign_keys.iter().map(|declared| foreign_key(declared, catalog)).collect()
}

fn foreign_key(declared: &DeclaredForeignKey, catalog: &Catalog) -> Result<ForeignKey, ExtractError> {
    let (child, parent) = (table(catalog, &declared.from_table)?, table(catalog, &declared.to_table)?);
    declared.from_columns.iter().try_for_each(|column| refers(child, column))?;
    declared.to_columns.iter().try_for_each(|column| has_column(parent, column))?;
    let from: Vec<String> = declared.from_columns.iter().map(ToString::to_string).collect();
    let has_paths = declared.from_columns.iter().any(|column| column.path.is_some());
    let paths = declared.from_columns.iter().filter(|_| has_paths).map(|column| column.path.clone());
    let names = declared.from_columns.iter().map(|column| column.name.clone());
    Ok(ForeignKey {
        name: format!(
            "{}({}) -> {}({})",
            child.name,
            from.join(", "),
            parent.name,
            column_list(&declared.to_columns)
        ),
        child: child.name.clone(),
        parent: parent.name.clone(),
        columns: names.zip(declared.to_columns.iter().cloned()).collect(),
        operators: Vec::new(),
        paths: paths.collect(),
        on_delete: Action::NoAction,
        on_update: Action::NoAction,
        set_columns: Vec::new(),
        match_full: false,
        deferrable: false,
        origin: Origin::Declared { when: declared.when.clone() },
        carriers: Vec::new(),
    })
}

/// What live refers by and the backup's rows in scratch do not.
#[derive(Default)]
pub(super) struct KeysOfLive {
    /// The accident went along these, so they are followed with the backup's rows.
    pub added: Vec<ForeignKey>,
    /// These cannot be followed.
    pub unfollowed: Vec<Unfollowed>,
    /// These lead to tables that scratch could not take: child, parent, and why.
    pub without_parent: Vec<(TableName, TableName, String)>,
}

impl KeysOfLive {
    /// Adds a reference of which scratch lacks one end although the backup has it; `false` if it lacks none.
    fn add_unmade(
        &mut self,
        scratch: &Scratch,
        name: &str,
        (child, parent): (&TableName, &TableName),
    ) -> bool {
        let why = |table: &TableName| why_unmade(scratch, table);
        let unfollowed = |why: String| Unfollowed {
            name: name.to_owned(),
            child: child.clone(),
            parent: parent.clone(),
            why,
            in_backup: true,
            inherits: false,
        };
        match (why(child), why(parent)) {
            (None, None) => return false,
            (Some(why), _) => self.unfollowed.push(unfollowed(why)),
            (None, Some(why)) => {
                self.unfollowed.push(unfollowed(why.clone()));
                self.without_parent.push((child.clone(), parent.clone(), why));
            }
        }
        true
    }

    /// Leaves of those that were not followed the ones that matter: they lead down from rows that are wanted, or from rows that
    /// are missed for another of them. `reached` are the tables that are followed downwards in any case.
    pub(super) fn keep_what_matters(
        &mut self,
        mut reached: BTreeSet<TableName>,
        leads_to: impl Fn(&TableName) -> bool,
    ) {
        let mut open = std::mem::take(&mut self.unfollowed);
        open.retain(|key| leads_to(&key.child));
        loop {
            let (matter, others): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|key| reached.contains(&key.parent));
            open = others;
            if matter.is_empty() {
                return;
            }
            reached.extend(matter.iter().map(|key| key.child.clone()));
            self.unfollowed.extend(matter);
        }
    }
}

/// Why scratch lacks a table that the backup has, and what can be done.
fn why_unmade(scratch: &Scratch, table: &TableName) -> Option<String> {
    let causes = scratch.why_not_made(table)?.causes().join("; ");
    Some(format!(
        "scratch could not take {table} ({causes}); install what is missing on this machine, or give a server that has it with \
         --scratch"
    ))
}

/// Tables that inherit from those of the entries and that scratch could not take: nobody counted their rows.
pub(super) fn lost_heirs(scratch: &Scratch, recipe: &Recipe) -> Vec<Unfollowed> {
    let entries: BTreeSet<&TableName> = recipe.recover.iter().map(|entry| &entry.table).collect();
    let heirs = entries.into_iter().flat_map(|parent| {
        scratch.lost_heirs(parent).into_iter().filter_map(|child| {
            let why = why_unmade(scratch, &child)?;
            let parent = parent.clone();
            Some(Unfollowed { name: String::new(), child, parent, why, in_backup: true, inherits: true })
        })
    });
    heirs.collect()
}

/// Which references of live are to be followed beside the backup's own. Rows of the backup are compared by its own types, which
/// is the same only where live has the same.
pub(super) fn keys_of_live(
    live: Option<&[TypedKey]>,
    scratch: &Scratch,
    recipe: &Recipe,
    catalog: &Catalog,
) -> KeysOfLive {
    let mut found = KeysOfLive::default();
    if live.is_none() {
        for lost in scratch.lost_references() {
            found.add_unmade(scratch, lost.name.as_str(), (&lost.child, &lost.parent));
        }
    }
    for TypedKey { key: fk, types } in live.into_iter().flatten().filter(|live| live.key.is_enforced()) {
        if found.add_unmade(scratch, &fk.name, (&fk.child, &fk.parent)) {
            continue;
        }
        let known = ForeignKey { origin: Origin::Live, carriers: Vec::new(), ..in_backup(fk, recipe) };
        let Some(parent) = catalog.tables.get(&fk.parent) else { continue };
        if catalog.foreign_keys.iter().any(|own| own.is_like(&known)) {
            continue;
        }
        let unfollowed = |why: &str, in_backup| Unfollowed {
            name: fk.name.clone(),
            child: fk.child.clone(),
            parent: fk.parent.clone(),
            why: why.to_owned(),
            in_backup,
            inherits: false,
        };
        let Some(child) = catalog.tables.get(&fk.child) else {
            found.unfollowed.push(unfollowed("the backup has no table of this name", false));
            continue;
        };
        let pairs: Option<Vec<_>> =
            known.columns.iter().map(|(left, right)| child.column(left).zip(parent.column(right))).collect();
        match pairs {
            None => found.unfollowed.push(unfollowed(
                "the backup has not all of its columns; [columns] with `map` tells how they were called",
                true,
            )),
            Some(pairs) if pairs.iter().zip(types).all(|(pair, types)| compare_alike(*pair, types)) => {
                found.added.push(known);
            }
            Some(_) => found
                .unfollowed
                .push(unfollowed("its columns had other types then; [[foreign_key]] declares it", true)),
        }
    }
    found
}

/// Do the backup's columns compare as live's do? With other types they do where different values stay different in any type
/// that they may have been cast to.
fn compare_alike((child, parent): (&Column, &Column), (of_child, of_parent): &(String, String)) -> bool {
    let is_whole =
        |column: &Column| matches!(column.base_type, BaseType::Int2 | BaseType::Int4 | BaseType::Int8);
    let is_uuid = |column: &Column| column.base_type == BaseType::Uuid;
    (&child.type_name == of_child && &parent.type_name == of_parent)
        || (is_whole(child) && is_whole(parent))
        || (is_uuid(child) && is_uuid(parent))
}

/// A reference of live by the backup's column names.
fn in_backup(fk: &ForeignKey, recipe: &Recipe) -> ForeignKey {
    let rename = |table: &TableName, name: &mut Ident| {
        let map = recipe.columns.get(table).into_iter().flat_map(|columns| &columns.map);
        if let Some((old, _)) = map.into_iter().find(|(_, new)| *new == name) {
            name.clone_from(old);
        }
    };
    let mut found = fk.clone();
    for (child, parent) in &mut found.columns {
        rename(&fk.child, child);
        rename(&fk.parent, parent);
    }
    found
}

/// The columns that name a row: those of the recipe, else those of the catalog. An owner that went wrong names nothing, so
/// it is left out of them.
pub(super) fn key_of(recipe: &Recipe, table: &Table) -> Result<KeyColumns, ExtractError> {
    let none = || ExtractError::NoKey { table: table.name.clone() };
    let given = recipe.key_of(&table.name).map(<[Ident]>::to_vec);
    let mut key = given.or_else(|| table.key_columns()).ok_or_else(none)?;
    let entries = recipe.recover.iter().filter(|entry| entry.table == table.name);
    for owner in entries.filter_map(|entry| entry.owner.as_ref()) {
        key.retain(|column| column != owner);
    }
    if key.is_empty() { Err(none()) } else { Ok(key) }
}

/// Must it be proven that the key names rows, because no constraint says so?
pub(super) fn needs_proof(table: &Table, key: &[Ident]) -> bool {
    table.key_columns().is_none_or(|known| known != key)
}

/// Lets PostgreSQL parse the `when` of every declared reference before a row is loaded.
pub(super) async fn check_conditions(scratch: &Scratch, catalog: &Catalog) -> Result<(), ExtractError> {
    for (fk, when) in catalog.foreign_keys.iter().filter_map(|fk| Some((fk, fk.when()?))) {
        let Some(child) = catalog.tables.get(&fk.child) else { continue };
        let sql = format!("select 1 from {} where (\n{when}\n) limit 0", child.from_sql());
        let parsed = scratch.session().text_rows("parsing a condition of the recipe", &sql).await;
        let near = || format!("in the `when` of the reference to {}", fk.parent);
        let _none = parsed.map_err(|source| ExtractError::predicate(&fk.child, source, Some(near())))?;
    }
    Ok(())
}
