//! Turns staging and diff files into the sealed plan: reads rows in order, lets the pure code of `plan/` order and render
//! them, writes batch and undo files. Memory is bounded by a batch, and by the rows of tables that refer to each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::itself::Itself;
use super::layout::Layout;
use super::parents::{Identities, Parents};
use super::target::{Target, insert_part, push_insert, push_update, update_part};
use super::{CaseError, Error, convoys, sources, totals, transfers};
use crate::catalog::graph::{last_below, parents_first_with};
use crate::catalog::{ForeignKey, Table};
use crate::diff::{ConvoyFiles, DiffRow, Diffed, RowAction};
use crate::ident::{Ident, TableName};
use crate::plan::{self, Batch, BatchTable, Firing, Part, Plan, RowOrder, SequenceMove, pack, sha256_hex};
use crate::recipe::Triggers;
use crate::value::copy_text::fields;
use crate::value::json_path::key_in;

/// A batch ends early where rows are large: it is held in memory, and so is its undo.
const BATCH_BYTES: usize = 16 << 20;

/// Rows to update, by the columns that are set.
type Waiting<'a> = BTreeMap<Vec<Ident>, Updates<'a>>;

/// Rows to update that set the same columns.
struct Updates<'a> {
    text: Vec<u8>,
    count: usize,
    /// What tells each of them from a stranger who took its key since, where anything does.
    itself: Option<Itself<'a>>,
}

impl<'a> Updates<'a> {
    /// The rows so far, as a part; no row is left.
    fn take(&mut self, target: &Target<'a>, columns: &[Ident]) -> BatchTable<'a> {
        let (text, count) = (std::mem::take(&mut self.text), std::mem::take(&mut self.count));
        let mut part = update_part(target, columns.to_vec(), text, count);
        part.guards.extend(self.itself.as_mut().and_then(Itself::take));
        part
    }
}

/// Rows of a component whose tables refer to each other, until their order is known.
type Kept = Vec<(usize, Vec<u8>)>;

/// Makes all batches and the plan. Clears what an earlier plan left.
pub(super) fn make(
    layout: &Layout,
    diffed: &Diffed,
    batch_rows: u32,
    mut checks: Checks,
) -> Result<Plan, Error> {
    layout.forget(&[layout.plan()])?;
    for directory in ["batches", "undo"] {
        layout.clear_directory(&layout.root().join(directory))?;
    }
    let mut maker = Maker {
        layout,
        diffed,
        most: batch_rows.max(1) as usize,
        triggers: checks.triggers,
        parents: Parents::new(layout, diffed, std::mem::take(&mut checks.identities)),
        batches: Vec::new(),
    };
    let targets: BTreeMap<TableName, Target<'_>> = diffed
        .tables
        .iter()
        .map(|table| Ok((table.table.clone(), Target::of(diffed, table)?)))
        .collect::<Result<_, Error>>()?;
    let names = targets.keys().cloned().collect();
    let foreign_keys = &diffed.catalog.foreign_keys;
    let moved = diffed.transfers.iter().flat_map(|transfers| &transfers.tables);
    let moved: BTreeSet<TableName> =
        moved.filter(|table| table.leading > 0).map(|table| table.to.clone()).collect();
    let tied: Vec<Vec<&TableName>> = diffed.convoys.iter().map(ConvoyFiles::leaders).collect();
    let (order, first) = last_below(parents_first_with(&names, foreign_keys, &tied), &moved, foreign_keys);
    for (number, component) in order.into_iter().enumerate() {
        if let Some(transfers) = diffed.transfers.as_ref().filter(|_| number == first) {
            transfers::plan(&mut maker, transfers)?;
        }
        let leads =
            |convoy: &&ConvoyFiles| convoy.leaders().iter().any(|leader| component.tables.contains(leader));
        let convoys: Vec<&ConvoyFiles> = diffed.convoys.iter().filter(leads).collect();
        let mut later = Vec::new();
        if component.cyclic {
            later = maker.insert_together(&targets, &component.tables, &convoys)?;
        } else {
            maker.insert_one(&targets[&component.tables[0]])?;
        }
        for convoy in convoys {
            convoys::plan(&mut maker, convoy)?;
        }
        for parts in later {
            maker.emit(parts)?;
        }
        for table in &component.tables {
            maker.update(&targets[table])?;
        }
    }
    let sequences = totals::sequence_moves(diffed);
    maker.move_sequences(&sequences)?;
    Ok(totals::summarize(diffed, maker.batches, sequences, checks).sealed())
}

/// What the plan is bound to, and what was found out beside the rows.
pub(super) struct Checks {
    /// SHA-256 of `staging/manifest.json`.
    pub staging_sha256: String,
    /// SHA-256 of `diff/manifest.json`.
    pub diff_sha256: String,
    /// What is done about triggers.
    pub triggers: Triggers,
    /// The recipe's `identity`.
    pub identities: Identities,
    /// Notes of earlier stages.
    pub notes: Vec<String>,
}

/// A line break in a name would end the line of a comment in a batch.
pub(super) fn refuse_odd_names(table: &Table) -> Result<(), CaseError> {
    let mut names =
        table.column_names().map(Ident::as_str).chain([table.name.name.as_str(), table.name.schema.as_str()]);
    match names.find(|name| name.contains(['\n', '\r'])) {
        Some(name) => Err(CaseError::OddName { name: name.to_owned() }),
        None => Ok(()),
    }
}

/// A batch that updates stages the value that was seen beside the new one, and PostgreSQL's tables have an end.
fn refuse_too_wide(part: &BatchTable<'_>) -> Result<(), CaseError> {
    const MOST_COLUMNS: usize = 1600;
    let staged = part.key.len() + 2 * part.columns.len() + 2;
    if part.action.writes_whole_rows() || staged <= MOST_COLUMNS {
        return Ok(());
    }
    let (table, columns) = (part.table.name.clone(), part.columns.len());
    Err(CaseError::TooWide { table, columns, most: (MOST_COLUMNS - 2 - part.key.len()) / 2 })
}

/// Makes batches, one after the other.
pub(super) struct Maker<'a> {
    pub(super) layout: &'a Layout,
    pub(super) diffed: &'a Diffed,
    /// Rows of a batch.
    pub(super) most: usize,
    pub(super) triggers: Triggers,
    pub(super) parents: Parents<'a>,
    batches: Vec<Batch>,
}

