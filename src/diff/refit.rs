//! Values whose column has another type in live than in the backup, or a type whose values come and go (enums, domains).
//! Live is asked, before any other statement holds them, whether it can read each value and whether it would keep it: a
//! value that it refuses, rounds or cuts makes its row unfit, and no other row.

use std::collections::{BTreeMap, BTreeSet};

use super::drift::{Fit, FitColumn};
use super::judge::Judgement;
use super::lookup::{RawKey, StagedRow, text};
use super::verdict::{RowAction, Verdict};
use crate::pg::{PgError, ReadSession};
use crate::sql::literal::push_literal;
use crate::value::copy_text::{NULL, is_null, push_field};

/// What became of the values of one chunk, by row.
#[derive(Debug, Default)]
pub struct Refitted {
    /// Columns whose value live does not take as it is, and why.
    unfit: BTreeMap<usize, BTreeMap<usize, String>>,
    /// Columns whose value live prints otherwise, without loss.
    reprinted: BTreeMap<usize, BTreeSet<usize>>,
}

/// What live makes of a value.
enum Made {
    /// Printed so by live; nothing is lost.
    Kept(String),
    /// Printed so by live, which is not the same value.
    Altered(String),
    /// Refused.
    Refused(String),
}

/// Brings the chunk's values into live's own print. A value that live cannot read becomes null, so that no later
/// statement stumbles over it; [`Refitted::judge`] keeps its row from being written.
pub async fn refit(
    session: &ReadSession,
    fit: &Fit<'_>,
    rows: &mut [StagedRow],
) -> Result<Refitted, PgError> {
    let mut found = Refitted::default();
    for (at, column) in fit.written().filter(|(_, column)| is_in_doubt(column)) {
        let fields = rows.iter().map(|row| &row.fields[at]).filter(|field| !is_null(field));
        let values: BTreeSet<String> = fields.filter_map(|field| text(field)).collect();
        let values: Vec<String> = values.into_iter().collect();
        if values.is_empty() {
            continue;
        }
        let back = Back::of(session, column).await?;
        let made = ask(session, column, back, &values).await?;
        for (number, row) in rows.iter_mut().enumerate() {
            let Some(value) = text(&row.fields[at]) else { continue };
            match made.get(&value) {
                Some(Made::Kept(print)) if *print != value => {
                    row.fields[at] = raw(print);
                    found.reprinted.entry(number).or_default().insert(at);
                }
                Some(Made::Altered(print)) => {
                    row.fields[at] = raw(print);
                    let (name, of) = (&column.live.name, &column.live.type_name);
                    let reason = format!("{name} is {of} in live, which would alter the value");
                    found.unfit.entry(number).or_default().insert(at, reason);
                }
                Some(Made::Refused(why)) => {
                    row.fields[at] = NULL.into();
                    let reason = format!("live's {} does not take the value: {why}", column.live.name);
                    found.unfit.entry(number).or_default().insert(at, reason);
                }
                Some(Made::Kept(_)) | None => {}
            }
        }
    }
    Ok(found)
}

impl Refitted {
    /// Keeps rows from being written that hold a value live does not take, and tells the plan where live prints a value
    /// otherwise than it is staged.
    pub fn judge(&self, judgements: &mut [Judgement]) {
        for (number, columns) in &self.unfit {
            let Some(judgement) = judgements.get_mut(*number) else { continue };
            let concerned = columns.iter().find(|(at, _)| match judgement.action {
                RowAction::Insert => judgement.truth.iter().all(|(told, _)| told != *at),
                RowAction::Update => judgement.columns.contains(at),
                RowAction::None | RowAction::Repoint | RowAction::Move => false,
            });
            if let Some((_, reason)) = concerned {
                let is_new = judgement.action == RowAction::Insert;
                judgement.stop(Verdict::Unfit, reason.clone());
                judgement.blocks = is_new;
            }
        }
        for (number, columns) in &self.reprinted {
            let Some(judgement) = judgements.get_mut(*number) else { continue };
            if judgement.action == RowAction::Insert {
                judgement.columns.extend(columns);
                judgement.columns.sort_unstable();
                judgement.columns.dedup();
            }
        }
    }
}

