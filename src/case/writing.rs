//! Apply and undo, as commands see them: which database, which confirmation, and then the stage.

use std::path::Path;

use super::{Context, Error, Layout, recipe_of, settings_of, sources};
use crate::apply::undo::{self, UndoOptions as UndoStage};
use crate::apply::{
    self, ApplyError, ApplyOptions as ApplyStage, ApplySummary, JournalPlace, Limits, Mode, UndoSummary,
};
use crate::pg::ConnectSettings;

/// Shall apply only try?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRun {
    /// Everything is rolled back.
    Yes,
    /// It lasts.
    No,
}

/// What a person says about an apply.
#[derive(Debug)]
pub struct ApplyOptions {
    /// Wins over what the case remembers.
    pub live: Option<ConnectSettings>,
    /// The name of the live database.
    pub confirm: String,
    /// Try only?
    pub dry_run: DryRun,
    /// Connections that write at the same time, where batches have nothing to do with each other.
    pub jobs: usize,
    /// Where the journal is kept.
    pub journal: JournalPlace,
}

/// What a person says about an undo.
#[derive(Debug)]
pub struct UndoOptions {
    /// Wins over what the case remembers.
    pub live: Option<ConnectSettings>,
    /// The name of the live database.
    pub confirm: String,
}

/// Writes the plan to live. Refuses, before any connection, without the database's name.
pub async fn apply(case: &Path, options: ApplyOptions, context: &Context) -> Result<ApplySummary, Error> {
    if options.confirm.is_empty() {
        return Err(ApplyError::ConfirmationMissing.into());
    }
    let layout = Layout::at(case);
    let settings = settings_of(&recipe_of(&layout)?, options.live, &context.env)?;
    // What was begun can be ended: the batches have seals of their own.
    if !layout.was_applied() {
        sources::verify_all(&layout)?;
    }
    let stage = ApplyStage {
        confirm: options.confirm,
        mode: if options.dry_run == DryRun::Yes { Mode::DryRun } else { Mode::Real },
        limits: Limits::default(),
        jobs: options.jobs,
        journal: options.journal,
    };
    let applied = apply::run(case, &settings, &stage, context.progress.clone(), context.cancel.clone()).await;
    refresh_report(case, context);
    Ok(applied?)
}

/// Takes back what apply wrote and nobody has changed since.
pub async fn undo(case: &Path, options: UndoOptions, context: &Context) -> Result<UndoSummary, Error> {
    if options.confirm.is_empty() {
        return Err(ApplyError::ConfirmationMissing.into());
    }
    let settings = settings_of(&recipe_of(&Layout::at(case))?, options.live, &context.env)?;
    let stage = UndoStage { confirm: options.confirm, limits: Limits::default() };
    let undone = undo::run(case, &settings, &stage, context.progress.clone(), context.cancel.clone()).await;
    refresh_report(case, context);
    Ok(undone?)
}

/// The report follows what was done; that it cannot be written is no reason to call what was done a failure.
fn refresh_report(case: &Path, context: &Context) {
    let layout = Layout::at(case);
    if layout.plan().exists()
        && let Err(error) = super::reporting::refresh(&layout)
    {
        context.progress.note(&format!("report.html is not up to date: {error}"));
    }
}
