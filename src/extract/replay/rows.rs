//! The rows that a replay deleted or changed become rows that its entry chose.

use std::collections::{BTreeMap, BTreeSet};

use super::Replayed;
use crate::extract::aftermath::told_name;
use crate::extract::chosen::{CHARGED, Chosen, Reason};
use crate::extract::{Entry, ExtractError, Following};
use crate::ident::TableName;

/// Chooses the rows that the replay deleted; returns their tables.
pub(in crate::extract) async fn choose_gone(
    chosen: &mut Chosen<'_>,
    entry: &Entry<'_>,
    replayed: &Replayed,
    family: i16,
) -> Result<BTreeSet<TableName>, ExtractError> {
    if !replayed.gone.contains_key(&entry.table.name) {
        return Err(touches_nothing(entry, replayed, "deletes"));
    }
    let mut roots = BTreeSet::new();
    for name in replayed.gone.keys() {
        let is_wanted = match &entry.following {
            Following::All => true,
            Following::Nothing => false,
            Following::Into(tables) => tables.contains(name),
        };
        if is_wanted || *name == entry.table.name {
            choose(chosen, entry, replayed, name, (family, "rowback_gone")).await?;
            roots.insert(name.clone());
        }
    }
    Ok(roots)
}

/// Chooses the rows of the entry's table that the replay changed, to be looked at for damage.
pub(in crate::extract) async fn choose_changed(
    chosen: &mut Chosen<'_>,
    entry: &Entry<'_>,
    replayed: &Replayed,
) -> Result<(), ExtractError> {
    if !replayed.changed.contains_key(&entry.table.name) {
        return Err(touches_nothing(entry, replayed, "changes"));
    }
    choose(chosen, entry, replayed, &entry.table.name, (CHARGED, "not rowback_gone")).await
}

async fn choose(
    chosen: &mut Chosen<'_>,
    entry: &Entry<'_>,
    replayed: &Replayed,
    name: &TableName,
    (family, condition): (i16, &str),
) -> Result<(), ExtractError> {
    let rows = format!(
        "from {} where rowback_teller = {} and {condition}",
        told_name(chosen.table(name)?),
        replayed.number
    );
    let places = format!("select distinct rowback_tab as tab, rowback_place as place {rows}");
    chosen.add(name, (family, Reason::Selected(entry.number).number()), &places).await?;
    let record = format!(
        "insert into rowback_scratch.selected select rowback_tab, rowback_place, {} {rows} on conflict do nothing",
        entry.number
    );
    Ok(chosen.session.execute("choosing what the replay touched", &record).await?)
}

fn touches_nothing(entry: &Entry<'_>, replayed: &Replayed, did: &'static str) -> ExtractError {
    let did_to = |verb: &str, rows: &BTreeMap<TableName, u64>| -> Vec<String> {
        rows.iter().map(|(table, rows)| format!("it {verb} {rows} rows of {table}")).collect()
    };
    let instead = [
        did_to("deletes", &replayed.gone),
        did_to("changes", &replayed.changed),
        did_to("makes", &replayed.made),
    ];
    ExtractError::ReplayTouchesNothing { table: entry.table.name.clone(), did, instead: instead.concat() }
}
