//! Which entity each parent is, for the guards of the batches: read from staging and diff when the first child asks. Kept
//! in memory are, of each table that others refer to, the keys and the few values that tell entities apart.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::convoys::{MovingRows, moving_rows};
use super::itself::Itself;
use super::layout::Layout;
use super::tells::{beside_the_reference, beyond, tells};
use super::{Error, sources};
use crate::catalog::telling::KeySpeech;
use crate::catalog::{ForeignKey, Table};
use crate::diff::{ConvoyFiles, DiffRow, Diffed, DiffedTable, RowAction, Verdict};
use crate::ident::{Ident, TableName};
use crate::plan::{BatchTable, ParentGuard, Tells};
use crate::sql::mention::may_name;
use crate::value::copy_text::{NULL, RawKey, fields, is_null, push_field};

/// The recipe's `identity`, by table.
pub(super) type Identities = BTreeMap<TableName, Vec<Ident>>;

/// A table and the columns of it that are referred to.
type Referred = (TableName, Vec<Ident>);

/// What is known of parents.
pub(super) struct Parents<'a> {
    layout: &'a Layout,
    diffed: &'a Diffed,
    identities: Identities,
    known: BTreeMap<Referred, Known>,
    moving: Moving,
    /// Convoys of which batches are still to come.
    to_come: Vec<&'a ConvoyFiles>,
}

/// Rows that move with others, by table.
#[derive(Default)]
struct Moving(BTreeMap<TableName, Rc<MovingRows>>);

impl Moving {
    fn of(&mut self, layout: &Layout, diffed: &Diffed, table: &DiffedTable) -> Result<Rc<MovingRows>, Error> {
        if let Some(known) = self.0.get(&table.table) {
            return Ok(Rc::clone(known));
        }
        let found = Rc::new(moving_rows(layout, diffed, table)?);
        self.0.insert(table.table.clone(), Rc::clone(&found));
        Ok(found)
    }
}

/// The rows of one table as parents.
#[derive(Default)]
struct Known {
    /// Have the rows that move with others moved?
    moved: bool,
    tells: Tells,
    /// Of rows that something tells from others the columns referred to, then the columns that tell.
    told: Lines,
    /// Of rows that nothing tells, and that were in live, the columns referred to: only a reference that nobody enforces
    /// asks whether they are still there.
    there: Lines,
}

/// Rows by their keys.
#[derive(Default)]
struct Lines {
    /// Lines of COPY text, one behind the other: millions of small pieces would take three times their size.
    text: Vec<u8>,
    /// In the order of their keys' bytes.
    rows: Vec<Row>,
}

/// Where a row's line is, and where in it the key ends.
#[derive(Debug, Clone, Copy)]
struct Row {
    start: usize,
    end: usize,
    key_bytes: usize,
}

impl Row {
    fn key(self) -> Range<usize> {
        self.start..self.start + self.key_bytes
    }
}

impl<'a> Parents<'a> {
    /// Nothing is read yet.
    pub(super) fn new(layout: &'a Layout, diffed: &'a Diffed, identities: Identities) -> Self {
        let to_come = diffed.convoys.iter().collect();
        Self { layout, diffed, identities, known: BTreeMap::new(), moving: Moving::default(), to_come }
    }

    /// All batches of the convoy are made: what comes behind them hangs on rows that have moved.
    pub(super) fn have_moved(&mut self, convoy: &ConvoyFiles) {
        self.to_come.retain(|other| other.directory != convoy.directory);
    }

