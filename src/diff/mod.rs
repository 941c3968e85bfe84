//! Holds staging against live and gives each row one verdict. Only reads live, in one snapshot.

mod aftermath;
mod ahead;
mod blocked;
mod charges;
mod conditions;
mod constraints;
mod convoy;
mod courts;
mod damage;
mod drift;
mod error;
mod followers;
mod identity;
mod judge;
mod links;
mod lookup;
mod origin;
mod pass;
mod present;
mod privilege;
mod probe;
mod refit;
mod relation;
mod repoint;
mod rows;
mod sink;
mod structure;
mod tombstones;
mod transfer;
mod travel;
mod verdict;
mod verify_parents;

pub use error::DiffError;
pub use identity::{is_creation_time, moves_often, speaks_for_itself};
pub use rows::{DiffReader, DiffRow};
pub use transfer::{TransferFiles, TransferTable};
pub use travel::{ConvoyFiles, ConvoyTable};
pub use verdict::{Evidence, RowAction, Verdict};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tokio::task::JoinError;

use self::blocked::{Asks, Parents};
use self::convoy::Convoy;
use self::drift::{Fit, Fits};
use self::judge::Court;
use self::links::Upward;
use self::pass::{Bench, Output, Phase, Tally};
use self::rows::DiffWriter;
use self::transfer::{Moves, Station};
use self::travel::Travel;
use crate::cancel::CancelToken;
use crate::catalog::graph::{last_below, parents_first};
use crate::catalog::{Catalog, ForeignKey};
use crate::extract::{Extracted, LeftOut};
use crate::ident::{Ident, TableName};
use crate::pg::{ReadSession, ServerIdentity, column};
use crate::progress::{SharedProgress, Step};
use crate::recipe::{Changed, Recipe, Recreated};
use crate::sql::registry;
use crate::staging::{StagedFile, StagingFormat, make_directory};

/// Version of `diff/manifest.json`.
pub const FORMAT: u32 = 1;

/// Folder inside that of the diff for files of rows that were looked for in live.
pub const FOUND: &str = "found";

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
    /// Rows that must change together with rows of these tables.
    #[serde(default)]
    pub convoys: Vec<ConvoyFiles>,
    /// Rows that go from one table to another.
    #[serde(default)]
    pub transfers: Option<TransferFiles>,
    /// Lost rows by foreign key, as [`missing_key`] names them.
    pub missing: BTreeMap<String, u64>,
    /// Sequences of live that recovered rows touch.
    pub sequences: Vec<SequenceState>,
    /// Rows that are not part of the recovery although the recipe seems to mean them.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// Rows of the backup that entries only look at and that live lacks, unless something tells that the accident left them.
    #[serde(default)]
    pub gone: u64,
    /// Live's structure, of the staged tables and what refers to them, with declared references.
    pub catalog: Catalog,
    /// The lists of rows that were deleted on purpose, as they were read.
    #[serde(default)]
    pub tombstones: Vec<TombstonesRead>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A file of `exclude_keys` that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TombstonesRead {
    /// The table whose rows it lists.
    pub table: TableName,
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of what was read.
    pub sha256: String,
}

/// How [`Diffed::missing`] names a foreign key: names alone may be the same in many tables.
pub fn missing_key(child: &TableName, foreign_key: &str) -> String {
    format!("{child} {foreign_key}")
}

impl Diffed {
    /// Rows that are not part of the recovery although the recipe seems to mean them.
    pub fn rows_left_out(&self) -> u64 {
        self.gone + self.rows_of_heirs()
    }

    /// Of them, those of tables that inherit from a table of the recipe.
    pub fn rows_of_heirs(&self) -> u64 {
        self.left_out.iter().map(|left| left.rows).sum()
    }

    /// Rows that move with others, by table: those that are updated, and those that PostgreSQL moves by ON UPDATE CASCADE.
    pub fn followers(&self) -> BTreeMap<TableName, (u64, u64)> {
        let mut found: BTreeMap<TableName, (u64, u64)> = BTreeMap::new();
        for table in self.convoys.iter().flat_map(|convoy| convoy.tables.iter().skip(1)) {
            let (moved, cascaded) = found.entry(table.table.clone()).or_default();
            *moved += table.moved;
            *cascaded += table.cascaded;
        }
        for table in self.transfers.iter().flat_map(|transfers| &transfers.tables) {
            found.entry(table.to.clone()).or_default().0 += table.unlisted;
        }
        found.retain(|_, (moved, cascaded)| *moved + *cascaded > 0);
        found
    }
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
    /// The diff file of rows that were looked for in live, in the folder [`FOUND`]; their counts are among the others.
    #[serde(default)]
    pub found: Option<StagedFile>,
    /// Live's column for each staged one; `None` for a column that is not compared.
    pub columns: Vec<Option<Ident>>,
    /// Rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Rows by action.
    pub actions: BTreeMap<RowAction, u64>,
    /// Rows that will be written, by evidence.
    pub written: BTreeMap<Evidence, u64>,
    /// Rows of a verdict that is a conflict, with which the recipe's policy knows what to do.
    #[serde(default)]
    pub by_policy: BTreeMap<Verdict, u64>,
}

