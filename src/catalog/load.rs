//! Reads a catalog from a server, live or scratch, with the same queries. Only reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Action, Catalog, Check, Column, ForeignKey, Identity, Origin, Table, Trigger, TriggerMode, UniqueKey,
};
use crate::ident::{Ident, TableName};
use crate::pg::{FromSql, PgError, ReadSession, Row, ScratchSession, column as value};
use crate::sql::registry::{self, Query};
use crate::value::BaseType;

const WHAT: &str = "reading the catalog";

/// The database that is looked at.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// Live.
    Live(&'a ReadSession),
    /// Scratch.
    Scratch(&'a ScratchSession),
}

impl Place<'_> {
    async fn query(self, query: &'static Query) -> Result<Vec<Row>, PgError> {
        match self {
            Self::Live(session) => session.query(query, &[]).await,
            Self::Scratch(session) => session.query(query, &[]).await,
        }
    }
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, PgError> {
    value(row, name, WHAT)
}

/// A foreign key with the types of its columns, child and parent, pair by pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedKey {
    /// The reference.
    pub key: ForeignKey,
    /// The types, as PostgreSQL prints them.
    pub types: Vec<(String, String)>,
}

/// Reads the foreign keys alone, by the names of root tables. Waits for nobody's lock: nothing is asked that opens a table.
pub async fn references(place: Place<'_>) -> Result<Vec<TypedKey>, PgError> {
    let relations = Relations::from_rows(&place.query(&registry::CATALOG_TABLES).await?)?;
    let mut found: Vec<TypedKey> = Vec::new();
    for row in place.query(&registry::CATALOG_FOREIGN_KEYS).await? {
        let types: (Vec<String>, Vec<String>) = (get(&row, "child_types")?, get(&row, "parent_types")?);
        for key in foreign_keys(std::slice::from_ref(&row), &relations)? {
            if !found.iter().any(|other| other.key.is_like(&key)) {
                found.push(TypedKey {
                    key,
                    types: types.0.iter().cloned().zip(types.1.iter().cloned()).collect(),
                });
            }
        }
    }
    Ok(found)
}

/// Reads all user tables with their columns, keys, foreign keys and triggers.
pub async fn load(place: Place<'_>) -> Result<Catalog, PgError> {
    let relations = Relations::from_rows(&place.query(&registry::CATALOG_TABLES).await?)?;
    let mut tables = relations.roots.clone();
    for row in place.query(&registry::CATALOG_COLUMNS).await? {
        let oid: u32 = get(&row, "table_oid")?;
        let table = relations.root_name(oid).and_then(|name| tables.get_mut(name));
        if let Some(table) = table.filter(|found| found.oid == oid) {
            table.columns.push(column(&row)?);
        }
    }
    for row in place.query(&registry::CATALOG_KEYS).await? {
        let oid: u32 = get(&row, "table_oid")?;
        let table = relations.root_name(oid).and_then(|name| tables.get_mut(name));
        if let Some(table) = table.filter(|found| found.oid == oid) {
            table.keys.push(unique_key(&row)?);
        }
    }
    for row in place.query(&registry::CATALOG_TRIGGERS).await? {
        let oid: u32 = get(&row, "table_oid")?;
        let table = relations.root_name(oid).and_then(|name| tables.get_mut(name));
        if let Some(table) = table.filter(|found| found.oid == oid) {
            table.triggers.push(trigger(&row)?);
        }
    }
    for row in place.query(&registry::CATALOG_CHECKS).await? {
        let oid: u32 = get(&row, "table_oid")?;
        let table = relations.root_name(oid).and_then(|name| tables.get_mut(name));
        if let Some(table) = table.filter(|found| found.oid == oid) {
            let name = Ident::new(get::<String>(&row, "name")?);
            table.checks.push(Check { name, expression: get(&row, "expression")? });
        }
    }
    let foreign_keys = foreign_keys(&place.query(&registry::CATALOG_FOREIGN_KEYS).await?, &relations)?;
    let heirs = heirs(&place.query(&registry::CATALOG_INHERITANCE).await?)?;
    Ok(Catalog { tables, partitions: relations.partitions, heirs, foreign_keys })
}

/// Which oid is which table, and which tables are partitions of which.
struct Relations {
    roots: BTreeMap<TableName, Table>,
    partitions: BTreeMap<TableName, TableName>,
    root_by_oid: BTreeMap<u32, TableName>,
    names: BTreeMap<u32, TableName>,
}

