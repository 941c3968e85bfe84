//! Keyed look-ups in live. Rows come back as COPY text, so that they compare byte for byte with staged ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::DiffError;
use super::aftermath::Aftermath;
use super::drift::Fit;
use super::prefetch::Prefetch;
use super::relation::relation;
use crate::catalog::{Relation, Table};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession};
use crate::sql::literal::literal;
use crate::staging::{ReadAhead, StagedFile};
use crate::value::BaseType;
use crate::value::copy_text::{NULL, fields, is_null};

pub use crate::value::copy_text::{RawKey, text};

/// Raw COPY fields in the order of `Fit::columns`.
pub type RawRow = Vec<RawKey>;

/// Live's row of the same key as a staged one.
pub type LiveRow = Option<RawRow>;

/// A staged row, cut to the columns that live has: raw COPY fields.
#[derive(Debug, Clone)]
pub struct StagedRow {
    /// The raw fields, in the order of `Fit::columns`.
    pub fields: Vec<RawKey>,
    /// Why it is staged.
    pub origin: Arc<str>,
    /// What stood in the backup where `fields` now names another parent, by position.
    pub was: BTreeMap<usize, RawKey>,
    /// What the accident made of it, where something tells.
    pub aftermath: Aftermath,
    /// Where live's row of the same key has an equal value, under another text; only of columns that tell who is who.
    pub alike: Vec<usize>,
}

impl StagedRow {
    /// Cuts a row of the staging file to what fits; `known` is the origin of the row before, mostly the same.
    fn cut(row: &[u8], fit: &Fit<'_>, known: &mut (RawKey, Arc<str>)) -> Self {
        let mut all: Vec<&[u8]> = Vec::with_capacity(fit.columns.len() + 4);
        all.extend(fields(row));
        let field = |at: usize| all.get(at).copied().unwrap_or(NULL);
        let told = fit.origin.map_or(NULL, field);
        if *known.0 != *told {
            *known = (told.into(), text(told).unwrap_or_default().into());
        }
        let aftermath = fit.after.map_or_else(Aftermath::default, |at| Aftermath::parse(field(at), fit));
        let fields = fit.columns.iter().map(|column| RawKey::from_slice(field(column.staged))).collect();
        Self { aftermath, ..Self::of(fields, Arc::clone(&known.1)) }
    }

    /// A row as it is.
    pub fn of(fields: RawRow, origin: impl Into<Arc<str>>) -> Self {
        Self {
            fields,
            origin: origin.into(),
            was: BTreeMap::new(),
            aftermath: Aftermath::default(),
            alike: Vec::new(),
        }
    }

    /// A row of which only the key is known: raw fields joined by tabs, in the order of the fit's key.
    pub fn named(key: &[u8], fit: &Fit<'_>) -> Self {
        let mut row = vec![RawKey::from(&b"\\N"[..]); fit.columns.len()];
        for (&at, value) in fit.key.iter().zip(fields(key)) {
            row[at] = value.into();
        }
        Self::of(row, "")
    }

    /// Is the value there that of live's row of the same key, as the column's own equality has it?
    pub fn has_value_of(&self, live: &[RawKey], at: usize) -> bool {
        self.fields[at] == live[at] || self.alike.contains(&at)
    }

    /// Raw fields at these positions, joined by tabs; `None` when one of them is null.
    pub fn key(&self, positions: &[usize]) -> Option<RawKey> {
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
pub fn key_of<F: AsRef<[u8]>>(row: &[F], positions: &[usize]) -> Option<RawKey> {
    let mut key = RawKey::new();
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
    Some(key)
}

/// The staged rows of a table, one after the other.
pub struct StagedRows<'a> {
    rows: ReadAhead,
    fit: &'a Fit<'a>,
    bytes: usize,
    known: (RawKey, Arc<str>),
}

impl<'a> StagedRows<'a> {
    /// Opens the staging file of a table.
    pub fn open(staging: &Path, file: &StagedFile, fit: &'a Fit<'a>) -> Result<Self, DiffError> {
        let rows = ReadAhead::open(staging, file)?;
        Ok(Self { rows, fit, bytes: 0, known: (NULL.into(), "".into()) })
    }

    /// The next row; `None` at the end.
    pub fn next(&mut self) -> Result<Option<StagedRow>, DiffError> {
        let Some(row) = self.rows.next_row()? else { return Ok(None) };
        self.bytes = row.len();
        Ok(Some(StagedRow::cut(row, self.fit, &mut self.known)))
    }

    /// Bytes of the last row, as COPY text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
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
    columns: usize,
    key: Vec<Ident>,
    by_key: Question,
    with_condition: Option<Question>,
    prefetch: Option<Prefetch>,
    /// The search path under which the condition was checked.
    path: String,
}

/// A statement around a relation.
struct Question {
    relation: Relation,
    before: String,
    after: String,
    near: Option<Near>,
}

/// How rows are asked for whose keys are whole numbers close together: the server reads that stretch of the index and
/// joins, which costs it half of what finding row by row does.
struct Near {
    /// The key, in `Fit::columns`.
    at: usize,
    before: String,
    /// Ends with the column that must be between the lowest and the highest key.
    after: String,
}

impl Near {
    /// Where an index has the key, and it is one whole number.
    fn of(fit: &Fit<'_>, before: String, after: &str, alias: &str) -> Option<Self> {
        let &[at] = fit.key.as_slice() else { return None };
        let column = fit.columns[at].live;
        let is_whole = matches!(column.base_type, BaseType::Int2 | BaseType::Int4 | BaseType::Int8);
        let after = format!("{after} where {alias}.{} between ", column.name.quoted());
        (is_whole && is_indexed(fit)).then_some(Self { at, before, after })
    }