impl DiffedTable {
    /// Rows that are left for a human.
    pub fn conflicts(&self) -> u64 {
        let conflicts = self.verdicts.iter().filter(|(verdict, _)| verdict.is_conflict());
        let settled = |verdict: &Verdict| self.by_policy.get(verdict).copied().unwrap_or(0);
        conflicts.map(|(verdict, rows)| rows.saturating_sub(settled(verdict))).sum()
    }
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
    /// Other sessions that see the same moment of live, to look rows up side by side; none are needed.
    pub lookups: &'a [Arc<ReadSession>],
}

/// What became of a piece of work in a task of its own.
fn joined<T>(ended: Result<T, JoinError>) -> Result<T, DiffError> {
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_stopped) => DiffError::Cancelled,
    })
}

/// Runs the whole stage over one snapshot of live.
pub async fn run(input: &DiffInput<'_>, session: &ReadSession) -> Result<Diffed, DiffError> {
    let live = live_catalog(input, session).await?;
    privilege::check(session, live.tables.keys().collect()).await?;
    let mut fits = Fits::new();
    for file in &input.extracted.files {
        let name = &file.table.table;
        let fit = drift::fit(&file.table, live.tables.get(name), input.recipe.columns.get(name))?;
        fits.insert(name.clone(), fit);
    }
    structure::load_bounds(session, &mut fits).await?;
    let tombstones = tombstones::load(session, input.recipe, &fits).await?;
    let courts = courts::all(input, session, &live, &fits, &tombstones).await?;
    let mut convoys = BTreeMap::new();
    for (table, court) in courts.iter().filter(|(_, court)| court.leads_convoy) {
        convoys.extend(convoy::of(court, &fits, &live, input.recipe)?.map(|convoy| (table.clone(), convoy)));
    }
    let mut scene = Scene { input, session, courts: &courts, convoys: &convoys, moves: Moves::default() };
    let charged = courts
        .values()
        .any(|court| !court.charges.is_empty() || !court.tellers.is_empty() || !court.transfers.is_empty());
    let repoints = input.recipe.policy.recreated == Recreated::Repoint;
    let asks = |upward: &Upward<'_>| {
        if charged || repoints || upward.verify || upward.fk.cuts_link() {
            Asks::Recovered
        } else {
            Asks::Blocked
        }
    };
    let mut parents = Parents::for_foreign_keys(
        courts.values().flat_map(|court| court.upwards.iter().map(|upward| (upward.fk, asks(upward)))),
    )
    .with_aliases(&input.extracted.aliases, input.recipe);
    let away = courts.values().filter(|court| !court.transfers.is_empty());
    let away: BTreeSet<TableName> = away.map(|court| court.fit.live.name.clone()).collect();
    let order = parents_first(&fits.keys().cloned().collect(), &live.foreign_keys);
    let (order, first) = last_below(order, &away, &live.foreign_keys);
    let mut done: BTreeMap<TableName, Judged> = BTreeMap::new();
    for (number, component) in order.iter().enumerate() {
        if number == first && !away.is_empty() {
            let station = Station { input, session, live: &live, fits: &fits, courts: &courts };
            scene.moves = transfer::prepare(&station, &mut parents).await?;
        }
        if component.cyclic {
            survey(&scene, &component.tables, &mut parents).await?;
        }
        for table in &component.tables {
            done.insert(table.clone(), scene.judge(table, &mut parents, Phase::Known).await?);
        }
    }
    settle(&scene, &order, &mut parents, &mut done).await?;
    let mut diffed = finish(input, session, &live, &fits, &order, done).await?;
    diffed.transfers = scene.moves.files.take();
    diffed.sequences.append(&mut scene.moves.sequences);
    diffed.notes.append(&mut scene.moves.notes);
    diffed.tombstones = tombstones::read_of(input.recipe, &tombstones);
    diffed.notes.extend(tombstones::notes(&tombstones));
    structure::refuse_rules(session, &diffed).await?;
    Ok(diffed)
}

