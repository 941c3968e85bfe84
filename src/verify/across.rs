//! Does anything point across owners? Rows that hang on one that went home and have the owner that this had may be as misrouted:
//! their owner is in a column of their own, which no reference moves, or they came since. Where an entry of the recipe is about
//! their table, it speaks for those that the backup has under that owner, or to whom `owner_from` gives it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use serde_json::Value;

use super::certificate::Problem;
use super::checking::Checking;
use super::{VerifyError, VerifyInput};
use crate::apply::RowKey;
use crate::catalog::{Column, ForeignKey, RawFields, Relation, Table};
use crate::diff::{DiffReader, DiffedTable, FOUND, OwnerBeside, RowAction, Verdict, set_search_path};
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::staging::{ReadAhead, StagedFile, verify_sha256};
use crate::value::copy_text::{RawKey, fields, push_field, text};

const LOOKING: &str = "looking for rows that point across owners";

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

/// What one entry of the recipe says about misrouted rows.
pub struct Owned<'a> {
    /// Their table.
    pub table: TableName,
    /// The column that says to whom they belong.
    pub owner: Ident,
    /// The expression over live's row that gives the true owner; without it the backup's value is the truth.
    pub by_path: Option<&'a str>,
}

/// Rows that may point across owners.
struct Below<'a> {
    /// The reference by which they hang.
    fk: &'a ForeignKey,
    /// Their table.
    child: &'a Table,
    /// The column of their owner.
    owner: &'a Ident,
    /// That of the row on which they hang.
    above: &'a Ident,
    /// What entries about the table say of their true owner.
    paths: Vec<&'a str>,
    /// The table's staged rows, where an entry goes by the backup.
    staged: Option<&'a DiffedTable>,
}

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
                    for owner in self.owners().into_iter().filter(|owner| row.columns.contains(*owner)) {
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

    /// The columns that say to whom rows belong.
    fn owners(&self) -> BTreeSet<&'a Ident> {
        let input: &'a VerifyInput<'a> = self.input;
        input
            .owners
            .iter()
            .map(|owned| &owned.owner)
            .chain(self.carried().map(|beside| &beside.owner))
            .collect()
    }

    /// The owners that rows carry beside a reference; live may call them otherwise in parent and child.
    fn carried(&self) -> impl Iterator<Item = &'a OwnerBeside> + use<'a> {
        let input: &'a VerifyInput<'a> = self.input;
        input.diffed.convoys.iter().flat_map(|convoy| &convoy.following).flat_map(|table| &table.beside)
    }

    /// The references to a table, without those that carry the owner themselves, each with the owner that both sides have.
    fn below(&self, table: &TableName) -> Vec<Below<'a>> {
        let input: &'a VerifyInput<'a> = self.input;
        let catalog = &input.diffed.catalog;
        let Some(parent) = catalog.tables.get(table) else { return Vec::new() };
        let mut found = Vec::new();
        for fk in catalog.foreign_keys.iter().filter(|fk| &fk.parent == table && !fk.is_over_time()) {
            let Some(child) = catalog.tables.get(&fk.child) else { continue };
            for above in self.owners() {
                let renamed = self
                    .carried()
                    .find(|beside| beside.foreign_key.is_like(fk) && &beside.owner_above == above);
                let owner = renamed.map_or(above, |beside| &beside.owner);
                let in_reference = fk.columns.iter().any(|(down, _)| down == owner);
                if child.column(owner).is_some() && parent.column(above).is_some() && !in_reference {
                    let own = |owned: &&Owned<'a>| owned.table == fk.child && &owned.owner == owner;
                    let own: Vec<&'a Owned<'a>> = input.owners.iter().filter(own).collect();
                    let by_backup = own.iter().any(|owned| owned.by_path.is_none());
                    let mut tables = input.diffed.tables.iter();
                    let staged = tables.find(|table| by_backup && table.table == fk.child);
                    let paths = own.iter().filter_map(|owned| owned.by_path).collect();
                    found.push(Below { fk, child, owner, above, paths, staged });
                }
            }
        }
        found
    }

    /// Of these values of `positions`, those that a staged row has: the backup knows the row under that owner.
    fn vouched(
        &self,
        table: &DiffedTable,
        positions: &[usize],
        asked: &HashSet<&RawKey>,
    ) -> Result<HashSet<RawKey>, VerifyError> {
        let mut found = HashSet::new();
        if asked.is_empty() {
            return Ok(found);
        }
        let staging = self.input.case.join("staging");
        verify_sha256(&staging, &table.staged)?;
        let mut rows = ReadAhead::open(&staging, &table.staged)?;
        while let Some(row) = rows.next_row()? {
            let all: Vec<&[u8]> = fields(row).collect();
            let values: Vec<&[u8]> = positions.iter().filter_map(|at| all.get(*at).copied()).collect();
            let values = RawKey::from_slice(&values.join(&b'\t'));
            if asked.contains(&values) {
                found.insert(values);
            }
        }
        Ok(found)
    }

    async fn look_below(
        &mut self,
        session: &ReadSession,
        (source, below): (&Source<'_>, &[Below<'a>]),
        moved: &[(Ident, Moved)],
        told: &mut BTreeSet<(TableName, RowKey)>,
    ) -> Result<(), VerifyError> {
        let Some(parent) = self.input.diffed.catalog.tables.get(source.table) else { return Ok(()) };
        for below in below {
            let Below { fk, child, owner, above, .. } = *below;
            let rows: Vec<&Moved> = moved.iter().filter(|(of, _)| of == above).map(|(_, row)| row).collect();
            let columns: Option<Vec<&Column>> =
                source.key.iter().chain([above]).map(|name| parent.column(name)).collect();
            let Some(columns) = columns.filter(|_| !rows.is_empty()) else { continue };
            let key = child.key_columns().unwrap_or_default();
            // What the backup knows is by the key of staging.
            let known = below.staged.map(|table| known_by(table, owner));
            let asked: Vec<Ident> =
                key.iter().chain(known.iter().flat_map(|(names, _)| names)).cloned().collect();
            let sql = left_behind(below, parent, &source.key, (&columns, &rows), &asked);
            set_search_path(session, LOOKING, &format!("{}, public", child.name.schema.quoted())).await?;
            let mut found = session.copy_out(LOOKING, &sql).await?;
            let mut left: BTreeMap<RowKey, RawKey> = BTreeMap::new();
            while let Some(row) = found.next_row().await? {
                let all: Vec<&[u8]> = fields(&row).collect();
                let values = all.iter().map(|field| text(field));
                let row = RowKey(key.iter().map(ToString::to_string).zip(values).collect());
                left.insert(row, all.get(key.len()..).unwrap_or_default().join(&b'\t').into());
            }
            set_search_path(session, LOOKING, "").await?;
            if let (Some(table), Some((_, positions))) = (below.staged, known) {
                let vouched = self.vouched(table, &positions, &left.values().collect())?;
                left.retain(|_, values| !vouched.contains(values));
            }
            for key in left.into_keys() {
                if told.insert((child.name.clone(), key.clone())) {
                    let problem = Problem::Across { foreign_key: fk.name.clone(), owner: owner.to_string() };
                    self.mismatch((&child.name, &child.name), &key, problem);
                }
            }
        }
        Ok(())
    }
}

