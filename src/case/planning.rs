//! Turns staging and diff files into the sealed plan: reads rows in order, lets the pure code of `plan/` order and render
//! them, writes batch and undo files. Memory is bounded by a batch, and by the rows of tables that refer to each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::layout::Layout;
use super::{CaseError, Error, sources};
use crate::catalog::graph::parents_first;
use crate::catalog::{ForeignKey, Table};
use crate::diff::{DiffRow, Diffed, DiffedTable, RowAction, Verdict};
use crate::ident::{Ident, TableName};
use crate::plan::{
    self, Action, Batch, BatchTable, Firing, LiveIdentity, Part, Plan, RowOrder, SequenceMove, Totals, pack,
    sha256_hex,
};
use crate::recipe::Triggers;
use crate::value::copy_text::{fields, is_null, push_field};

/// A batch ends early where rows are large: it is held in memory, and so is its undo.
const BATCH_BYTES: usize = 16 << 20;

/// Rows of a component whose tables refer to each other, until their order is known.
type Kept = Vec<(usize, Vec<u8>)>;

/// One table of the plan: what is written of its rows.
struct Target<'a> {
    table: &'a Table,
    diffed: &'a DiffedTable,
    key: Vec<Ident>,
    /// Position in the staged row, and live's column; generated columns are left out.
    written: Vec<(usize, Ident)>,
}

/// Makes all batches and the plan. Clears what an earlier plan left.
pub(super) fn make(layout: &Layout, diffed: &Diffed, batch_rows: u32, checks: Checks) -> Result<Plan, Error> {
    for directory in ["batches", "undo"] {
        layout.clear_directory(&layout.root().join(directory))?;
    }
    let mut maker = Maker {
        layout,
        diffed,
        most: batch_rows.max(1) as usize,
        triggers: checks.triggers,
        batches: Vec::new(),
    };
    let targets: BTreeMap<TableName, Target<'_>> = diffed
        .tables
        .iter()
        .map(|table| Ok((table.table.clone(), target(diffed, table)?)))
        .collect::<Result<_, Error>>()?;
    let names = targets.keys().cloned().collect();
    for component in parents_first(&names, &diffed.catalog.foreign_keys) {
        if component.cyclic {
            maker.insert_together(&targets, &component.tables)?;
        } else {
            maker.insert_one(&targets[&component.tables[0]])?;
        }
        for table in &component.tables {
            maker.update(&targets[table])?;
        }
    }
    let sequences = sequence_moves(diffed);
    maker.move_sequences(&sequences)?;
    Ok(summarize(diffed, maker.batches, sequences, checks).sealed())
}

/// What the plan is bound to, and what was found out beside the rows.
pub(super) struct Checks {
    /// SHA-256 of `staging/manifest.json`.
    pub staging_sha256: String,
    /// SHA-256 of `diff/manifest.json`.
    pub diff_sha256: String,
    /// What is done about triggers.
    pub triggers: Triggers,
    /// Notes of earlier stages.
    pub notes: Vec<String>,
}

fn target<'a>(diffed: &'a Diffed, table: &'a DiffedTable) -> Result<Target<'a>, Error> {
    let live = diffed.catalog.tables.get(&table.table).ok_or(CaseError::Stale)?;
    let mut written = Vec::new();
    for (position, name) in table.columns.iter().enumerate() {
        let Some(name) = name else { continue };
        let column = live.column(name).ok_or(CaseError::Stale)?;
        if !column.generated {
            written.push((position, name.clone()));
        }
    }
    let name_of = |at: &usize| table.columns.get(*at).cloned().flatten().ok_or(CaseError::Stale);
    let key = table.staged.table.key.iter().map(name_of).collect::<Result<Vec<_>, _>>()?;
    let mut names = live
        .column_names()
        .map(Ident::as_str)
        .chain([table.table.name.as_str(), table.table.schema.as_str()]);
    if let Some(name) = names.find(|name| name.contains(['\n', '\r'])) {
        return Err(CaseError::OddName { name: name.to_owned() }.into());
    }
    Ok(Target { table: live, diffed: table, key, written })
}

struct Maker<'a> {
    layout: &'a Layout,
    diffed: &'a Diffed,
    most: usize,
    triggers: Triggers,
    batches: Vec<Batch>,
}

impl<'a> Maker<'a> {
    /// Inserts of a table that refers to nothing in its own component.
    fn insert_one(&mut self, target: &Target<'a>) -> Result<(), Error> {
        let mut rows = sources::TableRows::open(self.layout, target.diffed)?;
        let (mut text, mut count) = (Vec::new(), 0);
        while let Some((staged, diff)) = rows.next_row()? {
            if diff.action != RowAction::Insert {
                continue;
            }
            push_insert(&mut text, target, &staged, &diff);
            count += 1;
            if count == self.most || text.len() >= BATCH_BYTES {
                self.emit(vec![insert_part(target, std::mem::take(&mut text), count)])?;
                count = 0;
            }
        }
        if count > 0 { self.emit(vec![insert_part(target, text, count)]) } else { Ok(()) }
    }

