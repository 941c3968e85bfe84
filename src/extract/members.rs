//! Conditions of the form `column IN (SELECT …)`: what the sub-select returns is asked of scratch before the rows of the
//! condition's own table are read, and only rows that hold one of these values are let through.

use std::time::Duration;

use super::{ExtractError, keys};
use crate::catalog::{Column, Table};
use crate::ident::Ident;
use crate::pg::{PgError, column};
use crate::scratch::Scratch;
use crate::scratch::choice::KeyMatch;
use crate::scratch::keys::KeySort;
use crate::sql::condition::{Clause, subselect};
use crate::sql::registry;

const WHAT: &str = "reading a sub-select";

/// A column that must be among what a sub-select returns.
pub(super) struct Member {
    column: Ident,
    sort: KeySort,
    /// With every name in it resolved, so that no search path matters.
    query: String,
}

/// What a sub-select returned.
pub(super) enum Keys {
    Found(KeyMatch),
    /// Their memory is used up.
    TooMany,
}

/// A part of the condition that every wanted row must fulfil and that has the form. The sub-select must stand alone, mean
/// the same whenever it is asked, and return values that have one text, that of the column.
pub(super) async fn find(
    scratch: &Scratch,
    table: &Table,
    clause: &Clause,
) -> Result<Option<Member>, ExtractError> {
    let parts = match clause {
        Clause::And(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    for part in parts {
        let Clause::Other(text) = part else { continue };
        let Some(found) = subselect::member(text, table.name.name.as_str()) else { continue };
        let name = Ident::new(found.column);
        let Some(of_table) = table.column(&name) else { continue };
        let Some(sort) = keys::sort_of_key(table, std::slice::from_ref(&name), scratch.encoding()) else {
            continue;
        };
        let Some(calls) = subselect::calls(&found.query) else { continue };
        let names: Vec<String> = calls.into_iter().collect();
        let changeable = scratch.session().query(&registry::EXTRACT_CHANGEABLE, &[&names]).await?;
        if changeable.is_empty() && returns(scratch, &found.query, of_table, sort).await? {
            return Ok(Some(Member { column: name, sort, query: found.query }));
        }
    }
    Ok(None)
}

/// Does the select stand alone, and return one column of the sort that is compared with?
async fn returns(
    scratch: &Scratch,
    query: &str,
    of_table: &Column,
    sort: KeySort,
) -> Result<bool, ExtractError> {
    let session = scratch.session();
    session.execute(WHAT, "begin; set local search_path = ''").await?;
    let asked = async {
        session.execute(WHAT, &format!("create view rowback_scratch.members as\n{query}")).await?;
        session.query(&registry::EXTRACT_RESULT, &[&"rowback_scratch.members"]).await
    };
    let asked = asked.await;
    session.execute(WHAT, "rollback").await?;
    let rows = match asked {
        Ok(rows) => rows,
        // It names a column of the row around it, or two columns alike.
        Err(error) if error.sqlstate().is_some() => return Ok(false),
        Err(lost) => return Err(lost.into()),
    };
    let [row] = rows.as_slice() else { return Ok(false) };
    let (kind, deterministic): (String, bool) =
        (column(row, "type_name", WHAT)?, column(row, "deterministic", WHAT)?);
    Ok(match sort {
        KeySort::Whole => ["smallint", "integer", "bigint"].contains(&kind.as_str()),
        KeySort::Text => deterministic && kind == of_table.type_name,
    })
}

/// Asks the sub-select; `None` where it fails, which the whole condition will do as well, in the user's own words.
pub(super) async fn keys(
    scratch: &Scratch,
    member: &Member,
    time_limit: Duration,
    memory: &mut usize,
) -> Result<Option<Keys>, ExtractError> {
    let reader = scratch.connect().await?;
    let limit = time_limit.as_millis();
    let begin = format!(
        "begin transaction read only; set local statement_timeout = {limit}; set local search_path = ''"
    );
    reader.execute(WHAT, &begin).await?;
    let sql = format!("copy (\n{}\n) to stdout", member.query);
    match keys::read(&reader, scratch, &sql, member.sort, memory).await {
        Ok(keys::Found::Keys(keys)) => {
            Ok(Some(Keys::Found(KeyMatch { columns: vec![member.column.clone()], keys })))
        }
        Ok(keys::Found::TooMany) => Ok(Some(Keys::TooMany)),
        Err(ExtractError::Pg(error)) if is_of_server(&error) => Ok(None),
        Err(other) => Err(other),
    }
}

fn is_of_server(error: &PgError) -> bool {
    error.sqlstate().is_some()
}
