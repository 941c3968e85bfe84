//! What can go wrong while staging is held against live. Live is only read here.

use std::path::PathBuf;

use super::Verdict;
use crate::error::{Explain, Kind};
use crate::ident::{Ident, TableName};
use crate::pg::PgError;
use crate::staging::StagingError;

/// Why the diff stopped.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// Live has no such table.
    #[error("live has no table \"{table}\"")]
    TableGone {
        /// The table.
        table: TableName,
    },
    /// Live has no such table as `misrouted_to` names.
    #[error("live has no table \"{table}\", which misrouted_to names")]
    OtherTableGone {
        /// The table.
        table: TableName,
    },
    /// Rows cannot go from one table to the other without a loss.
    #[error("rows of \"{other}\" cannot go to \"{table}\": the tables differ")]
    TablesDiffer {
        /// Where they belong.
        table: TableName,
        /// Where they are.
        other: TableName,
        /// In what.
        problem: String,
    },
    /// The role cannot read all that it must.
    #[error("the role \"{role}\" may not read {} in live", names(denied))]
    NotReadable {
        /// The role.
        role: String,
        /// The tables, and what stands in the way.
        denied: Vec<(TableName, &'static str)>,
    },
    /// Live has no such column.
    #[error("live's table \"{table}\" has no column \"{column}\"")]
    ColumnGone {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
        /// What it is called in the backup; another name where the recipe maps it.
        backup: Box<Ident>,
        /// A column of live with a similar name.
        nearest: Option<Box<str>>,
    },
    /// Live wants a value that the backup does not have.
    #[error("live's table \"{table}\" wants a value for \"{column}\", which the backup does not have")]
    ColumnNew {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
    },
    /// A rule stands in the way of writing.
    #[error("live's table \"{table}\" has the rule \"{rule}\" on writing")]
    Rule {
        /// The table.
        table: TableName,
        /// The rule.
        rule: String,
    },
    /// The recipe ignores a column of the key.
    #[error("the recipe ignores a key column of \"{table}\"")]
    KeyIgnored {
        /// The table.
        table: TableName,
    },
    /// A text of the recipe that live evaluates failed.
    #[error("{key} of \"{table}\" (entry {entry} of the recipe) failed")]
    Condition {
        /// The table.
        table: TableName,
        /// Number of the entry in the recipe, from 1.
        entry: u16,
        /// `damaged` or `owner_from`.
        key: &'static str,
        /// What PostgreSQL says.
        source: Box<PgError>,
    },
    /// The recipe wants a column repaired that no update can set.
    #[error("\"{column}\" of \"{table}\" cannot be repaired")]
    NotRepairable {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
        /// Why.
        problem: &'static str,
    },
    /// Two entries say different things about one value.
    #[error("entries {} and {} of the recipe say different things about \"{column}\" of \"{table}\"", entries[0], entries[1])]
    Contradiction {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
        /// Numbers of the entries, from 1.
        entries: [u16; 2],
        /// The key of the first such row.
        key: String,
    },
    /// A reference of the recipe starts inside of a column that holds no documents in live.
    #[error("\"{table}\" of live has no JSON where {reference} looks for it")]
    NoDocument {
        /// The table.
        table: TableName,
        /// The column with its path.
        reference: String,
        /// The column's type.
        type_name: String,
    },
    /// Rows of a table would have to move along, but nothing names them.
    #[error("rows of \"{table}\" would have to move along, but no key names them")]
    CannotMove {
        /// The table.
        table: TableName,
    },
    /// A key of the recipe names more than one row of live.
    #[error(
        "the key ({}) names more than one row of live's table \"{table}\"",
        crate::catalog::column_list(key)
    )]
    KeyNotUnique {
        /// The table.
        table: TableName,
        /// The key.
        key: Vec<Ident>,
    },
    /// A file of tombstones cannot be used.
    #[error("the tombstones in \"{}\" cannot be used", path.display())]
    Tombstones {
        /// The file.
        path: PathBuf,
        /// The table.
        table: TableName,
        /// What is wrong.
        problem: String,
    },
    /// The recipe says that such rows end the recovery.
    #[error("{rows} rows are {verdict}, and the recipe says to stop then")]
    ToldToFail {
        /// The verdict.
        verdict: Verdict,
        /// Number of rows.
        rows: u64,
    },
    /// A diff file does not hold what it should.
    #[error("the diff of \"{table}\" cannot be read")]
    Unreadable {
        /// The table.
        table: TableName,
    },
    /// A diff file's own text does not print back.
    #[error("a diff file cannot be written")]
    Unprintable,
    /// Somebody asked to stop.
    #[error("stopped on request while reading live")]
    Cancelled,
    /// Staging or diff files.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// Live.
    #[error(transparent)]
    Pg(#[from] PgError),
}