impl<'a> Maker<'a> {
    /// Inserts of a table that refers to nothing in its own component.
    fn insert_one(&mut self, target: &Target<'a>) -> Result<(), Error> {
        if !target.has(RowAction::Insert) {
            return Ok(());
        }
        let mut rows = sources::TableRows::open(self.layout, target.diffed)?;
        let (mut text, mut count) = (Vec::new(), 0);
        while let Some((staged, diff)) = rows.next_row()? {
            if diff.action != RowAction::Insert {
                continue;
            }
            push_insert(&mut text, target, staged, &diff);
            count += 1;
            if count == self.most || text.len() >= BATCH_BYTES {
                self.emit(vec![insert_part(target, std::mem::take(&mut text), count)])?;
                count = 0;
            }
        }
        if count > 0 { self.emit(vec![insert_part(target, text, count)]) } else { Ok(()) }
    }

    /// Inserts of tables that refer to each other or to themselves: rows that need each other share a batch, and so one
    /// statement. Batches of rows that hang on rows of these convoys are returned: they must wait for them.
    fn insert_together(
        &mut self,
        targets: &BTreeMap<TableName, Target<'a>>,
        tables: &[TableName],
        convoys: &[&ConvoyFiles],
    ) -> Result<Vec<Vec<BatchTable<'a>>>, Error> {
        let mut kept: Kept = Vec::new();
        for (number, table) in tables.iter().enumerate() {
            let target = &targets[table];
            let mut rows = sources::TableRows::open(self.layout, target.diffed)?;
            while let Some((staged, diff)) = rows.next_row()? {
                if diff.action == RowAction::Insert {
                    let mut text = Vec::new();
                    push_insert(&mut text, target, staged, &diff);
                    kept.push((number, text));
                }
            }
        }
        let foreign_keys = &self.diffed.catalog.foreign_keys;
        let order = row_order(&kept, targets, tables, foreign_keys);
        let mut first = BTreeSet::new();
        for fk in foreign_keys.iter().filter(|_| !kept.is_empty()) {
            let Some(child) = tables.iter().position(|name| name == &fk.child) else { continue };
            let Some(positions) = positions(&targets[&fk.child], fk.child_columns().collect()) else {
                continue;
            };
            let arrivals = convoys::arrivals(self.layout, convoys, fk)?;
            let hangs = |(_, (number, text)): &(usize, &(usize, Vec<u8>))| {
                *number == child
                    && fk.key_in(&raw(text), &positions).is_some_and(|key| arrivals.contains(&key))
            };
            if !arrivals.is_empty() {
                first.extend(kept.iter().enumerate().filter(hangs).map(|(row, _)| row));
            }
        }
        let waiting = order.below(first);
        let (later, now): (Vec<_>, Vec<_>) =
            order.groups().into_iter().partition(|group| group.iter().any(|row| waiting.contains(row)));
        let parts = |batch: &Vec<usize>| {
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
            parts
        };
        for batch in pack(now, self.most) {
            self.emit(parts(&batch))?;
        }
        Ok(pack(later, self.most).iter().map(parts).collect())
    }

    /// Updates of a table, one sort of batch for each list of columns.
    fn update(&mut self, target: &Target<'a>) -> Result<(), Error> {
        if !target.has(RowAction::Update) {
            return Ok(());
        }
        let mut waiting = Waiting::new();
        let mut rows = sources::TableRows::open(self.layout, target.diffed)?;
        while let Some((_, diff)) = rows.next_row()? {
            self.update_row(target, &diff, &mut waiting)?;
        }
        if let Some(mut found) = sources::found_rows(self.layout, target.diffed)? {
            while let Some(diff) = found.next_row()? {
                self.update_row(target, &diff, &mut waiting)?;
            }
        }
        for (columns, mut updates) in waiting.into_iter().filter(|(_, updates)| updates.count > 0) {
            self.emit(vec![updates.take(target, &columns)])?;
        }
        Ok(())
    }

    fn update_row(
        &mut self,
        target: &Target<'a>,
        diff: &DiffRow,
        waiting: &mut Waiting<'a>,
    ) -> Result<(), Error> {
        let leads = |convoy: &ConvoyFiles| convoy.leads(&target.table.name, diff);
        if diff.action != RowAction::Update || self.diffed.convoys.iter().any(leads) {
            return Ok(());
        }
        if !waiting.contains_key(&diff.columns) {
            let itself = self.parents.itself(target.table, &diff.columns)?;
            waiting.insert(diff.columns.clone(), Updates { text: Vec::new(), count: 0, itself });
        }
        let Some(updates) = waiting.get_mut(&diff.columns) else { return Ok(()) };
        push_update(&mut updates.text, diff)?;
        updates.count += 1;
        updates.itself.iter_mut().for_each(|itself| itself.push(diff));
        if updates.count == self.most {
            let part = updates.take(target, &diff.columns);
            self.emit(vec![part])?;
        }
        Ok(())
    }

    /// Writes the next batch and its undo file.
    pub(super) fn emit(&mut self, mut parts: Vec<BatchTable<'a>>) -> Result<(), Error> {
        for part in &mut parts {
            refuse_too_wide(part)?;
            let guards = self.parents.guards(part)?;
            part.guards.extend(guards);
        }
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
                from: part.from.map(|from| from.name.clone()),
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

/// Who needs whom among the kept rows, by the foreign keys between their tables.
fn row_order(
    kept: &Kept,
    targets: &BTreeMap<TableName, Target<'_>>,
    tables: &[TableName],
    foreign_keys: &[ForeignKey],
) -> RowOrder {
    let mut order = RowOrder::new(kept.len());
    let number_of = |table: &TableName| tables.iter().position(|name| name == table);
    // Rows are guarded by declared references, too. Where such a one has a condition that does not hold for a row, the row
    // only shares a batch that it need not share.
    for fk in foreign_keys {
        let (Some(child), Some(parent)) = (number_of(&fk.child), number_of(&fk.parent)) else { continue };
        let child_positions = positions(&targets[&fk.child], fk.child_columns().collect());
        let parent_positions = positions(&targets[&fk.parent], fk.parent_columns().collect());
        let (Some(child_positions), Some(parent_positions)) = (child_positions, parent_positions) else {
            continue;
        };
        let mut parents = HashMap::new();
        for (row, (number, text)) in kept.iter().enumerate() {
            if *number == parent
                && let Some(key) = key_in(&[], &raw(text), &parent_positions)
            {
                parents.insert(key, row);
            }
        }
        for (row, (number, text)) in kept.iter().enumerate() {
            if *number == child
                && let Some(key) = fk.key_in(&raw(text), &child_positions)
                && let Some(&needed) = parents.get(&key)
            {
                order.needs(row, needed);
            }
        }
    }
    order
}

/// Where columns are in the rows that are inserted.
fn positions(target: &Target<'_>, columns: Vec<&Ident>) -> Option<Vec<usize>> {
    let place = |name| target.written.iter().position(|(_, column)| column == name);
    columns.into_iter().map(place).collect()
}

fn raw(row: &[u8]) -> Vec<&[u8]> {
    fields(row.strip_suffix(b"\n").unwrap_or(row)).collect()
}

/// Table names as a part of a file name; anything odd becomes an underscore, the batch's number keeps names apart.
fn safe_name(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || ".-_+".contains(letter);
    text.chars().map(|letter| if plain(letter) { letter } else { '_' }).take(100).collect()
}
