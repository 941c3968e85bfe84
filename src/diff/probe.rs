//! Asks live, before anything is written, whether it would take the rows: every unique and exclusion constraint, partial
//! ones and ones over expressions included, and every CHECK. PostgreSQL evaluates its own expressions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::drift::Fit;
use super::lookup::{StagedRow, text};
use super::relation::push_relation;
use crate::catalog::{Check, Column, UniqueKey, quoted_list};
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
    /// No partition takes the row.
    Partition,
    /// A column must not be null in live.
    Null {
        /// The column.
        column: Ident,
    },
}

impl Obstacle {
    /// Is it this row of live that holds the value?
    pub fn is_held_by(&self, fit: &Fit<'_>, row: &StagedRow) -> bool {
        let Self::Held { by, .. } = self else { return false };
        let Ok(Value::Object(key)) = serde_json::from_str(by) else { return false };
        fit.key.iter().all(|&at| {
            let told = key.get(fit.columns[at].live.name.as_str()).and_then(Value::as_str);
            told.is_some() && told == text(&row.fields[at]).as_deref()
        })
    }

    /// One line for the report.
    pub fn reason(&self) -> String {
        match self {
            Self::Held { constraint, by, .. } => format!("{constraint} is held by {by}"),
            Self::Check { constraint } => format!("live's CHECK {constraint} refuses it"),
            Self::Partition => "live has no partition for it".into(),
            Self::Null { column } => format!("{column} is null, and must not be in live"),
        }
    }
}

/// For each row to be inserted its obstacles: a null first, then in the order of live's constraints.
pub async fn obstacles(
    session: &ReadSession,
    fit: &Fit<'_>,
    rows: &[&StagedRow],
) -> Result<Vec<Vec<Obstacle>>, PgError> {
    Questions::of_inserts(fit).ask(session, fit, rows).await
}

/// What of live's constraints must be asked.
pub struct Questions<'f> {
    keys: Vec<&'f UniqueKey>,
    checks: Vec<&'f Check>,
    /// The constraints of partitions.
    bounds: Option<&'f Vec<String>>,
    added: Added<'f>,
}

impl<'f> Questions<'f> {
    /// All of them: the rows are not in live yet.
    pub fn of_inserts(fit: &'f Fit<'_>) -> Self {
        let added = Added::of(fit);
        let keys = fit.live.keys.iter().filter(|key| is_worth_probing(fit, key) && !added.hides_part_of(key));
        let checks = fit.live.checks.iter().filter(|check| !added.hides(&check.expression));
        let bounds = fit.bounds.as_ref().filter(|bounds| !bounds.iter().any(|bound| added.hides(bound)));
        Self { keys: keys.collect(), checks: checks.collect(), bounds, added }
    }

    /// Of unique keys and partitions those that are about columns at these positions: a row of live holds its other
    /// values by right. CHECKs are asked in any case, one that is NOT VALID may not hold.
    pub fn of_updates(fit: &'f Fit<'_>, changed: &BTreeSet<usize>) -> Self {
        let generated = fit.live.columns.iter().filter(|column| column.generated).map(|column| &column.name);
        let moving: Vec<&Ident> =
            changed.iter().map(|&at| &fit.columns[at].live.name).chain(generated).collect();
        let is_about = |text: &str| {
            let is_named = |name: &&Ident| names(text, name.as_str()) || text.contains(&name.quoted());
            text.contains(".*") || moving.iter().any(is_named)
        };
        let mut all = Self::of_inserts(fit);
        all.keys.retain(|key| {
            key.columns.iter().any(|name| moving.contains(&name))
                || key.expressions.iter().chain(&key.predicate).any(|text| is_about(text))
        });
        all.bounds = all.bounds.filter(|bounds| bounds.iter().any(|bound| is_about(bound)));
        all
    }

    /// Is there nothing to ask?
    pub fn are_none(&self) -> bool {
        self.keys.is_empty() && self.checks.is_empty() && self.bounds.is_none()
    }

    /// For each row its obstacles: a null first, then in the order of live's constraints.
    pub async fn ask(
        &self,
        session: &ReadSession,
        fit: &Fit<'_>,
        rows: &[&StagedRow],
    ) -> Result<Vec<Vec<Obstacle>>, PgError> {
        let mut found: Vec<Vec<Obstacle>> =
            rows.iter().map(|row| null_where_none_may_be(fit, row).into_iter().collect()).collect();
        if rows.is_empty() || self.are_none() {
            return Ok(found);
        }
        let sql = self.sql(fit, rows);
        let what = format!("probing the constraints of {}", fit.live.name);
        for answer in session.text_rows(&what, &sql).await? {
            let field = |at: usize| answer.get(at).and_then(Option::as_deref).unwrap_or_default();
            let (Ok(ordinal), Ok(number)) = (field(0).parse::<usize>(), field(1).parse::<usize>()) else {
                continue;
            };
            found.get_mut(ordinal).into_iter().for_each(|slot| slot.push(self.obstacle(number, field(2))));
        }
        Ok(found)
    }

