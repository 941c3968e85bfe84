//! Owners by path: what the recipe's `owner_from` gives for rows of live.

use std::collections::BTreeMap;

use super::DiffError;
use super::charges::Charge;
use super::damage::{Count, ask, damaged, see_as_recipe, split};
use super::drift::Fit;
use super::lookup::{LiveRow, RawKey, StagedRow, key_names, set_search_path};
use super::relation::push_relation;
use crate::pg::ReadSession;
use crate::value::copy_text::{is_null, push_field as push_copy_field};

/// The truth is what the path through live's rows gives.
pub(super) async fn by_path(
    session: &ReadSession,
    fit: &Fit<'_>,
    charge: &Charge<'_>,
    owner: &str,
    rows: &[&StagedRow],
    live: &[LiveRow],
    present: Vec<usize>,
) -> Result<Vec<(usize, Count)>, DiffError> {
    let damaged: Vec<usize> = damaged(session, fit, charge, rows, &present).await?.into_iter().collect();
    let owners = owners(session, fit, charge, owner, rows, &damaged).await?;
    let column = charge.columns[0];
    let mut found = Vec::new();
    for (at, owner) in owners {
        let Some(live) = &live[at] else { continue };
        if is_null(&owner) {
            let why = "owner_from gives no owner for it".to_owned();
            found.push((at, Count::Kept(vec![column], Some(why))));
        } else if owner != live[column] {
            let (damaged, kept) = split(charge, rows[at], live, vec![(column, owner)]);
            found.extend(kept.map(|kept| (at, kept)));
            found.extend((!damaged.is_empty()).then_some((at, Count::Damaged(damaged))));
        }
    }
    Ok(found)
}

/// The true owner of each asked row, as a raw COPY field.
async fn owners(
    session: &ReadSession,
    fit: &Fit<'_>,
    charge: &Charge<'_>,
    owner: &str,
    rows: &[&StagedRow],
    asked: &[usize],
) -> Result<BTreeMap<usize, RawKey>, DiffError> {
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let chunk: Vec<&StagedRow> = asked.iter().map(|&at| rows[at]).collect();
    let kind = &fit.columns[charge.columns[0]].live.type_name;
    let mut sql = format!("select rowback_k.n, (\n{owner}\n)::{kind} as owner from ");
    push_relation(&mut sql, &chunk, &fit.key, fit);
    let alias = fit.live.name.name.quoted();
    let names: Vec<String> = (1..=fit.key.len()).map(|at| format!("k{at}")).collect();
    let key: Vec<String> = key_names(fit)
        .zip(&names)
        .map(|(name, k)| format!("{alias}.{} {} rowback_k.{k}", name.quoted(), fit.live.equality(name)))
        .collect();
    sql.push_str(&format!(
        " as rowback_k(n, {}), {} where {}",
        names.join(", "),
        live_source(fit),
        key.join(" and ")
    ));
    let mut found = BTreeMap::new();
    for row in ask(session, fit, charge, "owner_from", &sql).await? {
        let mut values = row.into_iter();
        let number = values.next().flatten().and_then(|number| number.parse::<usize>().ok());
        let Some(&at) = number.and_then(|number| asked.get(number)) else { continue };
        let mut field = Vec::new();
        push_copy_field(&mut field, true, values.next().flatten().as_deref().map(str::as_bytes));
        found.insert(at, field.into());
    }
    Ok(found)
}

/// Keys (raw COPY fields, joined by tabs) of live's rows that the charge calls damaged and whose owner is not the true
/// one, in the order of the key.
pub async fn candidates(
    session: &ReadSession,
    fit: &Fit<'_>,
    charge: &Charge<'_>,
) -> Result<Vec<RawKey>, DiffError> {
    let Some(owner) = charge.owner_from else { return Ok(Vec::new()) };
    let column = fit.columns[charge.columns[0]].live;
    let (alias, name) = (fit.live.name.name.quoted(), column.name.quoted());
    let keys: Vec<String> = key_names(fit).map(|key| format!("{alias}.{}", key.quoted())).collect();
    let numbered: Vec<String> = (1..=keys.len()).map(|at| format!("rowback_k{at}")).collect();
    let as_numbered: Vec<String> =
        keys.iter().zip(&numbered).map(|(key, number)| format!("{key} as {number}")).collect();
    let condition = charge.damaged.unwrap_or("true");
    let sql = format!(
        "copy (select {} from (select {}, {alias}.{name} as rowback_is, (\n{owner}\n)::{} as rowback_owner from {} \
         where (\n{condition}\n) offset 0) as rowback_c where rowback_owner::text is distinct from rowback_is::text \
         order by {}) to stdout",
        numbered.join(", "),
        as_numbered.join(", "),
        column.type_name,
        live_source(fit),
        numbered.join(", "),
    );
    let what = format!("looking for misrouted rows of {}", fit.live.name);
    let failed = |source| DiffError::condition(fit.live.name.clone(), charge.number, "owner_from", source);
    see_as_recipe(session, fit, &what).await?;
    let mut rows = session.copy_out(&what, &sql).await.map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next_row().await.map_err(failed)? {
        found.push(row.as_ref().into());
    }
    set_search_path(session, &what, "").await?;
    Ok(found)
}

/// Live's rows under the two names that the recipe may give them: the table's own, and `live`.
pub(super) fn live_source(fit: &Fit<'_>) -> String {
    let alias = fit.live.name.name.quoted();
    let table = format!("{} as {alias}", fit.live.from_sql());
    if fit.live.name.name.as_str() == "live" {
        table
    } else {
        format!("{table} cross join lateral (select {alias}.*) as live")
    }
}
