//! `rowback completions SHELL`.

use clap::CommandFactory;

use crate::cli::Ending;
use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::failure::Failure;
use crate::cli::output::write_stdout;

/// Prints the script for the shell.
pub fn run(args: &CompletionsArgs) -> Result<Ending, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rowback", &mut script);
    write_stdout(&script)?;
    Ok(Ending::Done)
}
