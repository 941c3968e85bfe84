//! Parents that staging does not hold, because the recipe wants none or live has a foreign key that the backup did not
//! know: looked for in live.

use std::collections::{BTreeMap, BTreeSet};

use super::DiffError;
use super::blocked::{Block, Parents};
use super::conditions::Refers;
use super::drift::Fit;
use super::judge::{Court, Judgement};
use super::links::Upward;
use super::lookup::{LiveRow, RawKey, StagedRow, text};
use super::pass::Phase;
use super::verdict::{RowAction, Verdict};
use crate::catalog::ForeignKey;
use crate::pg::{PgError, ReadSession};
use crate::sql::literal::push_literal;
use crate::sql::own_rows::own_rows;
use crate::value::copy_text::{fields, is_null};

/// Turns rows into orphans whose parent is neither in live nor recovered: rows to insert where nobody vouches for the
/// parent, and rows to update by every reference that the update changes, unless it can be left as the parent's end left
/// it. Where a convoy moves, it asks for itself. In the first phase every row to insert is taken to come back: rows of tables
/// that refer to each other may vouch for each other, and the next phase takes back what does not hold.
pub async fn check(
    session: &ReadSession,
    court: &Court<'_>,
    parents: &Parents,
    rows: (&[&StagedRow], &[LiveRow]),
    refers: &[Refers],
    (judgements, phase): (&mut [Judgement], Phase),
) -> Result<(), DiffError> {
    for (number, upward) in court.upwards.iter().enumerate() {
        let mut open: BTreeMap<RawKey, Vec<usize>> = BTreeMap::new();
        for (at, (row, live)) in rows.0.iter().zip(rows.1).enumerate() {
            let asks = match judgements[at].action {
                RowAction::Insert if phase == Phase::First => false,
                RowAction::Insert => upward.verify || turns(upward, rows.0[at]),
                RowAction::Update => changes(upward, &judgements[at]) && !court.leads_convoy,
                RowAction::None | RowAction::Repoint | RowAction::Move => false,
            };
            if !asks || !refers[at][number] {
                continue;
            }
            let after = after(row, live.as_deref(), &judgements[at]);
            let Some(key) = upward.fk.key_in(&after, &upward.columns) else { continue };
            // Of the parents of a period one may come back and another may not.
            let comes = !upward.fk.is_over_time() && parents.is_recovered(upward.fk, &key);
            if !comes && !parents.has_arrived(upward.fk, &key) {
                open.entry(key).or_default().push(at);
            }
        }
        let keys: Vec<&[u8]> = open.keys().map(|key| &**key).collect();
        let there = in_live(session, (court.fit, parents), upward.fk, &upward.columns, &keys).await?;
        let missing: Vec<usize> = open
            .values()
            .enumerate()
            .filter(|(number, _)| !there.contains(number))
            .flat_map(|(_, rows)| rows)
            .copied()
            .collect();
        let held = had_parents(session, (court, parents), upward, rows.1, missing).await?;
        for row in held {
            let judgement = &mut judgements[row];
            let block = upward.key(rows.0[row]).and_then(|key| parents.blocked(upward.fk, &key));
            if let Some(live) = rows.1[row].as_deref()
                && leave_cut(upward, live, block, judgement)
            {
                continue;
            }
            judgement.blocks = judgement.action == RowAction::Insert;
            judgement.verdict = Verdict::Orphan;
            judgement.action = RowAction::None;
            judgement.comes_back = false;
            judgement.reason = format!("its parent in {} is neither in live nor recovered", upward.fk.parent);
        }
    }
    Ok(())
}

/// A row of live whose link is what the end of its parent left: the link stays so, since the parent does, and whatever
/// else is damaged is set right. False when the link is damaged otherwise.
fn leave_cut(upward: &Upward<'_>, live: &[RawKey], block: Option<&Block>, judgement: &mut Judgement) -> bool {
    if !upward.fk.cuts_link() || upward.set.iter().any(|(at, value)| live[*at] != *value) {
        return false;
    }
    let is_empty = upward.set.iter().all(|(_, value)| is_null(value));
    // With a default, the other columns decide what the link refers to.
    let stays = |at: &usize| {
        if is_empty { upward.set.iter().any(|(set, _)| set == at) } else { upward.columns.contains(at) }
    };
    judgement.columns.retain(|at| !stays(at));
    judgement.truth.retain(|(at, _)| !stays(at));
    let left = if is_empty { "empty" } else { "at its default" };
    let away = block.map_or("neither in live nor recovered", |block| block.verdict.word());
    let reason = format!("link to {} left {left}, its parent is {away}", upward.fk.parent);
    judgement.reason = match std::mem::take(&mut judgement.reason) {
        before if before.is_empty() => reason,
        before => format!("{before}; {reason}"),
    };
    if judgement.columns.is_empty() {
        let is_meant = block.is_some_and(|block| block.verdict == Verdict::Excluded);
        judgement.verdict = if is_meant { Verdict::Excluded } else { Verdict::Orphan };
        judgement.action = RowAction::None;
    }
    true
}

