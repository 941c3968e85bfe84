//! Each stage with the case around it: what it reads, what it leaves, and what of later stages it makes void.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::bracket;
use super::layout::Layout;
use super::naming::{Backups, Naming, Reading};
use super::planning::{self, Checks};
use super::summary::{DiffSummary, ExtractSummary, PlanSummary};
use super::timing::StepClock;
use super::{CaseError, Context, Error, RecoverOptions, edited};
use crate::apply::{CASE_ID, CaseLock};
use crate::backup::Backup;
use crate::catalog::load::{Place, TypedKey, references};
use crate::diff::{self, DiffError, DiffInput, Diffed};
use crate::extract::{self, ExtractOptions, Extracted};
use crate::pg::{ConnectSettings, ReadSession, ServerIdentity, SessionOptions};
use crate::plan::{Plan, sha256_hex};
use crate::progress::{SharedProgress, Step};
use crate::recipe::{BackupLocation, Recipe};
use crate::scratch::{RestoreError, Scratch};
use crate::staging::{Manifest, StagingFormat};

const MANIFEST: &str = "manifest.json";

/// Longest time for asking the server to stop what runs.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// A case that this run has to itself, and the backup that it is made from.
pub(super) struct Opened {
    pub(super) backup: Arc<Backup>,
    after: Option<Arc<Backup>>,
    pub(super) layout: Layout,
    /// The recipe as rows are chosen by it, and what was found out for that.
    pub(super) recipe: Recipe,
    pub(super) notes: Vec<String>,
    _lock: CaseLock,
}

/// Opens the backup, then the case: what cannot be read leaves no directory behind.
pub(super) fn open(options: &RecoverOptions, context: &Context) -> Result<Opened, Error> {
    refuse_what_is_missing(&options.recipe)?;
    let backup = Arc::new(Backup::open_watched(&options.backup, &*context.progress, &context.cancel)?);
    let after = bracket::open(&options.recipe, (&options.backup, &backup), context)?;
    let layout = Layout::at(&options.case_dir);
    let lock = layout.open_for(&options.recipe.to_toml()?)?;
    let recipe = options.recipe.clone();
    Ok(Opened { backup, after, layout, recipe, notes: Vec::new(), _lock: lock })
}

/// Scratch is being removed while other work goes on.
pub(super) struct Removal(JoinHandle<Result<(), RestoreError>>);

impl Removal {
    /// Waits until it is gone.
    pub(super) async fn finish(self) -> Result<(), Error> {
        Ok(self.0.await.map_err(CaseError::Thread)??)
    }
}

/// What extraction made.
pub(super) struct Staged {
    /// The rows, and the SHA-256 of the manifest that tells of them.
    pub(super) found: (Extracted, String),
    pub(super) summary: ExtractSummary,
    /// Until it is done, staging has no manifest.
    pub(super) naming: Naming,
    /// Scratch may be there a moment longer.
    pub(super) removal: Removal,
}

/// What extraction knows of live.
#[derive(Default)]
pub(super) struct LiveFacts {
    /// Which database it is; scratch must be another one.
    pub(super) identity: Option<ServerIdentity>,
    /// Its references.
    pub(super) keys: Option<Vec<TypedKey>>,
}

impl LiveFacts {
    pub(super) async fn of(session: &ReadSession) -> Result<Self, Error> {
        let identity = session.identity().await?;
        let keys = references(Place::Live(session)).await?;
        Ok(Self { identity: Some(identity), keys: Some(keys) })
    }
}

