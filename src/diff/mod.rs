//! Holds staging against live and gives each row one verdict. Only reads live, in one snapshot.

mod blocked;
mod charges;
mod conditions;
mod damage;
mod drift;
mod error;
mod identity;
mod judge;
mod lookup;
mod origin;
mod pass;
mod probe;
mod rows;
mod tombstones;
mod verdict;
mod verify_parents;

pub use error::DiffError;
pub use rows::{DiffReader, DiffRow};
pub use verdict::{Evidence, RowAction, Verdict};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::blocked::{Asks, Parents};
use self::drift::{Fit, Fits};
use self::identity::IdentityRule;
use self::judge::{Court, Upward};
use self::pass::{Bench, Tally};
use self::rows::DiffWriter;
use crate::cancel::CancelToken;
use crate::catalog::graph::parents_first;
use crate::catalog::{Action, Catalog, ForeignKey};
use crate::extract::Extracted;
use crate::ident::{Ident, TableName};
use crate::pg::{ReadSession, ServerIdentity, column};
use crate::progress::{SharedProgress, Step};
use crate::recipe::{Changed, Links, Parents as ParentsPolicy, Recipe};
use crate::sql::registry;
use crate::staging::{StagedFile, StagingFormat};

/// Version of `diff/manifest.json`.
pub const FORMAT: u32 = 1;

/// `diff/manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Diffed {
    /// Always [`FORMAT`].
    pub format: u32,
    /// The live database that was read.
    pub live: ServerIdentity,
    /// SHA-256 of `staging/manifest.json`.
    pub staging_sha256: String,
    /// The tables, parents first.
    pub tables: Vec<DiffedTable>,
    /// Lost rows by foreign key, as [`missing_key`] names them.
    pub missing: BTreeMap<String, u64>,
    /// Sequences of live that recovered rows touch.
    pub sequences: Vec<SequenceState>,
    /// Live's structure, of the staged tables and what refers to them, with declared references.
    pub catalog: Catalog,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// How [`Diffed::missing`] names a foreign key: names alone may be the same in many tables.
pub fn missing_key(child: &TableName, foreign_key: &str) -> String {
    format!("{child} {foreign_key}")
}

/// The diff of one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiffedTable {
    /// The table in live.
    pub table: TableName,
    /// The staged file it was made from.
    pub staged: StagedFile,
    /// The diff file.
    pub file: StagedFile,
    /// Live's column for each staged one; `None` for a column that is not compared.
    pub columns: Vec<Option<Ident>>,
    /// Rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Rows by action.
    pub actions: BTreeMap<RowAction, u64>,
    /// Rows that will be written, by evidence.
    pub written: BTreeMap<Evidence, u64>,
}

/// A sequence and what recovered rows mean for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    /// The sequence.
    pub sequence: TableName,
    /// The column that it feeds.
    pub column: Ident,
    /// The highest number of a recovered row.
    pub highest: i64,
    /// Its step.
    pub increment: i64,
    /// The last number it handed out; `None` when it never did.
    pub last_value: Option<i64>,
}

/// Where things are and who may stop us.
pub struct DiffInput<'a> {
    /// The staging directory.
    pub staging: &'a Path,
    /// SHA-256 of its manifest.
    pub staging_sha256: String,
    /// What extraction found.
    pub extracted: &'a Extracted,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Where the diff files go.
    pub directory: &'a Path,
    /// Their format.
    pub format: StagingFormat,
    /// Progress.
    pub progress: &'a SharedProgress,
    /// Stop?
    pub cancel: &'a CancelToken,
}

