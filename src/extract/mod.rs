//! Chooses rows in scratch and stages them: what the recipe selects, everything that hangs on it, and the parents that
//! it needs. Reads the backup only; live is not asked.

mod aftermath;
mod ahead;
mod aliases;
mod alone;
mod bracket;
mod carried;
mod chosen;
mod closure;
mod cyclic;
mod edges;
mod entries;
mod error;
mod export;
mod heirs;
mod keys;
mod loading;
mod loads;
mod members;
mod nowhere;
mod outcome;
mod reach;
mod replay;
mod resolve;
mod selection;
mod twins;

pub use aliases::Aliases;
pub use carried::Carried;
pub use error::ExtractError;
pub use heirs::LeftOut;
pub use outcome::{EdgeCount, ExtractOptions, Extracted, Unfollowed};
pub use resolve::resolve_foreign_keys;

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use self::carried::Descent;
use self::chosen::{Chosen, Climb};
use self::entries::{Entry, Following, Selected, entries};
use self::outcome::{Found, only_staged};
use self::replay::{Reached, Replays};
use crate::catalog::{Catalog, ForeignKey};
use crate::ident::{Ident, TableName};
use crate::progress::{SharedProgress, Step};
use crate::recipe::{Recipe, Selection};
use crate::scratch::Scratch;
use crate::scratch::choice::Choice;
use crate::staging::StagedFile;

/// Name of the column that staging adds to a table's own: why the row is staged. `twin 0` names entries whose `misrouted_to`
/// has a row of the same key in the backup; `predicate 0,2` names the entries of the
/// recipe that select it, counted from 0; then, or alone, `cascade <foreign key>` or `parent <foreign key>`.
pub const ORIGIN_COLUMN: &str = "rowback_origin";

/// Name of the column that staging adds where a replay or a backup taken after the accident tells what that made of the
/// row: JSON with one member for each that tells (`bracket`, or `replay` and the number of the recipe's entry), `null` for a
/// row that is gone, else the changed values by position of their column in the file, from 0.
pub const AFTER_COLUMN: &str = "rowback_after";

/// Runs the whole stage: from the empty tables of `scratch` to files in `staging`.
pub async fn run(
    scratch: &Scratch,
    recipe: &Recipe,
    staging: &Path,
    options: &ExtractOptions,
    progress: &SharedProgress,
) -> Result<Extracted, ExtractError> {
    let mut catalog = scratch.catalog().clone();
    if let Some(refused) = resolve::named_tables(recipe).find_map(|table| scratch.why_not_made(table)) {
        return Err(refused.into());
    }
    resolve::check_recipe(recipe, &catalog)?;
    resolve::leave_virtual_columns(recipe, &mut catalog);
    catalog.declare(resolve_foreign_keys(recipe, &catalog)?);
    resolve::check_conditions(scratch, &catalog).await?;
    let mut of_live = resolve::keys_of_live(options.live_keys.as_deref(), scratch, recipe, &catalog);
    catalog.declare(of_live.added.iter().cloned());
    let entries = entries(recipe, &catalog)?;
    let mut notes = resolve::unreached_children(&entries, &catalog);
    // What a replay reaches is asked while the tables are empty.
    let reached = replay::load(scratch, &catalog, recipe, &entries, &mut notes).await?;
    loading::load_selected(scratch, &catalog, recipe, &entries, options.time_limit, &mut notes).await?;
    let descents = carried::descents(recipe, &catalog);
    let is_alone = alone::entry(scratch, &catalog, recipe, &entries).filter(|_| descents.is_empty());
    let found = if let Some(entry) = is_alone {
        let files = stage_alone(scratch, recipe, entry, staging, options, progress).await?;
        Found { files, ..Found::default() }
    } else {
        let to = (staging, options, progress);
        follow_and_stage(scratch, &catalog, recipe, (&entries, &reached, &descents), to, &mut notes).await?
    };
    let left_out = heirs::count(scratch, &catalog, recipe, &entries, options).await?;
    notes.extend(left_out.iter().map(LeftOut::note));
    let Found { files, edges, aliases, carried, dangling } = found;
    let is_staged = |table: &TableName| files.iter().any(|file| &file.table.table == table);
    let is_followed =
        |fk: &&ForeignKey| entries.iter().any(|entry| entry.is_followed() && entry.following.follows(fk));
    let followed = of_live.added.iter().filter(is_followed).filter(|fk| is_staged(&fk.parent));
    notes.extend(followed.map(|fk| {
        format!("live's foreign key {} of {}, which the backup lacks, is followed as well", fk.name, fk.child)
    }));
    of_live.keep_what_matters(reached_below(&catalog, &entries, is_staged), |child| {
        entries.iter().any(|entry| entry.is_followed() && entry.following.leads_to(child))
    });
    notes.extend(of_live.without_parent.iter().filter(|(child, ..)| is_staged(child)).map(
        |(child, parent, why)| format!("what rows of {child} refer to in {parent} cannot come back: {why}"),
    ));
    let mut unfollowed = of_live.unfollowed;
    unfollowed.extend(resolve::lost_heirs(scratch, recipe));
    let live_asked = options.live_keys.is_some();
    let references = Some(catalog.foreign_keys.clone());
    let catalog = only_staged(&catalog, &files);
    let passes = scratch.passes().await;
    Ok(Extracted {
        files,
        edges,
        aliases,
        carried,
        left_out,
        catalog,
        references,
        live_asked,
        unfollowed,
        dangling,
        notes,
        passes,
    })
}

