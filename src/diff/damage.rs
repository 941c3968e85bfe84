//! Which differences are damage: the recipe's `damaged` and `owner_from`, evaluated by PostgreSQL over live's rows with the
//! staged ones beside them. Only rows that differ are asked about; live is only read, nothing is made in it.

use std::collections::{BTreeMap, BTreeSet};

use super::DiffError;
use super::charges::Charge;
use super::drift::Fit;
use super::judge::Court;
use super::lookup::{StagedRow, push_values};
use super::origin::Origin;
use crate::ident::Ident;
use crate::pg::{PgError, ReadSession};
use crate::recipe::Kind;
use crate::sql::literal::literal;

/// What was found out about the damage of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Damaged columns, as positions in `Fit::columns`, with their true values: raw COPY fields.
    pub truth: BTreeMap<usize, Box<[u8]>>,
    /// Is one of them an owner?
    pub misrouted: bool,
    /// Columns that the recipe is about, that differ, and that nothing calls damaged.
    pub kept: Vec<usize>,
    /// Why they are kept, where there is more to say.
    pub why_kept: Option<String>,
    /// Columns that the recipe calls damaged by name: they say nothing about who a row is.
    pub named: Vec<usize>,
}

/// Lets PostgreSQL parse every condition before a row is read: an unknown column or a wrong alias shows here.
pub async fn check(session: &ReadSession, court: &Court<'_>) -> Result<(), DiffError> {
    for charge in &court.charges {
        let Some(condition) = charge.damaged else { continue };
        let names: Vec<String> = court.fit.columns.iter().map(|column| column.live.name.quoted()).collect();
        let from = court.fit.live.from_sql();
        let sql = format!(
            "select 1 as parsed from {from} as live, (select {} from {from}) as backup where (\n{condition}\n) limit 0",
            names.join(", ")
        );
        ask(session, court.fit, charge, "damaged", &sql).await?;
    }
    Ok(())
}

/// What is damaged in each row of a chunk; `live` are live's rows of the same keys.
pub async fn find(
    session: &ReadSession,
    court: &Court<'_>,
    rows: &[&StagedRow],
    live: &[Option<Vec<Box<[u8]>>>],
) -> Result<Vec<Finding>, DiffError> {
    let mut found = vec![Finding::default(); rows.len()];
    if court.charges.is_empty() {
        return Ok(found);
    }
    let selected: Vec<Vec<u16>> = rows.iter().map(|row| Origin::parse(&row.origin).entries).collect();
    let mut set_by: BTreeMap<(usize, usize), &Charge<'_>> = BTreeMap::new();
    for charge in &court.charges {
        let truths: Vec<(usize, Vec<Truth>)> = rows
            .iter()
            .enumerate()
            .filter(|(at, _)| selected[*at].contains(&charge.number))
            .filter_map(|(at, row)| Some((at, untrue(charge, row, live[at].as_deref()?))))
            .filter(|(_, untrue)| !untrue.is_empty())
            .collect();
        let asked: Vec<usize> = truths.iter().map(|(at, _)| *at).collect();
        let damaged = damaged(session, court.fit, charge, rows, &asked).await?;
        for (at, truths) in truths {
            let finding = &mut found[at];
            finding.named.extend(charge.columns.iter().filter(|_| charge.named));
            if !damaged.contains(&at) {
                finding.kept.extend(truths.into_iter().map(|(column, _)| column));
                continue;
            }
            finding.misrouted |= charge.kind == Kind::Misrouted;
            for (column, value) in truths {
                let other = set_by.insert((at, column), charge);
                if let (Some(other), Some(set)) = (other, finding.truth.insert(column, value.clone()))
                    && set != value
                {
                    return Err(contradiction(court.fit, column, other, charge, rows[at]));
                }
            }
        }
    }
    for finding in &mut found {
        let truth = &finding.truth;
        finding.kept.retain(|column| !truth.contains_key(column));
        finding.kept.sort_unstable();
        finding.kept.dedup();
    }
    Ok(found)
}

/// A column and its true value.
type Truth = (usize, Box<[u8]>);

/// The charge's columns in which live does not hold the true value.
fn untrue(charge: &Charge<'_>, row: &StagedRow, live: &[Box<[u8]>]) -> Vec<Truth> {
    let differs = charge.columns.iter().filter(|&&at| row.fields[at] != live[at]);
    differs.map(|&at| (at, row.fields[at].clone())).collect()
}

/// Which of the asked rows the charge's condition calls damaged.
async fn damaged(
    session: &ReadSession,
    fit: &Fit<'_>,
    charge: &Charge<'_>,
    rows: &[&StagedRow],
    asked: &[usize],
) -> Result<BTreeSet<usize>, DiffError> {
    let Some(condition) = charge.damaged else { return Ok(asked.iter().copied().collect()) };
    if asked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let chunk: Vec<&StagedRow> = asked.iter().map(|&at| rows[at]).collect();
    let positions: Vec<usize> = (0..fit.columns.len()).collect();
    let names: Vec<String> = fit.columns.iter().map(|column| column.live.name.quoted()).collect();
    let mut sql = String::from("select backup.rowback_n from (values ");
    push_values(&mut sql, &chunk, &positions, fit);
    let key: Vec<String> = key_names(fit)
        .map(|name| format!("live.{0} {1} backup.{0}", name.quoted(), fit.live.equality(name)))
        .collect();
    sql.push_str(&format!(
        ") as backup(rowback_n, {}) join {} as live on {} where (\n{condition}\n)",
        names.join(", "),
        fit.live.from_sql(),
        key.join(" and ")
    ));
    let answer = ask(session, fit, charge, "damaged", &sql).await?;
    let numbers =
        answer.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse::<usize>().ok());
    Ok(numbers.filter_map(|number| asked.get(number).copied()).collect())
}

fn key_names<'f>(fit: &'f Fit<'_>) -> impl Iterator<Item = &'f Ident> {
    fit.key.iter().map(|&at| &fit.columns[at].live.name)
}

/// Runs SQL that holds a text of the recipe. It sees names as the predicate does in scratch: the table's schema, then
/// `public`.
async fn ask(
    session: &ReadSession,
    fit: &Fit<'_>,
    charge: &Charge<'_>,
    key: &'static str,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, DiffError> {
    let what = format!("evaluating {key} of {}", fit.live.name);
    search_path(session, &what, &format!("{}, public", fit.live.name.schema.quoted())).await?;
    let answer = session
        .text_rows(&what, sql)
        .await
        .map_err(|source| DiffError::condition(fit.live.name.clone(), charge.number, key, source))?;
    search_path(session, &what, "").await?;
    Ok(answer)
}

async fn search_path(session: &ReadSession, what: &str, path: &str) -> Result<(), PgError> {
    let sql = format!("select pg_catalog.set_config('search_path', {}, true)", literal(path));
    session.text_rows(what, &sql).await.map(drop)
}

fn contradiction(
    fit: &Fit<'_>,
    column: usize,
    one: &Charge<'_>,
    two: &Charge<'_>,
    row: &StagedRow,
) -> DiffError {
    let key = row.key(&fit.key).map(|key| super::lookup::text(&key).unwrap_or_default());
    DiffError::Contradiction {
        table: fit.live.name.clone(),
        column: fit.columns[column].live.name.clone(),
        entries: [one.number + 1, two.number + 1],
        key: key.unwrap_or_default(),
    }
}
