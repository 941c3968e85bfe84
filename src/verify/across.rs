//! Does anything point across owners? Rows that hang on one that went home and have the owner that this had may be as misrouted:
//! their owner is in a column of their own, which no reference moves, or they came since. Where an entry of the recipe is about
//! their table, that has judged them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::certificate::Problem;
use super::checking::Checking;
use super::{VerifyError, VerifyInput};
use crate::apply::RowKey;
use crate::catalog::{Column, ForeignKey, RawFields, Relation, Table};
use crate::diff::{DiffReader, FOUND, RowAction, Verdict};
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::staging::{StagedFile, verify_sha256};
use crate::value::copy_text::{RawKey, fields, push_field, text};

/// Rows that are asked about together.
const AT_ONCE: usize = 1000;

/// A row that went home: its key, then the owner that it had, as raw COPY fields.
struct Moved(Vec<RawKey>);

impl RawFields for Moved {
    fn raw(&self, position: usize) -> Option<&[u8]> {
        self.0.get(position).map(|field| &**field)
    }
}

/// A file of rows of one table that may have gone home.
struct Source<'f> {
    table: &'f TableName,
    directory: std::path::PathBuf,
    file: &'f StagedFile,
    /// Columns of the key; the number of a group may stand before them.
    key: Vec<Ident>,
    grouped: bool,
}

/// A reference, the table that refers, and the owner that both sides have.
type Below<'a> = (&'a ForeignKey, &'a Table, &'a Ident);

impl<'a> Checking<'a> {
    /// Looks below all rows whose owner was set right.
    pub(super) async fn across(&mut self, session: &ReadSession) -> Result<(), VerifyError> {
        let mut told = BTreeSet::new();
        for source in sources(self.input.case, self.input.diffed) {
            let below = self.below(source.table);
            if below.is_empty() {
                continue;
            }
            verify_sha256(&source.directory, source.file)?;
            let mut rows = DiffReader::open(&source.directory, source.file)?;
            let mut moved: Vec<(Ident, Moved)> = Vec::new();
            loop {
                let next = rows.next_row()?;
                let ended = next.is_none();
                let home = next.filter(|row| {
                    row.verdict == Verdict::Misrouted
                        && matches!(row.action, RowAction::Update | RowAction::None)
                });
                if let Some(row) = home {
                    let key: Vec<RawKey> = row
                        .key
                        .iter()
                        .skip(usize::from(source.grouped))
                        .map(|value| raw(Some(value)))
                        .collect();
                    let live = row.live.unwrap_or_default();
                    for (_, owner) in
                        self.input.owners.iter().filter(|(_, owner)| row.columns.contains(owner))
                    {
                        let of =
                            |values: &serde_json::Map<String, Value>| values.get(owner.as_str()).cloned();
                        let had = of(&live).unwrap_or(Value::Null);
                        if of(&row.backup).is_some_and(|truth| truth != had) {
                            let mut fields = key.clone();
                            fields.push(raw(had.as_str()));
                            moved.push((owner.clone(), Moved(fields)));
                        }
                    }
                }
                if moved.len() >= AT_ONCE || ended {
                    self.look_below(session, (&source, &below), &moved, &mut told).await?;
                    moved.clear();
                }
                if ended {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The references to a table, without those that carry the owner themselves, each with the owner that both sides have.
    fn below(&self, table: &TableName) -> Vec<Below<'a>> {
        let input: &'a VerifyInput<'a> = self.input;
        let catalog = &input.diffed.catalog;
        let Some(parent) = catalog.tables.get(table) else { return Vec::new() };
        let mut found = Vec::new();
        for fk in catalog.foreign_keys.iter().filter(|fk| &fk.parent == table && !fk.is_over_time()) {
            let Some(child) = catalog.tables.get(&fk.child) else { continue };
            let judged = |owner: &Ident| input.owners.contains(&(fk.child.clone(), owner.clone()));
            let owners: BTreeSet<&'a Ident> = input.owners.iter().map(|(_, owner)| owner).collect();
            for owner in owners.into_iter().filter(|owner| !judged(owner)) {
                let of = |table: &Table| table.column(owner).map(|column| column.type_name.clone());
                let carries = fk.columns.iter().any(|(down, up)| down == owner || up == owner);
                if of(child).is_some() && of(child) == of(parent) && !carries {
                    found.push((fk, child, owner));
                }
            }
        }
        found
    }

    async fn look_below(
        &mut self,
        session: &ReadSession,
        (source, below): (&Source<'_>, &[Below<'a>]),
        moved: &[(Ident, Moved)],
        told: &mut BTreeSet<(TableName, RowKey)>,
    ) -> Result<(), VerifyError> {
        let Some(parent) = self.input.diffed.catalog.tables.get(source.table) else { return Ok(()) };
        for (fk, child, owner) in below {
            let rows: Vec<&Moved> = moved.iter().filter(|(of, _)| of == *owner).map(|(_, row)| row).collect();
            let columns: Option<Vec<&Column>> =
                source.key.iter().chain([*owner]).map(|name| parent.column(name)).collect();
            let Some(columns) = columns.filter(|_| !rows.is_empty()) else { continue };
            let key = child.key_columns().unwrap_or_default();
            let sql = left_behind((fk, parent, child), (&source.key, owner), (&columns, &rows), &key);
            let mut found = session.copy_out("looking for rows that point across owners", &sql).await?;
            while let Some(row) = found.next_row().await? {
                let values = fields(&row).map(text);
                let key = RowKey(key.iter().map(ToString::to_string).zip(values).collect());
                if told.insert((child.name.clone(), key.clone())) {
                    let problem = Problem::Across { foreign_key: fk.name.clone(), owner: owner.to_string() };
                    self.mismatch((&child.name, &child.name), &key, problem);
                }
            }
        }
        Ok(())
    }
}

/// Every file with rows that may have gone home.
fn sources<'f>(case: &Path, diffed: &'f crate::diff::Diffed) -> Vec<Source<'f>> {
    let diff = case.join("diff");
    let misrouted = |table: &&crate::diff::DiffedTable| {
        table.verdicts.get(&Verdict::Misrouted).is_some_and(|rows| *rows > 0)
    };
    let mut found = Vec::new();
    for table in diffed.tables.iter().filter(misrouted) {
        let key = table.staged.table.key.iter().filter_map(|at| table.columns.get(*at)?.clone());
        let key: Vec<Ident> = key.collect();
        let files = [(Some(&table.file), diff.clone()), (table.found.as_ref(), diff.join(FOUND))];
        for (file, directory) in files {
            let Some(file) = file else { continue };
            found.push(Source { table: &table.table, directory, file, key: key.clone(), grouped: false });
        }
    }
    for convoy in &diffed.convoys {
        for moved in convoy.tables.iter().skip(1).filter(|moved| moved.file.rows > 0) {
            let directory = diff.join(&convoy.directory);
            let key = moved.key.clone();
            found.push(Source { table: &moved.table, directory, file: &moved.file, key, grouped: true });
        }
    }
    found
}

