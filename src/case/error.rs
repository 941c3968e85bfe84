//! What can go wrong with a case directory, and the one error type over all stages.

use std::io;
use std::path::PathBuf;

use crate::apply::ApplyError;
use crate::backup::BackupError;
use crate::compare::CompareError;
use crate::diff::DiffError;
use crate::error::{Explain, Kind};
use crate::extract::ExtractError;
use crate::ident::TableName;
use crate::pg::PgError;
use crate::recipe::RecipeError;
use crate::scratch::RestoreError;
use crate::staging::StagingError;
use crate::verify::VerifyError;

/// What can go wrong with the case directory itself.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The directory or a file in it cannot be read or written.
    #[error("cannot use \"{}\"", path.display())]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No room for a file in it.
    #[error("no space left for \"{}\"", path.display())]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory has files in it and is no case.
    #[error("\"{}\" is not empty and no case of rowback's", path.display())]
    NoCase {
        /// The directory.
        path: PathBuf,
    },
    /// The case belongs to another recipe.
    #[error("\"{}\" holds another recovery", path.display())]
    OtherRun {
        /// The directory.
        path: PathBuf,
    },
    /// The case was applied, at least in part.
    #[error("\"{}\" holds a recovery that was applied", path.display())]
    AlreadyApplied {
        /// The directory.
        path: PathBuf,
    },
    /// A stage has not been run.
    #[error("\"{}\" is not there", path.display())]
    StageMissing {
        /// The file that is missing.
        path: PathBuf,
        /// The stage that makes it.
        stage: &'static str,
    },
    /// A JSON file does not hold what it should.
    #[error("\"{}\" cannot be understood", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Files of an earlier stage are newer than what was made of them.
    #[error("the diff is not of this staging")]
    Stale,
    /// A staging file that was edited, or made from another source, breaks a rule.
    #[error("\"{}\" cannot be taken as it is now", path.display())]
    StagingNotTaken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The plan would be larger than the recipe allows.
    #[error("the plan would write {rows} rows")]
    TooLarge {
        /// Rows that would be written.
        rows: u64,
        /// The recipe's `max_rows`.
        most: u64,
    },
    /// More columns of a table would be set right at once than a batch can stage.
    #[error("{columns} columns of {table} would be written at once")]
    TooWide {
        /// The table.
        table: TableName,
        /// Columns that differ in the same rows.
        columns: usize,
        /// So many are possible.
        most: usize,
    },
    /// A name that cannot stand in a batch file.
    #[error("the name {name:?} cannot be written into a batch file")]
    OddName {
        /// The table or column.
        name: String,
    },
    /// The backup taken after the accident is older than the one taken before.
    #[error("the backup named as `after` is older than the one to recover from")]
    AfterIsOlder {
        /// When the first was taken.
        before: String,
        /// When the second was taken.
        after: String,
    },
    /// The backup taken after the accident is the one taken before.
    #[error("the backup named as `after` is the one to recover from")]
    AfterIsBackup {
        /// As the recipe has it.
        path: PathBuf,
    },
    /// The two backups are of different databases.
    #[error("the backup named as `after` is of another database")]
    AfterOfAnother {
        /// Database and server of the first.
        before: String,
        /// Database and server of the second.
        after: String,
    },
    /// A feature of the recipe that this version does not have.
    #[error("this version of rowback does not do {what}")]
    NotInThisVersion {
        /// The feature.
        what: &'static str,
    },
    /// The case has several tables, and none was named.
    #[error("nothing says which table to show")]
    TableNotNamed {
        /// The tables of the case.
        tables: Vec<TableName>,
    },
    /// The case has no such table.
    #[error("the case has no table {name:?}")]
    TableNotInCase {
        /// As it was written.
        name: String,
        /// A table of the case with a similar name.
        nearest: Option<String>,
    },
    /// A thread died.
    #[error("a working thread ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
    /// The system gives no random numbers.
    #[error("no random numbers to name the case with")]
    Random(#[source] openssl::error::ErrorStack),
}

