//! Keyed look-ups in live. Rows come back as COPY text, so that they compare byte for byte with staged ones.

use std::collections::BTreeMap;

use super::DiffError;
use super::aftermath::Aftermath;
use super::drift::Fit;
use super::relation::Relation;
use crate::catalog::Table;
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession};
use crate::sql::literal::literal;
use crate::value::copy_text::{fields, is_null, unescape};

/// One or more raw COPY fields, joined by tabs.
pub type RawKey = Box<[u8]>;

/// Raw COPY fields in the order of `Fit::columns`.
pub type RawRow = Vec<RawKey>;

/// Live's row of the same key as a staged one.
pub type LiveRow = Option<RawRow>;

/// A staged row, cut to the columns that live has: raw COPY fields.
#[derive(Debug, Clone)]
pub struct StagedRow {
    /// The raw fields, in the order of `Fit::columns`.
    pub fields: Vec<Box<[u8]>>,
    /// Why it is staged.
    pub origin: String,
    /// What stood in the backup where `fields` now names another parent, by position.
    pub was: BTreeMap<usize, RawKey>,
    /// What the accident made of it, where something tells.
    pub aftermath: Aftermath,
}

impl StagedRow {
    /// Cuts a row of the staging file to what fits.
    pub fn cut(row: &[u8], fit: &Fit<'_>) -> Self {
        let all: Vec<&[u8]> = fields(row).collect();
        let field = |at: usize| all.get(at).copied().unwrap_or(b"\\N");
        let origin = fit.origin.map_or(String::new(), |at| text(field(at)).unwrap_or_default());
        let aftermath = fit.after.map_or_else(Aftermath::default, |at| Aftermath::parse(field(at), fit));
        let fields = fit.columns.iter().map(|column| field(column.staged).into()).collect();
        Self { aftermath, ..Self::of(fields, origin) }
    }

    /// A row as it is.
    pub fn of(fields: RawRow, origin: String) -> Self {
        Self { fields, origin, was: BTreeMap::new(), aftermath: Aftermath::default() }
    }

    /// A row of which only the key is known: raw fields joined by tabs, in the order of the fit's key.
    pub fn named(key: &[u8], fit: &Fit<'_>) -> Self {
        let mut row = vec![Box::from(&b"\\N"[..]); fit.columns.len()];
        for (&at, value) in fit.key.iter().zip(fields(key)) {
            row[at] = value.into();
        }
        Self::of(row, String::new())
    }

    /// Raw fields at these positions, joined by tabs; `None` when one of them is null.
    pub fn key(&self, positions: &[usize]) -> Option<Box<[u8]>> {
        key_of(&self.fields, positions)
    }

    /// The same as the backup has them.
    pub fn key_before(&self, positions: &[usize]) -> Option<RawKey> {
        if positions.iter().all(|at| !self.was.contains_key(at)) {
            return self.key(positions);
        }
        key_of(&self.before(), positions)
    }

    /// The fields as the backup has them.
    pub fn before(&self) -> RawRow {
        let mut row = self.fields.clone();
        self.was.iter().for_each(|(at, value)| row[*at].clone_from(value));
        row
    }

    /// Does another parent's key stand in one of these columns?
    pub fn is_repointed(&self, positions: &[usize]) -> bool {
        positions.iter().any(|at| self.was.contains_key(at))
    }
}

/// Raw fields at these positions, joined by tabs; `None` when one of them is null.
pub fn key_of<F: AsRef<[u8]>>(row: &[F], positions: &[usize]) -> Option<Box<[u8]>> {
    let mut key = Vec::new();
    for (at, &position) in positions.iter().enumerate() {
        let field = row.get(position)?.as_ref();
        if is_null(field) {
            return None;
        }
        if at > 0 {
            key.push(b'\t');
        }
        key.extend_from_slice(field);
    }
    Some(key.into())
}

/// The text of a raw field; `None` for NULL. COPY text of a UTF-8 session is UTF-8.
pub fn text(field: &[u8]) -> Option<String> {
    (!is_null(field)).then(|| String::from_utf8_lossy(&unescape(field)).into_owned())
}