/// Runs the whole stage over one snapshot of live.
pub async fn run(input: &DiffInput<'_>, session: &ReadSession) -> Result<Diffed, DiffError> {
    let live = live_catalog(input, session).await?;
    let mut fits = Fits::new();
    for file in &input.extracted.files {
        let name = &file.table.table;
        let fit = drift::fit(&file.table, live.tables.get(name), input.recipe.columns.get(name))?;
        fits.insert(name.clone(), fit);
    }
    let tombstones = tombstones::load(session, input.recipe, &fits).await?;
    let courts = courts(input, session, &live, &fits, &tombstones).await?;
    let asks = |upward: &Upward<'_>| {
        if upward.verify || upward.fk.cuts_link() { Asks::Recovered } else { Asks::Blocked }
    };
    let mut parents = Parents::for_foreign_keys(
        courts.values().flat_map(|court| court.upwards.iter().map(|upward| (upward.fk, asks(upward)))),
    );
    let order = parents_first(&fits.keys().cloned().collect(), &live.foreign_keys);
    let mut done: BTreeMap<TableName, (StagedFile, Tally)> = BTreeMap::new();
    for component in &order {
        if component.cyclic {
            survey(input, session, &courts, &component.tables, &mut parents).await?;
        }
        for table in &component.tables {
            done.insert(table.clone(), judge(input, session, &courts[table], &mut parents, false).await?);
        }
    }
    settle(input, session, &courts, &order, &mut parents, &mut done).await?;
    finish(input, session, &live, &fits, &order, done).await
}

/// Live's catalog with the recipe's references, cut to tables that matter.
async fn live_catalog(input: &DiffInput<'_>, session: &ReadSession) -> Result<Catalog, DiffError> {
    use crate::catalog::load::{Place, load};
    let mut live = load(Place::Live(session)).await?;
    let staged: BTreeSet<&TableName> = input.extracted.files.iter().map(|file| &file.table.table).collect();
    live.tables.retain(|name, _| staged.contains(name));
    live.partitions.retain(|_, root| staged.contains(root));
    live.foreign_keys.retain(|fk| staged.contains(&fk.child) || staged.contains(&fk.parent));
    let declared = input.extracted.catalog.foreign_keys.iter().filter(|fk| !fk.is_enforced()).cloned();
    live.declare(declared.collect::<Vec<_>>());
    Ok(live)
}

async fn courts<'a>(
    input: &DiffInput<'a>,
    session: &ReadSession,
    live: &'a Catalog,
    fits: &'a Fits<'a>,
    tombstones: &'a BTreeMap<TableName, tombstones::Tombstones>,
) -> Result<BTreeMap<TableName, Court<'a>>, DiffError> {
    let mut found = BTreeMap::new();
    for (name, fit) in fits {
        let mut entries = input.recipe.recover.iter().filter(|entry| &entry.table == name);
        let given = entries.find(|entry| !entry.identity.is_empty());
        let identity: Vec<Ident> = given.map(|entry| entry.identity.clone()).unwrap_or_default();
        let mut upwards = Vec::new();
        for fk in live.parents_of(name) {
            upwards.extend(upward(input, session, fit, fits, fk).await?);
        }
        let leaves = input.recipe.recover.iter().all(|entry| entry.links == Links::Leave);
        let court = Court {
            fit,
            identity: IdentityRule::of(fit, &identity, live.parents_of(name)),
            upwards,
            tombstones: tombstones.get(name),
            charges: charges::of(input.recipe, fit)?,
            changed: input.recipe.policy.changed,
            links: if leaves { Links::Leave } else { Links::Repair },
        };
        damage::check(session, &court).await?;
        found.insert(name.clone(), court);
    }
    Ok(found)
}

