//! Somebody else who works in the same database: a psql session whose transaction stays open for as long as a test
//! needs it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use super::{TestDb, wait_until};

/// An open transaction.
pub struct Colleague {
    psql: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Colleague {
    /// Opens a transaction and runs `sql` in it.
    pub fn begins(live: &TestDb<'_>, sql: &str) -> Self {
        let mut psql = live.server().program("psql", live.name());
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1"]).env("PGAPPNAME", "colleague");
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(psql.stdout.take().unwrap());
        let mut colleague = Self { stdin: psql.stdin.take(), psql, stdout };
        colleague.runs("begin");
        colleague.runs(sql);
        colleague
    }

    /// Runs SQL and waits until it is done.
    pub fn runs(&mut self, sql: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{sql};\n\\echo done").unwrap();
        let mut line = String::new();
        while line.trim_end() != "done" {
            line.clear();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "the colleague's psql ended at: {sql}");
        }
    }

    /// Commits.
    pub fn commits(mut self) {
        self.runs("commit");
        drop(self.stdin.take());
        assert!(self.psql.wait().unwrap().success());
    }
}

/// Waits until rowback waits for somebody's lock in this database.
pub fn wait_until_rowback_waits(live: &TestDb<'_>) {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                   and application_name = 'rowback' and wait_event_type = 'Lock'";
    wait_until("rowback waits for a lock", Duration::from_secs(20), || live.value(waiting) == "1");
}