/// What live holds of staged rows.
#[derive(Debug, Default)]
pub struct Answer {
    /// For each staged row live's raw fields, in the order of `Fit::columns`.
    pub live: Vec<LiveRow>,
    /// For each staged row that is in live whether the condition holds that was asked with it.
    pub holds: Option<Vec<bool>>,
}

/// How live is asked for the rows of one table: all that does not depend on the rows, so that several sessions can be
/// asked side by side.
pub struct Lookup {
    table: TableName,
    key: Vec<Ident>,
    by_key: Question,
    with_condition: Option<Question>,
    /// The search path under which the condition was checked.
    path: String,
}

/// A statement around a relation.
struct Question {
    relation: Relation,
    before: String,
    after: String,
}

impl Question {
    fn sql<'r>(&self, rows: impl Iterator<Item = &'r StagedRow> + Clone) -> String {
        let mut sql = self.before.clone();
        self.relation.push(&mut sql, rows);
        sql.push_str(&self.after);
        sql
    }
}

impl Lookup {
    /// By the key alone.
    pub fn by_key(fit: &Fit<'_>) -> Self {
        let columns: Vec<String> =
            fit.columns.iter().map(|column| format!("l.{}", column.live.name.quoted())).collect();
        let keys: Vec<String> = (1..=fit.key.len()).map(|at| format!("k{at}")).collect();
        let equal = equal_keys(fit.live, key_names(fit));
        let (keys, from) = (keys.join(", "), fit.live.from_sql());
        let join = if is_indexed(fit) {
            format!("cross join lateral (select l.* from {from} as l where {equal} offset 0) as l")
        } else {
            format!("join {from} as l on {equal}")
        };
        let by_key = Question {
            relation: Relation::of(fit, &fit.key),
            before: format!("copy (select k.n, {} from ", columns.join(", ")),
            after: format!(" as k(n, {keys}) {join}) to stdout"),
        };
        let key = key_names(fit).cloned().collect();
        Self { table: fit.live.name.clone(), key, by_key, with_condition: None, path: String::new() }
    }

    /// Also asks, of the rows that are there, whether a condition of the recipe over `live` and `backup` holds; `asked`
    /// are the columns of `backup` that it is about, the key among them.
    pub fn with_condition(self, fit: &Fit<'_>, condition: &str, asked: &[usize]) -> Self {
        let quoted = |at: &usize| fit.columns[*at].live.name.quoted();
        let all: Vec<String> =
            fit.columns.iter().map(|column| format!("live.{}", column.live.name.quoted())).collect();
        let names: Vec<String> = asked.iter().map(quoted).collect();
        let (all, names, from) = (all.join(", "), names.join(", "), fit.live.from_sql());
        let equal = equal_to_backup(fit);
        let (before, after) = if is_indexed(fit) {
            (
                "copy (select backup.rowback_n, l.* from ".to_owned(),
                format!(
                    " as backup(rowback_n, {names}) cross join lateral (select (\n{condition}\n) is true, {all} from {from} as live \
                     where {equal} offset 0) as l) to stdout"
                ),
            )
        } else {
            (
                format!("copy (select backup.rowback_n, (\n{condition}\n) is true, {all} from "),
                format!(" as backup(rowback_n, {names}) join {from} as live on {equal}) to stdout"),
            )
        };
        let question = Question { relation: Relation::of(fit, asked), before, after };
        Self { with_condition: Some(question), path: recipe_path(fit), ..self }
    }