/// Types of a schema (enums, domains, extension types) keep their name when they change; the others are told by it.
fn is_in_doubt(column: &FitColumn<'_>) -> bool {
    column.was != column.live.type_name || column.live.is_enum || column.live.type_name.contains('.')
}

/// How it is told that a value is still the same in live's type.
#[derive(Clone, Copy)]
enum Back {
    /// Nothing can be lost.
    Same,
    /// As numbers: 5 is 5.00.
    Number,
    /// Live has a cast to the backup's type: the value comes back by it.
    Cast,
    /// Live prints it as the backup did.
    Print,
}

impl Back {
    async fn of(session: &ReadSession, column: &FitColumn<'_>) -> Result<Self, PgError> {
        let (was, now) = (column.was, column.live.type_name.as_str());
        // A json document is the same in jsonb's own print.
        if was == now || (was == "json" && now == "jsonb") {
            return Ok(Self::Same);
        }
        if is_number(was) && is_number(now) {
            return Ok(Self::Number);
        }
        // The backup's type may be gone from live; or there is no way from the one to the other.
        let sql = format!("select null::{now}::{was} is null");
        let answer = session.attempt("looking for a cast", &sql).await?;
        Ok(if answer.is_ok() { Self::Cast } else { Self::Print })
    }
}

fn is_number(type_name: &str) -> bool {
    matches!(type_name, "smallint" | "integer" | "bigint" | "real" | "double precision")
        || type_name.starts_with("numeric")
}

/// Asks for all values at once, and for halves of them where one is refused.
async fn ask(
    session: &ReadSession,
    column: &FitColumn<'_>,
    back: Back,
    values: &[String],
) -> Result<BTreeMap<String, Made>, PgError> {
    let mut made = BTreeMap::new();
    let mut open = vec![values];
    while let Some(part) = open.pop() {
        let what = format!("holding values against live's {}", column.live.name);
        match session.attempt(&what, &made_sql(column, back, part)).await? {
            Ok(rows) => {
                for row in rows {
                    let mut fields = row.into_iter();
                    let (number, print, kept) = (fields.next(), fields.next(), fields.next());
                    let number = number.flatten().and_then(|text| text.parse::<usize>().ok());
                    let Some(value) = number.and_then(|number| part.get(number)) else { continue };
                    let print = print.flatten().unwrap_or_default();
                    let is_kept = kept.flatten().as_deref() == Some("t");
                    let answer = if is_kept { Made::Kept(print) } else { Made::Altered(print) };
                    made.insert(value.clone(), answer);
                }
            }
            Err(error) => {
                if let [value] = part {
                    let why = error.db().map_or_else(|| error.to_string(), |db| db.message.clone());
                    made.insert(value.clone(), Made::Refused(why));
                } else {
                    let (left, right) = part.split_at(part.len() / 2);
                    open.extend([right, left]);
                }
            }
        }
    }
    Ok(made)
}

/// Number, live's print, and whether it is still the same value.
fn made_sql(column: &FitColumn<'_>, back: Back, values: &[String]) -> String {
    let of = &column.live.type_name;
    // `format` prints char(n) with its blanks, as COPY does; a cast to text would cut them.
    let kept = match back {
        Back::Same => "true".to_owned(),
        Back::Number => format!("v.v::{of}::text::numeric = v.v::numeric"),
        Back::Cast => format!("pg_catalog.format('%s', v.v::{of}::{}) = v.v", column.was),
        Back::Print => format!("pg_catalog.format('%s', v.v::{of}) = v.v"),
    };
    let mut sql = format!("select v.n, pg_catalog.format('%s', v.v::{of}), {kept} from (values ");
    for (number, value) in values.iter().enumerate() {
        sql.push_str(if number == 0 { "(" } else { ", (" });
        sql.push_str(&number.to_string());
        sql.push_str(", ");
        push_literal(&mut sql, value);
        sql.push_str("::text)");
    }
    sql.push_str(") as v(n, v)");
    sql
}

fn raw(print: &str) -> RawKey {
    let mut field = Vec::new();
    push_field(&mut field, true, Some(print.as_bytes()));
    field.into()
}
