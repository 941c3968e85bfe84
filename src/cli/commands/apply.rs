//! `rowback apply`: carries out the plan, after the database's name was typed.

use rowback::apply::JournalPlace;
use rowback::case::{self, ApplyOptions, Context, DryRun};

use super::confirm;
use crate::cli::args::{ApplyArgs, Journal};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Applies the batches and prints what they did.
pub async fn run(args: &ApplyArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let confirm = confirm::database_name(&args.confirm, "write")?;
    let live = settings::live_flag(&args.live, &context.env, output)?;
    let dry_run = if args.dry_run { DryRun::Yes } else { DryRun::No };
    let jobs = args.jobs.map_or(case::LIVE_JOBS, usize::from);
    let journal = match args.journal {
        Journal::Case => JournalPlace::Case,
        Journal::Live => JournalPlace::Live,
    };
    let options = ApplyOptions { live, confirm, dry_run, jobs, journal };
    let applied = case::apply(&args.case.case, options, context).await?;
    output.result("apply", &applied, |output| summary::apply(&applied, &args.case.case, output))?;
    Ok(Ending::when_left(!applied.complete()))
}
