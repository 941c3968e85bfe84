//! The lists of rows that were deleted on purpose, read again while apply runs: a request for erasure may have come in since
//! the plan was made. Says which planned rows are named now, or hang on such a row. Only reads.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ApplyError;
use super::row_key::RowKey;
use super::sealed::SealedCase;
use super::tombstone_lists::{lists, unusable, values};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession};
use crate::plan::script::StepKind;
use crate::plan::{Action, Batch, Part, Plan, Reference, TombstoneFile};
use crate::sql::literal::push_literal;
use crate::staging::KeyList;
use crate::value::copy_text::{fields, is_null, unescape};
use crate::value::json_path::key_in;

const WHAT: &str = "reading exclude_keys again";

/// Raw COPY fields joined by tabs.
type RawKey = Vec<u8>;

/// Planned rows that must not be written any more.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    /// What each file was when it was looked at last.
    seen: Vec<String>,
    rows: BTreeMap<(u32, usize), BTreeSet<RowKey>>,
}

impl Tombstones {
    /// As the plan knows the files.
    pub(super) fn of(plan: &Plan) -> Self {
        let seen = plan.tombstones.files.iter().map(|file| file.sha256.clone()).collect();
        Self { seen, rows: BTreeMap::new() }
    }

    /// The rows of a batch that are left out, by part.
    pub(super) fn of_batch(&self, batch: &Batch) -> Vec<Vec<RowKey>> {
        let part = |at| self.rows.get(&(batch.number, at)).into_iter().flatten().cloned().collect();
        (0..batch.parts.len()).map(part).collect()
    }

    /// All planned rows that are named, by batch and position of the part.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, usize, &BTreeSet<RowKey>)> {
        self.rows.iter().map(|((batch, part), rows)| (*batch, *part, rows))
    }

    /// The lists, where one of them is another than when they were looked at last. `committed` counts batches, for the
    /// message.
    pub(super) fn changed(
        &mut self,
        plan: &Plan,
        committed: usize,
    ) -> Result<Option<Vec<KeyList>>, ApplyError> {
        let lists = lists(plan, committed)?;
        let now: Vec<String> = lists.iter().map(|list| list.sha256.clone()).collect();
        if now == self.seen {
            return Ok(None);
        }
        self.seen = now;
        Ok(Some(lists))
    }

    /// Finds the planned rows that the lists name, and all that hang on them.
    pub(super) async fn find(
        &mut self,
        case: &SealedCase,
        reader: &ReadSession,
        lists: &[KeyList],
        committed: usize,
    ) -> Result<(), ApplyError> {
        let plan = case.plan();
        let mut book = Book::default();
        for (file, list) in plan.tombstones.files.iter().zip(lists) {
            book.take(reader, plan, file, list, committed).await?;
        }
        self.rows.clear();
        loop {
            let mut grew = false;
            for batch in &plan.batches {
                grew |= self.pass(case, reader, &mut book, batch).await?;
            }
            if !grew {
                return Ok(());
            }
        }
    }

    async fn pass(
        &mut self,
        case: &SealedCase,
        reader: &ReadSession,
        book: &mut Book,
        batch: &Batch,
    ) -> Result<bool, ApplyError> {
        let references = &case.plan().tombstones.references;
        let steps = case.script(&batch.file, &batch.sha256)?;
        let stages = steps.iter().filter(|step| step.kind == StepKind::Stage);
        let mut grew = false;
        for (at, (stage, part)) in stages.zip(&batch.parts).enumerate() {
            let text = stage.copy.as_ref().map_or(&[][..], |copy| copy.rows.as_slice());
            let rows = Rows::of(part, text);
            let mut named = book.named(reader, &rows).await?;
            for reference in references.iter().filter(|reference| reference.child == part.table) {
                named.extend(book.hanging(reader, reference, &rows).await?);
            }
            let known = self.rows.entry((batch.number, at)).or_default();
            for number in named {
                if known.insert(rows.key(number)) {
                    grew = true;
                    book.exclude(references, &rows, number);
                }
            }
        }
        Ok(grew)
    }
}

/// The rows of one part of a batch.
struct Rows<'p> {
    part: &'p Part,
    lines: Vec<&'p [u8]>,
}

impl<'p> Rows<'p> {
    fn of(part: &'p Part, text: &'p [u8]) -> Self {
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        Self { part, lines }
    }