impl DiffError {
    /// `entry` counts from 0, as everywhere but in messages.
    pub(super) fn condition(table: TableName, entry: u16, key: &'static str, source: PgError) -> Self {
        match source {
            lost @ (PgError::Lost { .. } | PgError::Cancelled { .. } | PgError::Connect { .. }) => {
                Self::Pg(lost)
            }
            source => Self::Condition { table, entry: entry + 1, key, source: Box::new(source) },
        }
    }
}

impl DiffError {
    /// What to do about a table that rows cannot come from.
    fn advice_on_transfers(&self) -> String {
        match self {
            Self::TablesDiffer { other, .. } => format!(
                "Give both tables the same columns for the time of the recovery, or recover the rows with kind = \"deleted\" and remove them from {} by hand.",
                other.quoted()
            ),
            _ => "Name the table in live that the rows ended up in, as the catalog spells it.".to_owned(),
        }
    }
}

fn names(denied: &[(TableName, &'static str)]) -> String {
    denied.iter().map(|(table, _)| format!("\"{table}\"")).collect::<Vec<_>>().join(", ")
}

impl Explain for DiffError {
    fn code(&self) -> &'static str {
        match self {
            Self::TableGone { .. } => "live-table-missing",
            Self::OtherTableGone { .. } => "other-table-missing",
            Self::TablesDiffer { .. } => "tables-differ",
            Self::NotReadable { .. } => "permission-denied",
            Self::ColumnGone { .. } => "live-column-missing",
            Self::ColumnNew { .. } => "live-column-new",
            Self::Rule { .. } => "rule-in-the-way",
            Self::KeyIgnored { .. } => "key-ignored",
            Self::Condition { source, .. } if matches!(**source, PgError::TimedOut { .. }) => {
                "predicate-timeout"
            }
            Self::Condition { source, .. } if source.sqlstate() == Some("25006") => "predicate-writes",
            Self::Condition { .. } => "predicate-failed",
            Self::NotRepairable { .. } => "column-not-repairable",
            Self::Contradiction { .. } => "entries-contradict",
            Self::CannotMove { .. } => "no-key-to-move",
            Self::NoDocument { .. } => "reference-without-json",
            Self::KeyNotUnique { .. } => "live-key-not-unique",
            Self::Tombstones { .. } => "tombstones-unusable",
            Self::ToldToFail { .. } => "policy-fail",
            Self::Unreadable { .. } => "diff-unreadable",
            Self::Unprintable => "diff-unprintable",
            Self::Cancelled => "cancelled",
            Self::Staging(source) => source.code(),
            Self::Pg(source) => source.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::TableGone { .. }
            | Self::TablesDiffer { .. }
            | Self::ColumnGone { .. }
            | Self::ColumnNew { .. }
            | Self::Rule { .. }
            | Self::CannotMove { .. }
            | Self::KeyNotUnique { .. }
            | Self::ToldToFail { .. } => Kind::Refused,
            Self::KeyIgnored { .. }
            | Self::OtherTableGone { .. }
            | Self::Condition { .. }
            | Self::NotRepairable { .. }
            | Self::NoDocument { .. }
            | Self::Contradiction { .. } => Kind::Usage,
            Self::NotReadable { .. } | Self::Tombstones { .. } | Self::Unreadable { .. } => Kind::Input,
            Self::Unprintable => Kind::Bug,
            Self::Cancelled => Kind::Stopped,
            Self::Staging(source) => source.kind(),
            Self::Pg(source) => source.kind(),
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Tombstones { problem, .. }
            | Self::TablesDiffer { problem, .. } => vec![problem.clone()],
            Self::NotReadable { denied, .. } => {
                denied.iter().map(|(table, reason)| format!("{table}: {reason}")).collect()
            }
            Self::NoDocument { type_name, .. } => {
                vec![format!("the column is of type {type_name}, not json or jsonb")]
            }
            Self::Condition { source, .. } => {
                source.db().map_or_else(|| source.causes(), crate::pg::DbFacts::lines)
            }
            Self::NotRepairable { problem, .. } => vec![(*problem).to_owned()],
            Self::Contradiction { key, .. } => vec![format!("the first such row has the key {key}")],
            Self::Rule { .. } => vec![
                "what is written to the table goes elsewhere or nowhere, and nobody can tell what was written".into(),
            ],
            Self::ColumnNew { .. } => vec!["it is NOT NULL and has no default".into()],
            Self::ColumnGone { column, backup, .. } if *column != **backup => {
                vec![format!("the recipe's `map` calls the backup's \"{backup}\" so")]
            }
            Self::ColumnGone { .. } | Self::TableGone { .. } => {
                vec!["the backup has it: it was dropped or renamed since".into()]
            }
            Self::Staging(source) => source.causes(),
            Self::Pg(source) => source.causes(),
            _ => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        let nothing = "Live was only read; nothing was changed.";
        match self {
            Self::TableGone { table } => format!(
                "If it has another name now, give it the old one for the time of the recovery. If it was dropped, make it again first: `pg_restore --section=pre-data -t {}` on the backup. If it only hangs on a table of the recipe, `children = [...]` can leave it out. {nothing}",
                table.name
            ),
            Self::OtherTableGone { .. } | Self::TablesDiffer { .. } => {
                format!("{} {nothing}", self.advice_on_transfers())
            }
            Self::ColumnGone { table, backup: column, nearest, .. } => {
                let map = nearest.as_deref().unwrap_or("…");
                format!(
                    "Say in the recipe what became of it, under `[columns.\"{table}\"]`: `map = {{ {column} = \"{map}\" }}` or `ignore = [\"{column}\"]`. {nothing}"
                )
            }
            Self::ColumnNew { column, .. } => {
                format!("Give \"{column}\" a default in live for the time of the recovery. {nothing}")
            }
            Self::Rule { table, rule, .. } => format!(
                "Switch the rule off for the time of the recovery (`alter table {} disable rule {}`) and run the same command again, or leave the table out. {nothing}",
                table.quoted(),
                Ident::new(rule.as_str()).quoted()
            ),
            Self::NotReadable { role, .. } => format!(
                "Grant \"{role}\" SELECT on the whole of each table (and BYPASSRLS where row security is in the way), or connect as a role that has it. {nothing}"
            ),
            Self::KeyIgnored { table } => {
                format!("Take the key out of `ignore` under `[columns.\"{table}\"]`. {nothing}")
            }
            Self::Condition { key, source, .. } if source.sqlstate() == Some("25006") => {
                format!("{key} may only read; it ran in a read-only transaction. {nothing}")
            }
            Self::Condition { key: "damaged", .. } => format!(
                "It is an expression over live.column and backup.column, with the names that live has. Correct it and run the same command again. {nothing}"
            ),
            Self::Condition { table, key, .. } => format!(
                "{key} is an expression or SELECT over the live row, whose columns are {}.column. Correct it and run the same command again. {nothing}",
                table.name
            ),
            Self::NotRepairable { .. } => format!("Take it out of the entry. {nothing}"),
            Self::Contradiction { .. } => {
                format!("Make the entries' conditions exclude each other, or remove one. {nothing}")
            }
            Self::NoDocument { .. } => format!("Take the path out of the [[foreign_key]]. {nothing}"),
            Self::CannotMove { table } => format!(
                "Name columns that are unique without the owner: `key = [\"…\"]` under `[columns.\"{table}\"]`. {nothing}"
            ),
            Self::KeyNotUnique { table, .. } => {
                format!("Name other columns: `key = [\"…\"]` under `[columns.\"{table}\"]`. {nothing}")
            }
            Self::Tombstones { table, .. } => format!(
                "The file must be CSV, its first line the names of columns of {table} that name a row. {nothing}"
            ),
            Self::ToldToFail { .. } => {
                format!(
                    "Choose another policy and run it again to see the rows: `rowback show` lists them, with what differs. {nothing}"
                )
            }
            Self::Unreadable { .. } => format!("Run `rowback diff` again. {nothing}"),
            Self::Unprintable => format!("This is a bug of rowback; please report it. {nothing}"),
            Self::Cancelled => format!("Run the same command again. {nothing}"),
            Self::Staging(source) => source.hint(),
            Self::Pg(source) => source.hint(),
        }
    }
}
