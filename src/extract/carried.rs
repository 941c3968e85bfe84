//! Rows below misrouted ones that had the same owner as these in the backup, in a column of their own that no reference
//! carries. Columns of one name need not mean the same, and rows may be of another owner on purpose: only of those that carried
//! their parent's owner in the backup is it known that they carry it on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chosen::{Chosen, child_source, join_condition, number, side_name};
use super::export::StagingFile;
use super::{Entry, ExtractError, ExtractOptions, keys, resolve};
use crate::catalog::graph::parents_first;
use crate::catalog::{Catalog, ForeignKey, Table, quoted_list};
use crate::ident::{Ident, TableName};
use crate::progress::SharedProgress;
use crate::recipe::{Kind, Recipe};
use crate::scratch::choice::{Choice, KeyMatch, Wish};
use crate::scratch::{Request, Scratch};
use crate::staging::{StagedFile, make_directory};

const WHAT: &str = "looking for rows that carry an owner";

/// Folder inside staging for the files of such rows.
pub const CARRIED: &str = "carried";

/// Rows of one table that had the owner of the row that they hang on by a reference. Names are the backup's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Carried {
    /// The reference; it does not hold the owner itself.
    pub foreign_key: ForeignKey,
    /// The column that names the owner, of both tables.
    pub owner: Ident,
    /// What names a row, the owner aside.
    pub key: Vec<Ident>,
    /// The folder of the file, inside staging.
    pub directory: String,
    /// Key and referring columns of the rows.
    pub file: StagedFile,
}

/// A reference that leads down from rows whose owner was set right.
struct Way<'c> {
    fk: &'c ForeignKey,
    /// The column that names the owner in the parent.
    owner: Ident,
    /// Is it in the reference? Then PostgreSQL holds both sides together.
    in_reference: bool,
}

/// What leads down from the rows of one table's misrouted entries.
pub(super) struct Descent<'c> {
    table: &'c TableName,
    ways: Vec<Way<'c>>,
}

/// Where rows may carry an owner beside a reference; empty where no such reference leads down from a misrouted row.
pub(super) fn descents<'c>(recipe: &'c Recipe, catalog: &'c Catalog) -> Vec<Descent<'c>> {
    let mut found: BTreeMap<(&TableName, &Ident), Descent<'_>> = BTreeMap::new();
    let misrouted =
        recipe.recover.iter().filter(|entry| entry.kind == Kind::Misrouted && entry.misrouted_to.is_none());
    for entry in misrouted {
        let Some(owner) = &entry.owner else { continue };
        let following = super::Following::of(&entry.children);
        let ways = ways(recipe, catalog, (&entry.table, owner), |fk| following.follows(fk));
        if ways.iter().any(|way| !way.in_reference) {
            found.insert((&entry.table, owner), Descent { table: &entry.table, ways });
        }
    }
    found.into_values().collect()
}

fn ways<'c>(
    recipe: &Recipe,
    catalog: &'c Catalog,
    (table, owner): (&'c TableName, &Ident),
    follows: impl Fn(&ForeignKey) -> bool,
) -> Vec<Way<'c>> {
    let judged = |table: &TableName, owner: &Ident| {
        recipe.recover.iter().any(|entry| {
            entry.kind == Kind::Misrouted && &entry.table == table && entry.owner.as_ref() == Some(owner)
        })
    };
    let mut moving: BTreeMap<&TableName, Ident> = BTreeMap::from([(table, owner.clone())]);
    let mut open = vec![table];
    let mut found = Vec::new();
    while let Some(parent) = open.pop() {
        let own = moving[parent].clone();
        for fk in catalog.foreign_keys.iter().filter(|fk| &fk.parent == parent && fk.child != fk.parent) {
            if fk.is_over_time() || fk.has_paths() {
                continue;
            }
            let carried = fk.columns.iter().find(|(_, up)| *up == own).map(|(down, _)| down.clone());
            let in_reference = carried.is_some();
            let beside = || {
                let alike = follows(fk) && have_alike(recipe, catalog, fk, &own) && !judged(&fk.child, &own);
                alike.then(|| own.clone())
            };
            let Some(below) = carried.or_else(beside) else { continue };
            match moving.get(&fk.child) {
                Some(known) if *known != below => continue,
                Some(_) => {}
                None => {
                    moving.insert(&fk.child, below);
                    open.push(&fk.child);
                }
            }
            found.push(Way { fk, owner: own.clone(), in_reference });
        }
    }
    let references: Vec<ForeignKey> = found.iter().map(|way| way.fk.clone()).collect();
    let order = parents_first(&moving.into_keys().cloned().collect(), &references);
    let place = |table: &TableName| order.iter().position(|component| component.tables.contains(table));
    found.sort_by_key(|way| place(&way.fk.child));
    found
}