async fn upward<'a>(
    input: &DiffInput<'_>,
    session: &ReadSession,
    fit: &Fit<'_>,
    fits: &Fits<'_>,
    fk: &'a ForeignKey,
) -> Result<Option<Upward<'a>>, DiffError> {
    let Some(columns) = fit.positions(fk.child_columns()) else { return Ok(None) };
    let known = input
        .extracted
        .catalog
        .foreign_keys
        .iter()
        .any(|old| old.child == fk.child && old.parent == fk.parent && old.columns == fk.columns);
    let all_staged =
        known && fits.contains_key(&fk.parent) && input.recipe.policy.parents == ParentsPolicy::Missing;
    let mut set = Vec::new();
    if fk.cuts_link() {
        for name in &fk.set_columns {
            let Some(at) = fit.position(name) else { continue };
            let value = match fk.on_delete {
                Action::SetDefault => default_value(session, fit, at).await?,
                _ => Box::from(&b"\\N"[..]),
            };
            set.push((at, value));
        }
    }
    Ok(Some(Upward { fk, columns, set, verify: fk.is_enforced() && !all_staged }))
}

async fn default_value(session: &ReadSession, fit: &Fit<'_>, at: usize) -> Result<Box<[u8]>, DiffError> {
    let column = fit.columns[at].live;
    let default = column.default.as_deref().unwrap_or("null");
    let sql = format!("copy (select ({default})::{}) to stdout", column.type_name);
    let mut rows = session.copy_out("reading a column's default", &sql).await?;
    let mut value = Box::from(&b"\\N"[..]);
    while let Some(row) = rows.next_row().await? {
        value = row.as_ref().into();
    }
    Ok(value)
}

/// Rows that refer to each other: passed over without writing until nothing new is learned.
async fn survey(
    input: &DiffInput<'_>,
    session: &ReadSession,
    courts: &BTreeMap<TableName, Court<'_>>,
    tables: &[TableName],
    parents: &mut Parents,
) -> Result<(), DiffError> {
    loop {
        let mut learned = false;
        for table in tables {
            let court = &courts[table];
            learned |= pass::run(court, &bench(input, session, court)?, parents, None, false).await?.learned;
        }
        if !learned {
            return Ok(());
        }
    }
}

fn bench<'a>(
    input: &'a DiffInput<'_>,
    session: &'a ReadSession,
    court: &Court<'_>,
) -> Result<Bench<'a>, DiffError> {
    let name = &court.fit.live.name;
    let file = input.extracted.files.iter().find(|file| &file.table.table == name);
    let file = file.ok_or_else(|| DiffError::TableGone { table: name.clone() })?;
    Ok(Bench { session, staging: input.staging, file, progress: input.progress, cancel: input.cancel })
}

async fn judge(
    input: &DiffInput<'_>,
    session: &ReadSession,
    court: &Court<'_>,
    parents: &mut Parents,
    settled: bool,
) -> Result<(StagedFile, Tally), DiffError> {
    let bench = bench(input, session, court)?;
    input.progress.start(Step::Diff, &court.fit.live.name.to_string(), Some(bench.file.rows));
    let mut writer = DiffWriter::create(input.directory, court.fit, input.format)?;
    let tally = pass::run(court, &bench, parents, Some(&mut writer), settled).await?;
    let file = writer.finish()?;
    input.progress.finish(Step::Diff);
    Ok((file, tally))
}

/// Lost parents are only wanted where a recovered row refers to them: children first, so that the need of a parent's
/// parent is known.
async fn settle(
    input: &DiffInput<'_>,
    session: &ReadSession,
    courts: &BTreeMap<TableName, Court<'_>>,
    order: &[crate::catalog::graph::Component],
    parents: &mut Parents,
    done: &mut BTreeMap<TableName, (StagedFile, Tally)>,
) -> Result<(), DiffError> {
    for component in order.iter().rev() {
        let with_parents: Vec<&TableName> = component
            .tables
            .iter()
            .filter(|table| done.get(*table).is_some_and(|(_, tally)| tally.lost_parents > 0))
            .collect();
        if component.cyclic && !with_parents.is_empty() {
            loop {
                let mut learned = false;
                for table in &component.tables {
                    let court = &courts[table];
                    learned |=
                        pass::run(court, &bench(input, session, court)?, parents, None, true).await?.learned;
                }
                if !learned {
                    break;
                }
            }
        }
        for table in with_parents {
            done.insert(table.clone(), judge(input, session, &courts[table], parents, true).await?);
        }
    }
    Ok(())
}

