//! `rowback doctor`: is everything there that a recovery needs?

use rowback::case::{self, Context, DoctorOptions};
use rowback::recipe::Recipe;

use crate::cli::args::DoctorArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Ending, settings, summary};

/// Prints one line per check.
pub async fn run(args: &DoctorArgs, context: &Context, output: &Output) -> Result<Ending, Failure> {
    let mut recipe = args.recipe.as_deref().map(Recipe::load).transpose()?;
    let live = settings::doctor_live(&args.live, recipe.as_mut(), &context.env, output)?;
    let backup = match &mut recipe {
        Some(recipe) if args.backup.is_some() || recipe.backup.before.is_some() => {
            Some(settings::backup(args.backup.as_deref(), recipe)?)
        }
        _ => args.backup.as_ref().map(Into::into),
    };
    let options = DoctorOptions { recipe, live, backup, pg_bin: args.pg_bin.clone() };
    let found = case::doctor(&options, context).await?;
    output.result("doctor", &found, |output| summary::doctor(&found, output))?;
    Ok(Ending::when_left(found.leftover()))
}