/// Do both tables have the owner in a column of this name, outside of the reference, and can the child's rows be named without it?
fn have_alike(recipe: &Recipe, catalog: &Catalog, fk: &ForeignKey, owner: &Ident) -> bool {
    let table = |name: &TableName| catalog.tables.get(name);
    let (Some(child), Some(parent)) = (table(&fk.child), table(&fk.parent)) else { return false };
    let kind = |table: &Table| table.column(owner).map(|column| column.type_name.clone());
    kind(child).is_some()
        && kind(child) == kind(parent)
        && !fk.columns.iter().any(|(down, _)| down == owner)
        && child.column(owner).is_some_and(|column| !column.generated)
        && key_without(recipe, child, owner).is_some()
}

/// What names a row when its owner may be wrong.
fn key_without(recipe: &Recipe, table: &Table, owner: &Ident) -> Option<Vec<Ident>> {
    let mut key = resolve::key_of(recipe, table).ok()?;
    key.retain(|name| name != owner);
    (!key.is_empty()).then_some(key)
}

/// Finds and stages the rows below the misrouted ones that carried their owner.
pub(super) async fn find(
    (chosen, scratch): (&mut Chosen<'_>, &Scratch),
    recipe: &Recipe,
    (entries, descents): (&[Entry<'_>], &[Descent<'_>]),
    (staging, options, progress): (&Path, &ExtractOptions, &SharedProgress),
) -> Result<Vec<Carried>, ExtractError> {
    let mut found: Vec<Carried> = Vec::new();
    for (at, descent) in descents.iter().enumerate() {
        let mut below = Below { chosen: &mut *chosen, scratch, at, made: BTreeSet::new() };
        let of_live = entries.iter().any(|entry| &entry.table.name == descent.table && !entry.reads_backup());
        below.begin(descent.table, of_live).await?;
        below.follow(&descent.ways).await?;
        for way in descent.ways.iter().filter(|way| !way.in_reference) {
            let child = below.chosen.table(&way.fk.child)?;
            let Some(key) = key_without(recipe, child, &way.owner) else { continue };
            let directory = format!("{CARRIED}/{:04}", found.len() + 1);
            make_directory(&staging.join(CARRIED))?;
            let path = staging.join(&directory);
            make_directory(&path)?;
            let to = (path.as_path(), options.format);
            if let Some(file) = below.stage(way, &key, to, progress).await? {
                let (foreign_key, owner) = (way.fk.clone(), way.owner.clone());
                found.push(Carried { foreign_key, owner, key, directory, file });
            }
        }
    }
    Ok(found)
}

/// The rows below those of one table: places in scratch, in side tables of their own.
struct Below<'b, 'c> {
    chosen: &'b mut Chosen<'c>,
    scratch: &'b Scratch,
    at: usize,
    made: BTreeSet<TableName>,
}

impl Below<'_, '_> {
    fn side(&self, table: &Table) -> String {
        format!("rowback_scratch.carried_{}_{}", self.at, table.oid)
    }

    async fn make(&mut self, table: &Table) -> Result<String, ExtractError> {
        let side = self.side(table);
        if self.made.insert(table.name.clone()) {
            let create = format!("create unlogged table {side} (tab oid not null, place tid not null)");
            self.chosen.session.execute(WHAT, &create).await?;
        }
        Ok(side)
    }

    /// The rows from which all begins: those that entries chose, or every row where live finds them.
    async fn begin(&mut self, table: &TableName, of_live: bool) -> Result<(), ExtractError> {
        let table = self.chosen.table(table)?;
        let side = self.make(table).await?;
        let from = if of_live {
            let why = "rows below them may carry their owner";
            self.scratch.load(&table.name, Choice::All, why).await?;
            format!("select tableoid, ctid from {}", table.from_sql())
        } else {
            self.chosen.side_table(&table.name).await?;
            format!("select distinct tab, place from {}", side_name(table))
        };
        let insert = format!("insert into {side} {from}; analyze {side}");
        Ok(self.chosen.session.execute(WHAT, &insert).await?)
    }

    /// Goes down until nothing new is found; tables that refer to each other may take several turns.
    async fn follow(&mut self, ways: &[Way<'_>]) -> Result<(), ExtractError> {
        let mut done: Vec<u64> = vec![0; ways.len()];
        loop {
            let mut added = 0;
            // What does not hang on each other is read side by side.
            let mut side_by_side: Vec<&Way<'_>> = Vec::new();
            for (way, done) in ways.iter().zip(&mut done) {
                if side_by_side.iter().any(|before| before.fk.child == way.fk.parent) {
                    added += self.add_all(std::mem::take(&mut side_by_side)).await?;
                }
                let parent = self.chosen.table(&way.fk.parent)?;
                let from = self.make(parent).await?;
                let rows = self.count(&format!("select count(*) from {from}")).await?;
                if rows > *done {
                    *done = rows;
                    side_by_side.push(way);
                }
            }
            added += self.add_all(side_by_side).await?;
            if added == 0 {
                return Ok(());
            }
        }
    }

    async fn add_all(&mut self, ways: Vec<&Way<'_>>) -> Result<u64, ExtractError> {
        let (mut requests, mut memory) = (Vec::new(), 0);
        for way in &ways {
            requests.push(self.wanted(way, &mut memory).await?);
        }
        self.scratch.load_all(requests).await?;
        let mut added = 0;
        for way in ways {
            added += self.add(way).await?;
        }
        Ok(added)
    }

    async fn count(&self, sql: &str) -> Result<u64, ExtractError> {
        Ok(number(&self.chosen.session.text_rows(WHAT, sql).await?))
    }

    /// The rows that refer to the rows found so far.
    async fn wanted(&self, Way { fk, .. }: &Way<'_>, memory: &mut usize) -> Result<Request, ExtractError> {
        let (child, parent) = (self.chosen.table(&fk.child)?, self.chosen.table(&fk.parent)?);
        let side = self.side(parent);
        let columns = quoted_list("p.", fk.parent_columns());
        let sql = format!(
            "copy (select distinct {columns} from {} as p join {side} as h on h.tab = p.tableoid and h.place = p.ctid) to stdout",
            parent.from_sql()
        );
        let by = format!("rows that may carry an owner by {}", fk.name);
        Ok(match keys::sort(fk, child, parent, self.scratch.encoding()) {
            Err(why) => Request::new(&fk.child, Choice::All, format!("{by}; {why}")),
            Ok(sort) => match keys::read(self.chosen.session, self.scratch, &sql, sort, memory).await? {
                keys::Found::TooMany => Request::new(&fk.child, Choice::All, keys::too_many(fk)),
                keys::Found::Keys(keys) => {
                    let columns = fk.child_columns().cloned().collect();
                    Request::new(&fk.child, Choice::AnyOf(vec![Wish::Keys(KeyMatch { columns, keys })]), by)
                }
            },
        })
    }

    /// The child's rows `c` that hang on rows found so far and have their owner.
    fn rows_below(&self, way: &Way<'_>) -> Result<String, ExtractError> {
        let Way { fk, owner, in_reference } = way;
        let (child, parent) = (self.chosen.table(&fk.child)?, self.chosen.table(&fk.parent)?);
        let alike = if *in_reference {
            String::new()
        } else {
            format!(" and c.{0}::text = p.{0}::text", owner.quoted())
        };
        Ok(format!(
            "{} as c join {} as p on {} join {} as h on h.tab = p.tableoid and h.place = p.ctid{alike}",
            child_source(fk, child),
            parent.from_sql(),
            join_condition(fk, child, parent),
            self.side(parent),
        ))
    }

    async fn add(&mut self, way: &Way<'_>) -> Result<u64, ExtractError> {
        let child = self.chosen.table(&way.fk.child)?;
        let side = self.make(child).await?;
        let insert = format!(
            "with added as (insert into {side} select distinct c.rowback_tab, c.rowback_place from {} where not exists \
             (select from {side} as o where o.tab = c.rowback_tab and o.place = c.rowback_place) returning 1) select count(*) from added",
            self.rows_below(way)?
        );
        let added = self.count(&insert).await?;
        self.chosen.session.execute(WHAT, &format!("analyze {side}")).await?;
        Ok(added)
    }

    /// Writes the rows that carry their owner beside a reference: what names them, and what they refer to.
    async fn stage(
        &self,
        way: &Way<'_>,
        key: &[Ident],
        to: (&Path, crate::staging::StagingFormat),
        progress: &SharedProgress,
    ) -> Result<Option<StagedFile>, ExtractError> {
        let child = self.chosen.table(&way.fk.child)?;
        let wanted: BTreeSet<&Ident> = key.iter().chain(way.fk.child_columns()).collect();
        let mut cut = child.clone();
        cut.columns.retain(|column| wanted.contains(&column.name));
        let columns = quoted_list("c.", cut.column_names());
        let sql = format!(
            "copy (select {columns}, null from {} order by {}) to stdout",
            self.rows_below(way)?,
            quoted_list("c.", key)
        );
        let file = StagingFile::new(&cut, &key.to_vec(), to);
        let refused = |source| ExtractError::reading(&child.name, source);
        file.write((self.chosen.session, &sql), progress, refused).await
    }
}