/// Keys of the child's rows that hang on rows of these and still have the owner that these had.
fn left_behind(
    (fk, parent, child): (&ForeignKey, &Table, &Table),
    (key, owner): (&[Ident], &Ident),
    (columns, rows): (&[&Column], &[&Moved]),
    shown: &[Ident],
) -> String {
    let names: Vec<String> = (1..=columns.len()).map(|at| format!("k{at}")).collect();
    let shown: Vec<String> = shown.iter().map(|name| format!("c.{}", name.quoted())).collect();
    let shown = if shown.is_empty() { "null".to_owned() } else { shown.join(", ") };
    let mut sql = format!("copy (select {shown} from ");
    Relation::of(columns.iter().enumerate().map(|(at, column)| (at, *column)))
        .push(&mut sql, rows.iter().copied());
    let itself: Vec<String> = key
        .iter()
        .zip(&names)
        .map(|(name, k)| format!("p.{} {} k.{k}", name.quoted(), parent.equality(name)))
        .collect();
    let cast = if fk.operators.is_empty() { "::text" } else { "" };
    let refers = fk.child_sql("c.");
    let hangs = fk
        .parent_columns()
        .zip(refers)
        .enumerate()
        .map(|(at, (up, down))| format!("p.{}{cast} {} {down}{cast}", up.quoted(), fk.operator(at)));
    let hangs: Vec<String> = hangs.collect();
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    let (own, had) = (owner.quoted(), names.last().map_or("", String::as_str));
    sql.push_str(&format!(
        " as k(n, {}) join {} as p on {} join (select * from {}{condition}) as c on {} \
         where c.{own} is not distinct from k.{had} and p.{own} is distinct from k.{had}) to stdout",
        names.join(", "),
        parent.from_sql(),
        itself.join(" and "),
        child.from_sql(),
        hangs.join(" and "),
    ));
    sql
}

fn raw(value: Option<&str>) -> RawKey {
    let mut field = Vec::new();
    push_field(&mut field, true, value.map(str::as_bytes));
    RawKey::from_slice(&field)
}
