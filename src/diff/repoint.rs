//! Lost rows that live has again under another key: live's row stays, and what hung on the lost one is hung on it. Decides
//! which row stands in for which, and gives children the new key wherever they name the lost one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use super::DiffError;
use super::blocked::Parents;
use super::drift::Fit;
use super::identity::{Doubt, Entity, IdentityRule, Unique};
use super::judge::{Court, Judgement};
use super::lookup::{LiveRow, RawKey, RawRow, StagedRow, StagedRows, by_key, key_of, text};
use super::pass::{Bench, staged_keys};
use super::probe::Obstacle;
use super::verdict::{RowAction, Verdict};
use crate::value::copy_text::{fields, push_field};

/// Gives the row the keys of the rows that stand in for its parents. The answer says why it cannot be done.
pub fn rewrite(
    court: &Court<'_>,
    parents: &Parents,
    row: &mut StagedRow,
    refers: &[bool],
) -> Result<(), String> {
    if !parents.repoints() {
        return Ok(());
    }
    for (upward, _) in court.upwards.iter().zip(refers).filter(|(_, refers)| **refers) {
        let Some(before) = upward.key_before(row) else { continue };
        let Some(instead) = parents.repointed(upward.fk, &before) else { continue };
        for (number, (&at, value)) in upward.columns.iter().zip(fields(instead)).enumerate() {
            let named = |field: &[u8]| upward.fk.referring(number, field).map(Cow::into_owned);
            let now = named(&row.fields[at]);
            if now.as_deref() == Some(value) {
                continue;
            }
            let name = upward.fk.child_end(number);
            if court.fit.columns[at].live.generated {
                return Err(format!("{name} is a generated column and cannot name another row"));
            }
            // Another reference may have changed another place in the same document.
            if row.was.get(&at).is_some_and(|was| named(was) != now) {
                return Err(format!(
                    "the rows that stand in for its parents want different values of {name}"
                ));
            }
            let new = upward.fk.refer(number, &row.fields[at], value);
            let new = new.map_err(|problem| format!("{name} {problem}"))?;
            let old = std::mem::replace(&mut row.fields[at], new);
            row.was.entry(at).or_insert(old);
        }
    }
    Ok(())
}

/// One line for the report: what names another parent now.
pub fn describe(court: &Court<'_>, row: &StagedRow) -> String {
    let mut changes: Vec<String> = Vec::new();
    for (at, was) in &row.was {
        for upward in &court.upwards {
            let pairs = upward.columns.iter().enumerate().filter(|(_, column)| *column == at);
            for (number, _) in pairs {
                let value = |field: &[u8]| upward.fk.referring(number, field).and_then(|field| text(&field));
                let (Some(old), Some(new)) = (value(was), value(&row.fields[*at])) else { continue };
                let change = format!("{} {old} is {new} now", upward.fk.child_end(number));
                if old != new && !changes.contains(&change) {
                    changes.push(change);
                }
            }
        }
    }
    format!("hung on the row that was made again: {}", changes.join(", "))
}

/// Which of the rows that `held` by live's constraints are to be replaced by the live row: one that alone holds their
/// unique values, and that is no other row of the backup.
pub async fn stand_ins(
    court: &Court<'_>,
    bench: &Bench<'_>,
    rows: &[&StagedRow],
    held: &BTreeMap<usize, Vec<Obstacle>>,
    judgements: &mut [Judgement],
) -> Result<(), DiffError> {
    let mut asked: Vec<(usize, StagedRow)> = Vec::new();
    for (&at, obstacles) in held {
        match candidate(court, obstacles) {
            Ok(named) => asked.push((at, named)),
            Err(reason) => judgements[at].reason = reason,
        }
    }
    let named: Vec<&StagedRow> = asked.iter().map(|(_, row)| row).collect();
    let live = by_key(bench.session, court.fit, &named).await?;
    let backup = in_backup(court, bench, &named)?;
    let pairs = asked.iter().zip(&live).filter_map(|((at, _), live)| Some((*at, rows[*at], live.as_ref()?)));
    let shared = shared(court, bench, pairs)?;
    for ((at, named), live) in asked.iter().zip(live) {
        let before = key_of(&named.fields, &court.fit.key).and_then(|key| backup.get(&key));
        let shared = shared.get(at).map(String::as_str);
        settle(court, rows[*at], (before, shared), live, &mut judgements[*at]);
    }
    Ok(())
}

/// Live's rows that hold unique values of several rows of the backup, by the number of the lost row for which each was
/// found, and why it stands in for none of them.
fn shared<'r>(
    court: &Court<'_>,
    bench: &Bench<'_>,
    pairs: impl Iterator<Item = (usize, &'r StagedRow, &'r RawRow)>,
) -> Result<BTreeMap<usize, String>, DiffError> {
    let uniques = court.identity.uniques();
    let mut foreign: HashMap<(usize, RawKey), Vec<usize>> = HashMap::new();
    for (at, row, live) in pairs {
        for (unique, Unique { positions, .. }) in uniques.iter().enumerate() {
            let held = key_of(live, positions);
            let own = key_of(&row.fields, positions);
            if let Some(held) = held.filter(|held| own.as_ref() != Some(held)) {
                foreign.entry((unique, held)).or_default().push(at);
            }
        }
    }
    let mut found = BTreeMap::new();
    if foreign.is_empty() {
        return Ok(found);
    }
    let mut staged = StagedRows::open(bench.staging, bench.file, court.fit)?;
    while let Some(row) = staged.next()? {
        for (unique, Unique { name, positions, .. }) in uniques.iter().enumerate() {
            let Some(value) = key_of(&row.fields, positions) else { continue };
            for at in foreign.get(&(unique, value)).into_iter().flatten() {
                let key = row.key(&court.fit.key).and_then(|key| text(&key)).unwrap_or_default();
                let why = || format!("by {name} it could be {key} of the backup as well");
                found.entry(*at).or_insert_with(why);
            }
        }
    }
    Ok(found)
}

