//! `rowback compare`: whole tables of a backup against live, without a recipe.

use rowback::case::{self, Context};

use crate::cli::args::CompareArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Prints counts and a few keys of each sort.
pub async fn run(args: &CompareArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let (live, options) = settings::compare(args, &context.env, output)?;
    let found = case::compare(&args.backup, &live, &options, context).await?;
    output.result("compare", &found, |output| summary::compare(&found, output))?;
    Ok(Ending::when_left(!found.is_complete()))
}