    /// The guards of a part. A reference that the part does not write is left out, and so is one under a condition that needs
    /// what only the stored row has.
    pub(super) fn guards(&mut self, part: &BatchTable<'a>) -> Result<Vec<ParentGuard<'a>>, Error> {
        let mut guards = Vec::new();
        let diffed = self.diffed;
        let direct: Vec<&'a ForeignKey> =
            diffed.catalog.parents_of(&part.table.name).filter(|fk| is_decidable(part, fk)).collect();
        let beyond = beyond(&diffed.catalog, &direct).into_iter().map(Cow::Owned);
        let leans = self.leans_on_parents(part);
        for fk in direct.iter().map(|fk| Cow::Borrowed(*fk)).chain(beyond) {
            // A row of which its parents tell who it is is not the one to update without them.
            let writes = part.action.writes_whole_rows()
                || fk.child_columns().any(|name| part.columns.contains(name))
                || (leans && fk.child_columns().all(|name| part.key.contains(name)));
            let Some(own) = ParentGuard::references(part, &fk).filter(|_| writes) else { continue };
            let Some(parent) = diffed.catalog.tables.get(&fk.parent) else { continue };
            let Some(known) = self.known(&fk, parent)? else { continue };
            let mut guard = |lines: &Lines, tells: &Tells| {
                let rows = lines.needed_by(&part.rows, (&fk, &own));
                if !rows.is_empty() {
                    guards.push(ParentGuard {
                        fk: fk.clone(),
                        parent,
                        tells: tells.clone(),
                        rows,
                        itself: false,
                    });
                }
            };
            guard(&known.told, &known.tells);
            if !fk.is_enforced() {
                guard(&known.there, &Tells::default());
            }
        }
        Ok(guards)
    }

    fn leans_on_parents(&self, part: &BatchTable<'_>) -> bool {
        let key: Vec<&Ident> = part.key.iter().collect();
        let upward: Vec<&ForeignKey> = self.diffed.catalog.parents_of(&part.table.name).collect();
        KeySpeech::leans_on_parents(part.table, &key, &upward)
    }

    /// What tells the rows of an update that sets these columns from strangers under their keys.
    pub(super) fn itself(&mut self, table: &'a Table, set: &[Ident]) -> Result<Option<Itself<'a>>, Error> {
        let Some(diffed) = self.diffed.tables.iter().find(|diffed| diffed.table == table.name) else {
            return Ok(None);
        };
        let given = self.identities.get(&table.name).map_or(&[][..], Vec::as_slice);
        let upward: Vec<&ForeignKey> = self.diffed.catalog.parents_of(&table.name).collect();
        let moving = self.moving.of(self.layout, self.diffed, diffed)?;
        Ok(Itself::of(table, diffed, &tells(table, diffed, given, &upward), set, moving))
    }

    /// `None` for a table of which nothing is staged.
    fn known(&mut self, fk: &ForeignKey, parent: &Table) -> Result<Option<&Known>, Error> {
        let referred = (fk.parent.clone(), fk.parent_columns().cloned().collect::<Vec<_>>());
        let takes_along = |convoy: &&ConvoyFiles| convoy.tables().any(|(_, table)| table.table == fk.parent);
        let moved = self.diffed.convoys.iter().any(|convoy| takes_along(&convoy))
            && !self.to_come.iter().any(takes_along);
        if self.known.get(&referred).is_none_or(|known| known.moved != moved) {
            let Some(table) = self.diffed.tables.iter().find(|table| table.table == fk.parent) else {
                return Ok(None);
            };
            let given = self.identities.get(&fk.parent).map_or(&[][..], Vec::as_slice);
            let upward: Vec<&ForeignKey> = self.diffed.catalog.parents_of(&fk.parent).collect();
            let tells = beside_the_reference(tells(parent, table, given, &upward), table, given, &referred.1);
            let known = Known { moved, tells, ..Known::default() };
            let refers = |fk: &&ForeignKey| fk.parent == referred.0 && fk.parent_columns().eq(&referred.1);
            let unenforced =
                self.diffed.catalog.foreign_keys.iter().filter(refers).any(|fk| !fk.is_enforced());
            let moving = self.moving.of(self.layout, self.diffed, table)?;
            let known = known.read(self.layout, table, (&referred.1, unenforced), &moving)?;
            self.known.insert(referred.clone(), known);
        }
        Ok(self.known.get(&referred))
    }
}

impl Known {
    /// `referred` are the columns referred to, and whether by a reference that nobody enforces.
    fn read(
        mut self,
        layout: &Layout,
        table: &DiffedTable,
        (referred, unenforced): (&[Ident], bool),
        moving: &MovingRows,
    ) -> Result<Self, Error> {
        let some = |action| table.actions.get(&action).is_some_and(|rows| *rows > 0);
        let inserts = some(RowAction::Insert) || some(RowAction::Move);
        let position = |name: &Ident| table.columns.iter().position(|column| column.as_ref() == Some(name));
        let positions = referred.iter().map(|name| Some((name, position(name)?))).collect::<Option<Vec<_>>>();
        let useful = inserts || unenforced || self.tells.speaking().next().is_some();
        let Some(positions) = positions.filter(|_| useful) else { return Ok(self) };
        let telling = self.tells.columns.clone();
        let telling: Option<Vec<_>> = telling.iter().map(|name| Some((name, position(name)?))).collect();
        let Some(telling) = telling else { return Ok(self) };
        let mut rows = sources::TableRows::open(layout, table)?;
        while let Some((staged, diff)) = rows.next_row()? {
            let raw: Vec<&[u8]> = fields(staged).collect();
            let moves = moving.get(&diff.key);
            // Until it has moved only the statement that moves it knows where it is, and moves what hangs on it as well.
            if !self.moved
                && moves.is_some_and(|values| referred.iter().any(|name| values.contains_key(name)))
            {
                continue;
            }
            let seen = Seen { raw: &raw, diff: &diff, moved: moves.filter(|_| self.moved) };
            let Some(key) = seen.joined(&positions, false) else { continue };
            if self.vouches(&seen, &positions, &telling) {
                let values = seen.joined(&telling, true).filter(|_| !telling.is_empty());
                self.told.push(&key, values.as_deref());
            } else if unenforced && was_in_live(&seen, &positions) {
                self.there.push(&key, None);
            }
        }
        self.told.sort();
        self.there.sort();
        Ok(self)
    }

    /// Can a child rely on the row, and does anything tell which entity it is? A lost row is told by all its values when
    /// need be, a row of live only by what is made for it: anything else of it may be edited meanwhile.
    fn vouches(&self, seen: &Seen<'_>, referred: &[(&Ident, usize)], telling: &[(&Ident, usize)]) -> bool {
        let moves = |(name, _): &(&Ident, usize)| seen.sets(name);
        let has_values = |group: &[usize]| {
            group.iter().filter_map(|at| telling.get(*at)).all(|(name, at)| !is_null(&seen.value(name, *at)))
        };
        matches!(seen.diff.action, RowAction::Insert | RowAction::Move)
            || (was_in_live(seen, referred)
                && (seen.diff.action != RowAction::Update || !telling.iter().any(moves))
                && self.tells.speaking().any(has_values))
    }
}

/// Did the diff see the parent in live, under the key by which it is referred to then?
fn was_in_live(seen: &Seen<'_>, referred: &[(&Ident, usize)]) -> bool {
    let moves = referred.iter().any(|(name, _)| seen.sets(name));
    match seen.diff.action {
        RowAction::Insert | RowAction::Move => false,
        // Live's row stands in for it, under its own key and with its own values.
        RowAction::Repoint => true,
        RowAction::Update => !moves,
        RowAction::None if seen.diff.verdict == Verdict::Same => !moves,
        RowAction::None => seen.diff.verdict == Verdict::Changed,
    }
}

impl Lines {
    /// `values` are COPY fields joined by tabs.
    fn push(&mut self, key: &[u8], values: Option<&[u8]>) {
        let start = self.text.len();
        self.text.extend_from_slice(key);
        if let Some(values) = values {
            self.text.push(b'\t');
            self.text.extend_from_slice(values);
        }
        self.text.push(b'\n');
        self.rows.push(Row { start, end: self.text.len(), key_bytes: key.len() });
    }

    /// Of rows with one key the last one counts, and stays in its place behind the others.
    fn sort(&mut self) {
        self.text.shrink_to_fit();
        let Self { text, rows } = self;
        rows.sort_by(|a, b| text[a.key()].cmp(&text[b.key()]));
    }

    /// The row's line, with its newline.
    fn line(&self, key: &[u8]) -> Option<&[u8]> {
        let behind = self.rows.partition_point(|row| self.text[row.key()] <= *key);
        let row = self.rows[..behind].last().filter(|row| self.text[row.key()] == *key)?;
        Some(&self.text[row.start..row.end])
    }

    /// The rows of the parents that these children refer to, in order, each with its newline.
    fn needed_by(&self, children: &[u8], (fk, own): (&ForeignKey, &[usize])) -> Vec<u8> {
        let lines = children.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let keys: BTreeSet<RawKey> = lines
            .filter_map(|line| {
                let raw: Vec<&[u8]> = fields(line).collect();
                fk.key_in(&raw, own)
            })
            .collect();
        if fk.is_over_time() {
            return self.over_time(&keys);
        }
        keys.iter().filter_map(|key| self.line(key)).flatten().copied().collect()
    }

    /// All parents with the keys of these but for the period: which of them overlap, the server tells.
    fn over_time(&self, keys: &BTreeSet<RawKey>) -> Vec<u8> {
        let without_period =
            |key: &[u8]| key.iter().rposition(|byte| *byte == b'\t').map_or(0, |tab| tab + 1);
        let starts: BTreeSet<&[u8]> = keys.iter().map(|key| &key[..without_period(key)]).collect();
        let mut found = Vec::new();
        for start in starts {
            let from = self.rows.partition_point(|row| self.text[row.key()] < *start);
            let same = self.rows[from..].iter().map(|row| &self.text[row.key()]);
            let mut all: Vec<&[u8]> =
                same.take_while(|key| key.starts_with(start) && without_period(key) == start.len()).collect();
            all.dedup();
            all.into_iter().filter_map(|key| self.line(key)).for_each(|line| found.extend_from_slice(line));
        }
        found
    }
}

/// Does the part write every column that the reference's condition may be about?
fn is_decidable(part: &BatchTable<'_>, fk: &ForeignKey) -> bool {
    let Some(when) = fk.when().filter(|_| part.action.writes_whole_rows()) else { return true };
    let mut missing = part.table.column_names().filter(|name| !part.columns.contains(name));
    missing.all(|name| !may_name(when, name))
}

/// A staged row and what became of it.
struct Seen<'r> {
    raw: &'r [&'r [u8]],
    diff: &'r DiffRow,
    /// What it has since it moved with others.
    moved: Option<&'r BTreeMap<Ident, Option<String>>>,
}

