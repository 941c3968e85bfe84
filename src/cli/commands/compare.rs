//! `rowback compare`: whole tables of a backup against live, without a recipe.

use rowback::case::{self, Context, PlanSummary};
use rowback::compare::Comparison;
use serde::Serialize;

use crate::cli::args::CompareArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// What was found, and the plan where one was asked for.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a PlanSummary>,
}

/// Prints counts and a few keys of each sort; with `--case` plans the recovery of what is missing.
pub async fn run(args: &CompareArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let (options, recover) = settings::compare(args, &context.env, output)?;
    let comparison = case::compare(&recover.backup, &recover.live, &options, context).await?;
    let plan = match &args.case {
        Some(_) => case::recover_found(&comparison, recover, context).await?,
        None => None,
    };
    let found = Found { comparison: &comparison, plan: plan.as_ref() };
    output.result("compare", &found, |output| {
        let mut text = summary::compare(&comparison, output);
        match (&plan, &args.case) {
            (Some(plan), Some(case)) => text.push_str(&format!("\n{}", summary::plan(plan, case, output))),
            (None, Some(_)) => text.push_str(summary::no_case(&comparison)),
            _ => {}
        }
        text
    })?;
    Ok(Ending::when_left(!comparison.is_complete() || plan.is_some_and(|plan| plan.leftover())))
}
