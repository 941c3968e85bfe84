//! Which differences are damage: the recipe's `damaged` and `owner_from`, evaluated by PostgreSQL over live's rows with the
//! staged ones beside them. Only rows that differ are asked about; live is only read, nothing is made in it.

use std::collections::{BTreeMap, BTreeSet};

use super::DiffError;
use super::aftermath::{Fate, Teller};
use super::charges::Charge;
use super::drift::Fit;
use super::judge::Court;
use super::lookup::{
    LiveRow, Lookup, RawKey, StagedRow, equal_to_backup, is_indexed, recipe_path, set_search_path,
};
use super::origin::{Numbers, Origin};
use super::owners::{by_path, live_source};
use super::relation::push_relation;
use super::verdict::Evidence;
use crate::catalog::telling::is_creation_time;
use crate::pg::{PgError, ReadSession};
use crate::recipe::Kind;
use crate::sql::mention::columns_named;

/// What was found out about the damage of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Damaged columns, as positions in `Fit::columns`, with their true values: raw COPY fields.
    pub truth: Vec<Truth>,
    /// Is one of them an owner?
    pub misrouted: bool,
    /// Columns that the recipe is about, that differ, and that nothing calls damaged.
    pub kept: Vec<usize>,
    /// Why they are kept, where there is more to say.
    pub why_kept: Option<String>,
    /// How it is known, where more than the recipe's condition says so.
    pub evidence: Option<Evidence>,
    /// Columns that the recipe calls damaged by name: they say nothing about who a row is.
    pub named: Vec<usize>,
}

impl Finding {
    /// Is this column damaged?
    pub fn sets(&self, column: usize) -> bool {
        self.truth.iter().any(|(at, _)| *at == column)
    }
}

/// Lets PostgreSQL parse every condition before a row is read: an unknown column or a wrong alias shows here.
pub async fn check(session: &ReadSession, court: &Court<'_>) -> Result<(), DiffError> {
    let fit = court.fit;
    for charge in &court.charges {
        if let Some(condition) = charge.damaged.filter(|_| !charge.in_live) {
            check_condition(session, fit, charge, condition).await?;
        }
        if let Some(owner) = charge.owner_from {
            let kind = &fit.columns[charge.columns[0]].live.type_name;
            let sql = format!("select (\n{owner}\n)::{kind} as owner from {} limit 0", live_source(fit));
            ask(session, fit, charge, "owner_from", &sql).await?;
        }
    }
    Ok(())
}

/// Lets PostgreSQL parse `damaged`.
pub(super) async fn check_condition(
    session: &ReadSession,
    fit: &Fit<'_>,
    charge: &Charge<'_>,
    condition: &str,
) -> Result<(), DiffError> {
    let names: Vec<String> = fit.columns.iter().map(|column| column.live.name.quoted()).collect();
    let from = fit.live.from_sql();
    let sql = format!(
        "select 1 as parsed from {from} as live, (select {} from {from}) as backup where (\n{condition}\n) limit 0",
        names.join(", ")
    );
    ask(session, fit, charge, "damaged", &sql).await.map(drop)
}

/// How the rows of a court are looked up: with the condition of its charge, where it has one charge and the condition is
/// about rows that are both in live and in the backup.
pub fn lookup(court: &Court<'_>) -> Lookup {
    let lookup = Lookup::by_key(court.fit);
    let [charge] = court.charges.as_slice() else { return lookup };
    match charge.damaged.filter(|_| charge.owner_from.is_none() && !charge.in_live) {
        Some(condition) => {
            lookup.with_condition(court.fit, condition, &positions_asked(condition, court.fit))
        }
        None => lookup,
    }
}