/// From the backup to staging.
pub(super) async fn extract(
    opened: &Opened,
    options: &RecoverOptions,
    live: LiveFacts,
    context: &Context,
) -> Result<Staged, Error> {
    let LiveFacts { identity: live, keys: live_keys } = live;
    let Opened { backup, after, layout, .. } = opened;
    // The manifest first: should this run end here, staging must not look whole.
    layout.forget(&[layout.staging().join(MANIFEST), layout.backup()])?;
    layout.forget(&layout.results_of_staging())?;
    layout.clear_directory(&layout.staging())?;
    let later = after.as_ref().zip(options.recipe.backup.after.as_ref());
    let backups = Backups {
        backup: (options.backup.clone(), Arc::clone(backup)),
        after: later.map(|(after, from)| (from.to_string().into(), Arc::clone(after))),
    };
    let checksums = Reading::start(backups, context.progress.clone());
    let clock = StepClock::new(context.progress.clone(), Step::Load);
    let progress: SharedProgress = clock.clone();
    let start = Instant::now();
    let scratch = Scratch::prepare(
        backup.clone(),
        &options.scratch,
        live.as_ref(),
        &context.env,
        progress.clone(),
        context.cancel.clone(),
    )
    .await?
    .with_later(after.clone());
    let prepared = start.elapsed();
    let how = ExtractOptions { format: options.staging, time_limit: options.time_limit, live_keys };
    let staging = layout.staging();
    let extracted = tokio::select! {
        done = extract::run(&scratch, &opened.recipe, &staging, &how, &progress) => done,
        () = context.cancel.cancelled() => Err(RestoreError::Cancelled.into()),
    };
    let loaded = clock.spent();
    let chosen = start.elapsed().saturating_sub(prepared + loaded);
    let removal = Removal(tokio::spawn(scratch.remove()));
    let mut extracted = match extracted {
        Ok(extracted) => extracted,
        Err(error) => {
            // The first error is the one to tell; what could not be removed is swept by the next run.
            removal.finish().await.ok();
            return Err(error.into());
        }
    };
    extracted.notes.extend(opened.notes.iter().cloned());
    let manifest = manifest_of(layout, &extracted)?;
    let staging_sha256 = sha256_hex(&manifest.to_bytes(&staging)?);
    let naming = checksums.and_store(layout.clone(), manifest);
    let summary = ExtractSummary {
        tables: extracted.files.iter().map(|file| (file.table.table.clone(), file.rows)).collect(),
        notes: extracted.notes.clone(),
        passes: std::mem::take(&mut extracted.passes),
        timings: [("scratch", prepared), ("load", loaded), ("extract", chosen)]
            .map(|(step, spent)| (step.to_owned(), spent.as_secs_f64()))
            .into(),
    };
    Ok(Staged { found: (extracted, staging_sha256), summary, naming, removal })
}

/// What the recipe may say and this version does not do.
fn refuse_what_is_missing(recipe: &Recipe) -> Result<(), CaseError> {
    let refuse = |what| Err(CaseError::NotInThisVersion { what });
    let replays = recipe.recover.iter().any(|entry| recipe.replay_of(entry).is_some());
    if replays && recipe.backup.after.is_some() {
        return refuse("a replay beside a backup taken after the accident: both tell what it did, keep one");
    }
    if matches!(recipe.backup.after, Some(BackupLocation::Url(_))) {
        return refuse("a server as the backup taken after the accident");
    }
    if recipe.policy.recreate {
        return refuse("recreate = true");
    }
    Ok(())
}

/// What staging's manifest keeps of it.
fn manifest_of(layout: &Layout, extracted: &Extracted) -> Result<Manifest, Error> {
    let mut manifest = Manifest::new(extracted.files.clone());
    let json = |source| CaseError::Json { path: layout.staging().join(MANIFEST), source };
    manifest.extra.insert("edges".into(), serde_json::to_value(&extracted.edges).map_err(json)?);
    manifest.extra.insert("aliases".into(), serde_json::to_value(&extracted.aliases).map_err(json)?);
    manifest.extra.insert("carried".into(), serde_json::to_value(&extracted.carried).map_err(json)?);
    manifest.extra.insert("left_out".into(), serde_json::to_value(&extracted.left_out).map_err(json)?);
    manifest.extra.insert("catalog".into(), serde_json::to_value(&extracted.catalog).map_err(json)?);
    manifest.extra.insert("references".into(), serde_json::to_value(&extracted.references).map_err(json)?);
    manifest.extra.insert("dangling".into(), serde_json::to_value(&extracted.dangling).map_err(json)?);
    manifest.extra.insert("unfollowed".into(), serde_json::to_value(&extracted.unfollowed).map_err(json)?);
    manifest.extra.insert("live_asked".into(), extracted.live_asked.into());
    manifest.extra.insert("notes".into(), serde_json::to_value(&extracted.notes).map_err(json)?);
    Ok(manifest)
}

