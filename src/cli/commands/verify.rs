//! `rowback verify`: holds the staged rows against live once more and writes the certificate.

use rowback::case::{self, Context};

use crate::cli::args::CaseArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Prints the certificate.
pub async fn run(args: &CaseArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let live = settings::live_flag(&args.live, &context.env, output)?;
    let verified = case::verify(&args.case.case, live, context).await?;
    output.result("verify", &verified, |output| summary::verify(&verified, &args.case.case, output))?;
    Ok(Ending::when_left(verified.leftover()))
}
