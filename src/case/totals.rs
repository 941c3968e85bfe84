//! What a plan comes to: rows by verdict and evidence, triggers that fire, sequences that move. Counts only; the batches
//! are made elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::planning::Checks;
use crate::catalog::ForeignKey;
use crate::diff::{Diffed, DiffedTable, RowAction, Verdict};
use crate::ident::TableName;
use crate::plan::{
    self, Action, Batch, LiveIdentity, Plan, Reference, SequenceMove, TombstoneFile, Tombstones, Totals,
};
use crate::recipe::Triggers;

/// Only sequences that are behind, and only those that count upwards.
pub(super) fn sequence_moves(diffed: &Diffed) -> Vec<SequenceMove> {
    let mut found: BTreeMap<TableName, SequenceMove> = BTreeMap::new();
    for state in diffed.sequences.iter().filter(|state| state.increment > 0) {
        if state.last_value.is_some_and(|last| last >= state.highest) {
            continue;
        }
        let entry = found.entry(state.sequence.clone()).or_insert_with(|| SequenceMove {
            sequence: state.sequence.clone(),
            at_least: state.highest,
            increment: state.increment,
        });
        entry.at_least = entry.at_least.max(state.highest);
    }
    found.into_values().collect()
}

/// The plan without its seal.
pub(super) fn summarize(
    diffed: &Diffed,
    batches: Vec<Batch>,
    sequences: Vec<SequenceMove>,
    checks: Checks,
) -> Plan {
    let declared = declared(diffed, &batches);
    let mut plan = Plan {
        format: plan::FORMAT,
        live: LiveIdentity {
            system_identifier: diffed.live.system_identifier.clone(),
            dbname: diffed.live.dbname.clone(),
            database_oid: diffed.live.database_oid,
        },
        staging_sha256: checks.staging_sha256,
        diff_sha256: checks.diff_sha256,
        batches,
        sequences,
        verdicts: BTreeMap::new(),
        evidence: BTreeMap::new(),
        totals: Totals::default(),
        triggers: Vec::new(),
        notes: checks.notes,
        tombstones: tombstones(diffed),
        declared,
        seal: String::new(),
    };
    for table in &diffed.tables {
        let counts = plan.verdicts.entry(table.table.clone()).or_default();
        for (verdict, count) in &table.verdicts {
            counts.insert(verdict.word().to_owned(), *count);
        }
        for (evidence, count) in &table.written {
            *plan.evidence.entry(evidence.word().to_owned()).or_default() += count;
        }
        let count = |verdict: Verdict| table.verdicts.get(&verdict).copied().unwrap_or(0);
        let updates = table.actions.get(&RowAction::Update).copied().unwrap_or(0);
        plan.totals.insert += table.actions.get(&RowAction::Insert).copied().unwrap_or(0);
        plan.totals.relink += count(Verdict::Unlinked);
        let moves = table.actions.get(&RowAction::Move).copied().unwrap_or(0);
        let repairs = moves + updates - count(Verdict::Unlinked).min(updates);
        plan.totals.repair += repairs;
        plan.totals.conflicts += table.conflicts();
        let live = diffed.catalog.tables.get(&table.table).filter(|_| checks.triggers == Triggers::Fire);
        if let Some(live) = live {
            plan.triggers.extend(plan::triggers_that_fire(live, &actions_of(table)));
        }
    }
    add_followers(&mut plan, diffed, checks.triggers);
    if checks.triggers == Triggers::Fire {
        plan.triggers.extend(triggers_on_leaving(diffed));
    }
    plan.totals.left_out = diffed.rows_left_out();
    plan.notes.extend(diffed.notes.iter().cloned());
    plan.notes.extend(plan::needs_and_risks(checks.triggers).map(str::to_owned));
    plan
}

fn actions_of(table: &DiffedTable) -> BTreeSet<Action> {
    let some = |action: RowAction| table.actions.get(&action).is_some_and(|count| *count > 0);
    let mut found = BTreeSet::new();
    found.extend(some(RowAction::Insert).then_some(Action::Insert));
    found.extend(some(RowAction::Update).then_some(Action::Update));
    found.extend(some(RowAction::Move).then_some(Action::Move));
    found
}