/// Live's catalog with the recipe's references, cut to tables that matter.
async fn live_catalog(input: &DiffInput<'_>, session: &ReadSession) -> Result<Catalog, DiffError> {
    use crate::catalog::load::{Place, load};
    let mut live = load(Place::Live(session)).await?;
    let staged: BTreeSet<&TableName> = input.extracted.files.iter().map(|file| &file.table.table).collect();
    let declared = input.extracted.catalog.foreign_keys.iter().filter(|fk| !fk.is_enforced());
    live.declare(declared.map(|fk| as_in_live(fk, input.recipe)).collect::<Vec<_>>());
    let wanted: BTreeSet<TableName> =
        staged.into_iter().cloned().chain(convoy::companions(&live, input.recipe)).collect();
    let wanted: BTreeSet<TableName> =
        wanted.into_iter().chain(transfer::companions(&live, input.recipe)).collect();
    live.tables.retain(|name, _| wanted.contains(name));
    live.partitions.retain(|_, root| wanted.contains(root));
    live.foreign_keys.retain(|fk| wanted.contains(&fk.child) || wanted.contains(&fk.parent));
    Ok(live)
}

/// A declared reference, which names columns as the backup does.
fn as_in_live(fk: &ForeignKey, recipe: &Recipe) -> ForeignKey {
    let rename = |table: &TableName, name: &mut Ident| {
        if let Some(new) = recipe.columns.get(table).and_then(|columns| columns.map.get(name)) {
            name.clone_from(new);
        }
    };
    let mut found = fk.clone();
    for (child, parent) in &mut found.columns {
        rename(&fk.child, child);
        rename(&fk.parent, parent);
    }
    found
}

/// What judging every table needs.
struct Scene<'s, 'a> {
    input: &'s DiffInput<'a>,
    session: &'s ReadSession,
    courts: &'s BTreeMap<TableName, Court<'a>>,
    convoys: &'s BTreeMap<TableName, Convoy<'a>>,
    moves: Moves,
}

/// The files and counts of one table.
struct Judged {
    file: StagedFile,
    found: Option<StagedFile>,
    convoy: Option<ConvoyFiles>,
    tally: Tally,
}