fn settle(
    court: &Court<'_>,
    row: &StagedRow,
    (before, shared): (Option<&StagedRow>, Option<&str>),
    live: LiveRow,
    judgement: &mut Judgement,
) {
    let Some(live) = live else {
        judgement.reason.push_str("; that row went away while live was read");
        return;
    };
    let problem = other_entity(&court.identity, row, before, &live)
        .or_else(|| shared.map(str::to_owned))
        .or_else(|| court.identity.difference_beside(&live, row));
    if let Some(problem) = problem {
        judgement.reason = format!("{}; nothing is hung on that row: {problem}", judgement.reason);
        return;
    }
    judgement.reason = format!("{}; what hung on the lost row is hung on that one", judgement.reason);
    take(judgement, row, live);
}

fn take(judgement: &mut Judgement, row: &StagedRow, live: RawRow) {
    let before = row.before();
    judgement.columns = (0..live.len()).filter(|&at| before[at] != live[at]).collect();
    judgement.action = RowAction::Repoint;
    judgement.blocks = false;
    judgement.comes_back = true;
    judgement.stand_in = Some(live);
}

/// Why the live row that holds the unique values is not the lost row made again.
fn other_entity(
    identity: &IdentityRule,
    row: &StagedRow,
    before: Option<&StagedRow>,
    live: &[RawKey],
) -> Option<String> {
    if identity.says_other(row, live) {
        return Some("the recipe's identity columns differ".to_owned());
    }
    if identity.is_older(live, row) {
        return Some("it is older than the lost row".to_owned());
    }
    // A row that the backup has beside the lost one took over its value; it is somebody else.
    let before = before?;
    match identity.judge(before, live, &[], &Doubt::default()) {
        Entity::Other(_) => None,
        Entity::Same | Entity::Uncertain(_) => {
            Some("the backup has it beside the lost row, so it is not that row made again".to_owned())
        }
    }
}

/// A row that, after its parent was replaced, has the key of a row of live. Where the key is nothing but the reference,
/// that row stands in for it.
pub fn same_key(court: &Court<'_>, row: &StagedRow, live: &[RawKey], judgement: &mut Judgement) {
    judgement.verdict = Verdict::Recreated;
    judgement.columns.clear();
    if court.fit.key.iter().all(|at| row.was.contains_key(at)) {
        judgement.reason = format!("{}, which has a row of that key", describe(court, row));
        take(judgement, row, live.to_vec());
    } else {
        judgement.action = RowAction::None;
        judgement.blocks = true;
        judgement.comes_back = false;
        judgement.reason = format!("{}, but live has another row of that key", describe(court, row));
    }
}

/// The one row of live that holds the lost row's unique values, by its key.
fn candidate(court: &Court<'_>, obstacles: &[Obstacle]) -> Result<StagedRow, String> {
    let fit = court.fit;
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    let mut reasons = Vec::new();
    let (mut excluded, mut by_chance) = (false, true);
    for obstacle in obstacles {
        let Obstacle::Held { by, exclusion, constraint } = obstacle else { continue };
        excluded |= *exclusion;
        by_chance &= court.identity.is_equal_by_chance(constraint);
        keys.insert(by);
        reasons.push(obstacle.reason());
    }
    let reasons = reasons.join(", ");
    if keys.len() > 1 {
        return Err(format!(
            "{reasons}: {} rows of live could stand in for it, so nothing is hung on any",
            keys.len()
        ));
    }
    if excluded {
        return Err(format!("{reasons}: an exclusion constraint does not say that it is the same thing"));
    }
    if by_chance {
        return Err(format!(
            "{reasons}: what is counted within a parent is equal by chance as well; `identity = [...]` for {} would say that it is \
             the same thing",
            fit.live.name
        ));
    }
    let named = keys.first().and_then(|key| named(fit, key));
    named.ok_or_else(|| format!("{reasons}: that row cannot be named"))
}

/// The row that a key as JSON text names.
fn named(fit: &Fit<'_>, key: &str) -> Option<StagedRow> {
    let values: Map<String, Value> = serde_json::from_str(key).ok()?;
    let mut raw = Vec::new();
    for (number, &at) in fit.key.iter().enumerate() {
        let value = values.get(fit.columns[at].live.name.as_str())?.as_str()?;
        push_field(&mut raw, number == 0, Some(value.as_bytes()));
    }
    Some(StagedRow::named(&raw, fit))
}

/// The staged rows of these keys.
fn in_backup(
    court: &Court<'_>,
    bench: &Bench<'_>,
    named: &[&StagedRow],
) -> Result<BTreeMap<RawKey, StagedRow>, DiffError> {
    let mut found = BTreeMap::new();
    if named.is_empty() {
        return Ok(found);
    }
    let known = if let Some(known) = bench.keys.get() {
        known
    } else {
        let all = staged_keys(court, bench)?;
        bench.keys.get_or_init(|| all)
    };
    let keys = named.iter().filter_map(|row| key_of(&row.fields, &court.fit.key));
    let wanted: HashSet<RawKey> = keys.filter(|key| known.contains(key)).collect();
    if wanted.is_empty() {
        return Ok(found);
    }
    let mut staged = StagedRows::open(bench.staging, bench.file, court.fit)?;
    while let Some(row) = staged.next()? {
        if let Some(key) = row.key(&court.fit.key).filter(|key| wanted.contains(key)) {
            found.insert(key, row);
        }
    }
    Ok(found)
}