/// What is damaged in each row of a chunk; `live` are live's rows of the same keys, `holds` whether the only charge's
/// condition holds for each, where that was asked with them.
pub async fn find(
    session: &ReadSession,
    court: &Court<'_>,
    rows: &[&StagedRow],
    live: &[LiveRow],
    holds: Option<&[bool]>,
) -> Result<Vec<Finding>, DiffError> {
    let mut found = vec![Finding::default(); rows.len()];
    if court.charges.is_empty() {
        return Ok(found);
    }
    let selected: Vec<Numbers> = rows.iter().map(|row| Origin::parse(&row.origin).entries).collect();
    let mut set_by: BTreeMap<(usize, usize), &Charge<'_>> = BTreeMap::new();
    for charge in &court.charges {
        let asked = |at: &usize| charge.in_live || selected[*at].contains(&charge.number);
        let present: Vec<usize> = (0..rows.len()).filter(|at| live[*at].is_some() && asked(at)).collect();
        let ask = Ask { session, fit: court.fit, charge, holds };
        let counts = match charge.owner_from {
            Some(owner) => by_path(session, court.fit, charge, owner, rows, live, present).await?,
            None => by_backup(&ask, rows, live, present).await?,
        };
        for (at, count) in counts {
            let finding = &mut found[at];
            finding.named.extend(&charge.named);
            finding.evidence = finding.evidence.into_iter().chain(charge.teller.map(Teller::evidence)).min();
            let truths = match count {
                Count::Damaged(truths) => truths,
                Count::Kept(columns, why) => {
                    finding.kept.extend(columns);
                    finding.why_kept = why;
                    continue;
                }
            };
            // What the accident is known to have written says nothing about who a row is. A later backup may as well show another
            // row, made since under the key.
            let is_known = |column: &usize| match charge.teller {
                Some(Teller::Bracket) => !is_creation_time(court.fit.columns[*column].live),
                Some(Teller::Replay(_)) => true,
                None => false,
            };
            finding.named.extend(truths.iter().map(|(column, _)| *column).filter(is_known));
            finding.misrouted |= charge.kind == Kind::Misrouted;
            for (column, value) in truths {
                let place = match finding.truth.binary_search_by_key(&column, |(column, _)| *column) {
                    Ok(set) if finding.truth[set].1 == value => continue,
                    Ok(_) => {
                        let other = set_by.get(&(at, column)).copied().unwrap_or(charge);
                        return Err(contradiction(court.fit, column, other, charge, rows[at]));
                    }
                    Err(place) => place,
                };
                finding.truth.insert(place, (column, value));
                if court.charges.len() > 1 {
                    set_by.insert((at, column), charge);
                }
            }
        }
    }
    for finding in &mut found {
        let mut kept = std::mem::take(&mut finding.kept);
        kept.retain(|column| !finding.sets(*column));
        finding.kept = kept;
        finding.kept.sort_unstable();
        finding.kept.dedup();
    }
    Ok(found)
}

/// A column, as a position in `Fit::columns`, and its true value: a raw COPY field.
pub type Truth = (usize, RawKey);

/// What a charge comes to for a row in which live does not hold the true value.
pub(super) enum Count {
    /// The condition holds: these columns have these true values.
    Damaged(Vec<Truth>),
    /// It does not, or nothing tells the truth: these columns stay, for this reason.
    Kept(Vec<usize>, Option<String>),
}

/// What the condition of a charge is asked with.
struct Ask<'a> {
    session: &'a ReadSession,
    fit: &'a Fit<'a>,
    charge: &'a Charge<'a>,
    /// What is known already.
    holds: Option<&'a [bool]>,
}

/// The truth is the backup's value; only rows that differ are asked about.
async fn by_backup(
    ask: &Ask<'_>,
    rows: &[&StagedRow],
    live: &[LiveRow],
    present: Vec<usize>,
) -> Result<Vec<(usize, Count)>, DiffError> {
    let charge = ask.charge;
    let untrue = |at: usize| -> Vec<Truth> {
        let Some(live) = &live[at] else { return Vec::new() };
        let differs = charge.columns.iter().filter(|&&column| rows[at].fields[column] != live[column]);
        differs.map(|&column| (column, rows[at].fields[column].clone())).collect()
    };
    let mut truths: Vec<(usize, Vec<Truth>)> = Vec::new();
    let mut found = Vec::new();
    for at in present {
        let Some(live) = &live[at] else { continue };
        let (damaged, kept) = split(charge, rows[at], live, untrue(at));
        found.extend(kept.map(|kept| (at, kept)));
        if !damaged.is_empty() {
            truths.push((at, damaged));
        }
    }
    let asked: Vec<usize> = truths.iter().map(|(at, _)| *at).collect();
    let damaged = match ask.holds {
        Some(_) => BTreeSet::new(),
        None => damaged(ask.session, ask.fit, charge, rows, &asked).await?,
    };
    let is_damaged = |at: usize| ask.holds.map_or_else(|| damaged.contains(&at), |holds| holds[at]);
    let count = |(at, truths): (usize, Vec<Truth>)| {
        let columns = || truths.iter().map(|(column, _)| *column).collect();
        (at, if is_damaged(at) { Count::Damaged(truths) } else { Count::Kept(columns(), None) })
    };
    found.extend(truths.into_iter().map(count));
    Ok(found)
}

