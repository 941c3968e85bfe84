//! Nothing is written to live before its name was typed.

use crate::cli::args::ConfirmArgs;
use crate::cli::failure::Failure;
use crate::cli::output::ask;

/// `--confirm`, else the answer of the person at the terminal. The library holds it against the plan.
pub fn database_name(args: &ConfirmArgs, verb: &str) -> Result<String, Failure> {
    let question = format!("This will {verb} rows in the live database. Type the database's name to go on: ");
    let name = args.confirm.clone().or_else(|| ask(&question)).filter(|name| !name.is_empty());
    name.ok_or_else(|| {
        Failure::usage(
            "confirmation-missing",
            format!("nobody confirmed which database to {verb} rows in"),
            "Add --confirm with the name of the live database. Nothing was touched.",
        )
    })
}
