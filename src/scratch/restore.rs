//! Restores a backup's structure into the empty scratch database and reads its catalog there. Rows come later.
//! A backup is untrusted input: everything runs as a role without superuser, and nothing that could come alive
//! (event triggers, subscriptions, foreign servers, policies, triggers, jobs) is restored.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::RestoreError;
use crate::backup::{Backup, Entry, Section};
use crate::cancel::CancelToken;
use crate::catalog::{self, Catalog};
use crate::pg::{PgError, ScratchSession};

/// Objects whose definition is restored before the rows, by their name in the table of contents.
const STRUCTURE: &[&str] = &[
    "SCHEMA",
    "PROCEDURAL LANGUAGE",
    "COLLATION",
    "SHELL TYPE",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "OPERATOR",
    "OPERATOR FAMILY",
    "OPERATOR CLASS",
    "CONVERSION",
    "CAST",
    "TRANSFORM",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH TEMPLATE",
    "TEXT SEARCH CONFIGURATION",
    "ACCESS METHOD",
    "SEQUENCE",
    "TABLE",
    "TABLE ATTACH",
    "DEFAULT",
    "SEQUENCE OWNED BY",
    "VIEW",
    "MATERIALIZED VIEW",
];

/// Objects that are built on the empty tables to be read from the catalog, and taken away again before rows come. A CHECK
/// has an entry of its own when it is NOT VALID: rows of the backup may break it.
const CONSTRAINTS: &[&str] = &["CHECK CONSTRAINT", "INDEX", "INDEX ATTACH", "CONSTRAINT", "FK CONSTRAINT"];

/// Extensions that come with the server and whose code is trusted with a hostile caller.
const EXTENSIONS: &[&str] = &[
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "postgis",
    "seg",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// One object of the backup that scratch could not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFailure {
    /// Kind and name, as the table of contents has them: `TABLE public.orders`.
    pub object: String,
    /// The server's message.
    pub message: String,
    /// The dump id, to follow dependencies.
    pub entry: i32,
}

/// Runs the structure of `backup` in `session`, and reads the catalog with all keys and foreign keys in place. What
/// fails is returned: whether it matters depends on the tables that are wanted.
pub async fn restore_structure(
    backup: &Backup,
    session: &ScratchSession,
    superuser: Option<&ScratchSession>,
    cancel: &CancelToken,
) -> Result<(Catalog, Vec<RestoreFailure>), RestoreError> {
    let entries = &backup.contents().entries;
    let mut failures = Vec::new();
    session
        .execute("preparing scratch", "set check_function_bodies = off; create schema rowback_scratch")
        .await?;
    for entry in entries.iter().filter(|entry| entry.kind == "EXTENSION") {
        if let Err(error) = create_extension(entry, session, superuser).await {
            failures.push(failure(entry, &error));
        }
    }
    for entry in entries.iter().filter(|entry| is_structure(entry)) {
        stop_if(cancel)?;
        match session.execute("restoring the backup's structure", &entry.definition).await {
            Ok(()) => {}
            Err(error) if error.sqlstate().is_some() => failures.push(failure(entry, &error)),
            Err(lost) => return Err(lost.into()),
        }
    }
    let catalog = read_with_constraints(entries, session, &mut failures, cancel).await?;
    Ok((catalog, failures))
}

fn is_structure(entry: &Entry) -> bool {
    STRUCTURE.contains(&entry.kind.as_str())
        && !(entry.kind == "SCHEMA" && entry.name == "public")
        && entry.section != Section::Data
}

async fn create_extension(
    entry: &Entry,
    session: &ScratchSession,
    superuser: Option<&ScratchSession>,
) -> Result<(), PgError> {
    // The dump says `WITH SCHEMA x`, and a schema of the dump may not exist yet.
    let trusted = superuser.filter(|_| EXTENSIONS.contains(&entry.name.as_str()));
    let maker = trusted.unwrap_or(session);
    if let Some(schema) = schema_of_extension(&entry.definition) {
        session.execute("preparing scratch", &format!("create schema if not exists {schema}")).await?;
    }
    maker.execute("creating an extension in scratch", &entry.definition).await
}

fn schema_of_extension(definition: &str) -> Option<&str> {
    let after = definition.split_once(" WITH SCHEMA ")?.1;
    let schema = after.trim_end().trim_end_matches(';');
    (schema != "public" && schema != "pg_catalog").then_some(schema)
}

async fn read_with_constraints(
    entries: &[Entry],
    session: &ScratchSession,
    failures: &mut Vec<RestoreFailure>,
    cancel: &CancelToken,
) -> Result<Catalog, RestoreError> {
    session.execute("reading the backup's keys", "begin").await?;
    for entry in entries.iter().filter(|entry| CONSTRAINTS.contains(&entry.kind.as_str())) {
        stop_if(cancel)?;
        let definition = &entry.definition;
        let guarded = format!("savepoint rowback; {definition}; release savepoint rowback");
        match session.execute("reading the backup's keys", &guarded).await {
            Ok(()) => {}
            Err(error) if error.sqlstate().is_some() => {
                failures.push(failure(entry, &error));
                session.execute("reading the backup's keys", "rollback to savepoint rowback").await?;
            }
            Err(lost) => return Err(lost.into()),
        }
    }
    let catalog = catalog::load::load(catalog::load::Place::Scratch(session)).await?;
    session.execute("reading the backup's keys", "rollback").await?;
    Ok(catalog)
}

fn failure(entry: &Entry, error: &PgError) -> RestoreFailure {
    let schema = entry.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
    RestoreFailure {
        object: format!("{} {schema}{}", entry.kind, entry.name),
        message: error.db().map_or_else(|| error.to_string(), |db| db.message.clone()),
        entry: entry.id,
    }
}

fn stop_if(cancel: &CancelToken) -> Result<(), RestoreError> {
    if cancel.is_cancelled() { Err(RestoreError::Cancelled) } else { Ok(()) }
}

/// The failures that a wanted object depends on, itself included: the reason why it is not there.
pub fn reasons<'a>(
    entries: &[Entry],
    failures: &'a [RestoreFailure],
    wanted: i32,
) -> Vec<&'a RestoreFailure> {
    let mut needed = BTreeSet::from([wanted]);
    let mut open = vec![wanted];
    while let Some(id) = open.pop() {
        let Some(entry) = entries.iter().find(|entry| entry.id == id) else { continue };
        open.extend(entry.dependencies.iter().filter(|dependency| needed.insert(**dependency)));
    }
    failures.iter().filter(|failure| needed.contains(&failure.entry)).collect()
}