/// Is the row hung on another parent by one of the reference's columns? Then nobody has vouched for this parent yet.
fn turns(upward: &Upward<'_>, row: &StagedRow) -> bool {
    upward.fk.is_enforced() && row.is_repointed(&upward.columns)
}

/// Of these rows those that a reference keeps: what nobody enforces may have led nowhere before, and then nothing breaks.
async fn had_parents(
    session: &ReadSession,
    (court, parents): (&Court<'_>, &Parents),
    upward: &Upward<'_>,
    live: &[LiveRow],
    rows: Vec<usize>,
) -> Result<Vec<usize>, PgError> {
    if upward.fk.is_enforced() || rows.is_empty() {
        return Ok(rows);
    }
    let key = |row: &usize| upward.fk.key_in(live[*row].as_deref()?, &upward.columns);
    let (rows, keys): (Vec<usize>, Vec<RawKey>) =
        rows.iter().filter_map(|row| Some((*row, key(row)?))).unzip();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
    let there = in_live(session, (court.fit, parents), upward.fk, &upward.columns, &keys).await?;
    Ok(rows.into_iter().enumerate().filter(|(at, _)| there.contains(at)).map(|(_, row)| row).collect())
}

/// Does the update set a column of a reference? Cut links are only set to parents that come back.
fn changes(upward: &Upward<'_>, judgement: &Judgement) -> bool {
    let is_plain = !upward.fk.has_paths() && !upward.fk.is_over_time();
    (upward.fk.is_enforced() || is_plain)
        && judgement.verdict != Verdict::Unlinked
        && upward.columns.iter().any(|column| judgement.columns.contains(column))
}

/// The row as it will be when it is written.
fn after(row: &StagedRow, live: Option<&[RawKey]>, judgement: &Judgement) -> Vec<RawKey> {
    let mut fields = row.fields.clone();
    if let Some(live) = live {
        let kept = (0..live.len()).filter(|column| !judgement.columns.contains(column));
        kept.for_each(|column| fields[column].clone_from(&live[column]));
    }
    for (at, value) in &judgement.truth {
        fields[*at].clone_from(value);
    }
    fields
}

/// Numbers of the keys whose parent is in live; of a period, whose parents in live cover it together with those that come back.
pub(super) async fn in_live(
    session: &ReadSession,
    (fit, parents): (&Fit<'_>, &Parents),
    fk: &ForeignKey,
    child_columns: &[usize],
    keys: &[&[u8]],
) -> Result<BTreeSet<usize>, PgError> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let columns: Vec<String> = (1..=child_columns.len()).map(|at| format!("k{at}")).collect();
    let type_of = |at: usize| fk.path(at).map_or(&*fit.columns[child_columns[at]].live.type_name, |_| "text");
    let mut values = String::new();
    for (ordinal, key) in keys.iter().enumerate() {
        values.push_str(if ordinal == 0 { "(" } else { ",\n(" });
        values.push_str(&ordinal.to_string());
        for (at, field) in fields(key).enumerate() {
            values.push(',');
            push_literal(&mut values, &text(field).unwrap_or_default());
            if ordinal == 0 {
                values.push_str("::");
                values.push_str(type_of(at));
            }
        }
        values.push(')');
    }
    let pairs = fk.parent_columns().enumerate().map(|(at, name)| {
        if fk.is_enforced() {
            format!("p.{} {} k.k{}", name.quoted(), fk.operator(at), at + 1)
        } else {
            format!("p.{}::text = k.k{}::text", name.quoted(), at + 1)
        }
    });
    let own = fk.is_enforced().then(|| own_rows("p", &fk.parent));
    let equal = pairs.chain(own).collect::<Vec<_>>().join(" and ");
    let from = format!("{} as p", fk.parent.quoted());
    let last = child_columns.len().saturating_sub(1);
    let has_parent = match fk.columns.last().filter(|_| fk.is_over_time()) {
        Some((_, up)) => {
            let coming = coming(parents, fk, keys, type_of(last));
            let all = format!(
                "(select p.{} from {from} where {equal} union all select r.period from {coming} where r.n = k.n) as p (period)",
                up.quoted()
            );
            fk.has_parent_sql((&all, "true"), ("p.period", &format!("k.k{}", last + 1)))
        }
        None => fk.has_parent_sql((&from, &equal), ("", "")),
    };
    let sql = format!("select k.n from (values {values}) as k(n, {}) where {has_parent}", columns.join(", "));
    let rows = session.text_rows(&format!("looking for parents in {}", fk.parent), &sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse().ok()).collect())
}

/// The periods of parents that come back, by the number of the key: a relation `r (n, period)`.
fn coming(parents: &Parents, fk: &ForeignKey, keys: &[&[u8]], type_name: &str) -> String {
    let mut values = format!("(values (-1, null::{type_name})");
    for (ordinal, key) in keys.iter().enumerate() {
        for parent in parents.recovered(fk, key) {
            let period = fields(parent).last().and_then(text).unwrap_or_default();
            values.push_str(&format!(", ({ordinal}, "));
            push_literal(&mut values, &period);
            values.push(')');
        }
    }
    values.push_str(") as r (n, period)");
    values
}