impl Relations {
    fn from_rows(rows: &[Row]) -> Result<Self, PgError> {
        let mut names = BTreeMap::new();
        for row in rows {
            let name = TableName::new(get::<String>(row, "schema")?, get::<String>(row, "name")?);
            names.insert(get::<u32>(row, "oid")?, name);
        }
        let mut found = Self {
            roots: BTreeMap::new(),
            partitions: BTreeMap::new(),
            root_by_oid: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        for row in rows {
            let oid: u32 = get(row, "oid")?;
            let Some(name) = names.get(&oid).cloned() else { continue };
            let root_oid = get::<Option<u32>>(row, "root")?.unwrap_or(oid);
            let Some(root) = names.get(&root_oid).cloned() else { continue };
            found.root_by_oid.insert(oid, root.clone());
            if root_oid == oid {
                let table = Table {
                    name: name.clone(),
                    oid,
                    partitioned: get::<String>(row, "kind")? == "p",
                    columns: vec![],
                    keys: vec![],
                    checks: vec![],
                    triggers: vec![],
                    row_security: get(row, "row_security")?,
                };
                found.roots.insert(name, table);
            } else {
                found.partitions.insert(name, root);
            }
        }
        found.names = names;
        Ok(found)
    }

    fn root_name(&self, oid: u32) -> Option<&TableName> {
        self.root_by_oid.get(&oid)
    }
}

fn heirs(rows: &[Row]) -> Result<BTreeMap<TableName, BTreeSet<TableName>>, PgError> {
    let name = |row: &Row, schema: &str, name: &str| -> Result<TableName, PgError> {
        Ok(TableName::new(get::<String>(row, schema)?, get::<String>(row, name)?))
    };
    let mut found: BTreeMap<TableName, BTreeSet<TableName>> = BTreeMap::new();
    for row in rows {
        let heir = name(row, "heir_schema", "heir")?;
        found.entry(name(row, "parent_schema", "parent")?).or_default().insert(heir);
    }
    Ok(found)
}

fn column(row: &Row) -> Result<Column, PgError> {
    let identity: String = get(row, "identity")?;
    let sequence: (Option<String>, Option<String>) =
        (get(row, "sequence_schema")?, get(row, "sequence_name")?);
    Ok(Column {
        name: Ident::new(get::<String>(row, "name")?),
        type_name: get(row, "type_name")?,
        base_type: BaseType::of(get(row, "base_oid")?, get(row, "base_typmod")?),
        is_enum: get::<String>(row, "base_kind")? == "e",
        not_null: get(row, "not_null")?,
        default: get(row, "default_text")?,
        identity: match identity.as_str() {
            "a" => Some(Identity::Always),
            "d" => Some(Identity::ByDefault),
            _ => None,
        },
        generated: get(row, "generated")?,
        is_virtual: get(row, "is_virtual")?,
        generated_as: get(row, "generated_as")?,
        sequence: sequence.0.zip(sequence.1).map(|(schema, name)| TableName::new(schema, name)),
        deterministic: get(row, "deterministic")?,
    })
}

fn unique_key(row: &Row) -> Result<UniqueKey, PgError> {
    let columns: Vec<String> = get(row, "columns")?;
    Ok(UniqueKey {
        name: Ident::new(get::<String>(row, "name")?),
        primary: get(row, "is_primary")?,
        exclusion: get(row, "is_exclusion")?,
        deferrable: get(row, "deferrable")?,
        nulls_not_distinct: get(row, "nulls_not_distinct")?,
        columns: columns.into_iter().filter(|name| !name.is_empty()).map(Ident::new).collect(),
        expressions: get(row, "expressions")?,
        operators: get(row, "operators")?,
        predicate: get(row, "predicate")?,
    })
}

fn trigger(row: &Row) -> Result<Trigger, PgError> {
    let enabled: String = get(row, "enabled")?;
    Ok(Trigger {
        name: Ident::new(get::<String>(row, "name")?),
        mode: match enabled.as_str() {
            "D" => TriggerMode::Disabled,
            "R" => TriggerMode::Replica,
            "A" => TriggerMode::Always,
            _ => TriggerMode::Origin,
        },
        row_level: get(row, "row_level")?,
        before: get(row, "before")?,
        on_insert: get(row, "on_insert")?,
        on_update: get(row, "on_update")?,
        on_delete: get(row, "on_delete")?,
        function: get(row, "function")?,
        definition: get(row, "definition")?,
        source: get(row, "source")?,
    })
}

/// Foreign keys that single partitions have of their own are lifted to their roots, once for equal columns: the rows
/// of a partition without the key belong to the same table and went the same way.
fn foreign_keys(rows: &[Row], relations: &Relations) -> Result<Vec<ForeignKey>, PgError> {
    let mut found: Vec<ForeignKey> = Vec::new();
    for row in rows {
        let (child, parent) =
            (relations.root_name(get(row, "child")?), relations.root_name(get(row, "parent")?));
        let (Some(child), Some(parent)) = (child, parent) else { continue };
        let names = |column: &str| -> Result<Vec<Ident>, PgError> {
            Ok(get::<Vec<String>>(row, column)?.into_iter().map(Ident::new).collect())
        };
        let columns: Vec<_> = names("child_columns")?.into_iter().zip(names("parent_columns")?).collect();
        let Some(carrier) = relations.names.get(&get::<u32>(row, "child")?) else { continue };
        // A constraint that is NOT ENFORCED says what refers to what, and the server does nothing about it.
        let enforced: bool = get(row, "enforced")?;
        let known = found.iter_mut().find(|fk| {
            &fk.child == child
                && &fk.parent == parent
                && fk.columns == columns
                && fk.is_enforced() == enforced
        });
        if let Some(known) = known {
            known.carriers.extend(enforced.then(|| carrier.clone()));
            continue;
        }
        let set_columns = names("set_columns")?;
        let action = |letter: String| {
            if enforced { Action::from_letter(&letter) } else { Action::NoAction }
        };
        found.push(ForeignKey {
            name: get(row, "name")?,
            child: child.clone(),
            parent: parent.clone(),
            on_delete: action(get(row, "on_delete")?),
            on_update: action(get(row, "on_update")?),
            set_columns: if set_columns.is_empty() {
                columns.iter().map(|(child, _)| child.clone()).collect()
            } else {
                set_columns
            },
            columns,
            match_full: get(row, "match_full")?,
            operators: get(row, "operators")?,
            paths: Vec::new(),
            deferrable: get(row, "deferrable")?,
            origin: if enforced { Origin::Catalog } else { Origin::Declared { when: None } },
            carriers: if enforced { vec![carrier.clone()] } else { Vec::new() },
        });
    }
    found.sort_by(|left, right| (&left.child, &left.name).cmp(&(&right.child, &right.name)));
    Ok(found)
}
