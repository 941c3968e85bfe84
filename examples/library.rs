//! rowback as a library: plan a recovery, look at the plan, and apply it only if it is what was expected.
//!
//!     cargo run --example library -- RECIPE BACKUP LIVE_URL CASE_DIRECTORY EXPECTED_ROWS
//!
//! A runbook, an admin page or a scheduled drill would do it like this: the decision is made by a program that knows
//! how many rows were lost, and a plan of any other size is left for a human to read.
#![allow(clippy::print_stdout, reason = "a program for the terminal, not part of the library")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rowback::apply::JournalPlace;
use rowback::cancel::CancelToken;
use rowback::case::{self, ApplyOptions, Context, DryRun, LIVE_JOBS, RecoverOptions};
use rowback::env::Env;
use rowback::error::Explain;
use rowback::pg::ConnectSettings;
use rowback::progress::Silent;
use rowback::recipe::Recipe;
use rowback::scratch::ScratchOptions;
use rowback::staging::StagingFormat;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, backup, live, case_dir, expected] = arguments.as_slice() else {
        println!("usage: library RECIPE BACKUP LIVE_URL CASE_DIRECTORY EXPECTED_ROWS");
        return ExitCode::from(2);
    };
    match rescue(recipe, backup, live, case_dir, expected).await {
        Ok(code) => code,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Every error of the library can tell what happened, why, and what to do next.
fn explained(error: &impl Explain) -> String {
    format!("{error}\n  cause: {}\n  hint: {}", error.causes().join("; "), error.hint())
}

async fn rescue(
    recipe: &str,
    backup: &str,
    live: &str,
    case_dir: &str,
    expected: &str,
) -> Result<ExitCode, String> {
    let env = Env::read();
    let context = Context { progress: Arc::new(Silent), cancel: CancelToken::default(), env: env.clone() };
    let mut recipe = Recipe::load(recipe.as_ref()).map_err(|error| explained(&error))?;
    // The case remembers what the recipe says (without a password), so that later stages need not be told again.
    recipe.live.url = Some(live.to_owned());
    let live = ConnectSettings::resolve(Some(live), &env).map_err(|error| explained(&error))?;
    let dbname = live.dbname().to_owned();
    let options = RecoverOptions {
        recipe,
        backup: PathBuf::from(backup),
        live,
        live_is_named: true,
        case_dir: PathBuf::from(case_dir),
        scratch: ScratchOptions::default(),
        staging: StagingFormat::Parquet,
        time_limit: Duration::from_secs(900),
        batch_rows: 5000,
        live_jobs: LIVE_JOBS,
    };

    // Reads the backup and live, writes to the case directory only.
    let plan = case::recover(&options, &context).await.map_err(|error| explained(&error))?;
    println!(
        "planned: {} rows to insert, {} links to set, {} conflicts",
        plan.insert, plan.relink, plan.conflicts
    );
    if plan.conflicts > 0 || plan.insert.to_string() != expected {
        println!("this is not what was expected; nothing was written, see {}", options.case_dir.display());
        return Ok(ExitCode::from(1));
    }

    let apply = ApplyOptions {
        live: None,
        confirm: dbname,
        dry_run: DryRun::No,
        jobs: LIVE_JOBS,
        journal: JournalPlace::Case,
    };
    let applied = case::apply(&options.case_dir, apply, &context).await.map_err(|error| explained(&error))?;
    let verified = case::verify(&options.case_dir, None, case::LIVE_JOBS, &context)
        .await
        .map_err(|error| explained(&error))?;
    println!("applied: {} rows inserted, {} updated", applied.inserted, applied.updated);
    let present: u64 = verified.tables.values().map(|(_planned, present)| present).sum();
    println!("verified: {present} rows as planned, {} differences", verified.unexplained.len());
    Ok(if !applied.complete() || verified.leftover() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
