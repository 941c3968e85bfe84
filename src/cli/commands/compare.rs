//! `rowback compare`: whole tables of a backup against live, without a recipe.

use std::collections::BTreeMap;

use rowback::case::{self, Context, PlanSummary};
use rowback::compare::Comparison;
use rowback::ident::TableName;
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
    /// Rows, by table, that were found missing or changed and that no plan can be about.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_planned: BTreeMap<&'a TableName, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a PlanSummary>,
}

/// Prints counts and a few keys of each sort; with `--case` plans the recovery of what is missing.
pub async fn run(args: &CompareArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let (options, recover) = settings::compare(args, &context.env, output)?;
    let comparison = case::compare(&recover.backup, &recover.live, &options, context).await?;
    let planned = match &args.case {
        Some(_) => case::recover_found(&comparison, recover, context).await,
        None => Ok(None),
    };
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => {
            // What was found took its time and is true without a plan, too. As JSON there is one object, the error's.
            if !output.is_json() {
                output.result("compare", &comparison, |output| summary::compare(&comparison, output))?;
            }
            return Err(error.into());
        }
    };
    let not_planned = args.case.as_ref().map(|_| comparison.unplanned()).unwrap_or_default();
    let rows = not_planned.iter().map(|(table, why)| (table, why.rows())).collect();
    let found = Found { comparison: &comparison, not_planned: rows, plan: plan.as_ref() };
    output.result("compare", &found, |output| {
        let mut text = summary::compare(&comparison, output);
        text.push_str(&summary::not_planned(&not_planned, output));
        match (&plan, &args.case) {
            (Some(plan), Some(case)) => text.push_str(&format!("\n{}", summary::plan(plan, case, output))),
            (None, Some(_)) if not_planned.is_empty() => text.push_str(summary::no_case(&comparison)),
            (None, Some(_)) => text.push_str("There is nothing else to be planned, so no case was made.\n"),
            _ => {}
        }
        text
    })?;
    let left = !comparison.is_complete() || !not_planned.is_empty();
    Ok(Ending::when_left(left || plan.is_some_and(|plan| plan.leftover())))
}