    /// Inserts of tables that refer to each other or to themselves: rows that need each other share a batch, and so one
    /// statement.
    fn insert_together(
        &mut self,
        targets: &BTreeMap<TableName, Target<'a>>,
        tables: &[TableName],
    ) -> Result<(), Error> {
        let mut kept: Kept = Vec::new();
        for (number, table) in tables.iter().enumerate() {
            let target = &targets[table];
            let mut rows = sources::TableRows::open(self.layout, target.diffed)?;
            while let Some((staged, diff)) = rows.next_row()? {
                if diff.action == RowAction::Insert {
                    let mut text = Vec::new();
                    push_insert(&mut text, target, &staged, &diff);
                    kept.push((number, text));
                }
            }
        }
        let order = row_order(&kept, targets, tables, &self.diffed.catalog.foreign_keys);
        for batch in pack(order.groups(), self.most) {
            let mut parts = Vec::new();
            for (number, table) in tables.iter().enumerate() {
                let mut text = Vec::new();
                let mut count = 0;
                for &row in batch.iter().filter(|&&row| kept[row].0 == number) {
                    text.extend_from_slice(&kept[row].1);
                    count += 1;
                }
                if count > 0 {
                    parts.push(insert_part(&targets[table], text, count));
                }
            }
            self.emit(parts)?;
        }
        Ok(())
    }

    /// Updates of a table, one sort of batch for each list of columns.
    fn update(&mut self, target: &Target<'a>) -> Result<(), Error> {
        let mut rows = sources::TableRows::open(self.layout, target.diffed)?;
        let mut waiting: BTreeMap<Vec<Ident>, (Vec<u8>, usize)> = BTreeMap::new();
        while let Some((_, diff)) = rows.next_row()? {
            if diff.action != RowAction::Update {
                continue;
            }
            let columns = diff.columns.clone();
            let (text, count) = waiting.entry(columns.clone()).or_default();
            push_update(text, &diff)?;
            *count += 1;
            if *count == self.most || text.len() >= BATCH_BYTES {
                let (text, count) = std::mem::take(waiting.entry(columns.clone()).or_default());
                self.emit(vec![update_part(target, columns, text, count)])?;
            }
        }
        for (columns, (text, count)) in waiting.into_iter().filter(|(_, (_, count))| *count > 0) {
            self.emit(vec![update_part(target, columns, text, count)])?;
        }
        Ok(())
    }

    fn emit(&mut self, parts: Vec<BatchTable<'_>>) -> Result<(), Error> {
        let number = self.next_number();
        let names: Vec<String> = parts.iter().map(|part| part.table.name.to_string()).collect();
        let action = parts.first().map_or("insert", |part| part.action.word());
        let name = format!("{number:04}-{}-{action}.sql", safe_name(&names.join("+")));
        let firing = Firing { triggers: self.triggers, foreign_keys: &self.diffed.catalog.foreign_keys };
        let batch = plan::batch_script_with(number, &parts, firing);
        let undo = plan::undo_script_with(number, &parts, firing);
        let (file, undo_file) = (format!("batches/{name}"), format!("undo/{name}"));
        self.layout.write(&self.layout.root().join(&file), &batch)?;
        self.layout.write(&self.layout.root().join(&undo_file), &undo)?;
        let parts = parts
            .into_iter()
            .map(|part| Part {
                table: part.table.name.clone(),
                action: part.action,
                key: part.key,
                columns: part.columns,
                rows: part.count,
            })
            .collect();
        self.batches.push(Batch {
            number,
            file,
            sha256: sha256_hex(&batch),
            undo_file: Some(undo_file),
            undo_sha256: Some(sha256_hex(&undo)),
            parts,
        });
        Ok(())
    }

    fn move_sequences(&mut self, moves: &[SequenceMove]) -> Result<(), Error> {
        if moves.is_empty() {
            return Ok(());
        }
        let number = self.next_number();
        let script = plan::sequence_script(number, moves);
        let file = format!("batches/{number:04}-sequences.sql");
        self.layout.write(&self.layout.root().join(&file), &script)?;
        let sha256 = sha256_hex(&script);
        self.batches.push(Batch {
            number,
            file,
            sha256,
            undo_file: None,
            undo_sha256: None,
            parts: Vec::new(),
        });
        Ok(())
    }

    fn next_number(&self) -> u32 {
        u32::try_from(self.batches.len()).unwrap_or(u32::MAX - 1) + 1
    }
}

fn push_insert(text: &mut Vec<u8>, target: &Target<'_>, staged: &[u8], diff: &DiffRow) {
    let raw: Vec<&[u8]> = fields(staged).collect();
    for (at, (position, name)) in target.written.iter().enumerate() {
        if at > 0 {
            text.push(b'\t');
        }
        let left_null = diff.columns.contains(name);
        text.extend_from_slice(if left_null {
            b"\\N"
        } else {
            raw.get(*position).copied().unwrap_or(b"\\N")
        });
    }
    text.push(b'\n');
}