/// Rows that move with others.
fn add_followers(plan: &mut Plan, diffed: &Diffed, triggers: Triggers) {
    for (table, (moved, cascaded)) in diffed.followers() {
        let rows = moved + cascaded;
        let counts = plan.verdicts.entry(table.clone()).or_default();
        *counts.entry(Verdict::Misrouted.word().to_owned()).or_default() += rows;
        *plan.evidence.entry("cascade".to_owned()).or_default() += rows;
        plan.totals.repair += rows;
        if let Some(live) = diffed.catalog.tables.get(&table).filter(|_| triggers == Triggers::Fire) {
            for line in plan::triggers_that_fire(live, &BTreeSet::from([sort_of(diffed, &table)])) {
                if !plan.triggers.contains(&line) {
                    plan.triggers.push(line);
                }
            }
        }
    }
}

/// Are the rows of a table that move with others inserted there, or updated?
fn sort_of(diffed: &Diffed, table: &TableName) -> Action {
    let mut moved = diffed.transfers.iter().flat_map(|transfers| &transfers.tables);
    if moved.any(|one| &one.to == table) { Action::Move } else { Action::Update }
}

/// Triggers of the tables that rows leave.
fn triggers_on_leaving(diffed: &Diffed) -> Vec<String> {
    let left = diffed.transfers.iter().flat_map(|transfers| &transfers.tables).map(|table| &table.from);
    let left: BTreeSet<&TableName> = left.collect();
    let tables = left.into_iter().filter_map(|table| diffed.catalog.tables.get(table));
    tables.flat_map(plan::triggers_that_fire_on_leaving).collect()
}

/// What apply needs to look at `exclude_keys` again.
fn tombstones(diffed: &Diffed) -> Tombstones {
    let mut found = Tombstones::default();
    for read in &diffed.tombstones {
        let Some(table) = diffed.catalog.tables.get(&read.table) else { continue };
        let columns = table.columns.iter().map(|column| (column.name.clone(), column.type_name.clone()));
        let (table, path) = (read.table.clone(), read.path.clone());
        found.files.push(TombstoneFile {
            table,
            path,
            sha256: read.sha256.clone(),
            columns: columns.collect(),
        });
    }
    if found.is_empty() {
        return found;
    }
    let staged: BTreeSet<&TableName> = diffed.tables.iter().map(|table| &table.table).collect();
    let among = diffed.catalog.foreign_keys.iter().filter(|fk| staged.contains(&fk.child));
    found.references.extend(among.map(|fk| reference(diffed, fk)));
    found
}

fn reference(diffed: &Diffed, fk: &ForeignKey) -> Reference {
    let child = fk.when().and_then(|_| diffed.catalog.tables.get(&fk.child));
    let columns = child.map(|table| table.columns.as_slice()).unwrap_or_default();
    Reference {
        child: fk.child.clone(),
        parent: fk.parent.clone(),
        columns: fk.columns.clone(),
        paths: fk.paths.clone(),
        when: fk.when().map(str::to_owned),
        types: columns.iter().map(|column| (column.name.clone(), column.type_name.clone())).collect(),
    }
}

/// References of the recipe by which others may hang on what triggers make in the place of lost rows, and by which rows that
/// move in one statement hang on each other.
fn declared(diffed: &Diffed, batches: &[Batch]) -> Vec<Reference> {
    let parents: BTreeSet<&TableName> = batches
        .iter()
        .flat_map(|batch| batch.parts.iter().map(|part| (part, batch.parts.len())))
        .filter(|(part, beside)| part.action == Action::Insert || *beside > 1)
        .map(|(part, _)| &part.table)
        .collect();
    let declared = diffed.catalog.foreign_keys.iter().filter(|fk| !fk.is_enforced());
    declared.filter(|fk| parents.contains(&fk.parent)).map(|fk| reference(diffed, fk)).collect()
}
