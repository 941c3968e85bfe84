//! The command line: the only code that knows clap, indicatif, colour and exit codes.

#![allow(clippy::format_push_string, reason = "text for people: one more allocation a line costs nothing")]

pub mod args;
mod bars;
mod commands;
mod failure;
mod interrupt;
pub mod output;
mod settings;
mod summary;
use rowback::report::table;

use std::ffi::OsString;
use std::process::ExitCode;

use rowback::env::Env;

use self::args::{Cli, Command};
use self::failure::Failure;
use self::output::Output;

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything is done: exit code 0.
    Done,
    /// Done, but something is left for a human: exit code 1.
    Leftover,
}

impl Ending {
    /// `Leftover` when anything is left.
    fn when_left(anything_left: bool) -> Self {
        if anything_left { Self::Leftover } else { Self::Done }
    }
}

/// Runs the command.
pub fn run(cli: &Cli, env: &Env, output: &Output) -> Result<Ending, Failure> {
    match &cli.command {
        Command::Completions(args) => return commands::completions::run(args, output),
        Command::Man => return commands::man::run(output),
        // Reads files only: Ctrl-C may end it as it ends any other filter.
        Command::Show(args) => return commands::show::run(args, env, output),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::input("runtime-unavailable", "the program cannot start its threads", &error)
    })?;
    runtime.block_on(commands::dispatch(cli, env, output))
}

/// Prints the failure, if any, and gives the exit code. A reader that closed the pipe had enough: that is success.
pub fn conclude(outcome: Result<Ending, Failure>, output: &Output) -> ExitCode {
    match outcome {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Leftover) => ExitCode::from(1),
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit())
        }
    }
}

/// Prints clap's message: help and version on stdout with 0, anything else on stderr with 2, and as JSON on stdout where
/// that was asked for.
pub fn refuse_arguments(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // Nothing can be said when the terminal itself is gone.
    drop(error.print());
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let mut options = arguments.iter().take_while(|argument| *argument != "--");
    if options.any(|argument| argument == "--json") {
        drop(output::write_stdout(format!("{}\n", failure::of_arguments(error).json()).as_bytes()));
    }
    ExitCode::from(2)
}
