//! Tables that refer to each other are written in one statement, behind which triggers fire. Where what they make collides
//! with rows of that very statement, the tables are written one after the other instead: links that may be NULL are left
//! out first and set at the end, and what the triggers of one table made in the next gives way to the lost rows.

use std::collections::BTreeSet;

use super::clear::referrers;
use super::sql;
use super::take_over::{Ground, Taken, take_over};
use super::{Made, RowVersion, WHAT, committed, grouped, rows_of_transaction, shape};
use crate::apply::transaction;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession, WriteSession};
use crate::plan::{Action, Part};

/// A part, by its position, and the columns that it is written without.
pub(super) type Turn = (usize, Vec<Ident>);

/// Is this the error of a batch that may come through table by table?
pub(in crate::apply) fn may_help(parts: &[Part], error: &PgError) -> bool {
    let tables: BTreeSet<&TableName> = parts.iter().map(|part| &part.table).collect();
    let inserts = parts.iter().all(|part| part.action == Action::Insert);
    inserts && parts.len() > 1 && tables.len() == parts.len() && error.sqlstate() == Some("23505")
}

/// Writes the parts of a batch in turn; returns the rows written and what gave way.
pub(in crate::apply) async fn write_in_turn(
    session: &WriteSession,
    parts: &[Part],
    write_sql: &str,
    ground: Option<Ground<'_>>,
) -> Result<(Vec<u64>, Taken), PgError> {
    let mut taken = Taken { rows: vec![0; parts.len()], refused: Vec::new() };
    let mut written = vec![0; parts.len()];
    let turns = turns(session, parts).await?;
    let (Some(turns), Some(ground)) = (turns, ground) else {
        let rows = session.text_rows(WHAT, write_sql).await?;
        return Ok((transaction::counts(WHAT, &rows, parts)?, taken));
    };
    for number in 1..=parts.len() {
        session.execute(WHAT, &sql::put_away(number)).await?;
    }
    let mut made = ground.made.clone();
    for (turn, (at, cut)) in turns.iter().enumerate() {
        session.execute(WHAT, &sql::put_back(at + 1, cut)).await?;
        let gave_way = take_over(session, parts, Ground { made: &made, ..ground }).await?;
        add(&mut taken.rows, &gave_way.rows);
        let rows = session.text_rows(WHAT, write_sql).await?;
        add(&mut written, &transaction::counts(WHAT, &rows, parts)?);
        if !cut.is_empty() {
            session.execute(WHAT, &sql::cut_links(at + 1, &parts[*at], cut)).await?;
        }
        session.execute(WHAT, &format!("delete from pg_temp.\"rowback_{}\"", at + 1)).await?;
        for (next, _) in &turns[turn + 1..] {
            if let Some(reader) = ground.reader {
                look(session, reader, &parts[*next], &mut made).await?;
            }
        }
    }
    for (at, cut) in &turns {
        session.execute(WHAT, &sql::put_back(at + 1, &[])).await?;
        session.execute(WHAT, &format!("drop table pg_temp.\"rowback_whole_{}\"", at + 1)).await?;
        if !cut.is_empty() {
            session.execute(WHAT, &sql::set_links(at + 1, &parts[*at], cut)).await?;
        }
    }
    session.execute(WHAT, "set constraints all immediate").await?;
    Ok((written, taken))
}

fn add(sums: &mut [u64], rows: &[u64]) {
    sums.iter_mut().zip(rows).for_each(|(sum, rows)| *sum += rows);
}

/// Adds what triggers made in the place of a part that is still to come.
pub(super) async fn look(
    session: &WriteSession,
    reader: &ReadSession,
    part: &Part,
    made: &mut Made,
) -> Result<(), PgError> {
    let mut rows: Vec<RowVersion> = rows_of_transaction(session, &part.table, &part.key, &[]).await?;
    reader.restart().await?;
    let others = committed(session, reader, &part.table, &rows).await?;
    rows.retain(|row| !others.contains_key(&row.key));
    made.remember(0, &grouped(&part.table, rows));
    Ok(())
}

/// The order in which the parts can be written, each with the links that it is written without; `None` where links that
/// must not be NULL go in a circle.
pub(super) async fn turns(session: &WriteSession, parts: &[Part]) -> Result<Option<Vec<Turn>>, PgError> {
    let links = links(session, parts).await?;
    let mut waiting: BTreeSet<usize> = (0..parts.len()).collect();
    let mut turns = Vec::new();
    while !waiting.is_empty() {
        let ahead = |at: usize| links.iter().filter(move |link| link.child == at);
        let ahead = |at: usize| ahead(at).filter(|link| waiting.contains(&link.parent));
        let free = waiting.iter().find(|&&at| ahead(at).next().is_none());
        let next = free.or_else(|| waiting.iter().find(|&&at| ahead(at).all(|link| !link.cut.is_empty())));
        let Some(&next) = next else { return Ok(None) };
        let cut: BTreeSet<Ident> = ahead(next).flat_map(|link| link.cut.iter().cloned()).collect();
        turns.push((next, cut.into_iter().collect()));
        waiting.remove(&next);
    }
    Ok(Some(turns))
}

/// A foreign key between two parts, by their positions, and the columns that may be NULL for a while.
struct Link {
    child: usize,
    parent: usize,
    cut: Vec<Ident>,
}

/// The foreign keys between the parts: child and parent by their positions, and the condition under which a row `c` of the one
/// hangs on a row `p` of the other.
pub(in crate::apply) async fn bonds(
    session: &WriteSession,
    parts: &[Part],
) -> Result<Vec<(usize, usize, String)>, PgError> {
    let mut bonds = Vec::new();
    for (parent, part) in parts.iter().enumerate() {
        for fk in referrers(session, &part.table).await? {
            let Some(child) = parts.iter().position(|part| part.table == fk.child) else { continue };
            let is_there = |(down, up): &(Ident, Ident)| {
                parts[child].columns.contains(down) && part.columns.contains(up)
            };
            if !fk.columns.iter().all(is_there) {
                continue;
            }
            let pairs = fk.columns.iter().zip(&fk.operators);
            let pairs: Vec<String> = pairs
                .map(|((down, up), operator)| format!("p.{} {operator} c.{}", up.quoted(), down.quoted()))
                .collect();
            bonds.push((child, parent, pairs.join(" and ")));
        }
    }
    Ok(bonds)
}

async fn links(session: &WriteSession, parts: &[Part]) -> Result<Vec<Link>, PgError> {
    let mut links = Vec::new();
    for (parent, part) in parts.iter().enumerate() {
        for fk in referrers(session, &part.table).await? {
            let child = parts.iter().position(|part| part.table == fk.child).filter(|child| *child != parent);
            let Some(child) = child else { continue };
            let Some(shape) = shape(session, &fk.child, &parts[child].key).await? else { continue };
            let may_wait = |name: &Ident| shape.nullable.contains(name) && shape.settable.contains(name);
            let cut = fk.columns.iter().map(|(name, _)| name);
            let cut = cut.filter(|name| may_wait(name) && parts[child].columns.contains(name)).cloned();
            links.push(Link { child, parent, cut: cut.collect() });
        }
    }
    Ok(links)
}
