//! `rowback completions SHELL`.

use clap::CommandFactory;
use serde_json::json;

use crate::cli::Ending;
use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Prints the script for the shell.
pub fn run(args: &CompletionsArgs, output: &Output) -> Result<Ending, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rowback", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let result = json!({ "shell": args.shell.to_string(), "script": script });
    output.result("completions", &result, |_| script)?;
    Ok(Ending::Done)
}
