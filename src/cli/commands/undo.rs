//! `rowback undo`: takes back what apply changed, after the database's name was typed.

use rowback::case::{self, Context, UndoOptions};

use super::confirm;
use crate::cli::args::UndoArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Takes the rows back and prints those that somebody has changed since.
pub async fn run(args: &UndoArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let confirm = confirm::database_name(&args.confirm, "take back")?;
    let live = settings::live_flag(&args.live, &context.env, output)?;
    let undone = case::undo(&args.case.case, UndoOptions { live, confirm }, context).await?;
    output.result("undo", &undone, |output| summary::undo(&undone, output))?;
    Ok(Ending::when_left(!undone.complete()))
}