/// The tables of the entries, and those with rows that hang on them: what stands above is brought along only as far as it is
/// needed, and what hangs on that stays out of it.
fn reached_below(
    catalog: &Catalog,
    entries: &[Entry<'_>],
    is_staged: impl Fn(&TableName) -> bool,
) -> BTreeSet<TableName> {
    let mut reached: BTreeSet<TableName> =
        entries.iter().map(|entry| entry.recover.table.clone()).filter(|table| is_staged(table)).collect();
    let mut open: Vec<TableName> = reached.iter().cloned().collect();
    while let Some(parent) = open.pop() {
        let followed = catalog
            .children_of(&parent)
            .filter(|fk| entries.iter().any(|entry| entry.is_followed() && entry.following.follows(fk)));
        let children = followed.map(|fk| &fk.child).filter(|child| is_staged(child));
        open.extend(children.filter(|child| reached.insert((*child).clone())).cloned());
    }
    reached
}

/// Writes down which rows are chosen, follows their references, and stages them all.
async fn follow_and_stage(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    (entries, reached, descents): (&[Entry<'_>], &Reached, &[Descent<'_>]),
    (staging, options, progress): (&Path, &ExtractOptions, &SharedProgress),
    notes: &mut Vec<String>,
) -> Result<Found, ExtractError> {
    let mut chosen = Chosen::start(scratch, catalog).await?;
    let replays = replay::run_all(&mut chosen, scratch, recipe, (entries, reached), options, notes).await?;
    let families =
        choose_all(&mut chosen, scratch, recipe, (entries, &replays, reached), options, notes).await?;
    if chosen.bracketed {
        for table in chosen.tables().clone() {
            bracket::tell(&mut chosen, (scratch, recipe), &table, bracket::Extent::Chosen, notes).await?;
        }
    }
    let dangling = match recipe.policy.parents {
        crate::recipe::Parents::Missing => closure::ascend(&mut chosen, scratch, Climb::Needed).await?,
        crate::recipe::Parents::None => closure::Dangling::new(),
    };
    closure::ascend(&mut chosen, scratch, Climb::Telling).await?;
    twins::load(&mut chosen, scratch, recipe, entries, &families).await?;
    let to = (staging, options, progress);
    let carried = carried::find((&mut chosen, scratch), recipe, (entries, descents), to).await?;
    let families: Vec<&Following> = families.into_iter().map(|(following, _)| following).collect();
    nowhere::tell(&chosen, notes).await?;
    let aliases = aliases::find(&mut chosen).await?;
    let (edges, files) = tokio::try_join!(
        edges::count_edges(&chosen, &families),
        stage(&chosen, scratch, (recipe, entries), staging, options, progress),
    )?;
    let named = (0u16..).zip(&catalog.foreign_keys);
    let named: Vec<(&ForeignKey, bool)> =
        named.filter_map(|(at, fk)| Some((fk, *dangling.get(&at)?))).collect();
    notes.extend(named.iter().filter(|(fk, is_sure)| *is_sure && !fk.is_enforced()).map(|(fk, _)| {
        let ForeignKey { name, child, parent, .. } = fk;
        format!("rows of {child} refer by {name} to rows of {parent} that the backup does not have; they come back as they were")
    }));
    let dangling = named.into_iter().map(|(fk, _)| fk.clone()).collect();
    Ok(Found { files, edges, aliases, carried, dangling })
}

/// Stages the rows of the one entry from which nothing leads on.
async fn stage_alone(
    scratch: &Scratch,
    recipe: &Recipe,
    entry: &Entry<'_>,
    staging: &Path,
    options: &ExtractOptions,
    progress: &SharedProgress,
) -> Result<Vec<StagedFile>, ExtractError> {
    let key = resolve::key_of(recipe, entry.table)?;
    resolve::refuse_reserved(entry.table, &key)?;
    selection::prove_key(scratch.session(), entry.table, &key).await?;
    progress.start(Step::Extract, &entry.table.name.to_string(), None);
    let file = export::StagingFile::new(entry.table, &key, (staging, options.format));
    let file = alone::stage(scratch, entry, &key, &file, (options.time_limit, progress)).await?;
    progress.finish(Step::Extract);
    if file.is_none() {
        nothing_matches(scratch, entry).await?;
    }
    Ok(file.into_iter().collect())
}

/// What the rows of a family follow, and the replay that chose them.
type Family<'e> = (&'e Following, Option<u16>);

