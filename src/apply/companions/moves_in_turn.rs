//! Rows that move are inserted on the one side and deleted on the other by one statement, behind which triggers fire. Where what
//! they make collides with rows of that very statement, the tables are written one after the other instead: all come, parents
//! first, and what triggers made in the place of the next ones gives way; then all go on the other side, children first.

use std::collections::BTreeMap;

use super::in_turn::{look, turns};
use super::take_over::{Ground, Place};
use super::{Made, WHAT};
use crate::apply::isolate::single;
use crate::ident::{Ident, TableName};
use crate::pg::{DbFacts, PgError, ReadSession, WriteSession, column};
use crate::plan::recall::{Way, come_sql, go_sql, moved_sql};
use crate::plan::{Action, Part};
use crate::sql::literal::literal;
use crate::sql::registry::APPLY_TYPES;

/// May it help that moving rows are written table by table?
pub(in crate::apply) fn may_help_to_move(parts: &[Part], error: &PgError) -> bool {
    let moves = parts.len() > 1 && parts.iter().all(|part| part.action == Action::Move);
    moves && error.sqlstate() == Some("23505")
}

/// Writes the parts in turn; returns the rows written, or `None` where the tables refer to each other in a circle or nobody
/// can look from outside.
pub(in crate::apply) async fn move_in_turn(
    session: &WriteSession,
    parts: &[Part],
    way: Way,
    ground: Ground<'_>,
) -> Result<Option<Vec<u64>>, PgError> {
    let comes: Vec<Part> = parts.iter().filter_map(|part| coming(part, way)).collect();
    let Some(order) = turns(session, &comes).await? else { return Ok(None) };
    let in_line = order.iter().all(|(_, cut)| cut.is_empty());
    let (true, Some(reader)) = (in_line && comes.len() == parts.len(), ground.reader) else {
        return Ok(None);
    };
    let order: Vec<usize> = order.into_iter().map(|(at, _)| at).collect();
    let turn = Turn { session, parts, comes: &comes, way };
    turn.come(&order, ground.made.clone(), reader).await?;
    let mut written = vec![0; parts.len()];
    for &at in order.iter().rev() {
        turn.go(at).await?;
        written[at] = turn.count(&moved_sql(at + 1, &parts[at])).await?;
    }
    session.execute(WHAT, "set constraints all immediate").await?;
    Ok(Some(written))
}

/// The part as one of the table that its rows come to.
fn coming(part: &Part, way: Way) -> Option<Part> {
    let table = match way {
        Way::Home => part.table.clone(),
        Way::Back => part.from.clone()?,
    };
    Some(Part { table, ..part.clone() })
}

struct Turn<'a> {
    session: &'a WriteSession,
    parts: &'a [Part],
    comes: &'a [Part],
    way: Way,
}

impl Turn<'_> {
    /// All come, in this order.
    async fn come(&self, order: &[usize], mut made: Made, reader: &ReadSession) -> Result<(), PgError> {
        for (turn, &at) in order.iter().enumerate() {
            let part = &self.comes[at];
            let place = Place { session: self.session, number: at + 1, part, made: &made };
            place.make_room().await?;
            if let Some((key, reason)) = place.reasons().await?.into_iter().next() {
                return Err(refused(format!("{} ({key}) cannot come: {reason}", part.table)));
            }
            let types = types(self.session, part).await?;
            let sql = come_sql(at + 1, &self.parts[at], &part.table, &types, self.way);
            self.all(at, &sql).await?;
            for &next in &order[turn + 1..] {
                look(self.session, reader, &self.comes[next], &mut made).await?;
            }
        }
        Ok(())
    }

    /// All of one part go on the other side.
    async fn go(&self, at: usize) -> Result<(), PgError> {
        let part = &self.parts[at];
        let from = match self.way {
            Way::Home => part.from.as_ref().unwrap_or(&part.table),
            Way::Back => &part.table,
        };
        let is_root = format!(
            "select relkind = 'p' from pg_catalog.pg_class where oid = {}::pg_catalog.regclass",
            literal(&from.quoted())
        );
        let rows = self.session.text_rows(WHAT, &is_root).await?;
        let is_root = rows.first().and_then(|row| row.first()?.as_deref()) == Some("t");
        let only = if is_root { "" } else { "only " };
        self.all(at, &go_sql(at + 1, part, &format!("{only}{}", from.quoted()), self.way)).await
    }

    /// Runs a side of the move for every row of the part that is not held.
    async fn all(&self, at: usize, sql: &str) -> Result<(), PgError> {
        let wanted = format!(
            "select pg_catalog.count(*) from pg_temp.\"rowback_{}\" where rowback_held is null",
            at + 1
        );
        let wanted = self.count(&wanted).await?;
        if self.count(sql).await? == wanted {
            return Ok(());
        }
        let table = &self.parts[at].table;
        Err(refused(format!("rows of {table} would be in one table only: a trigger stands in the way")))
    }

    async fn count(&self, sql: &str) -> Result<u64, PgError> {
        let rows = self.session.text_rows(WHAT, sql).await?;
        single(&rows).ok_or_else(|| super::answer("no count of rows"))
    }
}

/// As the batch file itself would raise it: about the rows, not about the server.
fn refused(message: String) -> PgError {
    let db = DbFacts { message, sqlstate: "23000".to_owned(), ..DbFacts::default() };
    PgError::Statement { what: WHAT.to_owned(), db: Box::new(db) }
}

/// The types of a part's columns in its table.
async fn types(session: &WriteSession, part: &Part) -> Result<Vec<String>, PgError> {
    let table: &TableName = &part.table;
    let mut known: BTreeMap<Ident, String> = BTreeMap::new();
    for row in session.query(&APPLY_TYPES, &[&table.schema.as_str(), &table.name.as_str()]).await? {
        known.insert(Ident::new(column::<String>(&row, "name", WHAT)?), column(&row, "type_name", WHAT)?);
    }
    let named = part.columns.iter().map(|name| known.get(name).cloned());
    named.collect::<Option<_>>().ok_or_else(|| super::answer(format!("a column of {table} is gone")))
}
