//! What extraction loads before it evaluates anything: the tables that predicates are about, with only the rows whose text
//! does not rule them out, and whole whatever a predicate reads beside its own row.

use std::collections::BTreeMap;

use super::{Entry, ExtractError, Selected, resolve, selection};
use crate::catalog::Catalog;
use crate::ident::TableName;
use crate::recipe::Recipe;
use crate::scratch::choice::{Choice, Wish};
use crate::scratch::filter::Condition;
use crate::scratch::{Request, Scratch};

/// Why a table is loaded and which conditions let its rows through.
struct Wanted {
    why: Vec<String>,
    /// `None`: every row.
    conditions: Option<Vec<Condition>>,
}

impl Wanted {
    fn whole(&mut self, why: String) {
        self.conditions = None;
        if !self.why.contains(&why) {
            self.why.push(why);
        }
    }
}

/// Loads the tables that predicates are about, and all that they read beside.
pub(super) async fn load_selected(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    entries: &[Entry<'_>],
    notes: &mut Vec<String>,
) -> Result<(), ExtractError> {
    let mut wanted: BTreeMap<TableName, Wanted> = BTreeMap::new();
    let with_predicate =
        |entry: &&Entry<'_>| entry.reads_backup() && !matches!(entry.selected, Selected::Replay(_));
    for entry in entries.iter().filter(with_predicate) {
        let reads = selection::analyze(scratch.session(), catalog, entry.table, &entry.selected).await?;
        let mut beside = reads.tables;
        let own = &entry.table.name;
        if !reads.functions.is_empty() {
            notes.push(format!(
                "the predicate of {own} calls {}, which may read any table: the whole backup was loaded",
                reads.functions.join(", ")
            ));
            let with_rows = |table: &&TableName| scratch.backup().contents().tables.contains_key(*table);
            beside.extend(catalog.tables.keys().filter(with_rows).cloned());
        }
        let found = match &reads.clause {
            Some(clause) => Condition::new(clause, entry.table, scratch.encoding())
                .ok_or_else(|| "nothing in the predicate can be decided on the dump's text".to_owned()),
            None => Err(why_not_alone(entry).to_owned()),
        };
        // A key that no constraint vouches for is proven on all rows.
        let needs_proof = resolve::needs_proof(entry.table, &resolve::key_of(recipe, entry.table)?);
        let found = if needs_proof { Err("its key is proven on all of its rows".to_owned()) } else { found };
        want(&mut wanted, own, found);
        for table in beside {
            if table != *own || reads.clause.is_none() {
                let why = if table == *own {
                    why_not_alone(entry).to_owned()
                } else {
                    format!("read by the selection of {own}")
                };
                want(&mut wanted, &table, Err(why));
            }
        }
    }
    let requests = wanted.into_iter().map(|(table, wanted)| {
        let choice = wanted.conditions.map_or(Choice::All, |conditions| {
            Choice::AnyOf(conditions.into_iter().map(Wish::Condition).collect())
        });
        Request::new(&table, choice, wanted.why.join("; "))
    });
    Ok(scratch.load_all(requests.collect()).await?)
}

fn want(wanted: &mut BTreeMap<TableName, Wanted>, table: &TableName, found: Result<Condition, String>) {
    let entry = wanted
        .entry(table.clone())
        .or_insert_with(|| Wanted { why: Vec::new(), conditions: Some(Vec::new()) });
    match found {
        Err(why) => entry.whole(why),
        Ok(condition) => {
            let mut why = "predicate".to_owned();
            if !condition.undecided().is_empty() {
                why = format!("predicate; left to PostgreSQL: {}", condition.undecided().join("; "));
            }
            entry.why.push(why);
            if let Some(conditions) = &mut entry.conditions {
                conditions.push(condition);
            }
        }
    }
}

fn why_not_alone(entry: &Entry<'_>) -> &'static str {
    match entry.selected {
        Selected::Everything | Selected::Replay(_) => "every row is asked for",
        Selected::Query(_) => "a query may read the whole table",
        Selected::Where(_) => "the predicate may need other rows of its table",
    }
}