impl Explain for CaseError {
    fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "case-directory",
            Self::DiskFull { .. } => "case-disk-full",
            Self::NoCase { .. } => "not-a-case",
            Self::OtherRun { .. } => "case-of-another-run",
            Self::AlreadyApplied { .. } => "case-already-applied",
            Self::StageMissing { .. } => "stage-missing",
            Self::Json { .. } => "case-file-damaged",
            Self::Stale => "diff-stale",
            Self::StagingNotTaken { .. } => "staging-not-taken",
            Self::TooLarge { .. } => "plan-too-large",
            Self::TooWide { .. } => "plan-too-wide",
            Self::Random(_) => "no-random",
            Self::OddName { .. } => "odd-name",
            Self::AfterIsOlder { .. } => "after-is-older",
            Self::AfterIsBackup { .. } => "after-is-the-backup",
            Self::AfterOfAnother { .. } => "after-of-another-database",
            Self::NotInThisVersion { .. } => "not-in-this-version",
            Self::TableNotNamed { .. } => "table-not-named",
            Self::TableNotInCase { .. } => "table-not-in-case",
            Self::Thread(_) => "thread-died",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Directory { .. }
            | Self::Json { .. }
            | Self::StageMissing { .. }
            | Self::StagingNotTaken { .. }
            | Self::Random(_) => Kind::Input,
            Self::NotInThisVersion { .. } | Self::TableNotNamed { .. } | Self::TableNotInCase { .. } => {
                Kind::Usage
            }
            Self::DiskFull { .. } => Kind::Stopped,
            Self::Thread(_) => Kind::Bug,
            _ => Kind::Refused,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Directory { source, .. } | Self::DiskFull { source, .. } => vec![source.to_string()],
            Self::Json { source, .. } => vec![source.to_string()],
            Self::OtherRun { .. } => vec!["its recipe.toml is not the one of this run".into()],
            Self::AlreadyApplied { path } if path.join("journal.jsonl").exists() => {
                vec!["it has a journal.jsonl".into()]
            }
            Self::AlreadyApplied { path } if path.join("certificate.json").exists() => {
                vec![
                    "its journal.jsonl is gone, but live's journal or its certificate.json tells of it"
                        .into(),
                ]
            }
            Self::AlreadyApplied { .. } => vec!["live's journal tells of it".into()],
            Self::StagingNotTaken { problem, .. } => vec![problem.clone()],
            Self::Stale => vec!["staging/manifest.json changed after the diff was made".into()],
            Self::TooLarge { most, .. } => vec![format!("the recipe allows {most} (max_rows)")],
            Self::TooWide { most, .. } => {
                vec![format!(
                    "PostgreSQL's temporary tables take {most} of them, each with the value that was seen beside it"
                )]
            }
            Self::OddName { .. } => vec!["it contains a line break".into()],
            Self::Thread(source) => vec![source.to_string()],
            Self::Random(source) => vec![source.to_string()],
            Self::AfterIsOlder { before, after } => {
                vec![format!(
                    "taken at {after}, the one to recover from at {before}, by the clocks of the machines that dumped"
                )]
            }
            Self::AfterIsBackup { path } => {
                vec![format!(
                    "{} holds what the other holds: nothing in it tells of the accident",
                    path.display()
                )]
            }
            Self::AfterOfAnother { before, after } => {
                vec![format!("it is of {after}, the one to recover from of {before}")]
            }
            Self::TableNotNamed { tables } => {
                let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
                vec![format!("the case has {}", names.join(", "))]
            }
            Self::NoCase { .. }
            | Self::StageMissing { .. }
            | Self::NotInThisVersion { .. }
            | Self::TableNotInCase { .. } => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        let nothing = "Live was not changed.";
        match self {
            Self::Directory { .. } => {
                format!(
                    "Check the directory's permissions and free space, then run the same command again. {nothing}"
                )
            }
            Self::DiskFull { .. } => {
                format!("Free some space and run the same command again. The unfinished file was removed. {nothing}")
            }
            Self::NoCase { .. } | Self::OtherRun { .. } => {
                format!("Name another directory with `--case DIR`, or move this one away. {nothing}")
            }
            Self::AlreadyApplied { .. } => "Its journal is needed to undo it. Name another directory with `--case DIR`. This run changed nothing.".into(),
            Self::StageMissing { stage, .. } => {
                format!(
                    "Run `rowback {stage}` first (`rowback recover` runs extract, diff and plan). {nothing}"
                )
            }
            Self::Json { .. } => format!("Run the stage that makes it again. {nothing}"),
            Self::StagingNotTaken { .. } => format!(
                "Mend the file and run `rowback diff` again, or let `rowback extract` write all of them anew. The file is as it was. {nothing}"
            ),
            Self::Stale => format!("Run `rowback diff` again, then `rowback plan`. {nothing}"),
            Self::TooLarge { rows, .. } => format!(
                "If that is what you expect, write `max_rows = {rows}` under [policy] in the recipe; otherwise narrow the predicate. {nothing}"
            ),
            Self::TooWide { .. } => {
                format!("Write `columns` into the entry, some of them, and recover the others with a second case. {nothing}")
            }
            Self::OddName { .. } => format!("Leave the table out of the recovery. {nothing}"),
            Self::AfterIsOlder { .. } => {
                format!("`path` (or --backup) was taken before the accident, `after` after it; are they swapped? {nothing}")
            }
            Self::AfterIsBackup { .. } | Self::AfterOfAnother { .. } => {
                format!("Name a backup of the same database, taken after the accident, or leave `after` out. {nothing}")
            }
            Self::NotInThisVersion { .. } => format!("Leave it out of the recipe. {nothing}"),
            Self::TableNotNamed { .. } => format!("Add `--table SCHEMA.TABLE`. {nothing}"),
            Self::TableNotInCase { nearest, .. } => match nearest {
                Some(nearest) => format!("Is `--table {nearest}` meant? {nothing}"),
                None => format!("`rowback report` lists the tables of the case. {nothing}"),
            },
            Self::Thread(_) => format!("This is a bug of rowback; please report it. {nothing}"),
            Self::Random(_) => nothing.to_owned(),
        }
    }
}