    fn obstacle(&self, number: usize, by: &str) -> Obstacle {
        if let Some(key) = self.keys.get(number) {
            let (constraint, by) = (key.name.clone(), by.to_owned());
            return Obstacle::Held { constraint, exclusion: key.exclusion, by };
        }
        match self.checks.get(number - self.keys.len()) {
            Some(check) => Obstacle::Check { constraint: check.name.clone() },
            None => Obstacle::Partition,
        }
    }

    fn sql(&self, fit: &Fit<'_>, rows: &[&StagedRow]) -> String {
        let positions: Vec<usize> = fit.written().map(|(at, _)| at).collect();
        let names: Vec<&Ident> = positions.iter().map(|&at| &fit.columns[at].live.name).collect();
        let mut sql = String::from("with rowback_v(rowback_n");
        names.iter().for_each(|name| sql.push_str(&format!(", {}", name.quoted())));
        sql.push_str(") as (select * from ");
        push_relation(&mut sql, rows, &positions, fit);
        sql.push_str(" as v)");
        sql.push_str(&self.added.table_sql());
        let keys = self.keys.iter().enumerate();
        let mut parts: Vec<String> = keys.map(|(number, key)| held_sql(fit, key, number)).collect();
        for (number, check) in self.checks.iter().enumerate() {
            parts.push(format!(
                "select rowback_n, {}, null from rowback_s where not ({})",
                self.keys.len() + number,
                check.expression
            ));
        }
        if let Some(bounds) = self.bounds {
            let taken = if bounds.is_empty() { "false".to_owned() } else { bounds.join(" or ") };
            parts.push(format!(
                "select rowback_n, {}, null from rowback_s where ({taken}) is not true",
                self.keys.len() + self.checks.len()
            ));
        }
        sql.push_str(&format!("\n{}\norder by 1, 2", parts.join("\nunion all\n")));
        sql
    }
}

fn null_where_none_may_be(fit: &Fit<'_>, row: &StagedRow) -> Option<Obstacle> {
    let is_null = |at: usize| row.fields.get(at).is_none_or(|field| crate::value::copy_text::is_null(field));
    let mut required = fit.written().filter(|(_, column)| column.live.not_null);
    let (_, column) = required.find(|(at, _)| is_null(*at))?;
    Some(Obstacle::Null { column: column.live.name.clone() })
}

/// The key by which rows were looked up already says nothing new, and neither does one that contains it: the key is not
/// in live.
fn is_worth_probing(fit: &Fit<'_>, key: &UniqueKey) -> bool {
    let by = fit.key.iter().map(|&at| &fit.columns[at].live.name);
    let contains_key = by.clone().all(|name| key.columns.contains(name));
    key.exclusion || !contains_key
}

/// Columns that live has and the staged row has not: constraints may be about them as well.
struct Added<'a> {
    /// Generated columns, each with the expression that gives its value.
    generated: Vec<(&'a Ident, String)>,
    /// Columns whose value is not known here: the insert's default, or what live's row holds.
    unknown: Vec<&'a Ident>,
}

impl<'a> Added<'a> {
    fn of(fit: &'a Fit<'_>) -> Self {
        let mut found = Self { generated: Vec::new(), unknown: Vec::new() };
        let is_missing = |column: &&Column| !column.generated && fit.position(&column.name).is_none();
        found.unknown.extend(fit.live.columns.iter().filter(is_missing).map(|column| &column.name));
        for column in fit.live.columns.iter().filter(|column| column.generated) {
            match column.generated_as.as_deref().filter(|expression| !found.hides(expression)) {
                Some(expression) => {
                    found.generated.push((&column.name, format!("({expression})::{}", column.type_name)));
                }
                None => found.unknown.push(&column.name),
            }
        }
        found
    }

    /// Is the expression about a column of unknown value? By its name alone: what is not asked here, apply is told.
    fn hides(&self, expression: &str) -> bool {
        self.unknown.iter().any(|name| names(expression, name.as_str()))
    }

    fn hides_part_of(&self, key: &UniqueKey) -> bool {
        key.expressions.iter().chain(&key.predicate).any(|expression| self.hides(expression))
    }

    /// `rowback_s`: the staged rows, made from `rowback_v`, with the generated columns.
    fn table_sql(&self) -> String {
        let named = self.generated.iter().map(|(name, text)| format!(", {text} as {}", name.quoted()));
        format!(",\nrowback_s as (select *{} from rowback_v)", named.collect::<String>())
    }
}

/// Does the name stand in the text, and not as a part of a longer word?
fn names(text: &str, name: &str) -> bool {
    let is_word =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || "_$".contains(letter));
    text.match_indices(name).any(|(at, _)| {
        !is_word(text[..at].chars().next_back()) && !is_word(text[at + name.len()..].chars().next())
    })
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
                    "(({text}) {operator} rowback_p.rowback_e{at} or (({text}) is null and rowback_p.rowback_e{at} is null))"
                )
            } else {
                format!("({text}) {operator} rowback_p.rowback_e{at}")
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
        .map(|(at, name)| format!("{} {} rowback_p.rowback_k{at}", name.quoted(), fit.live.equality(name)))
        .collect();
    format!(
        "select rowback_p.rowback_n, {number}, h.rowback_by from (select rowback_n, {}, {} from rowback_s{staged_only}) as rowback_p \
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