async fn finish(
    input: &DiffInput<'_>,
    session: &ReadSession,
    live: &Catalog,
    fits: &Fits<'_>,
    order: &[crate::catalog::graph::Component],
    done: BTreeMap<TableName, (StagedFile, Tally)>,
) -> Result<Diffed, DiffError> {
    let mut diffed = Diffed {
        format: FORMAT,
        live: session.identity().await?,
        staging_sha256: input.staging_sha256.clone(),
        tables: Vec::new(),
        missing: BTreeMap::new(),
        sequences: Vec::new(),
        catalog: live.clone(),
        notes: Vec::new(),
    };
    for table in order.iter().flat_map(|component| &component.tables) {
        let (Some((file, tally)), Some(fit)) = (done.get(table), fits.get(table)) else { continue };
        diffed.notes.extend(fit.notes.iter().cloned());
        if tally.gone > 0 {
            diffed.notes.push(format!(
                "{} rows of {table} that the recipe calls damaged are not in live: an entry of kind \"deleted\" would \
                 bring them back",
                tally.gone
            ));
        }
        for (name, count) in &tally.missing {
            *diffed.missing.entry(name.clone()).or_default() += count;
        }
        diffed.sequences.extend(sequences(session, fit, tally).await?);
        diffed.tables.push(diffed_table(input, fit, file, tally));
    }
    Ok(diffed)
}

fn diffed_table(input: &DiffInput<'_>, fit: &Fit<'_>, file: &StagedFile, tally: &Tally) -> DiffedTable {
    let staged = input.extracted.files.iter().find(|staged| staged.table.table == fit.live.name);
    let staged = staged.unwrap_or(file).clone();
    let columns = (0..staged.table.columns.len())
        .map(|at| {
            fit.columns.iter().find(|column| column.staged == at).map(|column| column.live.name.clone())
        })
        .collect();
    DiffedTable {
        table: fit.live.name.clone(),
        staged,
        file: file.clone(),
        columns,
        verdicts: tally.verdicts.clone(),
        actions: tally.actions.clone(),
        written: tally.written.clone(),
    }
}

/// Where live's sequences stand that feed columns of recovered rows.
async fn sequences(
    session: &ReadSession,
    fit: &Fit<'_>,
    tally: &Tally,
) -> Result<Vec<SequenceState>, DiffError> {
    const WHAT: &str = "reading a sequence";
    let mut found = Vec::new();
    for (name, highest) in &tally.highest {
        let Some(sequence) = fit.live.column(name).and_then(|column| column.sequence.clone()) else {
            continue;
        };
        let (schema, inner) = (sequence.schema.as_str(), sequence.name.as_str());
        for row in session.query(&registry::DIFF_SEQUENCE, &[&schema, &inner]).await? {
            found.push(SequenceState {
                sequence: sequence.clone(),
                column: name.clone(),
                highest: *highest,
                increment: column(&row, "increment_by", WHAT)?,
                last_value: column(&row, "last_value", WHAT)?,
            });
        }
    }
    Ok(found)
}

/// The recipe may say that a conflict ends the recovery.
pub fn fail_where_told(recipe: &Recipe, diffed: &Diffed) -> Result<(), DiffError> {
    use crate::recipe::Recreated;
    let count = |verdict: Verdict| -> u64 {
        diffed.tables.iter().filter_map(|table| table.verdicts.get(&verdict)).sum()
    };
    let told = [
        (recipe.policy.changed == Changed::Fail, Verdict::Changed),
        (recipe.policy.recreated == Recreated::Fail, Verdict::Recreated),
    ];
    for (fails, verdict) in told {
        if fails && count(verdict) > 0 {
            return Err(DiffError::ToldToFail { verdict, rows: count(verdict) });
        }
    }
    Ok(())
}