/// Puts the stages' errors side by side; each speaks for itself.
macro_rules! errors {
    ($($(#[$meta:meta])* $variant:ident($error:ty),)*) => {
        /// Every error of the library.
        #[derive(Debug, thiserror::Error)]
        pub enum Error {
            $(
                $(#[$meta])*
                #[error(transparent)]
                $variant(#[from] $error),
            )*
        }

        impl Explain for Error {
            fn code(&self) -> &'static str {
                match self { $(Self::$variant(error) => error.code(),)* }
            }

            fn kind(&self) -> Kind {
                match self { $(Self::$variant(error) => error.kind(),)* }
            }

            fn causes(&self) -> Vec<String> {
                match self { $(Self::$variant(error) => error.causes(),)* }
            }

            fn hint(&self) -> String {
                match self { $(Self::$variant(error) => error.hint(),)* }
            }
        }
    };
}

errors! {
    /// The case directory.
    Case(CaseError),
    /// The recipe.
    Recipe(RecipeError),
    /// The backup.
    Backup(BackupError),
    /// Scratch.
    Scratch(RestoreError),
    /// Extraction.
    Extract(ExtractError),
    /// A comparison of whole tables.
    Compare(CompareError),
    /// Staging and diff files.
    Staging(StagingError),
    /// The diff.
    Diff(DiffError),
    /// Apply and undo.
    Apply(ApplyError),
    /// Verification.
    Verify(VerifyError),
    /// A server.
    Pg(PgError),
}