/// What extraction left, and the SHA-256 of its manifest.
pub(super) fn load_extracted(layout: &Layout) -> Result<(Extracted, String), Error> {
    let path = layout.staging().join(MANIFEST);
    let bytes = layout.read(&path, "extract")?;
    let mut manifest = Manifest::load(&layout.staging())?;
    let mut take = |name: &str| manifest.extra.remove(name).unwrap_or_default();
    let json = |source| CaseError::Json { path: path.clone(), source };
    let extracted = Extracted {
        edges: serde_json::from_value(take("edges")).map_err(json)?,
        aliases: serde_json::from_value::<Option<_>>(take("aliases")).map_err(json)?.unwrap_or_default(),
        carried: serde_json::from_value::<Option<_>>(take("carried")).map_err(json)?.unwrap_or_default(),
        left_out: serde_json::from_value::<Option<_>>(take("left_out")).map_err(json)?.unwrap_or_default(),
        catalog: serde_json::from_value(take("catalog")).map_err(json)?,
        unfollowed: serde_json::from_value::<Option<_>>(take("unfollowed"))
            .map_err(json)?
            .unwrap_or_default(),
        live_asked: take("live_asked").as_bool().unwrap_or(false),
        dangling: serde_json::from_value::<Option<_>>(take("dangling")).map_err(json)?.unwrap_or_default(),
        references: serde_json::from_value(take("references")).map_err(json)?,
        notes: serde_json::from_value(take("notes")).map_err(json)?,
        files: manifest.tables,
        passes: Vec::new(),
    };
    Ok((extracted, sha256_hex(&bytes)))
}

/// What extraction left, with files that were edited since as they are now.
pub(super) async fn take_edited(
    layout: &Layout,
    recipe: &Recipe,
    (mut extracted, sha256): (Extracted, String),
    session: &ReadSession,
) -> Result<(Extracted, String), Error> {
    refuse_when_applied(layout)?;
    if !edited::take(layout, recipe, &mut extracted, session).await? {
        return Ok((extracted, sha256));
    }
    let manifest = manifest_of(layout, &extracted)?;
    manifest.store(&layout.staging())?;
    let sha256 = sha256_hex(&manifest.to_bytes(&layout.staging())?);
    Ok((extracted, sha256))
}

/// Tables with more rows are looked up over several sessions; below, connecting costs more than it gains.
const ROWS_FOR_ONE_SESSION: u64 = 10_000;

/// How live is reached for looking rows up.
pub(super) struct Reach<'a> {
    pub(super) settings: &'a ConnectSettings,
    /// Connections at the same time.
    pub(super) jobs: usize,
}

impl Reach<'_> {
    /// Sessions that see the same moment as `session`, to look `rows` rows up. Where these are few, and where the server
    /// lends no snapshot (a standby) or no connection, there are fewer of them or none: `session` can do it all.
    pub(super) async fn lookups(&self, session: &ReadSession, rows: u64) -> Vec<Arc<ReadSession>> {
        let mut found = Vec::new();
        if rows <= ROWS_FOR_ONE_SESSION || session.identity().await.is_ok_and(|live| live.in_recovery) {
            return found;
        }
        let snapshot = match session.export_snapshot().await {
            Ok(snapshot) => snapshot,
            Err(_refused) => {
                // The refusal ended the transaction, in which nothing was read yet. Should there be no new one, the next
                // statement says why.
                drop(session.restart().await);
                return found;
            }
        };
        let options = SessionOptions::named("rowback");
        while found.len() < self.jobs {
            match ReadSession::connect_at(self.settings, &options, &snapshot).await {
                Ok(other) => found.push(Arc::new(other)),
                Err(_full) => break,
            }
        }
        found
    }
}

/// From staging to verdicts.
pub(super) async fn diff(
    layout: &Layout,
    recipe: &Recipe,
    (extracted, staging_sha256): (Extracted, String),
    session: ReadSession,
    reach: Reach<'_>,
    context: &Context,
) -> Result<DiffSummary, Error> {
    refuse_when_applied(layout)?;
    layout.forget(&layout.results_of_diff())?;
    layout.clear_directory(&layout.diff())?;
    let directory = layout.diff();
    let most = extracted.files.iter().map(|file| file.rows).max();
    let lookups = reach.lookups(&session, most.unwrap_or(0)).await;
    let found = (&extracted, staging_sha256);
    let diffed = diff_into(layout, recipe, found, &directory, (&session, &lookups), context).await?;
    diff::fail_where_told(recipe, &diffed)?;
    layout.write_json(&directory.join(MANIFEST), &diffed)?;
    Ok(DiffSummary::of(&diffed))
}

