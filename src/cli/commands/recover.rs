//! `rowback recover`: extract, diff and plan in one go; only reads live.

use rowback::case::{self, Context};

use crate::cli::args::RecoverArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Runs the three stages and prints the plan.
pub async fn run(args: &RecoverArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let options = settings::recover(args, &context.env, output)?;
    let mut plan = case::recover(&options, context).await?;
    summary::explain(&mut plan.passes, &args.source.loading, output);
    output.result("recover", &plan, |output| summary::plan(&plan, &options.case_dir, output))?;
    Ok(Ending::when_left(plan.leftover()))
}
