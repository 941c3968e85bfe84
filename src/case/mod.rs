//! The case directory, and the stages one after the other: each reads what the stage before left and leaves its own, so
//! that each can be run alone, looked at, repeated and resumed. Only here are stages called.

mod bracket;
mod convoys;
mod discover;
mod doctor;
mod edited;
mod error;
mod itself;
mod layout;
mod naming;
mod parents;
mod planning;
mod reporting;
mod showing;
mod sources;
mod stages;
mod summary;
mod target;
mod tells;
mod timing;
mod totals;
mod transfers;
mod verifying;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use discover::MOST_KEYS;
pub use doctor::{Check, DoctorOptions, DoctorSummary, doctor};
pub use error::{CaseError, Error};
pub use layout::{BackupIdentity, Layout};
pub use reporting::report;
pub use showing::{ShowOptions, ShownRows, show};
pub use summary::{DiffSummary, ExtractSummary, PlanSummary, Verdicts};
pub use timing::Timings;
pub use verifying::{VerifySummary, verify};
pub use writing::{ApplyOptions, DryRun, UndoOptions, apply, undo};

use self::naming::Naming;
use self::stages::Staged;
use crate::apply::unknown_to;
use crate::backup::Backup;
use crate::cancel::CancelToken;
use crate::compare::{CompareOptions, Comparison};
use crate::env::Env;
use crate::extract::Extracted;
use crate::pg::{ConnectSettings, PgError, ReadSession, SessionOptions};
use crate::plan::Plan;
use crate::progress::SharedProgress;
use crate::recipe::Recipe;
use crate::scratch::ScratchOptions;
use crate::staging::StagingFormat;

/// What every command has around it.
pub struct Context {
    /// Where progress is told.
    pub progress: SharedProgress,
    /// Set when somebody asks to stop.
    pub cancel: CancelToken,
    /// The environment, for connections and finding programs.
    pub env: Env,
}

/// Everything that a recovery needs up to the plan.
#[derive(Debug)]
pub struct RecoverOptions {
    /// What to recover.
    pub recipe: Recipe,
    /// The backup.
    pub backup: PathBuf,
    /// The database to be repaired.
    pub live: ConnectSettings,
    /// Did somebody say which database is live? Only then does `extract` alone ask it.
    pub live_is_named: bool,
    /// Where the case goes.
    pub case_dir: PathBuf,
    /// Where scratch goes.
    pub scratch: ScratchOptions,
    /// Format of the staging files.
    pub staging: StagingFormat,
    /// Longest time for evaluating one predicate; at most 24 days, and none where it is zero.
    pub time_limit: Duration,
    /// Most rows of one batch.
    pub batch_rows: u32,
    /// Connections that look rows up in live at the same time.
    pub live_jobs: usize,
}

/// Connections that look rows up in live, or write them, at the same time, where nobody says how many: live has other work.
pub const LIVE_JOBS: usize = 2;

/// Extract, diff and plan; only reads live.
pub async fn recover(options: &RecoverOptions, context: &Context) -> Result<PlanSummary, Error> {
    // Live is asked first, so that a wrong password does not show after an hour, and then left alone: a transaction
    // that stays open while the backup is read would keep live from cleaning up.
    let session = connect_live(&options.live, context).await?;
    refuse_if_live_tells_of(&Layout::at(&options.case_dir), &session).await?;
    let live = stages::LiveFacts::of(&session).await?;
    drop(session);
    let mut opened = stages::open(options, context)?;
    (opened.recipe, opened.notes) = discover::narrow(options, &opened.backup, context).await?;
    let Staged { found, summary, naming, removal } = stages::extract(&opened, options, live, context).await?;
    let planned = diff_and_plan(opened.layout.clone(), options, (found, naming), context).await;
    let removed = removal.finish().await;
    let mut plan = planned?;
    removed?;
    plan.timings.extend(summary.timings);
    plan.passes = summary.passes;
    Ok(plan)
}

/// A plan is not made anew while live's journal tells of transactions of the old one: they could not be taken back any more. The
/// case's own journal is looked for wherever a plan is made.
async fn refuse_if_live_tells_of(layout: &Layout, session: &ReadSession) -> Result<(), Error> {
    // A plan that cannot be read was never applied by this version, or is refused for that.
    let Ok(plan) = layout.read_json::<Plan>(&layout.plan(), "plan") else { return Ok(()) };
    if unknown_to(layout.root(), session, &plan.seal).await? > 0 {
        return Err(CaseError::AlreadyApplied { path: layout.root().to_owned() }.into());
    }
    Ok(())
}

