//! What doctor asks live: which database, what is in it, and what the role may do there.

use std::collections::{BTreeMap, BTreeSet};

use super::reach::Reach;
use super::{DoctorOptions, DoctorSummary, names};
use crate::case::Error;
use crate::catalog::Catalog;
use crate::catalog::load::{Place, load};
use crate::extract::{ExtractError, resolve_foreign_keys};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession, ServerIdentity, column};
use crate::recipe::{Recipe, Triggers, nearest};
use crate::sql::registry::{DOCTOR_DATABASE, DOCTOR_REPLICA, DOCTOR_TABLES, SEQUENCE_PRIVILEGES};

const WHAT: &str = "asking what the role may do";

/// The tables that can be staged, and the roots of live's partitions, for those who look into the backup.
pub(super) struct Wanted {
    /// The tables.
    pub(super) staged: BTreeSet<TableName>,
    /// Each partition with its root.
    pub(super) partitions: BTreeMap<TableName, TableName>,
}

/// What the role may do with one table.
struct Rights {
    enter: bool,
    select: bool,
    insert: bool,
    update: bool,
    delete: bool,
    owns: bool,
    hides_rows: bool,
}

/// Makes all checks on live. `None` without a recipe.
pub(super) async fn look(
    options: &DoctorOptions,
    session: &ReadSession,
    found: &mut DoctorSummary,
) -> Result<Option<Wanted>, Error> {
    let identity = session.identity().await?;
    database(options, session, &identity, found).await?;
    let Some(recipe) = &options.recipe else { return Ok(None) };
    let mut catalog = load(Place::Live(session)).await?;
    match resolve_foreign_keys(recipe, &catalog) {
        Ok(declared) => catalog.declare(declared),
        Err(ExtractError::NoDocument { table, column, type_name, path }) => found.wrong(
            "references",
            format!("{table}.{column} is of type {type_name} and holds no JSON: {path} leads nowhere in it"),
        ),
        // Names that live does not have are said by the check of tables.
        Err(_unknown) => {}
    }
    let reach = Reach::of(recipe, &catalog);
    tables(recipe, &catalog, &reach, found);
    keys(recipe, &catalog, &reach, found);
    let rights = rights(session, &catalog, &reach).await?;
    privileges(&reach, &rights, &identity, found);
    sequences(session, &catalog, &reach, &identity, found).await?;
    triggers(session, recipe, &catalog, &reach, &rights, &identity, found).await?;
    Ok(Some(Wanted { staged: reach.staged, partitions: catalog.partitions }))
}

