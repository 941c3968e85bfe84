//! Values whose column has another type in live than in the backup, or a type whose values come and go (enums, domains).
//! Live turns each into its own type as ALTER TABLE does, and is asked, before any other statement holds them, whether it can
//! read each value and whether it would keep it: a value that it refuses, rounds or cuts makes its row unfit, and no other row.

use std::collections::{BTreeMap, BTreeSet};

use super::drift::{Fit, FitColumn, Fits};
use super::judge::Judgement;
use super::lookup::{RawKey, StagedRow, text};
use super::verdict::{RowAction, Verdict};
use crate::catalog::Identity;
use crate::pg::{PgError, ReadSession, column};
use crate::sql::literal::push_literal;
use crate::sql::registry::DIFF_ZONE;
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

impl Made {
    fn print(&self) -> Option<&String> {
        match self {
            Self::Kept(print) | Self::Altered(print) => Some(print),
            Self::Refused(_) => None,
        }
    }
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
        let fields = rows.iter().flat_map(|row| row.aftermath.left_in(at).chain([&row.fields[at]]));
        let values: BTreeSet<String> =
            fields.filter(|field| !is_null(field)).filter_map(|field| text(field)).collect();
        let values: Vec<String> = values.into_iter().collect();
        if values.is_empty() {
            continue;
        }
        let asked =
            Asked { column, back: Back::of(session, column).await?, way: Way::of(session, column).await? };
        let made = if is_timely(column) {
            in_own_zone(session, &asked, &values).await?
        } else {
            ask(session, &asked, &values).await?
        };
        for (number, row) in rows.iter_mut().enumerate() {
            row.aftermath.reprint(at, |value| Some(raw(made.get(&text(value)?)?.print()?)));
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

/// A column that is GENERATED ALWAYS AS IDENTITY takes no value by an UPDATE: such rows are left to a human.
pub fn keep_identities(fit: &Fit<'_>, judgements: &mut [Judgement]) {
    for judgement in judgements {
        let is_identity = |at: &&usize| fit.columns[**at].live.identity == Some(Identity::Always);
        let Some(&at) = judgement.columns_to_set().iter().find(is_identity) else { continue };
        let name = &fit.columns[at].live.name;
        let reason = format!(
            "{name} differs, and PostgreSQL lets nobody update a column that is GENERATED ALWAYS AS IDENTITY; an entry whose `columns` \
             does not name it repairs the others"
        );
        judgement.stop(Verdict::Unfit, reason);
        judgement.blocks = false;
    }
}

/// Types of a schema (enums, domains, extension types) keep their name when they change; the others are told by it.
fn is_in_doubt(column: &FitColumn<'_>) -> bool {
    column.was != column.live.type_name || column.live.is_enum || column.live.type_name.contains('.')
}

/// May values of the column change with the time zone?
fn is_timely(column: &FitColumn<'_>) -> bool {
    let timely = |of: &str| of.starts_with("time") || of.starts_with("date") || of.starts_with("ts");
    timely(column.was) || timely(&column.live.type_name)
}

/// Notes columns whose values depend on the time zone in which live's type was changed.
pub async fn note_zones(session: &ReadSession, fits: &mut Fits<'_>) -> Result<(), PgError> {
    let zoned = |of: &str| of.contains("with time zone") || of.starts_with("tstz");
    for fit in fits.values_mut() {
        let turned =
            |column: &&FitColumn<'_>| is_timely(column) && zoned(column.was) != zoned(&column.live.type_name);
        let columns: Vec<String> =
            fit.columns.iter().filter(turned).map(|column| column.live.name.to_string()).collect();
        if !columns.is_empty() {
            let zone = set_zone(session, true).await?;
            set_zone(session, false).await?;
            fit.notes.push(format!(
                "values of {}.{} are taken in the time zone {zone}, as ALTER TABLE does by default in this database; if their type was \
                 changed in another one, say so in the connection: options=-cTimeZone=…",
                fit.live.name,
                columns.join(", ")
            ));
        }
    }
    Ok(())
}

/// The zone that the role has in this database by default, or the session's own again; returns it.
async fn set_zone(session: &ReadSession, own: bool) -> Result<String, PgError> {
    let rows = session.query(&DIFF_ZONE, &[&own]).await?;
    rows.first().map_or_else(|| Ok(String::new()), |row| column(row, "zone", "setting the time zone"))
}

/// The same as [`ask`] where a plain ALTER TABLE would do it, in the zone of the database; printed as everywhere.
async fn in_own_zone(
    session: &ReadSession,
    asked: &Asked<'_>,
    values: &[String],
) -> Result<BTreeMap<String, Made>, PgError> {
    set_zone(session, true).await?;
    let made = ask(session, asked, values).await?;
    set_zone(session, false).await?;
    let prints = made.values().filter_map(Made::print).cloned();
    let prints: Vec<String> = prints.collect::<BTreeSet<_>>().into_iter().collect();
    if prints.is_empty() {
        return Ok(made);
    }
    let again = Asked { back: Back::Same, way: Way::Read, ..*asked };
    let again = ask(session, &again, &prints).await?;
    let printed = |print: String| again.get(&print).and_then(Made::print).cloned().unwrap_or(print);
    let as_everywhere = made.into_iter().map(|(value, made)| match made {
        Made::Kept(print) => (value, Made::Kept(printed(print))),
        Made::Altered(print) => (value, Made::Altered(printed(print))),
        refused @ Made::Refused(_) => (value, refused),
    });
    Ok(as_everywhere.collect())
}

/// How a value comes into live's type.
#[derive(Clone, Copy)]
enum Way {
    /// Its text is read.
    Read,
    /// From the backup's type by a cast, as ALTER TABLE does: `t` becomes `true`, and a char(n) loses its blanks.
    Cast,
}

impl Way {
    async fn of(session: &ReadSession, column: &FitColumn<'_>) -> Result<Self, PgError> {
        let (was, now) = (column.was, column.live.type_name.as_str());
        // The text of a float has more digits than its cast to numeric, and a type of a schema may be another one by now.
        let is_float = matches!(was, "real" | "double precision");
        if was == now || was.contains('.') || (is_float && now.starts_with("numeric")) {
            return Ok(Self::Read);
        }
        let answer =
            session.attempt("looking for a cast", &format!("select null::{was}::{now} is null")).await?;
        Ok(if answer.is_ok() { Self::Cast } else { Self::Read })
    }
}

/// What live is asked about the values of a column.
#[derive(Clone, Copy)]
struct Asked<'a> {
    column: &'a FitColumn<'a>,
    back: Back,
    way: Way,
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
        if is_number(was) && is_number(now) && (was, now) != ("real", "double precision") {
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
    asked: &Asked<'_>,
    values: &[String],
) -> Result<BTreeMap<String, Made>, PgError> {
    let mut made = BTreeMap::new();
    let mut open = vec![values];
    while let Some(part) = open.pop() {
        let what = format!("holding values against live's {}", asked.column.live.name);
        match session.attempt(&what, &made_sql(asked, part)).await? {
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
fn made_sql(asked: &Asked<'_>, values: &[String]) -> String {
    let (was, of) = (asked.column.was, &asked.column.live.type_name);
    let new = match asked.way {
        Way::Read => format!("v.v::{of}"),
        Way::Cast => format!("v.v::{was}::{of}"),
    };
    // `format` prints char(n) with its blanks, as COPY does; a cast to text would cut them.
    let kept = match asked.back {
        Back::Same => "true".to_owned(),
        Back::Number => format!("{new}::text::numeric = v.v::numeric"),
        Back::Cast => format!("pg_catalog.format('%s', {new}::{was}) = pg_catalog.format('%s', v.v::{was})"),
        Back::Print => format!("pg_catalog.format('%s', {new}) = v.v"),
    };
    let mut sql = format!("select v.n, pg_catalog.format('%s', {new}), {kept} from (values ");
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