impl Seen<'_> {
    /// Is it the row's own batch that gives it another value there?
    fn sets(&self, name: &Ident) -> bool {
        self.diff.columns.contains(name) && !self.moved.is_some_and(|moved| moved.contains_key(name))
    }

    /// The raw field as it will be in live, for a lost row or one that has moved, or as the diff saw it there.
    fn value(&self, name: &Ident, at: usize) -> Vec<u8> {
        let field = |value: Option<&str>| {
            let mut field = Vec::new();
            push_field(&mut field, true, value.map(str::as_bytes));
            field
        };
        if let Some(then) = self.moved.and_then(|moved| moved.get(name)) {
            return field(then.as_deref());
        }
        let told = if self.diff.action == RowAction::Insert {
            Some(&self.diff.backup)
        } else {
            self.diff.live.as_ref()
        };
        match told.and_then(|values| values.get(name.as_str())).filter(|_| self.diff.columns.contains(name)) {
            Some(told) => field(told.as_str()),
            None => self.raw.get(at).copied().unwrap_or(NULL).to_vec(),
        }
    }

    /// Several fields; `None` when one is null and may not be.
    fn joined(&self, columns: &[(&Ident, usize)], nulls: bool) -> Option<RawKey> {
        let values: Vec<Vec<u8>> = columns.iter().map(|(name, at)| self.value(name, *at)).collect();
        (nulls || !values.iter().any(|value| is_null(value))).then(|| values.join(&b'\t').into())
    }
}