    /// Asks. Where the condition raises an error the rows are asked for without it: it may be about a row of which
    /// nobody wants to know, and it is told about those of which somebody does.
    pub async fn ask<'r>(
        &self,
        session: &ReadSession,
        rows: impl ExactSizeIterator<Item = &'r StagedRow> + Clone,
    ) -> Result<Answer, DiffError> {
        let nothing = vec![None; rows.len()];
        if nothing.is_empty() {
            return Ok(Answer::default());
        }
        let what = format!("reading {} by key", self.table);
        if let Some(question) = &self.with_condition {
            set_search_path(session, &what, &self.path).await?;
            let answered = session.attempt_copy(&what, &question.sql(rows.clone())).await?;
            set_search_path(session, &what, "").await?;
            if let Ok(lines) = answered {
                let mut found = Answer { holds: Some(vec![false; nothing.len()]), live: nothing };
                for line in &lines {
                    self.take(&mut found, line)?;
                }
                return Ok(found);
            }
        }
        let mut found = Answer { live: nothing, holds: None };
        let mut answer = session.copy_out(&what, &self.by_key.sql(rows)).await?;
        while let Some(line) = answer.next_row().await? {
            self.take(&mut found, &line)?;
        }
        Ok(found)
    }

    /// A line is the number of the row, whether the condition holds where one was asked, and live's fields.
    fn take(&self, found: &mut Answer, line: &[u8]) -> Result<(), DiffError> {
        let mut parts = fields(line);
        let ordinal = parts.next().and_then(|field| std::str::from_utf8(field).ok()?.parse::<usize>().ok());
        let Some((at, slot)) = ordinal.and_then(|at| Some((at, found.live.get_mut(at)?))) else {
            return Ok(());
        };
        if let Some(holds) = &mut found.holds {
            holds[at] = parts.next() == Some(b"t");
        }
        if slot.is_some() {
            return Err(DiffError::KeyNotUnique { table: self.table.clone(), key: self.key.clone() });
        }
        *slot = Some(parts.map(Box::from).collect());
        Ok(())
    }
}

/// Looks rows up by key. Gives, for each staged row, live's raw fields in the order of `Fit::columns`.
pub async fn by_key(
    session: &ReadSession,
    fit: &Fit<'_>,
    rows: &[&StagedRow],
) -> Result<Vec<LiveRow>, DiffError> {
    Ok(Lookup::by_key(fit).ask(session, rows.iter().copied()).await?.live)
}

/// Conditions of the recipe see names as the predicate does in scratch: the table's schema, then `public`.
pub fn recipe_path(fit: &Fit<'_>) -> String {
    format!("{}, public", fit.live.name.schema.quoted())
}

/// Changes where names are looked for, until the transaction ends.
pub async fn set_search_path(session: &ReadSession, what: &str, path: &str) -> Result<(), PgError> {
    let sql = format!("select pg_catalog.set_config('search_path', {}, true)", literal(path));
    session.text_rows(what, &sql).await.map(drop)
}

/// `live."id" = backup."id" and …`
pub fn equal_to_backup(fit: &Fit<'_>) -> String {
    let pairs =
        key_names(fit).map(|name| format!("live.{0} {1} backup.{0}", name.quoted(), fit.live.equality(name)));
    pairs.collect::<Vec<_>>().join(" and ")
}

/// Has an index of live the key by which rows are found? Then statements find row by row (`lateral … offset 0`): a join
/// of all would read the whole table for each chunk, which the planner takes for cheaper than it is.
pub fn is_indexed(fit: &Fit<'_>) -> bool {
    let in_key = |name: &Ident| key_names(fit).any(|own| own == name);
    fit.live.keys.iter().any(|key| key.identifies_rows() && key.columns.iter().all(in_key))
}

/// The columns by which rows are found.
pub fn key_names<'f>(fit: &'f Fit<'_>) -> impl Iterator<Item = &'f Ident> {
    fit.key.iter().map(|&at| &fit.columns[at].live.name)
}

/// `l."id" = k.k1 and …`, with the operators of the table's own keys.
pub fn equal_keys<'a>(table: &Table, columns: impl Iterator<Item = &'a Ident>) -> String {
    let pairs = columns
        .enumerate()
        .map(|(at, name)| format!("l.{} {} k.k{}", name.quoted(), table.equality(name), at + 1));
    pairs.collect::<Vec<_>>().join(" and ")
}
