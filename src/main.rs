//! The command `rowback`: parses the command line, runs one command, and turns its outcome into an exit code.

mod cli;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::args::Cli;
use crate::cli::output::Output;

fn main() -> ExitCode {
    let arguments = rowback::env::arguments();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return cli::refuse_arguments(&error, &arguments),
    };
    let env = rowback::env::Env::read();
    let output = Output::new(&cli.global, &env);
    let outcome = cli::run(&cli, &env, &output);
    cli::conclude(outcome, &output)
}