/// The columns of live by which staged rows are known, the owner last, and where they are in the file.
fn known_by(table: &DiffedTable, owner: &Ident) -> (Vec<Ident>, Vec<usize>) {
    let mut names = Vec::new();
    let mut positions = Vec::new();
    let of_owner = table.columns.iter().position(|column| column.as_ref() == Some(owner));
    for at in table.staged.table.key.iter().copied().chain(of_owner) {
        if let Some(Some(name)) = table.columns.get(at) {
            names.push(name.clone());
            positions.push(at);
        }
    }
    (names, positions)
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
        for moved in convoy.following.iter().filter(|moved| moved.file.rows > 0) {
            let directory = diff.join(&convoy.directory);
            let key = moved.key.clone();
            found.push(Source { table: &moved.table, directory, file: &moved.file, key, grouped: true });
        }
    }
    found
}

/// Whose true owner by an expression of the recipe, over the row `c` under the names that it has there, is another one; the row is
/// left where the expression gives none.
fn contradicts(number: usize, path: &str, Below { child, owner, .. }: &Below<'_>) -> (String, String) {
    let alias = child.name.name.quoted();
    let as_live = if child.name.name.as_str() == "live" {
        String::new()
    } else {
        format!(" cross join lateral (select {alias}.*) as live")
    };
    let kind = child.column(owner).map_or("text", |column| column.type_name.as_str());
    (
        format!(
            " cross join lateral (select (\n{path}\n)::{kind}::text as owner from (select c.*) as {alias}{as_live}) as w{number}"
        ),
        format!(
            " and w{number}.owner is not null and w{number}.owner <> coalesce(c.{}::text, '')",
            owner.quoted()
        ),
    )
}

/// Columns `shown` of the child's rows that hang on rows of these and still have the owner that these had.
fn left_behind(
    below: &Below<'_>,
    parent: &Table,
    key: &[Ident],
    (columns, rows): (&[&Column], &[&Moved]),
    shown: &[Ident],
) -> String {
    let Below { fk, child, owner, above, .. } = below;
    let (paths, otherwise): (Vec<String>, Vec<String>) =
        (1..).zip(&below.paths).map(|(number, path)| contradicts(number, path, below)).unzip();
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
    let kind = |table: &Table, name: &Ident| table.column(name).map(|column| column.type_name.clone());
    let as_text = if kind(child, owner) == kind(parent, above) { "" } else { "::text" };
    let condition = fk.when().map_or(String::new(), |when| format!(" where (\n{when}\n)"));
    let (own, over, had) = (owner.quoted(), above.quoted(), names.last().map_or("", String::as_str));
    sql.push_str(&format!(
        " as k(n, {}) join {} as p on {} join (select * from {}{condition}) as c on {}{} \
         where c.{own}{as_text} is not distinct from k.{had}{as_text} and p.{over} is distinct from k.{had}{}) to stdout",
        names.join(", "),
        parent.from_sql(),
        itself.join(" and "),
        child.from_sql(),
        hangs.join(" and "),
        paths.concat(),
        otherwise.concat(),
    ));
    sql
}

fn raw(value: Option<&str>) -> RawKey {
    let mut field = Vec::new();
    push_field(&mut field, true, value.map(str::as_bytes));
    RawKey::from_slice(&field)
}
