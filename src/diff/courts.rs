//! Puts together what judging each table needs: its charges, its foreign keys upwards, who is who.

use std::collections::BTreeMap;

use super::carried::Carry;
use super::convoy::Lead;
use super::drift::{Fit, Fits};
use super::identity::IdentityRule;
use super::judge::Court;
use super::links::Upward;
use super::lookup::RawKey;
use super::tombstones::Tombstones;
use super::{DiffError, DiffInput, charges, convoy, damage, transfer};
use crate::catalog::{Action, Catalog, ForeignKey};
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::recipe::{Links, Parents as ParentsPolicy};

/// One court for each staged table.
pub(super) async fn all<'a>(
    input: &DiffInput<'a>,
    session: &ReadSession,
    (live, carries): (&'a Catalog, &'a [Carry]),
    fits: &'a Fits<'a>,
    tombstones: &'a BTreeMap<TableName, Tombstones>,
) -> Result<BTreeMap<TableName, Court<'a>>, DiffError> {
    let mut found = BTreeMap::new();
    for (name, fit) in fits {
        let mut entries = input.recipe.recover.iter().filter(|entry| &entry.table == name);
        let given = entries.find(|entry| !entry.identity.is_empty());
        let identity: Vec<Ident> = given.map(|entry| entry.identity.clone()).unwrap_or_default();
        let mut upwards = Vec::new();
        for fk in live.parents_of(name) {
            upwards.extend(upward(input, session, fit, fits, fk).await?);
        }
        let leaves = input.recipe.recover.iter().all(|entry| entry.links == Links::Leave);
        let court = Court {
            fit,
            identity: IdentityRule::of(fit, &identity, live.parents_of(name)),
            upwards,
            tombstones: tombstones.get(name),
            charges: charges::of(input.recipe, fit)?,
            transfers: transfer::of(input.recipe, name, live)?,
            tellers: charges::tellers_of_deletions(input.recipe),
            leads_convoy: false,
            changed: input.recipe.policy.changed,
            recreated: input.recipe.policy.recreated,
            links: if leaves { Links::Leave } else { Links::Repair },
            parents: input.recipe.policy.parents,
        };
        damage::check(session, &court).await?;
        transfer::check(session, &court).await?;
        found.insert(name.clone(), court);
    }
    let leads: Vec<Lead> = found.values().filter_map(|court| convoy::lead(court, live, carries)).collect();
    for (table, court) in &mut found {
        court.leads_convoy = leads.iter().any(|lead| &lead.table == table);
        let moving = leads.iter().filter_map(|lead| lead.moving.get(table)).flatten();
        court.identity.note_moving(moving.filter_map(|name| court.fit.position(name)));
    }
    Ok(found)
}

async fn upward<'a>(
    input: &DiffInput<'_>,
    session: &ReadSession,
    fit: &Fit<'_>,
    fits: &Fits<'_>,
    fk: &'a ForeignKey,
) -> Result<Option<Upward<'a>>, DiffError> {
    let Some(columns) = fit.positions(fk.child_columns()) else { return Ok(None) };
    for (at, &column) in columns.iter().enumerate().filter(|(at, _)| fk.path(*at).is_some()) {
        let column = fit.columns[column].live;
        if !column.is_document() {
            let (table, reference) = (fk.child.clone(), fk.child_end(at));
            let type_name = column.type_name.clone();
            return Err(DiffError::NoDocument { table, reference, type_name });
        }
    }
    let known = input
        .extracted
        .catalog
        .foreign_keys
        .iter()
        .any(|old| old.child == fk.child && old.parent == fk.parent && old.columns == fk.columns);
    let dangles = input.extracted.dangling.iter().any(|old| old.is_like(fk));
    let all_staged = known
        && !dangles
        && fits.contains_key(&fk.parent)
        && input.recipe.policy.parents == ParentsPolicy::Missing;
    let mut set = Vec::new();
    if fk.cuts_link() {
        for name in &fk.set_columns {
            let Some(at) = fit.position(name) else { continue };
            let value = match fk.on_delete {
                Action::SetDefault => default_value(session, fit, at).await?,
                _ => RawKey::from(&b"\\N"[..]),
            };
            set.push((at, value));
        }
    }
    Ok(Some(Upward { fk, columns, set, verify: fk.is_enforced() && !all_staged }))
}

async fn default_value(session: &ReadSession, fit: &Fit<'_>, at: usize) -> Result<RawKey, DiffError> {
    let column = fit.columns[at].live;
    let default = column.default.as_deref().unwrap_or("null");
    let sql = format!("copy (select ({default})::{}) to stdout", column.type_name);
    let mut rows = session.copy_out("reading a column's default", &sql).await?;
    let mut value = RawKey::from(&b"\\N"[..]);
    while let Some(row) = rows.next_row().await? {
        value = row.as_ref().into();
    }
    Ok(value)
}
