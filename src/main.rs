//! The command `rowback`: parses the command line, runs one command, and turns its outcome into an exit code.

mod cli;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::args::Cli;
use crate::cli::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse_arguments(&error),
    };
    let env = rowback::env::Env::read();
    let output = Output::new(&cli.global, &env);
    let outcome = cli::run(&cli, &env, &output);
    cli::conclude(outcome, &output)
}
