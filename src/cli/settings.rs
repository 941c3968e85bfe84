//! Flags, recipe and environment become the library's options; a flag wins over the recipe, the recipe over PG*
//! variables. Reads the recipe and libpq's files, never the network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rowback::case::{LIVE_JOBS, MOST_KEYS, RecoverOptions};
use rowback::compare::CompareOptions;
use rowback::env::Env;
use rowback::ident::TableName;
use rowback::pg::ConnectSettings;
use rowback::recipe::{BackupLocation, Kind, Recipe, without_password};
use rowback::scratch::{Loading, Pushdown, ScratchOptions};
use rowback::staging::StagingFormat;

use super::args::{
    CompareArgs, DEFAULT_BATCH_ROWS, ExtractArgs, KindWord, LiveArgs, LoadingArgs, MemoryArgs, RecipeArgs,
    RecoverArgs, SourceArgs, StagingWord,
};
use super::failure::Failure;
use super::output::Output;

/// Rows of a batch where the stage that is run makes none.
const NO_BATCHES: u32 = DEFAULT_BATCH_ROWS;

/// Options of `recover`.
pub fn recover(args: &RecoverArgs, env: &Env, output: &Output) -> Result<RecoverOptions, Failure> {
    let rows = args.batch.batch_rows;
    options(recipe(&args.recipe)?, &args.source, &args.live, &args.case.case, rows, env, output)
}

/// Options of `extract`: those of `recover` but the batches.
pub fn extract(args: &ExtractArgs, env: &Env, output: &Output) -> Result<RecoverOptions, Failure> {
    options(recipe(&args.recipe)?, &args.source, &args.live, &args.case.case, NO_BATCHES, env, output)
}

fn options(
    mut recipe: Recipe,
    source: &SourceArgs,
    live: &LiveArgs,
    case: &Path,
    batch_rows: u32,
    env: &Env,
    output: &Output,
) -> Result<RecoverOptions, Failure> {
    let backup = backup(source.backup.as_deref(), &mut recipe)?;
    let live_is_named = live.live.is_some() || recipe.live.url.is_some();
    let live = recipe_live(live, &mut recipe, env, output)?;
    let scratch =
        source.scratch.as_deref().map(|text| ConnectSettings::resolve(Some(text), env)).transpose()?;
    Ok(RecoverOptions {
        recipe,
        backup,
        live,
        live_is_named,
        case_dir: case.to_owned(),
        scratch: ScratchOptions {
            url: scratch,
            pg_bin: source.pg_bin.clone(),
            loading: loading(&source.loading),
        },
        staging: match source.staging {
            StagingWord::Parquet => StagingFormat::Parquet,
            StagingWord::Csv => StagingFormat::Csv,
        },
        time_limit: Duration::from_secs(source.time_limit),
        batch_rows,
        live_jobs: source.loading.jobs.map_or(LIVE_JOBS, usize::from),
    })
}

fn loading(args: &LoadingArgs) -> Loading {
    let default = Loading::default();
    Loading {
        pushdown: if args.no_pushdown { Pushdown::Off } else { Pushdown::On },
        jobs: args.jobs.map_or(default.jobs, usize::from),
        memory_bytes: bytes(&args.memory),
    }
}

/// The recipe file, or the one table of the flags.
pub fn recipe(what: &RecipeArgs) -> Result<Recipe, Failure> {
    if let Some(path) = &what.recipe {
        return Ok(Recipe::load(path)?);
    }
    let table = table_name(what.table.as_deref().unwrap_or_default())?;
    let kind = match what.kind {
        KindWord::Deleted => Kind::Deleted,
        KindWord::Corrupted => Kind::Corrupted,
        KindWord::Misrouted => Kind::Misrouted,
    };
    Ok(Recipe::single_table(table, what.condition.as_deref().unwrap_or_default(), kind)?)
}

/// The value of `--table`.
pub fn table_name(name: &str) -> Result<TableName, Failure> {
    TableName::parse(name).ok_or_else(|| {
        let hint =
            "Write --table schema.table, or only the table when it is in \"public\". Nothing was touched.";
        Failure::usage("wrong-table-name", format!("{name:?} is no table name"), hint)
    })
}

/// What `compare` compares, and what is done when it makes a case.
pub fn compare(
    args: &CompareArgs,
    env: &Env,
    output: &Output,
) -> Result<(CompareOptions, RecoverOptions), Failure> {
    let tables = args.tables.iter().map(|name| table_name(name)).collect::<Result<_, _>>()?;
    let case = args.case.as_deref().unwrap_or(Path::new("case"));
    let rows = NO_BATCHES;
    let recover = options(Recipe::of(Vec::new()), &args.source, &args.live, case, rows, env, output)?;
    let compare = CompareOptions {
        tables,
        memory_bytes: bytes(&args.source.loading.memory),
        samples: usize::from(args.samples),
        most_keys: if args.case.is_some() { MOST_KEYS } else { 0 },
        show_values: output.shows_values(),
    };
    Ok((compare, recover))
}

fn bytes(memory: &MemoryArgs) -> usize {
    usize::try_from(memory.memory).unwrap_or(usize::MAX).saturating_mul(1_000_000)
}