/// Key, new values, seen values.
fn push_update(text: &mut Vec<u8>, diff: &DiffRow) -> Result<(), Error> {
    for (at, value) in diff.key.iter().enumerate() {
        push_field(text, at == 0, Some(value.as_bytes()));
    }
    for values in [Some(&diff.backup), diff.live.as_ref()] {
        let values = values.ok_or(CaseError::Stale)?;
        for name in &diff.columns {
            match values.get(name.as_str()) {
                Some(Value::String(value)) => push_field(text, false, Some(value.as_bytes())),
                Some(Value::Null) => push_field(text, false, None),
                _ => return Err(CaseError::Stale.into()),
            }
        }
    }
    text.push(b'\n');
    Ok(())
}

fn insert_part<'t>(target: &Target<'t>, rows: Vec<u8>, count: usize) -> BatchTable<'t> {
    let columns = target.written.iter().map(|(_, name)| name.clone()).collect();
    part(target, Action::Insert, columns, rows, count)
}

fn update_part<'t>(target: &Target<'t>, columns: Vec<Ident>, rows: Vec<u8>, count: usize) -> BatchTable<'t> {
    part(target, Action::Update, columns, rows, count)
}

fn part<'t>(
    target: &Target<'t>,
    action: Action,
    columns: Vec<Ident>,
    rows: Vec<u8>,
    count: usize,
) -> BatchTable<'t> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    BatchTable { table: target.table, action, key: target.key.clone(), columns, rows, count }
}

/// Who needs whom among the kept rows, by the foreign keys between their tables.
fn row_order(
    kept: &Kept,
    targets: &BTreeMap<TableName, Target<'_>>,
    tables: &[TableName],
    foreign_keys: &[ForeignKey],
) -> RowOrder {
    let mut order = RowOrder::new(kept.len());
    let number_of = |table: &TableName| tables.iter().position(|name| name == table);
    for fk in foreign_keys.iter().filter(|fk| fk.is_enforced()) {
        let (Some(child), Some(parent)) = (number_of(&fk.child), number_of(&fk.parent)) else { continue };
        let positions = |table: &TableName, columns: Vec<&Ident>| -> Option<Vec<usize>> {
            let written = &targets[table].written;
            columns.into_iter().map(|name| written.iter().position(|(_, column)| column == name)).collect()
        };
        let child_positions = positions(&fk.child, fk.child_columns().collect());
        let parent_positions = positions(&fk.parent, fk.parent_columns().collect());
        let (Some(child_positions), Some(parent_positions)) = (child_positions, parent_positions) else {
            continue;
        };
        let mut parents: HashMap<Vec<&[u8]>, usize> = HashMap::new();
        for (row, (number, text)) in kept.iter().enumerate() {
            if *number == parent
                && let Some(key) = key_of(text, &parent_positions)
            {
                parents.insert(key, row);
            }
        }
        for (row, (number, text)) in kept.iter().enumerate() {
            if *number == child
                && let Some(key) = key_of(text, &child_positions)
                && let Some(&needed) = parents.get(&key)
            {
                order.needs(row, needed);
            }
        }
    }
    order
}

fn key_of<'r>(row: &'r [u8], positions: &[usize]) -> Option<Vec<&'r [u8]>> {
    let raw: Vec<&[u8]> = fields(row.strip_suffix(b"\n").unwrap_or(row)).collect();
    positions.iter().map(|&at| raw.get(at).copied().filter(|field| !is_null(field))).collect()
}

/// Only sequences that are behind, and only those that count upwards.
fn sequence_moves(diffed: &Diffed) -> Vec<SequenceMove> {
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

fn summarize(diffed: &Diffed, batches: Vec<Batch>, sequences: Vec<SequenceMove>, checks: Checks) -> Plan {
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
        let repairs = updates - count(Verdict::Unlinked).min(updates);
        plan.totals.repair += repairs;
        let conflicts: u64 =
            Verdict::ALL.into_iter().filter(|verdict| verdict.is_conflict()).map(count).sum();
        let overwritten = repairs.saturating_sub(count(Verdict::Damaged) + count(Verdict::Misrouted));
        plan.totals.conflicts += conflicts - overwritten.min(conflicts);
        let live = diffed.catalog.tables.get(&table.table).filter(|_| checks.triggers == Triggers::Fire);
        if let Some(live) = live {
            plan.triggers.extend(plan::triggers_that_fire(live, &actions_of(table)));
        }
    }
    plan.notes.extend(diffed.notes.iter().cloned());
    plan.notes.extend(plan::needs_and_risks(checks.triggers).map(str::to_owned));
    plan
}

fn actions_of(table: &DiffedTable) -> BTreeSet<Action> {
    let some = |action: RowAction| table.actions.get(&action).is_some_and(|count| *count > 0);
    let mut found = BTreeSet::new();
    found.extend(some(RowAction::Insert).then_some(Action::Insert));
    found.extend(some(RowAction::Update).then_some(Action::Update));
    found
}

/// Table names as a part of a file name; anything odd becomes an underscore, the batch's number keeps names apart.
fn safe_name(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || ".-_+".contains(letter);
    text.chars().map(|letter| if plain(letter) { letter } else { '_' }).take(100).collect()
}
