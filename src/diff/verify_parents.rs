//! Parents that staging does not hold, because the recipe wants none or live has a foreign key that the backup did not
//! know: looked for in live.

use std::collections::{BTreeMap, BTreeSet};

use super::DiffError;
use super::blocked::Parents;
use super::judge::{Court, Judgement, Upward};
use super::lookup::{StagedRow, text};
use super::verdict::{RowAction, Verdict};
use crate::pg::{PgError, ReadSession};
use crate::sql::literal::push_literal;

/// Turns rows into orphans whose parent is neither in live nor recovered.
pub async fn check(
    session: &ReadSession,
    court: &Court<'_>,
    parents: &Parents,
    rows: &[&StagedRow],
    refers: &[Vec<bool>],
    judgements: &mut [Judgement],
) -> Result<(), DiffError> {
    for (number, upward) in court.upwards.iter().enumerate().filter(|(_, upward)| upward.verify) {
        let mut open: BTreeMap<Box<[u8]>, Vec<usize>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            if judgements[at].action != RowAction::Insert || !refers[at][number] {
                continue;
            }
            let Some(key) = row.key(&upward.columns) else { continue };
            if !parents.is_recovered(upward.fk, &key) {
                open.entry(key).or_default().push(at);
            }
        }
        let keys: Vec<&[u8]> = open.keys().map(|key| &**key).collect();
        let there = in_live(session, court, upward, &keys).await?;
        for (number, at) in open.values().enumerate().filter(|(number, _)| !there.contains(number)) {
            debug_assert!(number < keys.len());
            for &row in at {
                let judgement = &mut judgements[row];
                judgement.verdict = Verdict::Orphan;
                judgement.action = RowAction::None;
                judgement.blocks = true;
                judgement.comes_back = false;
                judgement.reason =
                    format!("its parent in {} is neither in live nor recovered", upward.fk.parent);
            }
        }
    }
    Ok(())
}

/// Numbers of the keys whose parent is in live.
async fn in_live(
    session: &ReadSession,
    court: &Court<'_>,
    upward: &Upward<'_>,
    keys: &[&[u8]],
) -> Result<BTreeSet<usize>, PgError> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let columns: Vec<String> = (1..=upward.columns.len()).map(|at| format!("k{at}")).collect();
    let mut values = String::new();
    for (ordinal, key) in keys.iter().enumerate() {
        values.push_str(if ordinal == 0 { "(" } else { ",\n(" });
        values.push_str(&ordinal.to_string());
        for (at, field) in crate::value::copy_text::fields(key).enumerate() {
            values.push(',');
            push_literal(&mut values, &text(field).unwrap_or_default());
            if ordinal == 0 {
                values.push_str("::");
                values.push_str(&court.fit.columns[upward.columns[at]].live.type_name);
            }
        }
        values.push(')');
    }
    let cast = if upward.fk.is_enforced() { "" } else { "::text" };
    let equal: Vec<String> = upward
        .fk
        .parent_columns()
        .enumerate()
        .map(|(at, name)| format!("p.{}{cast} = k.k{}{cast}", name.quoted(), at + 1))
        .collect();
    let sql = format!(
        "select k.n from (values {values}) as k(n, {}) where exists (select from {} as p where {})",
        columns.join(", "),
        upward.fk.parent.quoted(),
        equal.join(" and ")
    );
    let rows = session.text_rows(&format!("looking for parents in {}", upward.fk.parent), &sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse().ok()).collect())
}
