//! `rowback plan`: the third stage alone; touches no database.

use rowback::case::{self, Context};

use crate::cli::args::PlanArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, summary};

/// Makes the plan and prints it.
pub async fn run(args: &PlanArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let plan = case::plan(&args.case.case, args.batch.batch_rows, context).await?;
    output.result("plan", &plan, |output| summary::plan(&plan, &args.case.case, output))?;
    Ok(Ending::when_left(plan.leftover()))
}