impl Scene<'_, '_> {
    fn bench(&self, court: &Court<'_>) -> Result<Bench<'_>, DiffError> {
        let (input, name) = (self.input, &court.fit.live.name);
        let file = input.extracted.files.iter().find(|file| &file.table.table == name);
        let file = file.ok_or_else(|| DiffError::TableGone { table: name.clone() })?;
        let (progress, cancel) = (input.progress, input.cancel);
        let keys = OnceLock::new();
        let (session, staging, moves) = (self.session, input.staging, &self.moves);
        let lookups = input.lookups;
        Ok(Bench { session, staging, file, progress, cancel, lookups, keys, moves })
    }

    async fn judge(
        &self,
        table: &TableName,
        parents: &mut Parents,
        phase: Phase,
    ) -> Result<Judged, DiffError> {
        let (input, court) = (self.input, &self.courts[table]);
        let bench = self.bench(court)?;
        input.progress.start(Step::Diff, &table.to_string(), Some(bench.file.rows));
        let rows = DiffWriter::create(input.directory, court.fit, input.format)?;
        let travel = match self.convoys.get(table) {
            Some(convoy) => {
                let number = self.convoys.keys().take_while(|name| *name != table).count() + 1;
                Some(Travel::start(convoy, input.directory, number, input.format)?)
            }
            None => None,
        };
        let mut output = Output { rows, travel };
        let mut tally = pass::run(court, &bench, parents, Some(&mut output), phase).await?;
        let Output { rows, travel } = output;
        let file = rows.finish().await?;
        let (found, travel) = self.look_in_live(court, &bench, parents, travel, &mut tally).await?;
        let convoy = match travel {
            Some(travel) => Some(travel.finish().await?),
            None => None,
        };
        input.progress.finish(Step::Diff);
        Ok(Judged { file, found, convoy, tally })
    }

    /// Rows that only live has, where a charge knows their owner from live itself.
    async fn look_in_live<'c, 'b>(
        &self,
        court: &Court<'_>,
        bench: &Bench<'_>,
        parents: &mut Parents,
        travel: Option<Travel<'c, 'b>>,
        tally: &mut Tally,
    ) -> Result<(Option<StagedFile>, Option<Travel<'c, 'b>>), DiffError> {
        let charges: Vec<_> = court.charges.iter().filter(|charge| charge.in_live).collect();
        if charges.is_empty() {
            return Ok((None, travel));
        }
        let directory = self.input.directory.join(FOUND);
        make_directory(&directory)?;
        let rows = DiffWriter::create(&directory, court.fit, self.input.format)?;
        let mut output = Output { rows, travel };
        let mut known = pass::staged_keys(court, bench)?;
        for charge in charges {
            let mut keys = damage::candidates(self.session, court.fit, charge).await?;
            keys.retain(|key| known.insert(key.clone()));
            let found = (charge.number, keys.as_slice());
            tally.add(&pass::run_found(court, bench, parents, found, &mut output).await?);
        }
        Ok((Some(output.rows.finish().await?), output.travel))
    }
}

/// Rows that refer to each other: passed over without writing until nothing new is learned.
async fn survey(scene: &Scene<'_, '_>, tables: &[TableName], parents: &mut Parents) -> Result<(), DiffError> {
    while scene.learn(tables, parents, Phase::First).await? {}
    while scene.learn(tables, parents, Phase::Known).await? {}
    Ok(())
}

impl Scene<'_, '_> {
    /// One pass without writing over tables whose rows refer to each other. Was anything new?
    async fn learn(
        &self,
        tables: &[TableName],
        parents: &mut Parents,
        phase: Phase,
    ) -> Result<bool, DiffError> {
        let mut learned = false;
        for table in tables {
            let court = &self.courts[table];
            learned |= pass::run(court, &self.bench(court)?, parents, None, phase).await?.learned;
        }
        Ok(learned)
    }
}

/// Lost parents are only wanted where a recovered row refers to them: children first, so that the need of a parent's
/// parent is known.
async fn settle(
    scene: &Scene<'_, '_>,
    order: &[crate::catalog::graph::Component],
    parents: &mut Parents,
    done: &mut BTreeMap<TableName, Judged>,
) -> Result<(), DiffError> {
    for component in order.iter().rev() {
        let with_parents: Vec<&TableName> = component
            .tables
            .iter()
            .filter(|table| done.get(*table).is_some_and(|judged| judged.tally.lost_parents > 0))
            .collect();
        if component.cyclic && !with_parents.is_empty() {
            while scene.learn(&component.tables, parents, Phase::Settled).await? {}
        }
        for table in with_parents {
            done.insert(table.clone(), scene.judge(table, parents, Phase::Settled).await?);
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
    mut done: BTreeMap<TableName, Judged>,
) -> Result<Diffed, DiffError> {
    let mut diffed = Diffed {
        format: FORMAT,
        live: session.identity().await?,
        staging_sha256: input.staging_sha256.clone(),
        tables: Vec::new(),
        convoys: Vec::new(),
        transfers: None,
        missing: BTreeMap::new(),
        sequences: Vec::new(),
        tombstones: Vec::new(),
        left_out: input.extracted.left_out.clone(),
        gone: 0,
        catalog: live.clone(),
        notes: Vec::new(),
    };
    for table in order.iter().flat_map(|component| &component.tables) {
        let (Some(judged), Some(fit)) = (done.remove(table), fits.get(table)) else { continue };
        let tally = &judged.tally;
        diffed.notes.extend(fit.notes.iter().cloned());
        diffed.gone += tally.gone;
        if tally.gone > 0 {
            diffed.notes.push(format!(
                "{} rows of {table} that the recipe does not call deleted are not in live: an entry of kind \"deleted\" \
                 would bring them back",
                tally.gone
            ));
        }
        if tally.beside > 0 {
            diffed.notes.push(format!(
                "{} rows of {table} that are set right keep other values that differ from the backup (rowback_reason in the \
                 diff file)",
                tally.beside
            ));
        }
        let repointed = tally.actions.get(&RowAction::Repoint).copied().unwrap_or(0);
        if repointed > 0 {
            diffed.notes.push(format!(
                "{repointed} lost rows of {table} were made again under another key: live's rows stay as they are, and what \
                 hung on the lost ones is hung on them"
            ));
        }
        for (name, count) in &tally.missing {
            *diffed.missing.entry(name.clone()).or_default() += count;
        }
        diffed.sequences.extend(sequences(session, fit, &tally.highest).await?);
        diffed.tables.push(diffed_table(input, fit, &judged));
        diffed.convoys.extend(judged.convoy);
    }
    for (table, (_, cascaded)) in diffed.followers().iter().filter(|(_, (_, cascaded))| *cascaded > 0) {
        diffed.notes.push(format!("{cascaded} rows of {table} move along by ON UPDATE CASCADE"));
    }
    Ok(diffed)
}

fn diffed_table(input: &DiffInput<'_>, fit: &Fit<'_>, judged: &Judged) -> DiffedTable {
    let (file, tally) = (&judged.file, &judged.tally);
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
        found: judged.found.clone(),
        columns,
        verdicts: tally.verdicts.clone(),
        actions: tally.actions.clone(),
        written: tally.written.clone(),
        by_policy: tally.by_policy.clone(),
    }
}

/// Where live's sequences stand that feed columns of recovered rows.
async fn sequences(
    session: &ReadSession,
    fit: &Fit<'_>,
    highest: &BTreeMap<Ident, i64>,
) -> Result<Vec<SequenceState>, DiffError> {
    const WHAT: &str = "reading a sequence";
    let mut found = Vec::new();
    for (name, highest) in highest {
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