/// Deleted rows, and those that went to another table, are followed to their children; entries that follow the same foreign
/// keys are one family, and share one descent, but for replays, each of which tells how far its own rows are followed. Rows
/// that are only damaged are chosen by themselves. Returns what each family followed, by its number.
async fn choose_all<'e>(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    recipe: &Recipe,
    (entries, replays, reached): (&'e [Entry<'_>], &Replays, &Reached),
    options: &ExtractOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Family<'e>>, ExtractError> {
    let deleted: Vec<&'e Entry<'_>> = entries.iter().filter(|entry| entry.is_followed()).collect();
    let family_of = |entry: &'e Entry<'_>| (&entry.following, entry.selected.replay());
    let mut families: Vec<Family<'e>> = Vec::new();
    for entry in &deleted {
        if !families.contains(&family_of(entry)) {
            families.push(family_of(entry));
        }
    }
    for (family, (following, replay)) in (0i16..).zip(families.iter().copied()) {
        if let Some(tables) = replay.and_then(|replay| reached.get(&replay)) {
            let teller = replay.and_then(|number| i16::try_from(number).ok()).unwrap_or(i16::MAX);
            chosen.rehearsed.insert(family, (teller, tables.clone()));
        }
        let mut roots = BTreeSet::new();
        for entry in deleted.iter().filter(|entry| family_of(entry) == (following, replay)) {
            roots.insert(entry.recover.table.clone());
            match &entry.selected {
                Selected::Replay(number) => {
                    roots.extend(replay::choose_gone(chosen, entry, &replays[number], family).await?);
                }
                _ => choose(chosen, scratch, recipe, entry, family, options).await?,
            }
        }
        closure::descend(chosen, scratch, following, &roots, family, (recipe, &mut *notes)).await?;
        if chosen.rehearsed.contains_key(&family) {
            notes.extend(replay::note_unseen(chosen, family).await?);
        }
    }
    for entry in entries.iter().filter(|entry| !entry.is_followed()) {
        if !entry.reads_backup() {
            chosen.side_table(&entry.table.name).await?;
            continue;
        }
        match &entry.selected {
            Selected::Replay(number) => replay::choose_changed(chosen, entry, &replays[number]).await?,
            _ => choose(chosen, scratch, recipe, entry, chosen::CHARGED, options).await?,
        }
    }
    Ok(families)
}

