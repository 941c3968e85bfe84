//! `rowback extract`: the first stage alone.

use rowback::case::{self, Context};

use crate::cli::args::ExtractArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Stages the rows and prints how many.
pub async fn run(args: &ExtractArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let options = settings::extract(args, &context.env, output)?;
    let mut staged = case::extract(&options, context).await?;
    summary::explain(&mut staged.passes, &args.source.loading, output);
    output.result("extract", &staged, |output| summary::extract(&staged, &options.case_dir, output))?;
    Ok(Ending::Done)
}
