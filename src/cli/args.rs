//! What the user typed. A doc comment here is the help text.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// Brings lost or damaged rows back from a PostgreSQL backup into the live database, and touches nothing else
///
/// Everything before `apply` only reads the live database. The usual way is
///
///   rowback recover recipe.toml --backup shop.dump --live postgresql://db1/shop
///   rowback apply --confirm shop
///   rowback verify
///
/// Connections follow libpq: URLs, key=value strings, PGHOST … PGPASSWORD, PGSERVICE, ~/.pgpass.
///
/// Exit codes: 0 done; 1 done, but something is left for a human; 2 usage, or a missing confirmation; 3 an input cannot
/// be reached or read; 4 refused for safety; 5 stopped midway, the same command goes on; 70 a bug.
#[derive(Debug, Parser)]
#[command(
    name = "rowback",
    version,
    verbatim_doc_comment,
    max_term_width = 110,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct GlobalArgs {
    /// Print one JSON object on stdout instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Show values of rows in reports and messages; without it only keys are shown
    #[arg(long, global = true)]
    pub show_values: bool,
    /// No progress and no notes on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// When to colour; NO_COLOR is respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Choose rows, hold them against live and plan their recovery; writes nothing to live
    Recover(RecoverArgs),
    /// Carry out the plan of a case
    Apply(ApplyArgs),
    /// Prove that live holds what was planned, and write the certificate
    Verify(LookUpArgs),
    /// Take back what apply changed and nobody has changed since
    Undo(UndoArgs),
    /// Show what a case found and did
    Report(ReportArgs),
    /// Show the rows of one table, one by one: the backup's beside live's, with verdict and reason
    Show(ShowArgs),
    /// Only the first stage: choose the rows in the backup and stage them in the case
    Extract(ExtractArgs),
    /// Only the second stage: hold the staged rows, as they are in their files by now, against live
    Diff(LookUpArgs),
    /// Only the third stage: make the plan and its batches
    Plan(PlanArgs),
    /// Check a backup to its last block and say what is in it
    Inspect(InspectArgs),
    /// Hold whole tables of a backup against live: what is missing, changed or new there
    Compare(CompareArgs),
    /// Check that everything a recovery needs is there, without starting it
    Doctor(DoctorArgs),
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

/// What to recover.
#[derive(Debug, Args)]
#[group(skip)]
pub struct RecipeArgs {
    /// The recipe: what to recover, as TOML
    #[arg(
        value_name = "RECIPE",
        value_hint = ValueHint::FilePath,
        required_unless_present = "table",
        conflicts_with_all = ["table", "condition", "kind"]
    )]
    pub recipe: Option<PathBuf>,
    /// One table without a recipe
    #[arg(long, value_name = "SCHEMA.TABLE", requires = "condition")]
    pub table: Option<String>,
    /// Which rows of --table, as an SQL condition over the backup's row
    #[arg(long = "where", id = "condition", value_name = "CONDITION", requires = "table")]
    pub condition: Option<String>,
    /// What the accident did to the rows of --table
    #[arg(long, value_name = "KIND", requires = "table", default_value = "deleted")]
    pub kind: KindWord,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Journal {
    /// In the case; in live as well if an earlier run began one there
    Case,
    /// In the case and in live
    Live,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindWord {
    /// Rows are gone
    Deleted,
    /// Columns hold wrong values
    Corrupted,
    /// Rows belong to the wrong owner
    Misrouted,
}

#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The backup: a file or directory of pg_dump; overrides the recipe's
    #[arg(long, value_name = "BACKUP", value_hint = ValueHint::AnyPath)]
    pub backup: Option<String>,
    /// Use a database on this server as scratch instead of a temporary cluster; made and dropped by rowback
    #[arg(long, value_name = "URL")]
    pub scratch: Option<String>,
    /// Directory of PostgreSQL's server programs (initdb, postgres) for the temporary cluster
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub pg_bin: Option<PathBuf>,
    /// Format of the staging files
    #[arg(long, value_name = "FORMAT", default_value = "parquet")]
    pub staging: StagingWord,
    /// Longest time for evaluating one predicate
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub time_limit: u64,
    #[command(flatten)]
    pub loading: LoadingArgs,
}

/// How the backup's rows get into scratch.
#[derive(Debug, Args)]
pub struct LoadingArgs {
    /// Load the needed tables whole, instead of leaving out rows whose text already says that they cannot matter
    #[arg(long)]
    pub no_pushdown: bool,
    /// Say which rows of which tables were loaded and why, on stderr, with --json in the result
    #[arg(long)]
    pub explain: bool,
    /// Tables or partitions of the backup read at once (all processors if not given), and connections that look rows up in live (2 if not given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    pub memory: MemoryArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StagingWord {
    /// Parquet, for DuckDB, Polars, Spark, PyArrow
    Parquet,
    /// CSV
    Csv,
}

#[derive(Debug, Args)]
pub struct LiveArgs {
    /// The database to be repaired: URL or key=value string; else the recipe's or the case's, else PG* variables
    #[arg(long, value_name = "URL")]
    pub live: Option<String>,
}

#[derive(Debug, Args)]
pub struct CaseDirArgs {
    /// The case: the directory that holds one recovery
    #[arg(value_name = "CASE", default_value = "case", value_hint = ValueHint::DirPath)]
    pub case: PathBuf,
}

#[derive(Debug, Args)]
pub struct NewCaseArgs {
    /// Directory for the case
    #[arg(long, value_name = "DIR", default_value = "case", value_hint = ValueHint::DirPath)]
    pub case: PathBuf,
}

