//! Every fixed statement of rowback, by name: the files of `queries/`, each with what it may be used for.
//! Never talks to a server; a test holds each file's header against one.

/// What a statement does to the database it is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reads only; every session may run it.
    Read,
    /// Changes something; only for the scratch database.
    Scratch,
    /// Changes live; only `apply` and `undo` hold a session that runs it.
    Write,
}

/// One statement out of `queries/`.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// File name without `.sql`.
    pub name: &'static str,
    /// The whole file, header included: it shows in the server's own lists of running statements.
    pub text: &'static str,
    /// What it does.
    pub access: Access,
}

/// Makes a `pub static` of each line and lists all of them in `all()`, so that none can be forgotten there.
macro_rules! queries {
    ($($(#[$meta:meta])* $constant:ident = $name:literal, $access:ident;)*) => {
        $(
            $(#[$meta])*
            pub static $constant: Query = Query {
                name: $name,
                text: include_str!(concat!("../../queries/", $name, ".sql")),
                access: Access::$access,
            };
        )*

        static ALL: &[&Query] = &[$(&$constant),*];
    };
}

queries! {
    /// Number of the open transaction and of its process.
    APPLY_BEGIN_MARK = "apply_begin_mark", Write;
    /// The numbers of the open transaction and its savepoints.
    APPLY_OWN_TRANSACTIONS = "apply_own_transactions", Write;
    /// By what a table is partitioned.
    APPLY_PARTITION_KEY = "apply_partition_key", Write;
    /// Tables that the open transaction has locked for everybody, as one that empties them does.
    APPLY_REWRITTEN = "apply_rewritten", Write;
    /// Does live keep a journal?
    APPLY_JOURNAL_STATE = "apply_journal_state", Read;
    /// Makes the schema of live's journal.
    APPLY_JOURNAL_SCHEMA = "apply_journal_schema", Write;
    /// Makes live's journal.
    APPLY_JOURNAL_TABLE = "apply_journal_table", Write;
    /// Lets others use the schema of live's journal.
    APPLY_JOURNAL_USAGE = "apply_journal_usage", Write;
    /// Lets others see which cases live's journal tells of.
    APPLY_JOURNAL_SHARE = "apply_journal_share", Write;
    /// The transactions that live's journal knows of a case.
    APPLY_JOURNAL_KNOWN = "apply_journal_known", Read;
    /// What live's journal knows of a case.
    APPLY_JOURNAL_LINES = "apply_journal_lines", Read;
    /// Makes whoever reads live's journal wait for this transaction.
    APPLY_JOURNAL_ENTER = "apply_journal_enter", Write;
    /// Waits for the transactions that are about to add to live's journal.
    APPLY_JOURNAL_AWAIT = "apply_journal_await", Write;
    /// Adds a line to live's journal.
    APPLY_JOURNAL_ADD = "apply_journal_add", Write;
    /// Who is in the way of a waiting process.
    APPLY_LOCK_HOLDERS = "apply_lock_holders", Read;
    /// What ties tables together, so that their batches must wait for each other.
    APPLY_TIES = "apply_ties", Write;
    /// What became of a transaction.
    APPLY_OUTCOME = "apply_outcome", Read;
    /// What the role may do with the tables of a plan.
    APPLY_PRIVILEGES = "apply_privileges", Read;
    /// Which statements fire triggers of a table.
    APPLY_TRIGGERS = "apply_triggers", Read;
    /// May a table be looked through?
    APPLY_LOOKABLE = "apply_lookable", Read;
    /// Which session has a transaction open.
    APPLY_SESSION_OF = "apply_session_of", Read;
    /// Ordinary tables, partition roots and partitions.
    CATALOG_TABLES = "catalog_tables", Read;
    /// Their columns.
    CATALOG_COLUMNS = "catalog_columns", Read;
    /// Their unique keys and exclusion constraints.
    CATALOG_KEYS = "catalog_keys", Read;
    /// Foreign keys.
    CATALOG_FOREIGN_KEYS = "catalog_foreign_keys", Read;
    /// Tables that inherit from others.
    CATALOG_INHERITANCE = "catalog_inheritance", Read;
    /// User triggers.
    CATALOG_TRIGGERS = "catalog_triggers", Read;
    /// CHECK constraints.
    CATALOG_CHECKS = "catalog_checks", Read;
    /// May the role read these tables whole?
    CATALOG_READABLE = "catalog_readable", Read;
    /// Which rows a partitioned table takes.
    DIFF_PARTITIONS = "diff_partitions", Read;
    /// Rules that lead writes elsewhere.
    DIFF_RULES = "diff_rules", Read;
    /// Where a sequence stands.
    DIFF_SEQUENCE = "diff_sequence", Read;
    /// The time zone in which values change their type.
    DIFF_ZONE = "diff_zone", Read;
    /// What a role may do in a database.
    DOCTOR_DATABASE = "doctor_database", Read;
    /// May the role put triggers to sleep?
    DOCTOR_REPLICA = "doctor_replica", Read;
    /// What a role may do with sequences.
    SEQUENCE_PRIVILEGES = "sequence_privileges", Read;
    /// What a role may do with tables.
    DOCTOR_TABLES = "doctor_tables", Read;
    /// What the open transaction has updated.
    APPLY_TOUCHED = "apply_touched", Write;
    /// The unique keys of a table, each with the columns that it needs.
    APPLY_UNIQUE = "apply_unique", Write;
    /// The foreign keys that refer to a table.
    APPLY_REFERRERS = "apply_referrers", Write;
    /// The columns of a table as it is now, with their types.
    APPLY_TYPES = "apply_types", Write;
    /// The columns of a table that can be set back.
    APPLY_COLUMNS = "apply_columns", Write;
    /// The columns of a table that ON UPDATE CASCADE moves.
    APPLY_CASCADED = "apply_cascaded", Write;
    /// Do triggers take numbers for their rows from a table?
    APPLY_NUMBERING = "apply_numbering", Write;
    /// A condition as PostgreSQL understood it, once it is a view in scratch.
    EXTRACT_CONDITION = "extract_condition", Scratch;
    /// How texts and enums of a table are ordered.
    EXTRACT_ORDERS = "extract_orders", Scratch;
    /// Which functions may make a select give something else when it is run again.
    EXTRACT_CHANGEABLE = "extract_changeable", Scratch;
    /// What a select returns, once it is a view in scratch.
    EXTRACT_RESULT = "extract_result", Scratch;
    /// What a condition reads, once it is a view in scratch.
    EXTRACT_RELATIONS = "extract_relations", Scratch;
    /// Triggers and rules, once they are restored into scratch.
    EXTRACT_TRIGGERS = "extract_triggers", Scratch;
    /// The texts of the backup's own functions.
    EXTRACT_FUNCTIONS = "extract_functions", Scratch;
    /// Views, and tables that inherit from another.
    EXTRACT_RELATIVES = "extract_relatives", Scratch;
    /// Pins session settings, skipping those that the server does not know.
    SESSION_PIN = "session_pin", Read;
    /// Lets the server ask for pages ahead.
    SESSION_READ_AHEAD = "session_read_ahead", Read;
    /// Which server and database this is.
    SERVER_IDENTITY = "server_identity", Read;
    /// The cluster's own number; only where the role may ask for it.
    SERVER_SYSTEM_IDENTIFIER = "server_system_identifier", Read;
    /// Makes this transaction's snapshot available to other sessions.
    SNAPSHOT_EXPORT = "snapshot_export", Read;
}

/// All statements, in the order of their declaration.
pub fn all() -> &'static [&'static Query] {
    ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_header_and_is_registered() {
        for query in all() {
            let line = |key: &str| {
                let start = format!("-- {key}:");
                query.text.lines().find_map(|line| line.strip_prefix(&start).map(str::trim))
            };
            let access = format!("{:?}", query.access).to_lowercase();
            let declared = line("access").and_then(|text| text.split_whitespace().next());
            assert_eq!(declared, Some(access.as_str()), "{}", query.name);
            for key in ["params", "returns", "why"] {
                assert!(line(key).is_some(), "{} has no line `{key}`", query.name);
            }
        }
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/queries");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        let mut names: Vec<String> = all().iter().map(|query| query.name.to_owned()).collect();
        files.sort();
        names.sort();
        assert_eq!(files, names);
    }
}