    /// The lowest and the highest key, where a stretch of keys holds at least half as many rows as numbers.
    fn stretch<'r>(&self, rows: impl Iterator<Item = &'r StagedRow>) -> Option<(i64, i64)> {
        let (mut count, mut lowest, mut highest) = (0_i64, i64::MAX, i64::MIN);
        for row in rows {
            let key = std::str::from_utf8(&row.fields[self.at]).ok()?.parse().ok()?;
            (lowest, highest, count) = (lowest.min(key), highest.max(key), count + 1);
        }
        (count > 1 && highest.checked_sub(lowest)? < count * 2).then_some((lowest, highest))
    }
}

impl Question {
    fn sql<'r>(&self, rows: impl Iterator<Item = &'r StagedRow> + Clone) -> String {
        let near = self.near.as_ref().and_then(|near| Some((near, near.stretch(rows.clone())?)));
        let (before, after, end) = match near {
            Some((near, (lowest, highest))) => {
                (&near.before, &near.after, format!("{lowest} and {highest}) to stdout"))
            }
            None => (&self.before, &self.after, String::new()),
        };
        let mut sql = before.clone();
        self.relation.push(&mut sql, rows);
        sql.push_str(after);
        sql.push_str(&end);
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
        let before = format!("copy (select k.n, {} from ", columns.join(", "));
        let plain = format!(" as k(n, {keys}) join {from} as l on {equal}");
        let near = Near::of(fit, before.clone(), &plain, "l");
        let after = if is_indexed(fit) {
            format!(
                " as k(n, {keys}) cross join lateral (select l.* from {from} as l where {equal} offset 0) as l) to stdout"
            )
        } else {
            plain + ") to stdout"
        };
        let by_key = Question { relation: relation(fit, &fit.key), before, after, near };
        let key = key_names(fit).cloned().collect();
        Self {
            table: fit.live.name.clone(),
            columns: fit.columns.len(),
            key,
            by_key,
            with_condition: None,
            prefetch: Prefetch::of(fit),
            path: String::new(),
        }
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
        let plain_before = format!("copy (select backup.rowback_n, (\n{condition}\n) is true, {all} from ");
        let plain = format!(" as backup(rowback_n, {names}) join {from} as live on {equal}");
        let near = Near::of(fit, plain_before.clone(), &plain, "live");
        let (before, after) = if is_indexed(fit) {
            (
                "copy (select backup.rowback_n, l.* from ".to_owned(),
                format!(
                    " as backup(rowback_n, {names}) cross join lateral (select (\n{condition}\n) is true, {all} from {from} as live \
                     where {equal} offset 0) as l) to stdout"
                ),
            )
        } else {
            (plain_before, plain + ") to stdout")
        };
        let question = Question { relation: relation(fit, asked), before, after, near };
        Self { with_condition: Some(question), path: recipe_path(fit), ..self }
    }

    /// Asks. Where the condition raises an error the rows are asked for without it: it may be about a row of which
    /// nobody wants to know, and it is told about those of which somebody does.
    pub async fn ask<'r>(
        &self,
        session: &ReadSession,
        rows: impl ExactSizeIterator<Item = &'r StagedRow> + Clone,
    ) -> Result<Answer, DiffError> {
        if rows.len() == 0 {
            return Ok(Answer::default());
        }
        let what = format!("reading {} by key", self.table);
        if let Some(prefetch) = &self.prefetch {
            prefetch.run(session, &what, rows.clone()).await?;
        }
        let begun = Instant::now();
        let found = self.ask_now(session, &what, rows.clone()).await?;
        session.note_pace(rows.len(), begun.elapsed());
        Ok(found)
    }

    async fn ask_now<'r>(
        &self,
        session: &ReadSession,
        what: &str,
        rows: impl ExactSizeIterator<Item = &'r StagedRow> + Clone,
    ) -> Result<Answer, DiffError> {
        let nothing = vec![None; rows.len()];
        if let Some(question) = &self.with_condition {
            set_search_path(session, what, &self.path).await?;
            let answered = session.attempt_copy(what, &question.sql(rows.clone())).await?;
            set_search_path(session, what, "").await?;
            if let Ok(lines) = answered {
                let mut found = Answer { holds: Some(vec![false; nothing.len()]), live: nothing };
                for line in &lines {
                    self.take(&mut found, line)?;
                }
                return Ok(found);
            }
        }
        let mut found = Answer { live: nothing, holds: None };
        let mut answer = session.copy_out(what, &self.by_key.sql(rows)).await?;
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
        let mut row = Vec::with_capacity(self.columns);
        row.extend(parts.map(RawKey::from_slice));
        *slot = Some(row);
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