/// Enough that what a transaction costs by itself does not show, few enough that others do not wait for its locks.
pub const DEFAULT_BATCH_ROWS: u32 = 5000;

#[derive(Debug, Args)]
pub struct BatchArgs {
    /// Rows in one transaction
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BATCH_ROWS, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch_rows: u32,
}

#[derive(Debug, Args)]
pub struct RecoverArgs {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub live: LiveArgs,
    #[command(flatten)]
    pub case: NewCaseArgs,
    #[command(flatten)]
    pub batch: BatchArgs,
}

#[derive(Debug, Args)]
pub struct ExtractArgs {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub live: LiveArgs,
    #[command(flatten)]
    pub case: NewCaseArgs,
}

#[derive(Debug, Args)]
pub struct CaseArgs {
    #[command(flatten)]
    pub case: CaseDirArgs,
    #[command(flatten)]
    pub live: LiveArgs,
}

#[derive(Debug, Args)]
pub struct LookUpArgs {
    #[command(flatten)]
    pub case: CaseArgs,
    /// Connections that look rows up in live at the same time; 2 if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
}

impl LookUpArgs {
    /// Connections that look rows up in live at the same time.
    pub fn jobs(&self) -> usize {
        self.jobs.map_or(rowback::case::LIVE_JOBS, usize::from)
    }
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub case: CaseDirArgs,
    #[command(flatten)]
    pub batch: BatchArgs,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub case: CaseDirArgs,
    #[command(flatten)]
    pub live: LiveArgs,
    #[command(flatten)]
    pub confirm: ConfirmArgs,
    /// Run every batch and roll it back, over one connection
    #[arg(long)]
    pub dry_run: bool,
    /// Keep the journal in live as well, in a table `rowback.journal` that is made for it
    #[arg(long, value_enum, value_name = "WHERE", default_value = "case")]
    pub journal: Journal,
    /// Connections that write at the same time, where batches have nothing to do with each other; 2 if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
}

#[derive(Debug, Args)]
pub struct UndoArgs {
    #[command(flatten)]
    pub case: CaseDirArgs,
    #[command(flatten)]
    pub live: LiveArgs,
    #[command(flatten)]
    pub confirm: ConfirmArgs,
}

#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Name of the database that may be changed; asked for on a terminal
    #[arg(long, value_name = "DBNAME")]
    pub confirm: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub case: CaseDirArgs,
    /// Write the report as one HTML file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "json")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub case: CaseDirArgs,
    /// The table; may be left out where the case has only one
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub table: Option<String>,
    /// Only rows with these verdicts: lost, damaged, changed, recreated …
    #[arg(long, value_name = "VERDICT", value_delimiter = ',')]
    pub verdict: Vec<String>,
    /// Show values of rows, too, as --show-values does; they may be personal data
    #[arg(long)]
    pub values: bool,
    /// Most rows to show
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The backup
    #[arg(value_name = "BACKUP", value_hint = ValueHint::AnyPath)]
    pub backup: PathBuf,
    /// Lines of sha256sum that must match, else nothing else is done
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub manifest: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub live: LiveArgs,
    /// A table to compare; may be given more than once [default: every table of the backup]
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    pub tables: Vec<String>,
    /// Make a case of what is missing: choose those rows, hold them against live and plan their recovery
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub case: Option<PathBuf>,
    /// Rows of each sort whose keys are named
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub samples: u16,
}

#[derive(Debug, Args)]
pub struct MemoryArgs {
    /// About the most memory that rows and keys may take, in MB; what does not fit goes another way
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub memory: u32,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The recipe to check against the live database
    #[arg(value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    /// The backup: a file or directory of pg_dump; overrides the recipe's
    #[arg(long, value_name = "BACKUP", value_hint = ValueHint::AnyPath)]
    pub backup: Option<String>,
    #[command(flatten)]
    pub live: LiveArgs,
    /// Directory of PostgreSQL's server programs (initdb, postgres) for the temporary cluster
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub pg_bin: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::error::ErrorKind> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.kind())
    }

    #[test]
    fn recipe_or_table_but_not_both() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        assert_eq!(parse("rowback recover").err(), Some(MissingRequiredArgument));
        assert_eq!(parse("rowback recover --table t").err(), Some(MissingRequiredArgument));
        assert_eq!(parse("rowback recover --where true").err(), Some(MissingRequiredArgument));
        assert_eq!(parse("rowback recover r.toml --table t --where true").err(), Some(ArgumentConflict));
        assert_eq!(parse("rowback recover r.toml --kind deleted").err(), Some(ArgumentConflict));
        assert!(parse("rowback recover r.toml").is_ok());
        assert!(parse("rowback recover --table t --where true --kind corrupted --json").is_ok());
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let Ok(Cli { command: Command::Recover(recover), .. }) = parse("rowback recover r.toml") else {
            panic!("recover is a command")
        };
        assert_eq!(recover.case.case, PathBuf::from("case"));
        assert_eq!(recover.batch.batch_rows, 5000);
        assert_eq!(recover.source.staging, StagingWord::Parquet);
        let Ok(Cli { command: Command::Apply(apply), .. }) = parse("rowback apply") else {
            panic!("apply is a command")
        };
        assert_eq!(
            (apply.case.case, apply.confirm.confirm, apply.dry_run),
            (PathBuf::from("case"), None, false)
        );
    }

    #[test]
    fn json_and_html_exclude_each_other() {
        use clap::error::ErrorKind::ArgumentConflict;
        assert_eq!(parse("rowback report --json --html x.html").err(), Some(ArgumentConflict));
        assert!(parse("rowback report --html x.html").is_ok());
        assert!(parse("rowback plan --batch-rows 0").is_err());
    }
}