    /// Where these columns stand in a line: an update has its key, then the new values.
    fn positions<'n>(&self, names: impl Iterator<Item = &'n Ident>) -> Option<Vec<usize>> {
        let find = |list: &[Ident], name: &Ident| list.iter().position(|column| column == name);
        let position = |name: &Ident| match self.part.action {
            Action::Insert | Action::Move => find(&self.part.columns, name),
            Action::Update => find(&self.part.key, name)
                .or_else(|| find(&self.part.columns, name).map(|at| at + self.part.key.len())),
        };
        names.map(position).collect()
    }

    fn raw(&self, number: usize, positions: &[usize]) -> Option<RawKey> {
        let values: Vec<&[u8]> = fields(self.lines[number]).collect();
        let picked = positions.iter().map(|&at| values.get(at).copied().filter(|value| !is_null(value)));
        Some(picked.collect::<Option<Vec<_>>>()?.join(&b'\t'))
    }

    fn key(&self, number: usize) -> RowKey {
        let positions = self.positions(self.part.key.iter()).unwrap_or_default();
        let values: Vec<&[u8]> = fields(self.lines[number]).collect();
        let value = |at: Option<&usize>| {
            let field = values.get(*at?).copied().filter(|field| !is_null(field))?;
            Some(String::from_utf8_lossy(&unescape(field)).into_owned())
        };
        let names = self.part.key.iter().enumerate();
        RowKey(names.map(|(at, name)| (name.as_str().to_owned(), value(positions.get(at)))).collect())
    }
}

/// A list in live's canonical text.
struct Listed {
    table: TableName,
    columns: Vec<Ident>,
    keys: HashSet<RawKey>,
    /// The same as a list of typed values.
    values: String,
}

/// What is known of excluded rows.
#[derive(Default)]
struct Book {
    lists: Vec<Listed>,
    /// Keys by which others refer to excluded rows.
    parents: HashMap<(TableName, Vec<Ident>), HashSet<RawKey>>,
    /// Keys of listed rows that live has, by table and columns of the key.
    in_live: HashMap<(TableName, Vec<Ident>), HashSet<RawKey>>,
}

impl Book {
    async fn take(
        &mut self,
        reader: &ReadSession,
        plan: &Plan,
        file: &TombstoneFile,
        list: &KeyList,
        committed: usize,
    ) -> Result<(), ApplyError> {
        let values = values(file, list);
        if values.is_empty() {
            return Ok(());
        }
        let sql = format!("copy (select * from (values {values}) as t) to stdout");
        let keys = read(reader, &sql).await.map_err(|error| match error.db() {
            Some(db) => unusable(file, db.message.clone(), committed),
            None => error.into(),
        })?;
        let listed = Listed { table: file.table.clone(), columns: list.columns.clone(), keys, values };
        for reference in plan.tombstones.references.iter().filter(|reference| reference.parent == file.table)
        {
            let columns: Vec<Ident> = reference.columns.iter().map(|(_, parent)| parent.clone()).collect();
            let keys = listed.seen_by(reader, &columns).await?;
            self.parents.entry((file.table.clone(), columns)).or_default().extend(keys);
        }
        self.lists.push(listed);
        Ok(())
    }

    /// Rows that a list names itself.
    async fn named(&mut self, reader: &ReadSession, rows: &Rows<'_>) -> Result<BTreeSet<usize>, PgError> {
        let mut found = BTreeSet::new();
        for list in self.lists.iter().filter(|list| list.table == rows.part.table) {
            let positions = rows.positions(list.columns.iter());
            let (positions, keys) = if let Some(positions) = positions {
                (positions, &list.keys)
            } else {
                let place = (rows.part.table.clone(), rows.part.key.clone());
                if !self.in_live.contains_key(&place) {
                    let keys = list.in_live(reader, &rows.part.key).await?;
                    self.in_live.insert(place.clone(), keys);
                }
                (rows.positions(rows.part.key.iter()).unwrap_or_default(), &self.in_live[&place])
            };
            let is_listed = |at: &usize| rows.raw(*at, &positions).is_some_and(|key| keys.contains(&key));
            found.extend((0..rows.lines.len()).filter(is_listed));
        }
        Ok(found)
    }