/// A diff whose files go into any directory; verification makes one of its own.
pub(super) async fn diff_into(
    layout: &Layout,
    recipe: &Recipe,
    (extracted, staging_sha256): (&Extracted, String),
    directory: &Path,
    (session, lookups): (&ReadSession, &[Arc<ReadSession>]),
    context: &Context,
) -> Result<Diffed, Error> {
    let staging = layout.staging();
    let input = DiffInput {
        staging: &staging,
        staging_sha256,
        extracted,
        recipe,
        directory,
        format: StagingFormat::Parquet,
        progress: &context.progress,
        cancel: &context.cancel,
        lookups,
    };
    tokio::select! {
        done = diff::run(&input, session) => Ok(done?),
        // A statement that waits for somebody's lock would go on waiting at the server.
        () = context.cancel.cancelled() => {
            drop(tokio::time::timeout(CANCEL_WITHIN, session.canceller().cancel()).await);
            Err(DiffError::Cancelled.into())
        }
    }
}

/// The plan and the diff of an applied case are what undo needs.
fn refuse_when_applied(layout: &Layout) -> Result<(), CaseError> {
    if layout.was_applied() {
        return Err(CaseError::AlreadyApplied { path: layout.root().to_owned() });
    }
    Ok(())
}

/// A name that no other case has, though its plan may be the same to the byte.
fn new_id() -> Result<Vec<u8>, CaseError> {
    use std::fmt::Write as _;
    let mut random = [0u8; 16];
    openssl::rand::rand_bytes(&mut random).map_err(CaseError::Random)?;
    let mut id = random.iter().fold(String::new(), |mut id, byte| {
        // Writing to a string never fails.
        write!(id, "{byte:02x}").ok();
        id
    });
    id.push('\n');
    Ok(id.into_bytes())
}

/// From verdicts to batches. Work of files and text, so on a thread that may block.
pub(super) async fn plan(layout: Layout, recipe: Recipe, batch_rows: u32) -> Result<PlanSummary, Error> {
    let made = tokio::task::spawn_blocking(move || plan_now(&layout, &recipe, batch_rows));
    made.await.map_err(CaseError::Thread)?
}

fn plan_now(layout: &Layout, recipe: &Recipe, batch_rows: u32) -> Result<PlanSummary, Error> {
    refuse_when_applied(layout)?;
    let (extracted, staging_sha256) = load_extracted(layout)?;
    let path = layout.diff().join(MANIFEST);
    let diff_sha256 = sha256_hex(&layout.read(&path, "diff")?);
    let diffed: Diffed = layout.read_json(&path, "diff")?;
    if diffed.staging_sha256 != staging_sha256 {
        return Err(CaseError::Stale.into());
    }
    let rows: u64 = diffed
        .tables
        .iter()
        .flat_map(|table| &table.actions)
        .filter(|(action, _)| action.writes())
        .map(|(_, count)| *count)
        .chain(diffed.followers().into_values().map(|(moved, cascaded)| moved + cascaded))
        .sum();
    if rows > recipe.policy.max_rows {
        return Err(CaseError::TooLarge { rows, most: recipe.policy.max_rows }.into());
    }
    let given = recipe.recover.iter().rev().filter(|entry| !entry.identity.is_empty());
    let checks = Checks {
        staging_sha256,
        diff_sha256,
        triggers: recipe.policy.triggers,
        identities: given.map(|entry| (entry.table.clone(), entry.identity.clone())).collect(),
        notes: extracted.notes,
    };
    let before: Option<Plan> = layout.read_json(&layout.plan(), "plan").ok();
    let plan = planning::make(layout, &diffed, batch_rows, checks)?;
    // The same plan in the same place is the same case: live's journal may know it.
    let id = layout.root().join(CASE_ID);
    if before.is_none_or(|before| before.seal != plan.seal) || !id.exists() {
        layout.write(&id, &new_id()?)?;
    }
    layout.write_json(&layout.plan(), &plan)?;
    super::reporting::refresh(layout)?;
    Ok(PlanSummary::of(&plan))
}
