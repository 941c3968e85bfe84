//! Keyed look-ups in live. Keys travel as a VALUES list, so there is no limit on columns; rows come back as COPY text,
//! so that they compare byte for byte with staged ones.

use std::collections::BTreeMap;

use super::DiffError;
use super::aftermath::Aftermath;
use super::drift::Fit;
use crate::catalog::Table;
use crate::ident::Ident;
use crate::pg::ReadSession;
use crate::sql::literal::push_literal;
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
        let mut row = self.fields.clone();
        self.was.iter().for_each(|(at, value)| row[*at].clone_from(value));
        key_of(&row, positions)
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

/// Appends `(0, 'a'::type, …), (1, 'b', …)`; only the first row needs casts, the others follow it.
pub fn push_values(sql: &mut String, rows: &[&StagedRow], positions: &[usize], fit: &Fit<'_>) {
    for (ordinal, row) in rows.iter().enumerate() {
        sql.push_str(if ordinal == 0 { "(" } else { ",\n(" });
        sql.push_str(&ordinal.to_string());
        for &position in positions {
            sql.push(',');
            push_field(sql, row.fields.get(position).map_or(b"\\N", |field| field));
            if ordinal == 0 {
                sql.push_str("::");
                sql.push_str(&fit.columns[position].live.type_name);
            }
        }
        sql.push(')');
    }
}

fn push_field(sql: &mut String, field: &[u8]) {
    match text(field) {
        Some(value) => push_literal(sql, &value),
        None => sql.push_str("null"),
    }
}

/// Looks rows up by key. Gives, for each staged row, live's raw fields in the order of `Fit::columns`.
pub async fn by_key(
    session: &ReadSession,
    fit: &Fit<'_>,
    rows: &[&StagedRow],
) -> Result<Vec<LiveRow>, DiffError> {
    let mut found = vec![None; rows.len()];
    if rows.is_empty() {
        return Ok(found);
    }
    let names: Vec<String> =
        fit.columns.iter().map(|column| format!("l.{}", column.live.name.quoted())).collect();
    let keys: Vec<String> = (1..=fit.key.len()).map(|at| format!("k{at}")).collect();
    let mut sql = format!("copy (select k.n, {} from (values ", names.join(", "));
    push_values(&mut sql, rows, &fit.key, fit);
    sql.push_str(&format!(
        ") as k(n, {}) join {} as l on {}) to stdout",
        keys.join(", "),
        fit.live.from_sql(),
        equal_keys(fit.live, fit.key.iter().map(|&at| &fit.columns[at].live.name))
    ));
    let mut answer = session.copy_out(&format!("reading {} by key", fit.live.name), &sql).await?;
    while let Some(row) = answer.next_row().await? {
        let mut parts = fields(&row);
        let ordinal = parts.next().and_then(|field| text(field)?.parse::<usize>().ok());
        if let Some(slot) = ordinal.and_then(|ordinal| found.get_mut(ordinal)) {
            if slot.is_some() {
                let key = fit.key.iter().map(|&at| fit.columns[at].live.name.clone()).collect();
                return Err(DiffError::KeyNotUnique { table: fit.live.name.clone(), key });
            }
            *slot = Some(parts.map(Box::from).collect());
        }
    }
    Ok(found)
}

/// `l."id" = k.k1 and …`, with the operators of the table's own keys.
pub fn equal_keys<'a>(table: &Table, columns: impl Iterator<Item = &'a Ident>) -> String {
    let pairs = columns
        .enumerate()
        .map(|(at, name)| format!("l.{} {} k.k{}", name.quoted(), table.equality(name), at + 1));
    pairs.collect::<Vec<_>>().join(" and ")
}