    /// Rows that hang on an excluded one by this reference.
    async fn hanging(
        &self,
        reader: &ReadSession,
        reference: &Reference,
        rows: &Rows<'_>,
    ) -> Result<BTreeSet<usize>, PgError> {
        let names = || reference.columns.iter().map(|(child, _)| child);
        let columns: Vec<Ident> = reference.columns.iter().map(|(_, parent)| parent.clone()).collect();
        let Some(keys) = self.parents.get(&(reference.parent.clone(), columns)) else {
            return Ok(BTreeSet::new());
        };
        let sets_it =
            rows.part.action.writes_whole_rows() || names().any(|name| rows.part.columns.contains(name));
        let Some(positions) = rows.positions(names()).filter(|_| sets_it) else { return Ok(BTreeSet::new()) };
        let hangs = |at: &usize| {
            let raw: Vec<&[u8]> = fields(rows.lines[*at]).collect();
            key_in(&reference.paths, &raw, &positions).is_some_and(|key| keys.contains(&key[..]))
        };
        let found: BTreeSet<usize> = (0..rows.lines.len()).filter(hangs).collect();
        match &reference.when {
            // An update does not carry the columns of the condition; it only sets a reference that holds.
            Some(when) if rows.part.action.writes_whole_rows() && !found.is_empty() => {
                holds(reader, reference, when, rows, &found).await
            }
            _ => Ok(found),
        }
    }

    /// Nothing is to hang on this row.
    fn exclude(&mut self, references: &[Reference], rows: &Rows<'_>, number: usize) {
        for reference in references.iter().filter(|reference| reference.parent == rows.part.table) {
            let columns: Vec<Ident> = reference.columns.iter().map(|(_, parent)| parent.clone()).collect();
            let whole = rows.part.action.writes_whole_rows();
            let Some(positions) = rows.positions(columns.iter()).filter(|_| whole) else { continue };
            if let Some(key) = rows.raw(number, &positions) {
                self.parents.entry((rows.part.table.clone(), columns)).or_default().insert(key);
            }
        }
    }
}

impl Listed {
    /// The listed rows by other columns: those of the list itself, or what live holds in them.
    async fn seen_by(&self, reader: &ReadSession, columns: &[Ident]) -> Result<HashSet<RawKey>, PgError> {
        let at = |name: &Ident| self.columns.iter().position(|column| column == name);
        let Some(positions) = columns.iter().map(at).collect::<Option<Vec<usize>>>() else {
            return self.in_live(reader, columns).await;
        };
        let pick = |key: &RawKey| {
            let values: Vec<&[u8]> = fields(key).collect();
            positions.iter().map(|&at| values[at]).collect::<Vec<_>>().join(&b'\t')
        };
        Ok(self.keys.iter().map(pick).collect())
    }

    async fn in_live(&self, reader: &ReadSession, columns: &[Ident]) -> Result<HashSet<RawKey>, PgError> {
        let list = |names: &[Ident]| names.iter().map(Ident::quoted).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "copy (select {} from {} where ({}) in (values {})) to stdout",
            list(columns),
            self.table.quoted(),
            list(&self.columns),
            self.values
        );
        read(reader, &sql).await
    }
}

async fn read(reader: &ReadSession, sql: &str) -> Result<HashSet<RawKey>, PgError> {
    let mut rows = reader.copy_out(WHAT, sql).await?;
    let mut found = HashSet::new();
    while let Some(row) = rows.next_row().await? {
        found.insert(row.to_vec());
    }
    Ok(found)
}

/// Those of the rows for which the condition of a reference holds.
async fn holds(
    reader: &ReadSession,
    reference: &Reference,
    when: &str,
    rows: &Rows<'_>,
    asked: &BTreeSet<usize>,
) -> Result<BTreeSet<usize>, PgError> {
    let carried: Vec<&(Ident, String)> =
        reference.types.iter().filter(|(name, _)| rows.part.columns.contains(name)).collect();
    let positions = rows.positions(carried.iter().map(|(name, _)| name)).unwrap_or_default();
    let mut values = String::new();
    for &number in asked {
        values.push_str(if values.is_empty() { "(" } else { ",\n(" });
        values.push_str(&number.to_string());
        let line: Vec<&[u8]> = fields(rows.lines[number]).collect();
        for (&at, (_, of)) in positions.iter().zip(&carried) {
            values.push(',');
            match line.get(at).copied().filter(|field| !is_null(field)) {
                Some(field) => push_literal(&mut values, &String::from_utf8_lossy(&unescape(field))),
                None => values.push_str("null"),
            }
            values.push_str("::");
            values.push_str(of);
        }
        values.push(')');
    }
    let names: Vec<String> = carried.iter().map(|(name, _)| name.quoted()).collect();
    let sql = format!(
        "select rowback_n from (values {values}) as s(rowback_n, {}) where (\n{when}\n)",
        names.join(", ")
    );
    let answers = reader.text_rows(WHAT, &sql).await?;
    Ok(answers.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse().ok()).collect())
}
