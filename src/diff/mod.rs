//! Holds staging against live and gives each row one verdict. Only reads live, in one snapshot.

mod aftermath;
mod ahead;
mod alike;
mod blocked;
mod carried;
mod charges;
mod conditions;
mod constraints;
mod convoy;
mod convoy_files;
mod courts;
mod damage;
mod drift;
mod error;
mod findings;
mod followers;
mod identity;
mod judge;
mod links;
mod lookup;
mod manifest;
mod muster;
mod origin;
mod owners;
mod pass;
mod prefetch;
mod present;
mod privilege;
mod probe;
mod refit;
mod relation;
mod repoint;
mod rows;
mod scene;
mod sink;
mod structure;
mod tally;
mod tombstones;
mod transfer;
mod travel;
mod verdict;
mod verify_parents;

pub use convoy_files::{ConvoyFiles, ConvoyTable, OwnerBeside};
pub use error::DiffError;
pub use findings::fail_where_told;
pub use lookup::set_search_path;
pub use manifest::{Diffed, DiffedTable, FORMAT, FOUND, SequenceState, TombstonesRead, missing_key};
pub use rows::{DiffReader, DiffRow};
pub use transfer::{TransferFiles, TransferTable};
pub use verdict::{Evidence, RowAction, Verdict};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinError;

use self::blocked::{Asks, Parents};
use self::drift::Fits;
use self::links::Upward;
use self::pass::Phase;
use self::scene::{Judged, Scene, settle, survey};
use self::transfer::{Moves, Station};
use crate::cancel::CancelToken;
use crate::catalog::graph::{last_below, parents_first_with};
use crate::catalog::{Catalog, ForeignKey, Origin};
use crate::extract::{Extracted, Unfollowed};
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::progress::SharedProgress;
use crate::recipe::{Recipe, Recreated};
use crate::staging::StagingFormat;

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
    let carries = carried::load(input.staging, input.extracted, input.recipe)?;
    let (live, between) = live_catalog(input, session, &carries).await?;
    privilege::check(session, live.tables.keys().collect()).await?;
    let mut fits = Fits::new();
    for file in &input.extracted.files {
        let name = &file.table.table;
        let mut fit = drift::fit(&file.table, live.tables.get(name), input.recipe.columns.get(name))?;
        if let Some(backup) = input.extracted.catalog.tables.get(name) {
            fit.note_generated(&file.table, backup);
        }
        fits.insert(name.clone(), fit);
    }
    structure::load_bounds(session, &mut fits).await?;
    refit::note_zones(session, &mut fits).await?;
    let tombstones = tombstones::load(session, input.recipe, &fits).await?;
    let courts = courts::all(input, session, (&live, &carries), &fits, &tombstones).await?;
    let convoys = convoy::all(&courts, &fits, (&live, &carries), input.recipe)?;
    let (fates, moved) = (BTreeMap::new(), BTreeMap::new());
    let mut scene =
        Scene { input, session, courts: &courts, convoys: &convoys, moves: Moves::default(), fates, moved };
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
    let tied: Vec<Vec<&TableName>> = convoys.iter().map(|convoy| convoy.leaders().collect()).collect();
    let order = parents_first_with(&fits.keys().cloned().collect(), &live.foreign_keys, &tied);
    let (order, first) = last_below(order, &away, &live.foreign_keys);
    let mut done: BTreeMap<TableName, Judged> = BTreeMap::new();
    for (number, component) in order.iter().enumerate() {
        if number == first && !away.is_empty() {
            let station = Station { input, session, live: &live, fits: &fits, courts: &courts };
            scene.moves = transfer::prepare(&station, &mut parents).await?;
        }
        survey(&mut scene, component, &mut parents).await?;
        for table in &component.tables {
            done.insert(table.clone(), scene.judge(table, &mut parents, Phase::Known).await?);
        }
    }
    settle(&scene, &order, &mut parents, &mut done).await?;
    let mut diffed = findings::finish(&scene, &live, &fits, &order, done).await?;
    diffed.transfers = scene.moves.files.take();
    diffed.sequences.append(&mut scene.moves.sequences);
    diffed.notes.append(&mut scene.moves.notes);
    diffed.tombstones = tombstones::read_of(input.recipe, &tombstones);
    diffed.notes.extend(tombstones::notes(&tombstones));
    diffed.unfollowed = input.extracted.unfollowed.clone();
    diffed.unfollowed.extend(unknown_keys(input, &live));
    diffed.notes.extend(diffed.unfollowed.iter().map(Unfollowed::note));
    diffed.notes.extend(convoy::notes(&live, input.recipe, &carries));
    diffed.notes.extend(between.iter().cloned());
    diffed.unseen = between;
    diffed.notes.extend(structure::notes_on_partitions(&input.extracted.catalog, &live));
    structure::refuse_rules(session, &diffed).await?;
    Ok(diffed)
}

/// Live's catalog with the recipe's references, cut to tables that matter, and notes on others.
async fn live_catalog(
    input: &DiffInput<'_>,
    session: &ReadSession,
    carries: &[carried::Carry],
) -> Result<(Catalog, BTreeSet<String>), DiffError> {
    use crate::catalog::load::{Place, load};
    let mut live = load(Place::Live(session)).await?;
    let staged: BTreeSet<&TableName> = input.extracted.files.iter().map(|file| &file.table.table).collect();
    let of_recipe = |fk: &&ForeignKey| matches!(fk.origin, Origin::Declared { .. });
    let declared = input.extracted.catalog.foreign_keys.iter().filter(of_recipe);
    let declared = declared.map(|fk| as_in_live(fk, input.recipe));
    // A constraint that is NOT ENFORCED is declared by both databases.
    let of_live = live.foreign_keys.clone();
    let is_new = |fk: &ForeignKey| !of_live.contains(fk);
    live.declare(declared.filter(is_new).collect::<Vec<_>>());
    let dropped: Vec<ForeignKey> = carries.iter().filter_map(|carry| carry.dropped_in(&live)).collect();
    live.declare(dropped);
    let between = convoy::notes_on_tables_between(&live, input.recipe, carries);
    let wanted: BTreeSet<TableName> =
        staged.into_iter().cloned().chain(convoy::companions(&live, input.recipe, carries)).collect();
    let wanted: BTreeSet<TableName> =
        wanted.into_iter().chain(transfer::companions(&live, input.recipe)).collect();
    live.tables.retain(|name, _| wanted.contains(name));
    live.partitions.retain(|_, root| wanted.contains(root));
    live.foreign_keys.retain(|fk| wanted.contains(&fk.child) || wanted.contains(&fk.parent));
    Ok((live, between))
}

/// References of live that lead to staged rows and of which extraction, which did not ask live, could not know.
fn unknown_keys(input: &DiffInput<'_>, live: &Catalog) -> Vec<Unfollowed> {
    let Extracted { references: Some(references), files, live_asked: false, .. } = input.extracted else {
        return Vec::new();
    };
    let known: Vec<ForeignKey> = references.iter().map(|fk| as_in_live(fk, input.recipe)).collect();
    let is_staged = |table: &TableName| files.iter().any(|file| &file.table.table == table);
    let unknown = live.foreign_keys.iter().filter(|fk| fk.is_enforced() && is_staged(&fk.parent));
    unknown
        .filter(|fk| !known.iter().any(|known| known.is_like(fk)))
        .map(|fk| Unfollowed {
            name: fk.name.clone(),
            child: fk.child.clone(),
            parent: fk.parent.clone(),
            why: "extraction did not ask live; run rowback recover, or extract with --live".to_owned(),
            in_backup: true,
            inherits: false,
        })
        .collect()
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
