//! `rowback diff`: the second stage alone; only reads live.

use rowback::case::{self, Context};

use crate::cli::args::CaseArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Holds the staged rows against live and prints the verdicts.
pub async fn run(args: &CaseArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let live = settings::live_flag(&args.live, &context.env, output)?;
    let diff = case::diff(&args.case.case, live, context).await?;
    output.result("diff", &diff, |output| summary::diff(&diff, &args.case.case, output))?;
    Ok(Ending::when_left(diff.leftover()))
}