async fn choose(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    recipe: &Recipe,
    entry: &Entry<'_>,
    family: i16,
    options: &ExtractOptions,
) -> Result<(), ExtractError> {
    let key = resolve::key_of(recipe, entry.table)?;
    selection::prove_key(scratch.session(), entry.table, &key).await?;
    let hits = selection::choose(chosen, scratch, entry, &key, family, options.time_limit).await?;
    if hits == 0 { nothing_matches(scratch, entry).await } else { Ok(()) }
}

/// Says why an entry selects no rows.
async fn nothing_matches(scratch: &Scratch, entry: &Entry<'_>) -> Result<(), ExtractError> {
    // A comparison that found nothing to recover says so in this way; there is nothing to wonder about.
    if entry.recover.selection == Selection::Where("false".to_owned()) {
        return Ok(());
    }
    // The message says how many rows there are and how new they are, of all of them.
    let why = "nothing matches; its rows are counted";
    scratch.load(&entry.table.name, Choice::All, why).await?;
    Err(selection::why_nothing(scratch.session(), entry.table).await?)
}

/// Stages the tables, several at once.
async fn stage(
    chosen: &Chosen<'_>,
    scratch: &Scratch,
    (recipe, entries): (&Recipe, &[Entry<'_>]),
    staging: &Path,
    options: &ExtractOptions,
    progress: &SharedProgress,
) -> Result<Vec<StagedFile>, ExtractError> {
    let mut wanted = Vec::new();
    for name in chosen.tables() {
        let table = chosen.table(name)?;
        let rows = export::rows_chosen(chosen, table).await?;
        let is_asked_for = entries.iter().any(|entry| &entry.table.name == name && !entry.reads_backup());
        if rows > 0 || is_asked_for {
            wanted.push((table, rows));
        }
    }
    let names: Vec<String> = wanted.iter().map(|(table, _)| table.name.to_string()).collect();
    progress.start(Step::Extract, &names.join(", "), Some(wanted.iter().map(|(_, rows)| rows).sum()));
    let work = wanted.into_iter().map(|(table, _)| async move {
        let key = resolve::key_of(recipe, table)?;
        resolve::refuse_reserved(table, &key)?;
        let session = scratch.spare_session().await?;
        selection::prove_key(&session, table, &key).await?;
        let replays = entries.iter().any(|entry| matches!(entry.selected, Selected::Replay(_)));
        let selecting = entries.iter().filter(|entry| replays || entry.recover.table == table.name).count();
        let selecting = export::Selecting::by(selecting + usize::from(replays));
        let twin = twins::origin_sql(chosen, entries, table, &key);
        let how = (selecting, twin.as_deref(), options.format);
        let file = export::stage_table((chosen, &session), table, &key, staging, how, progress).await?;
        scratch.give_back(session).await;
        Ok::<_, ExtractError>(file)
    });
    let files: Vec<Option<StagedFile>> =
        stream::iter(work).buffered(scratch.loading().jobs.max(1)).try_collect().await?;
    progress.finish(Step::Extract);
    Ok(files.into_iter().flatten().collect())
}

/// Columns that name a row, for messages and lookups.
pub(crate) type KeyColumns = Vec<Ident>;
