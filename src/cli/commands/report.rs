//! `rowback report`: what a case found and did, as text, JSON or one HTML file.

use std::io;
use std::path::Path;

use rowback::case;
use rowback::staging::write_atomic;

use crate::cli::Ending;
use crate::cli::args::ReportArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Prints the report, or writes it as HTML.
pub async fn run(args: &ReportArgs, output: &Output) -> Result<Ending, Failure> {
    let report = case::report(&args.case.case, output.shows_values()).await?;
    let Some(path) = &args.html else {
        output.result("report", &report, |_| report.text())?;
        return Ok(Ending::Done);
    };
    write(path, &report.html()).map_err(|error| {
        Failure::input(
            "output-unwritable",
            format!("the report cannot be written to {}", path.display()),
            &error,
        )
    })?;
    output.note(&format!("The report is in {}.", path.display()));
    Ok(Ending::Done)
}

/// Readable by its owner only, like the case: keys of rows are in it. A pipe or device is written to as it is.
fn write(path: &Path, html: &str) -> io::Result<()> {
    if path.exists() && !path.is_file() {
        return std::fs::write(path, html);
    }
    write_atomic(path, html.as_bytes())
}