/// `--backup`, else the recipe's; the recipe is left naming the one that is used.
pub fn backup(flag: Option<&str>, recipe: &mut Recipe) -> Result<PathBuf, Failure> {
    let location = flag.map(BackupLocation::parse).or_else(|| recipe.backup.before.clone());
    match location {
        Some(BackupLocation::Path(path)) => {
            let path = std::path::absolute(&path).map_err(|error| {
                Failure::input("backup-unreadable", format!("cannot find {}", path.display()), &error)
            })?;
            recipe.backup.before = Some(BackupLocation::Path(path.clone()));
            Ok(path)
        }
        Some(BackupLocation::Url(url)) => Err(Failure::usage(
            "not-in-this-version",
            format!("a database as backup is not supported by this version: {}", without_password(&url)),
            "Make an archive of it first: pg_dump -Fc -f backup.dump URL. Nothing was touched.",
        )),
        None => Err(Failure::usage(
            "no-backup",
            "nothing says which backup to recover from",
            "Add --backup FILE, or path = \"…\" below [backup] in the recipe. Nothing was touched.",
        )),
    }
}

/// `--live`, else the recipe's, else PG* variables; the recipe is left naming the one that is used, without password.
fn recipe_live(
    args: &LiveArgs,
    recipe: &mut Recipe,
    env: &Env,
    output: &Output,
) -> Result<ConnectSettings, Failure> {
    let (text, origin) = match (&args.live, &recipe.live.url) {
        (Some(text), _) => (Some(text.clone()), "--live"),
        (None, Some(text)) => (Some(text.clone()), "the recipe"),
        (None, None) => (None, "PG* variables and defaults"),
    };
    let settings = resolve(text.as_deref(), origin, env, output)?;
    recipe.live.url = Some(text.map_or_else(|| settings.redacted(), |text| without_password(&text)));
    output.note(&format!("live: {} (from {origin})", settings.describe()));
    Ok(settings)
}

/// `--live`, or `None`: then the case knows it.
pub fn live_flag(args: &LiveArgs, env: &Env, output: &Output) -> Result<Option<ConnectSettings>, Failure> {
    args.live.as_deref().map(|text| resolve(Some(text), "--live", env, output)).transpose()
}

/// Where doctor looks for live.
pub fn doctor_live(
    args: &LiveArgs,
    recipe: Option<&mut Recipe>,
    env: &Env,
    output: &Output,
) -> Result<ConnectSettings, Failure> {
    if let Some(recipe) = recipe {
        return recipe_live(args, recipe, env, output);
    }
    let origin = if args.live.is_some() { "--live" } else { "PG* variables and defaults" };
    resolve(args.live.as_deref(), origin, env, output)
}

fn resolve(text: Option<&str>, origin: &str, env: &Env, output: &Output) -> Result<ConnectSettings, Failure> {
    let settings = ConnectSettings::resolve(text, env)
        .map_err(|error| Failure::from(error).with_cause(format!("the setting comes from {origin}")))?;
    for note in settings.notes() {
        output.note(note);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn settings(line: &str, env: &Env) -> Result<RecoverOptions, String> {
        let cli = Cli::try_parse_from(line.split('|')).unwrap();
        let output = Output::new(&cli.global, env);
        let Command::Recover(args) = &cli.command else { panic!("recover is a command") };
        recover(args, env, &output).map_err(|failure| failure.text(str::to_owned))
    }

    const START: &str = "rowback|recover|--quiet|--table|orders|--where|id = 1";

    #[test]
    fn flags_win_and_are_written_into_the_recipe_without_password() {
        let env = Env::from_pairs([("PGHOST", "ignored"), ("PGUSER", "me")]);
        let line = format!("{START}|--backup|/b.dump|--live|postgresql://u:secret@db1/shop|--staging|csv");
        let options = settings(&line, &env).unwrap();
        assert_eq!(options.backup, PathBuf::from("/b.dump"));
        assert_eq!(options.live.describe(), "database \"shop\" at db1:5432");
        assert_eq!(options.recipe.live.url.as_deref(), Some("postgresql://u@db1/shop"));
        assert_eq!(options.recipe.backup.before, Some(BackupLocation::Path("/b.dump".into())));
        assert_eq!((options.staging, options.batch_rows), (StagingFormat::Csv, 5000));
    }

    #[test]
    fn variables_decide_without_flag_and_recipe() {
        let env = Env::from_pairs([
            ("PGHOST", "db2"),
            ("PGUSER", "me"),
            ("PGDATABASE", "shop"),
            ("PGPASSWORD", "hunter2"),
        ]);
        let options = settings(&format!("{START}|--backup|/b.dump"), &env).unwrap();
        assert_eq!(options.live.describe(), "database \"shop\" at db2:5432");
        assert!(!options.recipe.to_toml().unwrap().contains("hunter2"), "no password in the recipe");
    }

    #[test]
    fn what_is_missing_is_said() {
        let env = Env::from_pairs([("PGUSER", "me")]);
        insta::assert_snapshot!(settings(START, &env).unwrap_err(), @r#"
        error[no-backup]: nothing says which backup to recover from
          hint: Add --backup FILE, or path = "…" below [backup] in the recipe. Nothing was touched.
        "#);
        let url = format!("{START}|--backup|postgresql://u:secret@db1/shop");
        insta::assert_snapshot!(settings(&url, &env).unwrap_err(), @r#"
        error[not-in-this-version]: a database as backup is not supported by this version: postgresql://u@db1/shop
          hint: Make an archive of it first: pg_dump -Fc -f backup.dump URL. Nothing was touched.
        "#);
        let table = "rowback|recover|--table|a.b.c|--where|true";
        insta::assert_snapshot!(settings(table, &env).unwrap_err(), @r#"
        error[wrong-table-name]: "a.b.c" is no table name
          hint: Write --table schema.table, or only the table when it is in "public". Nothing was touched.
        "#);
        let condition = "rowback|recover|--table|t|--where|a = 1; DROP TABLE t";
        insta::assert_snapshot!(settings(condition, &env).unwrap_err(), @r#"
        error[predicate-semicolon]: --table: where: the SQL text contains a semicolon
          hint: Leave the semicolon out; only one expression or SELECT is evaluated. Nothing was touched.
        "#);
    }
}
