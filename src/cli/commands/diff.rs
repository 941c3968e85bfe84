//! `rowback diff`: the second stage alone; only reads live.

use rowback::case::{self, Context};

use crate::cli::args::LookUpArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Holds the staged rows against live and prints the verdicts.
pub async fn run(args: &LookUpArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let case = &args.case.case.case;
    let live = settings::live_flag(&args.case.live, &context.env, output)?;
    let diff = case::diff(case, live, args.jobs(), context).await?;
    output.result("diff", &diff, |output| summary::diff(&diff, case, output))?;
    Ok(Ending::when_left(diff.leftover()))
}