async fn diff_and_plan(
    layout: Layout,
    options: &RecoverOptions,
    (found, naming): ((Extracted, String), Naming),
    context: &Context,
) -> Result<PlanSummary, Error> {
    let start = Instant::now();
    let diffed = async {
        let session = connect_live(&options.live, context).await?;
        let reach = stages::Reach { settings: &options.live, jobs: options.live_jobs };
        stages::diff(&layout, &options.recipe, found, session, reach, context).await
    };
    let diffed = diffed.await;
    // Whatever became of the diff, staging is whole then, and `rowback diff` goes on from it.
    let named = naming.finish(&context.cancel).await;
    diffed?;
    named?;
    let diffed = start.elapsed();
    let mut plan = stages::plan(layout, options.recipe.clone(), options.batch_rows).await?;
    let planned = start.elapsed().saturating_sub(diffed);
    plan.timings = [("diff", diffed), ("plan", planned)]
        .map(|(step, spent)| (step.to_owned(), spent.as_secs_f64()))
        .into();
    Ok(plan)
}

/// From the backup to staging. Live is asked, where it is named, for the references that the backup lacks, and to make sure
/// that scratch is another database.
pub async fn extract(options: &RecoverOptions, context: &Context) -> Result<ExtractSummary, Error> {
    let asked = async { stages::LiveFacts::of(&connect_live(&options.live, context).await?).await };
    let live = match &options.scratch.url {
        Some(_) => asked.await?,
        None if options.live_is_named => asked.await.unwrap_or_else(|error| {
            let lost = "live could not be asked for foreign keys that the backup lacks";
            context.progress.note(&format!("{lost}: {error}"));
            stages::LiveFacts::default()
        }),
        None => stages::LiveFacts::default(),
    };
    let opened = stages::open(options, context)?;
    let Staged { summary, naming, removal, .. } = stages::extract(&opened, options, live, context).await?;
    let named = naming.finish(&context.cancel).await;
    removal.finish().await?;
    named?;
    Ok(summary)
}

/// From staging to verdicts; staging files that were edited are taken as they are now. `live` wins over what the recipe of the case says; rows are looked up over `jobs`
/// connections at the same time.
pub async fn diff(
    case: &Path,
    live: Option<ConnectSettings>,
    jobs: usize,
    context: &Context,
) -> Result<DiffSummary, Error> {
    let layout = Layout::at(case);
    let recipe = recipe_of(&layout)?;
    let _lock = layout.lock()?;
    let settings = settings_of(&recipe, live, &context.env)?;
    let session = connect_live(&settings, context).await?;
    refuse_if_live_tells_of(&layout, &session).await?;
    let reach = stages::Reach { settings: &settings, jobs };
    let staged = stages::load_extracted(&layout)?;
    let known = staged.0.notes.len();
    let found = stages::take_edited(&layout, &recipe, staged, &session).await?;
    // What extraction told is of the plan; which files were taken otherwise than it left them is of this run.
    let taken = found.0.notes.get(known..).unwrap_or_default().to_vec();
    let mut summary = stages::diff(&layout, &recipe, found, session, reach, context).await?;
    summary.notes.splice(0..0, taken);
    Ok(summary)
}

/// Whole tables of a backup against live; makes no case, writes nothing.
pub async fn compare(
    backup: &Path,
    live: &ConnectSettings,
    options: &CompareOptions,
    context: &Context,
) -> Result<Comparison, Error> {
    let backup = Backup::open_watched(backup, &*context.progress, &context.cancel)?;
    discover::compare(&Arc::new(backup), live, options, context).await
}

/// Plans the recovery of what a comparison found, but for [`Comparison::unplanned`]: rows that live lacks are lost, those that
/// differ are reported. `None` when there is nothing of the sort. `options` says everything but which rows.
pub async fn recover_found(
    found: &Comparison,
    mut options: RecoverOptions,
    context: &Context,
) -> Result<Option<PlanSummary>, Error> {
    options.recipe.recover = discover::entries(found);
    if options.recipe.recover.is_empty() {
        return Ok(None);
    }
    Ok(Some(recover(&options, context).await?))
}

/// From verdicts to batches; asks no database.
pub async fn plan(case: &Path, batch_rows: u32, _context: &Context) -> Result<PlanSummary, Error> {
    let layout = Layout::at(case);
    let recipe = recipe_of(&layout)?;
    let _lock = layout.lock()?;
    stages::plan(layout, recipe, batch_rows).await
}

fn recipe_of(layout: &Layout) -> Result<Recipe, Error> {
    layout.read(&layout.recipe(), "recover")?;
    Ok(Recipe::load(&layout.recipe())?)
}

/// Connection settings: those given, else those of the recipe, else of the environment.
fn settings_of(recipe: &Recipe, live: Option<ConnectSettings>, env: &Env) -> Result<ConnectSettings, Error> {
    match live {
        Some(settings) => Ok(settings),
        None => Ok(ConnectSettings::resolve(recipe.live.url.as_deref(), env)?),
    }
}

async fn connect_live(settings: &ConnectSettings, context: &Context) -> Result<ReadSession, Error> {
    let options = SessionOptions::named("rowback");
    tokio::select! {
        session = ReadSession::connect(settings, &options) => Ok(session?),
        () = context.cancel.cancelled() => {
            Err(PgError::Cancelled { what: format!("connecting to {}", settings.describe()) }.into())
        }
    }
}
