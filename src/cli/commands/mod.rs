//! One file per subcommand: settings → library call → output.

mod apply;
mod compare;
pub mod completions;
mod confirm;
mod diff;
mod doctor;
mod extract;
mod inspect;
pub mod man;
mod plan;
mod recover;
mod report;
pub mod show;
mod undo;
mod verify;

use std::sync::Arc;

use rowback::cancel::CancelToken;
use rowback::case::Context;
use rowback::env::Env;

use super::args::{Cli, Command};
use super::failure::Failure;
use super::output::Output;
use super::{Ending, bars, interrupt};

/// Runs a command that works.
pub async fn dispatch(cli: &Cli, env: &Env, output: &Output) -> Result<Ending, Failure> {
    let context = Context {
        progress: Arc::from(bars::progress(output)),
        cancel: CancelToken::default(),
        env: env.clone(),
    };
    interrupt::watch(context.cancel.clone(), context.progress.clone())?;
    match &cli.command {
        Command::Recover(args) => recover::run(args, &context, output).await,
        Command::Apply(args) => apply::run(args, &context, output).await,
        Command::Verify(args) => verify::run(args, &context, output).await,
        Command::Undo(args) => undo::run(args, &context, output).await,
        Command::Report(args) => report::run(args, output).await,
        Command::Extract(args) => Box::pin(extract::run(args, &context, output)).await,
        Command::Diff(args) => diff::run(args, &context, output).await,
        Command::Plan(args) => plan::run(args, &context, output).await,
        Command::Inspect(args) => inspect::run(args, &context, output).await,
        Command::Compare(args) => compare::run(args, &context, output).await,
        Command::Doctor(args) => doctor::run(args, &context, output).await,
        Command::Show(args) => show::run(args, env, output),
        Command::Completions(args) => completions::run(args, output),
        Command::Man => man::run(output),
    }
}