async fn database(
    options: &DoctorOptions,
    session: &ReadSession,
    identity: &ServerIdentity,
    found: &mut DoctorSummary,
) -> Result<(), PgError> {
    let rows = session.query(&DOCTOR_DATABASE, &[]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let version: String = column(row, "version", WHAT)?;
    found.right(
        "live",
        format!("{}, PostgreSQL {version}, as role \"{}\"", options.live.describe(), identity.user),
    );
    if identity.in_recovery {
        found.wrong(
            "writing",
            "this is a standby: recover can read it, but apply needs the primary. Name the primary with `--live`",
        );
    } else if column(row, "starts_read_only", WHAT)? {
        found.wrong(
            "writing",
            format!(
                "transactions start read-only here (default_transaction_read_only), so apply cannot write. Ask for: \
                 alter role {} set default_transaction_read_only = off",
                Ident::new(&identity.user).quoted()
            ),
        );
    } else {
        found.right("writing", "the server takes writes");
    }
    if column(row, "may_temp", WHAT)? {
        found.right("temporary tables", "allowed");
    } else {
        let (database, role) = (Ident::new(&identity.dbname).quoted(), Ident::new(&identity.user).quoted());
        found.wrong(
            "temporary tables",
            format!(
                "apply loads each batch through one. Ask for: grant temporary on database {database} to {role}"
            ),
        );
    }
    Ok(())
}

fn tables(recipe: &Recipe, catalog: &Catalog, reach: &Reach, found: &mut DoctorSummary) {
    let declared = recipe.foreign_keys.iter().flat_map(|fk| [&fk.from_table, &fk.to_table]);
    let named: BTreeSet<&TableName> =
        recipe.recover.iter().map(|entry| &entry.table).chain(declared).collect();
    let mut complaints = Vec::new();
    for name in named.into_iter().filter(|name| !catalog.tables.contains_key(*name)) {
        let all: Vec<String> = catalog.tables.keys().map(ToString::to_string).collect();
        let wanted = name.to_string();
        complaints.push(match catalog.partitions.get(name) {
            Some(root) => format!("{name} is a partition: name {root} instead"),
            None => match nearest(&wanted, all.iter().map(String::as_str)) {
                Some(near) => format!("live has no table {name}. Did you mean {near}?"),
                None => {
                    format!(
                        "live has no table {name}. Make it again (empty) first, or take it out of the recipe"
                    )
                }
            },
        });
    }
    found.add("tables", &complaints, format!("the recipe reaches {}", names(&reach.staged)));
}

/// Rows of a table without a key cannot be found in live.
fn keys(recipe: &Recipe, catalog: &Catalog, reach: &Reach, found: &mut DoctorSummary) {
    let keyless = |name: &&TableName| {
        let table = catalog.tables.get(*name);
        table.is_some_and(|table| table.key_columns().is_none()) && recipe.key_of(name).is_none()
    };
    let complaints: Vec<String> = reach
        .staged
        .iter()
        .filter(keyless)
        .map(|name| {
            format!(
                "{name} has neither a primary key nor a unique key over not-null columns. Say `key = [\"…\"]` under \
                 [columns.\"{name}\"], or leave the table out with `children = [...]`"
            )
        })
        .collect();
    found.add("keys", &complaints, "every table has one");
}

async fn rights(
    session: &ReadSession,
    catalog: &Catalog,
    reach: &Reach,
) -> Result<BTreeMap<TableName, Rights>, PgError> {
    let known: BTreeMap<u32, &TableName> = reach
        .read
        .iter()
        .filter_map(|name| catalog.tables.get(name))
        .map(|table| (table.oid, &table.name))
        .collect();
    let oids: Vec<u32> = known.keys().copied().collect();
    let mut found = BTreeMap::new();
    for row in session.query(&DOCTOR_TABLES, &[&oids]).await? {
        let Some(name) = known.get(&column::<u32>(&row, "table_oid", WHAT)?) else { continue };
        let flag = |column_name: &str| column::<bool>(&row, column_name, WHAT);
        let enter = flag("may_enter")?;
        let rights = Rights {
            enter,
            select: enter && flag("may_select")?,
            insert: enter && flag("may_insert")?,
            update: enter && flag("may_update")?,
            delete: enter && flag("may_delete")?,
            owns: flag("owns")?,
            hides_rows: flag("hides_rows")?,
        };
        found.insert((*name).clone(), rights);
    }
    Ok(found)
}

fn privileges(
    reach: &Reach,
    rights: &BTreeMap<TableName, Rights>,
    identity: &ServerIdentity,
    found: &mut DoctorSummary,
) {
    let lacking = |tables: &BTreeSet<TableName>, word: &str, has: fn(&Rights) -> bool| {
        let without: Vec<&TableName> =
            tables.iter().filter(|name| rights.get(*name).is_some_and(|rights| !has(rights))).collect();
        (!without.is_empty()).then(|| grant(word, &without, rights, &identity.user))
    };
    let reading: Vec<String> = lacking(&reach.read, "select", |rights| rights.select).into_iter().collect();
    found.add("reading", &reading, format!("SELECT on all {} tables", reach.read.len()));

    let hidden: Vec<&TableName> =
        reach.read.iter().filter(|name| rights.get(*name).is_some_and(|rights| rights.hides_rows)).collect();
    let hidden: Vec<String> = (!hidden.is_empty())
        .then(|| {
            format!(
                "row security hides rows of {} from this role, so reading them is refused. Use a role with BYPASSRLS, or \
                 the tables' owner",
                names(hidden)
            )
        })
        .into_iter()
        .collect();
    found.add("row security", &hidden, "hides nothing from this role");

    let applying: Vec<String> = [
        lacking(&reach.insert, "insert", |rights| rights.insert),
        lacking(&reach.update, "update", |rights| rights.update),
        lacking(&reach.leave, "delete", |rights| rights.delete),
        lacking(&reach.leave, "update", |rights| rights.update),
    ]
    .into_iter()
    .flatten()
    .collect();
    found.add(
        "applying",
        &applying,
        format!(
            "INSERT on {} tables, UPDATE on {}{}",
            reach.insert.len(),
            reach.update.len(),
            if reach.leave.is_empty() { String::new() } else { format!(", DELETE on {}", reach.leave.len()) }
        ),
    );
    // Undo locks the rows that it removes, and PostgreSQL locks rows only for those who may update them.
    let undoing: Vec<String> = [
        lacking(&reach.insert, "delete", |rights| rights.delete),
        lacking(&reach.insert, "update", |rights| rights.update),
        lacking(&reach.leave, "insert", |rights| rights.insert),
    ]
    .into_iter()
    .flatten()
    .collect();
    found.add("undoing", &undoing, format!("DELETE and UPDATE on {} tables", reach.insert.len()));
}

/// What is missing, and the commands that give it.
fn grant(word: &str, tables: &[&TableName], rights: &BTreeMap<TableName, Rights>, role: &str) -> String {
    let role = Ident::new(role).quoted();
    let closed = tables.iter().filter(|name| rights.get(**name).is_some_and(|rights| !rights.enter));
    let closed: BTreeSet<String> = closed.map(|name| name.schema.quoted()).collect();
    let usage = if closed.is_empty() {
        String::new()
    } else {
        format!("grant usage on schema {} to {role}; ", closed.into_iter().collect::<Vec<_>>().join(", "))
    };
    let quoted: Vec<String> = tables.iter().map(|name| name.quoted()).collect();
    format!(
        "no {} on {}. Use another role with `--live`, or ask for: {usage}grant {word} on {} to {role}",
        word.to_uppercase(),
        names(tables),
        quoted.join(", ")
    )
}

/// Sequences that feed columns of tables that get rows back: where they stand is read, and they may have to move.
async fn sequences(
    session: &ReadSession,
    catalog: &Catalog,
    reach: &Reach,
    identity: &ServerIdentity,
    found: &mut DoctorSummary,
) -> Result<(), PgError> {
    let tables = reach.insert.iter().filter_map(|name| catalog.tables.get(name));
    let wanted: BTreeSet<&TableName> =
        tables.flat_map(|table| &table.columns).filter_map(|column| column.sequence.as_ref()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (schemas, inner): (Vec<&str>, Vec<&str>) =
        wanted.iter().map(|name| (name.schema.as_str(), name.name.as_str())).unzip();
    let mut without = Vec::new();
    for row in session.query(&SEQUENCE_PRIVILEGES, &[&schemas, &inner]).await? {
        if !column::<bool>(&row, "may_read", WHAT)? || !column::<bool>(&row, "may_move", WHAT)? {
            let schema: String = column(&row, "schema", WHAT)?;
            without.push(TableName::new(schema, column::<String>(&row, "name", WHAT)?));
        }
    }
    let quoted: Vec<String> = without.iter().map(TableName::quoted).collect();
    let complaint = format!(
        "{} cannot be read and moved forward, which is needed where they are behind a recovered number. Ask for: grant \
         select, update on sequence {} to {}",
        names(&without),
        quoted.join(", "),
        Ident::new(&identity.user).quoted()
    );
    let complaints: Vec<String> = (!without.is_empty()).then_some(complaint).into_iter().collect();
    found.add("sequences", &complaints, format!("{} can be read and moved forward", names(&wanted)));
    Ok(())
}

/// What the recipe's choice about triggers needs.
async fn triggers(
    session: &ReadSession,
    recipe: &Recipe,
    catalog: &Catalog,
    reach: &Reach,
    rights: &BTreeMap<TableName, Rights>,
    identity: &ServerIdentity,
    found: &mut DoctorSummary,
) -> Result<(), PgError> {
    match recipe.policy.triggers {
        Triggers::Fire => {}
        Triggers::Replica => {
            let mut may = identity.is_superuser;
            if !may && identity.major() >= 15 {
                for row in session.query(&DOCTOR_REPLICA, &[]).await? {
                    may |= column::<bool>(&row, "may_set", WHAT)?;
                }
            }
            let role = Ident::new(&identity.user).quoted();
            let complaint = format!(
                "triggers = \"replica\" sets session_replication_role, which this role may not. Ask a superuser for \
                 (PostgreSQL 15 and newer): grant set on parameter session_replication_role to {role}; or say \
                 `triggers = \"fire\"`"
            );
            let complaints: Vec<String> = (!may).then_some(complaint).into_iter().collect();
            found.add("triggers", &complaints, "session_replication_role may be set");
        }
        Triggers::Disable => {
            let foreign: Vec<TableName> = reach
                .written()
                .into_iter()
                .filter(|name| catalog.tables.get(name).is_some_and(|table| !table.triggers.is_empty()))
                .filter(|name| rights.get(name).is_some_and(|rights| !rights.owns))
                .collect();
            let complaint = format!(
                "triggers = \"disable\" needs the owner of {}. Use their role, or say `triggers = \"fire\"`",
                names(&foreign)
            );
            let complaints: Vec<String> = (!foreign.is_empty()).then_some(complaint).into_iter().collect();
            found.add("triggers", &complaints, "this role owns every table that has any");
        }
    }
    Ok(())
}
