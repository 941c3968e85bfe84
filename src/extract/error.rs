//! What can go wrong while rows are chosen and staged. Live is never touched here.

use crate::catalog::{Catalog, Table, column_list};
use crate::error::{Explain, Kind};
use crate::ident::{Ident, TableName};
use crate::pg::PgError;
use crate::recipe::{Recover, nearest};
use crate::scratch::RestoreError;
use crate::sql::predicate::PredicateError;
use crate::staging::StagingError;

/// Why extraction stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The recipe names a table that the backup does not have.
    #[error("{}", unknown(table, *partition))]
    UnknownTable {
        /// As the recipe has it.
        table: TableName,
        /// A table with a similar name.
        nearest: Option<String>,
        /// Number of tables in the backup.
        tables: usize,
        /// Is it a partition of the nearest?
        partition: bool,
    },
    /// The recipe names a column that the table does not have.
    #[error("table \"{table}\" of the backup has no column \"{column}\"")]
    UnknownColumn {
        /// The table.
        table: TableName,
        /// As the recipe has it.
        column: Ident,
        /// A column with a similar name.
        nearest: Option<String>,
        /// All columns.
        columns: String,
    },
    /// A table has a column of a name that staging needs for itself.
    #[error("\"{table}\" has a column \"{column}\", a name that rowback's own files need")]
    ReservedColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
    },
    /// A reference of the recipe starts inside of a column that holds no documents.
    #[error("\"{table}\".\"{column}\" of the backup holds no JSON, so {path} leads nowhere in it")]
    NoDocument {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
        /// Its type.
        type_name: Box<str>,
        /// The path behind it.
        path: Box<str>,
    },
    /// The text of a predicate or query is not what it must be.
    #[error("the predicate for \"{table}\" cannot be used")]
    Refused {
        /// The table.
        table: TableName,
        /// Why.
        source: PredicateError,
    },
    /// PostgreSQL refused the predicate.
    #[error("the predicate for \"{table}\" failed")]
    Predicate {
        /// The table.
        table: TableName,
        /// What PostgreSQL says.
        source: Box<PgError>,
        /// Where in the text, in words.
        near: Option<Box<str>>,
    },
    /// Rows hold bytes that are no text in the encoding in which they are staged.
    #[error("rows of \"{table}\" hold bytes that are no UTF-8")]
    Encoding {
        /// The table.
        table: TableName,
        /// What PostgreSQL says.
        source: Box<PgError>,
    },
    /// The predicate matches no row of the backup.
    #[error("the predicate matches no row of \"{table}\" in the backup")]
    NothingMatches {
        /// The table.
        table: TableName,
        /// Rows that the table has in the backup.
        rows: u64,
        /// Newest finite value of each date or timestamp column.
        newest: Vec<(Ident, String)>,
    },
    /// Nothing names a row of this table.
    #[error("table \"{table}\" has no key that names a row")]
    NoKey {
        /// The table.
        table: TableName,
    },
    /// The key of the recipe is none.
    #[error("the key ({}) of \"{table}\" does not name rows", column_list(key))]
    KeyNotUnique {
        /// The table.
        table: TableName,
        /// The key.
        key: Vec<Ident>,
        /// Number of nulls and of values that occur more than once.
        bad: u64,
    },
    /// The backup taken after the accident lacks a column of the key.
    #[error("the backup taken after the accident has no column \"{column}\" in \"{table}\"")]
    LaterWithoutKey {
        /// The table.
        table: TableName,
        /// The column.
        column: Ident,
    },
    /// The statement of a replay failed, or ran for too long.
    #[error("the replay for \"{table}\" {}", if matches!(**source, PgError::TimedOut { .. }) { "ran for too long" } else { "failed" })]
    Replay {
        /// The table of the entry.
        table: TableName,
        /// What PostgreSQL says.
        source: Box<PgError>,
    },
    /// The statement of a replay ran and did nothing of the kind to the table.
    #[error("the replay {did} no row of \"{table}\"")]
    ReplayTouchesNothing {
        /// The table of the entry.
        table: TableName,
        /// `deletes` or `changes`.
        did: &'static str,
        /// What it did instead, table by table.
        instead: Vec<String>,
    },
    /// Scratch.
    #[error(transparent)]
    Scratch(#[from] RestoreError),
    /// Staging.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// The scratch server.
    #[error(transparent)]
    Pg(#[from] PgError),
}

impl ExtractError {
    pub(super) fn unknown_table(table: &TableName, catalog: &Catalog) -> Self {
        if let Some(root) = catalog.partitions.get(table) {
            let (table, nearest) = (table.clone(), Some(root.to_string()));
            return Self::UnknownTable { table, nearest, tables: catalog.tables.len(), partition: true };
        }
        let names: Vec<String> = catalog.tables.keys().map(ToString::to_string).collect();
        let wanted = table.to_string();
        // A table of the right name in another schema is nearer than any misspelling.
        let elsewhere = catalog.tables.keys().find(|name| name.name == table.name).map(ToString::to_string);
        let nearest =
            elsewhere.or_else(|| nearest(&wanted, names.iter().map(String::as_str)).map(str::to_owned));
        Self::UnknownTable { table: table.clone(), nearest, tables: names.len(), partition: false }
    }

    pub(super) fn unknown_column(table: &Table, column: &Ident) -> Self {
        let names: Vec<Ident> = table.column_names().cloned().collect();
        let nearest = nearest(column.as_str(), names.iter().map(Ident::as_str)).map(str::to_owned);
        Self::UnknownColumn {
            table: table.name.clone(),
            column: column.clone(),
            nearest,
            columns: column_list(&names),
        }
    }

    pub(super) fn refused(recover: &Recover, source: PredicateError) -> Self {
        Self::Refused { table: recover.table.clone(), source }
    }

    /// The rows of a table could not be read.
    pub(super) fn reading(table: &TableName, source: PgError) -> Self {
        match source.sqlstate() {
            Some("22021" | "22P05") => Self::Encoding { table: table.clone(), source: Box::new(source) },
            _ => Self::Pg(source),
        }
    }

    /// `near`: where in the text of the recipe, where the server tells.
    pub(super) fn predicate(table: &TableName, source: PgError, near: Option<String>) -> Self {
        match source {
            lost @ (PgError::Lost { .. } | PgError::Cancelled { .. } | PgError::Connect { .. }) => {
                Self::Pg(lost)
            }
            source => match Self::reading(table, source) {
                Self::Pg(source) => Self::Predicate {
                    table: table.clone(),
                    source: Box::new(source),
                    near: near.map(String::into_boxed_str),
                },
                told => told,
            },
        }
    }
}

fn unknown(table: &TableName, partition: bool) -> String {
    if partition {
        return format!("\"{table}\" is no table of its own in the backup");
    }
    format!("the backup has no table \"{table}\"")
}

impl Explain for ExtractError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownTable { .. } => "unknown-table",
            Self::UnknownColumn { .. } => "unknown-column",
            Self::ReservedColumn { .. } => "column-reserved",
            Self::NoDocument { .. } => "reference-without-json",
            Self::Refused { source, .. } => source.code(),
            Self::Predicate { source, .. } if matches!(**source, PgError::TimedOut { .. }) => {
                "predicate-timeout"
            }
            Self::Predicate { source, .. } if source.sqlstate() == Some("25006") => "predicate-writes",
            Self::Predicate { .. } => "predicate-failed",
            Self::Encoding { .. } => "staging-encoding",
            Self::NothingMatches { .. } => "predicate-matches-nothing",
            Self::NoKey { .. } => "no-key",
            Self::KeyNotUnique { .. } => "key-not-unique",
            Self::LaterWithoutKey { .. } => "after-without-key",
            Self::Replay { source, .. } if matches!(**source, PgError::TimedOut { .. }) => "replay-timeout",
            Self::Replay { source, .. } if ends_transaction(source) => "replay-ends-transaction",
            Self::Replay { .. } => "replay-failed",
            Self::ReplayTouchesNothing { .. } => "replay-touches-nothing",
            Self::Scratch(source) => source.code(),
            Self::Staging(source) => source.code(),
            Self::Pg(source) => source.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NoKey { .. } | Self::KeyNotUnique { .. } | Self::ReservedColumn { .. } => Kind::Refused,
            Self::Encoding { .. }
            | Self::NothingMatches { .. }
            | Self::ReplayTouchesNothing { .. }
            | Self::LaterWithoutKey { .. } => Kind::Input,
            Self::Scratch(source) => source.kind(),
            Self::Staging(source) => source.kind(),
            Self::Pg(source) => source.kind(),
            _ => Kind::Usage,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::UnknownTable { partition: true, nearest: Some(root), .. } => {
                vec![format!("it is a partition of {root}, and partitions are handled through their root")]
            }
            Self::UnknownTable { tables: 1, .. } => vec!["the backup has 1 table".into()],
            Self::UnknownTable { tables, .. } => vec![format!("the backup has {tables} tables")],
            Self::UnknownColumn { columns, .. } => vec![format!("its columns are {columns}")],
            Self::ReservedColumn { .. } => {
                vec![
                    "its values would be lost among those that say why a row is staged and what became of it"
                        .into(),
                ]
            }
            Self::NoDocument { type_name, .. } => {
                vec![format!("it is of type {type_name}, not json or jsonb")]
            }
            Self::Refused { source, .. } => {
                let mut causes = vec![source.to_string()];
                causes.extend(source.causes());
                causes
            }
            Self::Predicate { source, near, .. } => {
                let mut causes = source.db().map_or_else(|| source.causes(), crate::pg::DbFacts::lines);
                causes.extend(near.as_deref().map(str::to_owned));
                if causes.iter().any(|cause| cause.contains("rowback_query.")) {
                    causes.push(
                        "a `query` must return every column of the table's key, under its name".to_owned(),
                    );
                }
                causes
            }
            Self::Encoding { source, .. } => {
                source.db().map_or_else(|| source.causes(), crate::pg::DbFacts::lines)
            }
            Self::NothingMatches { rows: 0, .. } => vec!["the table is empty in the backup".into()],
            Self::NothingMatches { rows, newest, .. } => {
                let mut causes = vec![format!("the table has {rows} rows in the backup")];
                causes.extend(newest.iter().map(|(column, value)| format!("newest {column}: {value}")));
                causes
            }
            Self::NoKey { .. } => {
                vec!["it has neither a primary key nor a unique key over columns that are not null".into()]
            }
            Self::KeyNotUnique { bad, .. } => {
                vec![format!("keys that are null or occur more than once in the backup: {bad}")]
            }
            Self::LaterWithoutKey { .. } => vec!["rows are found by their key in both backups".into()],
            Self::Replay { source, .. } => {
                source.db().map_or_else(|| source.causes(), crate::pg::DbFacts::lines)
            }
            Self::ReplayTouchesNothing { instead, .. } if instead.is_empty() => {
                vec!["over the backup's rows it touches nothing at all".into()]
            }
            Self::ReplayTouchesNothing { instead, .. } => instead.clone(),
            Self::Scratch(source) => source.causes(),
            Self::Staging(source) => source.causes(),
            Self::Pg(source) => source.causes(),
        }
    }

    fn hint(&self) -> String {
        let nothing = "Live was not changed.";
        let rolled_back = "It ran in scratch, which is gone; live was not changed.";
        match self {
            Self::UnknownTable { partition: true, nearest: Some(name), .. } => {
                format!("Name \"{name}\", with a condition that only rows of the partition meet. {nothing}")
            }
            Self::UnknownTable { nearest: Some(name), .. }
            | Self::UnknownColumn { nearest: Some(name), .. } => {
                format!("Did you mean \"{name}\"? {nothing}")
            }
            Self::UnknownTable { .. } => format!("`rowback inspect` lists the tables of a backup. {nothing}"),
            Self::UnknownColumn { .. } => format!("Correct the name. {nothing}"),
            Self::ReservedColumn { .. } => format!(
                "Leave the table out (`children = \"none\"`, or a list of the tables to follow) and bring its rows back by hand. {nothing}"
            ),
            Self::NoDocument { .. } => format!(
                "Correct the name in the [[foreign_key]], or leave the path out where the column itself refers. {nothing}"
            ),
            Self::Refused { source, .. } => source.hint(),
            Self::Predicate { source, .. } if matches!(**source, PgError::TimedOut { .. }) => {
                format!("Make the predicate cheaper, or give it more time with `--time-limit`. {nothing}")
            }
            Self::Predicate { source, .. } if source.sqlstate() == Some("25006") => {
                format!("A predicate may only read; it ran in a read-only transaction in scratch. {nothing}")
            }
            Self::Predicate { .. } => {
                format!(
                    "The predicate is evaluated over the backup's rows of this table. Correct it and run the same command again. {nothing}"
                )
            }
            Self::Encoding { .. } => format!(
                "The backup's database does not know its encoding (SQL_ASCII), and rowback stages text as UTF-8: bring these rows back by hand, with `pg_restore --table` into another database and COPY in the same bytes. {nothing}"
            ),
            Self::NothingMatches { .. } => {
                format!(
                    "Is it the wrong backup, or one taken after the accident? Otherwise correct the predicate. {nothing}"
                )
            }
            Self::NoKey { table } => format!(
                "Name columns that are unique in the recipe: `key = [\"…\"]` under `[columns.\"{table}\"]`. Where rows may be alike, nothing names one of them: leave the table out (`children = \"none\"`, or a list of the tables to follow; after `compare --case`, name others with `--table`) and bring its rows back by hand. {nothing}"
            ),
            Self::KeyNotUnique { .. } => format!(
                "Name other columns in `key = [...]`. Where rows may be alike, nothing names one of them: leave the table out (`children = \"none\"`, or a list of the tables to follow). {nothing}"
            ),
            Self::LaterWithoutKey { .. } => format!("Leave `after` out of [backup]. {nothing}"),
            Self::Replay { source, .. } if matches!(**source, PgError::TimedOut { .. }) => {
                format!(
                    "Give it more time with `--time-limit`, or say what it did in a `where`. {rolled_back}"
                )
            }
            Self::Replay { source, .. } if ends_transaction(source) => {
                format!(
                    "Leave BEGIN, COMMIT, ROLLBACK and SAVEPOINT out of it: a replay is one transaction, which is always rolled back. {rolled_back}"
                )
            }
            Self::Replay { .. } => {
                format!("Correct the statement, or say what it did in a `where`. {rolled_back}")
            }
            Self::ReplayTouchesNothing { .. } => format!(
                "Is it the right statement and the right backup, and `table` the table that was hit first? {rolled_back}"
            ),
            Self::Scratch(source) => source.hint(),
            Self::Staging(source) => source.hint(),
            Self::Pg(source) => source.hint(),
        }
    }
}

/// Did the statement try to end its own transaction? PostgreSQL refuses that inside of a function call.
fn ends_transaction(error: &PgError) -> bool {
    let refused = |message: &str| message.contains("transaction commands");
    error.sqlstate() == Some("2D000")
        || (error.sqlstate() == Some("0A000") && error.db().is_some_and(|db| refused(&db.message)))
}
