//! Asks live, before anything is written, whether it would take the rows: every unique and exclusion constraint, partial
//! ones and ones over expressions included, and every CHECK. PostgreSQL evaluates its own expressions.

use super::drift::Fit;
use super::lookup::{StagedRow, push_values};
use crate::catalog::{UniqueKey, quoted_list};
use crate::ident::Ident;
use crate::pg::{PgError, ReadSession};

/// Why live would not take a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Another row of live holds a unique or excluded value.
    Held {
        /// The constraint or index.
        constraint: Ident,
        /// Is it an exclusion constraint, which says nothing about who is who?
        exclusion: bool,
        /// The key of live's row, as JSON text.
        by: String,
    },
    /// A CHECK says no.
    Check {
        /// The constraint.
        constraint: Ident,
    },
    /// A column must not be null in live.
    Null {
        /// The column.
        column: Ident,
    },
}

impl Obstacle {
    /// One line for the report.
    pub fn reason(&self) -> String {
        match self {
            Self::Held { constraint, by, .. } => format!("{constraint} is held by {by}"),
            Self::Check { constraint } => format!("live's CHECK {constraint} refuses it"),
            Self::Null { column } => format!("{column} is null, and must not be in live"),
        }
    }
}

/// For each row its obstacles: a null first, then in the order of live's constraints.
pub async fn obstacles(
    session: &ReadSession,
    fit: &Fit<'_>,
    rows: &[&StagedRow],
) -> Result<Vec<Vec<Obstacle>>, PgError> {
    let mut found = vec![Vec::new(); rows.len()];
    if rows.is_empty() {
        return Ok(found);
    }
    for (slot, row) in found.iter_mut().zip(rows) {
        slot.extend(null_where_none_may_be(fit, row));
    }
    let keys: Vec<&UniqueKey> = fit.live.keys.iter().filter(|key| is_worth_probing(fit, key)).collect();
    if keys.is_empty() && fit.live.checks.is_empty() {
        return Ok(found);
    }
    let sql = probe_sql(fit, rows, &keys);
    let answers = session.text_rows(&format!("probing the constraints of {}", fit.live.name), &sql).await?;
    for answer in answers {
        let field = |at: usize| answer.get(at).and_then(Option::as_deref).unwrap_or_default();
        let (Ok(ordinal), Ok(number)) = (field(0).parse::<usize>(), field(1).parse::<usize>()) else {
            continue;
        };
        let obstacle = match keys.get(number) {
            Some(key) => Obstacle::Held {
                constraint: key.name.clone(),
                exclusion: key.exclusion,
                by: field(2).to_owned(),
            },
            None => match fit.live.checks.get(number - keys.len()) {
                Some(check) => Obstacle::Check { constraint: check.name.clone() },
                None => continue,
            },
        };
        found.get_mut(ordinal).into_iter().for_each(|slot| slot.push(obstacle.clone()));
    }
    Ok(found)
}

fn null_where_none_may_be(fit: &Fit<'_>, row: &StagedRow) -> Option<Obstacle> {
    fit.written().find_map(|(at, column)| {
        let is_null = row.fields.get(at).is_none_or(|field| crate::value::copy_text::is_null(field));
        (is_null && column.live.not_null).then(|| Obstacle::Null { column: column.live.name.clone() })
    })
}

/// The key by which rows were looked up already says nothing new, and neither does one that contains it: the key is not
/// in live.
fn is_worth_probing(fit: &Fit<'_>, key: &UniqueKey) -> bool {
    let by = fit.key.iter().map(|&at| &fit.columns[at].live.name);
    let contains_key = by.clone().all(|name| key.columns.contains(name));
    key.exclusion || !contains_key
}

fn probe_sql(fit: &Fit<'_>, rows: &[&StagedRow], keys: &[&UniqueKey]) -> String {
    let positions: Vec<usize> = fit.written().map(|(at, _)| at).collect();
    let names: Vec<&Ident> = positions.iter().map(|&at| &fit.columns[at].live.name).collect();
    let mut sql = String::from("with s(rowback_n");
    names.iter().for_each(|name| sql.push_str(&format!(", {}", name.quoted())));
    sql.push_str(") as (values ");
    push_values(&mut sql, rows, &positions, fit);
    sql.push(')');
    let mut parts: Vec<String> =
        keys.iter().enumerate().map(|(number, key)| held_sql(fit, key, number)).collect();
    for (number, check) in fit.live.checks.iter().enumerate() {
        parts.push(format!(
            "select rowback_n, {}, null from s where not ({})",
            keys.len() + number,
            check.expression
        ));
    }
    sql.push_str(&format!("\n{}\norder by 1, 2", parts.join("\nunion all\n")));
    sql
}

/// The staged side is evaluated where only staged columns are in scope, the live side where only live's are: index
/// expressions name their columns without a table.
fn held_sql(fit: &Fit<'_>, key: &UniqueKey, number: usize) -> String {
    let elements: Vec<String> =
        key.expressions.iter().enumerate().map(|(at, text)| format!("({text}) as rowback_e{at}")).collect();
    let equals: Vec<String> = key
        .expressions
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let operator = key.operators.get(at).map_or("=", String::as_str);
            if key.nulls_not_distinct {
                format!(
                    "(({text}) {operator} p.rowback_e{at} or (({text}) is null and p.rowback_e{at} is null))"
                )
            } else {
                format!("({text}) {operator} p.rowback_e{at}")
            }
        })
        .collect();
    let staged_only =
        key.predicate.as_ref().map_or(String::new(), |condition| format!(" where ({condition})"));
    let live_only = key.predicate.as_ref().map_or(String::new(), |condition| format!(" and ({condition})"));
    let by = fit.key.iter().map(|&at| &fit.columns[at].live.name);
    let json: Vec<String> = by
        .clone()
        .map(|name| format!("{}, {}::text", crate::sql::literal::literal(name.as_str()), name.quoted()))
        .collect();
    // A row that is updated holds its own values itself.
    let own: Vec<String> =
        by.clone().enumerate().map(|(at, name)| format!("{} as rowback_k{at}", name.quoted())).collect();
    let itself: Vec<String> = by
        .clone()
        .enumerate()
        .map(|(at, name)| format!("{} {} p.rowback_k{at}", name.quoted(), fit.live.equality(name)))
        .collect();
    format!(
        "select p.rowback_n, {number}, h.rowback_by from (select rowback_n, {}, {} from s{staged_only}) as p \
         cross join lateral (select pg_catalog.jsonb_build_object({})::text as rowback_by from {} \
         where {}{live_only} and not ({}) order by {} limit 1) as h",
        elements.join(", "),
        own.join(", "),
        json.join(", "),
        fit.live.from_sql(),
        equals.join(" and "),
        itself.join(" and "),
        quoted_list("", by)
    )
}
