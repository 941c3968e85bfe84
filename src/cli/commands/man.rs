//! `rowback man`: one page for the program and all its commands.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::cli::Ending;
use crate::cli::args::Cli;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Prints the page.
pub fn run(output: &Output) -> Result<Ending, Failure> {
    let page = page()
        .map_err(|error| Failure::input("output-unwritable", "the manual page cannot be made", &error))?;
    let page = String::from_utf8_lossy(&page).into_owned();
    output.result("man", &json!({ "page": page }), |_| page)?;
    Ok(Ending::Done)
}

fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    Man::new(command.clone()).manual("rowback").render(&mut page)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        page.extend(section(sub)?);
    }
    Ok(page)
}

/// The synopsis and options of a command under one heading of its own.
fn section(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let heading = format!("ROWBACK {}", command.get_name().to_uppercase());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let body = text.replacen(".SH SYNOPSIS", &format!(".SH \"{heading}\"\n{about}\n.PP"), 1);
    Ok(body.replace(".SH OPTIONS", ".PP").into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_every_command() {
        let page = String::from_utf8(super::page().unwrap()).unwrap();
        for heading in ["RECOVER", "APPLY", "VERIFY", "UNDO", "REPORT", "INSPECT", "DOCTOR", "COMPLETIONS"] {
            assert!(page.contains(&format!(".SH \"ROWBACK {heading}\"")), "{heading}");
        }
        assert!(page.contains("batch\\-rows"), "options are there");
    }
}
