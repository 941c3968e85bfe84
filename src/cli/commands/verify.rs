//! `rowback verify`: holds the staged rows against live once more and writes the certificate.

use rowback::case::{self, Context};

use crate::cli::args::LookUpArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Prints the certificate.
pub async fn run(args: &LookUpArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let live = settings::live_flag(&args.case.live, &context.env, output)?;
    let case = &args.case.case.case;
    let verified = case::verify(case, live, args.jobs(), context).await?;
    output.result("verify", &verified, |output| summary::verify(&verified, case, output))?;
    Ok(Ending::when_left(verified.leftover()))
}