/// Parts the columns in which live does not hold the truth into those that the accident left so and those that somebody
/// changed since. Where nothing tells, all of them may be damage.
pub(super) fn split(
    charge: &Charge<'_>,
    row: &StagedRow,
    live: &[RawKey],
    untrue: Vec<Truth>,
) -> (Vec<Truth>, Option<Count>) {
    let Some(teller) = charge.teller else { return (untrue, None) };
    let fate = row.aftermath.by(teller);
    let is_damage = |(column, _): &Truth| match fate {
        Some(Fate::Stayed(changed)) => changed.get(column).is_some_and(|after| *after == live[*column]),
        _ => false,
    };
    let (damaged, kept): (Vec<Truth>, Vec<Truth>) = untrue.into_iter().partition(is_damage);
    if kept.is_empty() {
        return (damaged, None);
    }
    let why = match fate {
        Some(Fate::Stayed(_)) => "live does not hold what the accident left: it was changed since",
        Some(Fate::Gone) => "the accident deleted it: it was made again since",
        None => "nothing tells what the accident made of it",
    };
    let columns = kept.into_iter().map(|(column, _)| column).collect();
    (damaged, Some(Count::Kept(columns, Some(why.to_owned()))))
}

/// Which of the asked rows the charge's condition calls damaged.
pub(super) async fn damaged(
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
    let positions = positions_asked(condition, fit);
    let names: Vec<String> = positions.iter().map(|&at| fit.columns[at].live.name.quoted()).collect();
    let mut sql = String::from("select backup.rowback_n from ");
    push_relation(&mut sql, &chunk, &positions, fit);
    let (names, from, key) = (names.join(", "), fit.live.from_sql(), equal_to_backup(fit));
    sql.push_str(&if is_indexed(fit) {
        format!(
            " as backup(rowback_n, {names}) cross join lateral (select from {from} as live where {key} and (\n{condition}\n) offset 0) as l"
        )
    } else {
        format!(" as backup(rowback_n, {names}) join {from} as live on {key} where (\n{condition}\n)")
    });
    let answer = ask(session, fit, charge, "damaged", &sql).await?;
    let numbers =
        answer.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse::<usize>().ok());
    Ok(numbers.filter_map(|number| asked.get(number).copied()).collect())
}

/// The columns of the backup's row that a condition can be about, and those of the key. All of them where it names the
/// whole row, or something that is no column.
fn positions_asked(condition: &str, fit: &Fit<'_>) -> Vec<usize> {
    let named = columns_named(condition, "backup").and_then(|names| fit.positions(&names));
    let Some(mut asked) = named else { return (0..fit.columns.len()).collect() };
    asked.extend(&fit.key);
    asked.sort_unstable();
    asked.dedup();
    asked
}

/// Runs SQL that holds a text of the recipe. It sees names as the predicate does in scratch: the table's schema, then
/// `public`.
pub(super) async fn ask(
    session: &ReadSession,
    fit: &Fit<'_>,
    charge: &Charge<'_>,
    key: &'static str,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, DiffError> {
    let what = format!("evaluating {key} of {}", fit.live.name);
    see_as_recipe(session, fit, &what).await?;
    let answer = session
        .text_rows(&what, sql)
        .await
        .map_err(|source| DiffError::condition(fit.live.name.clone(), charge.number, key, source))?;
    set_search_path(session, &what, "").await?;
    Ok(answer)
}

pub(super) async fn see_as_recipe(session: &ReadSession, fit: &Fit<'_>, what: &str) -> Result<(), PgError> {
    set_search_path(session, what, &recipe_path(fit)).await
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
