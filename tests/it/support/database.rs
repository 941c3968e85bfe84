//! A database per test: made from a template in some 50 ms, dropped when the test ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::server::SUPERUSER;
use super::{Digest, Server, TempDir, run, server};

/// A database on the shared server, or on one of the test's own.
pub struct TestDb<'server> {
    server: &'server Server,
    name: String,
    files: TempDir,
    dumps: AtomicU32,
}

static NUMBER: AtomicU32 = AtomicU32::new(1);

impl TestDb<'static> {
    /// An empty database; `name` only helps to recognise it in messages.
    pub fn new(name: &str) -> Self {
        Self::on(server(), name)
    }

    /// An empty database made with further options of CREATE DATABASE.
    pub fn made(name: &str, options: &str) -> Self {
        Self::create(server(), name, &format!("template0 {options}"))
    }

    /// A database in which `sql` has been run. The same text is run only once per test run; later callers get a
    /// copy of its result.
    pub fn with(name: &str, sql: &str) -> Self {
        static TEMPLATES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
        let mut templates = TEMPLATES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let template = if let Some(found) = templates.get(sql) {
            found.clone()
        } else {
            let made = format!("template_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            server().psql(SUPERUSER, &format!("create database {made} template template0 encoding 'UTF8'"));
            server().psql(&made, sql);
            templates.insert(sql.to_owned(), made.clone());
            made
        };
        let database = Self::create(server(), name, &format!("\"{template}\""));
        drop(templates);
        database
    }
}

impl<'server> TestDb<'server> {
    /// Another database with the same content.
    pub fn copy(&self, name: &str) -> Self {
        Self::create(self.server, name, &format!("\"{}\"", self.name))
    }

    /// An empty database on the given server.
    pub fn on(server: &'server Server, name: &str) -> Self {
        Self::create(server, name, "template0")
    }

    fn create(server: &'server Server, name: &str, template: &str) -> Self {
        let name = format!("{name}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let strategy = if server.major() >= 15 { " strategy file_copy" } else { "" };
        server.psql(
            SUPERUSER,
            &format!("create database \"{name}\" template {template} encoding 'UTF8'{strategy}"),
        );
        let files = TempDir::new("db");
        Self { server, name, files, dumps: AtomicU32::new(0) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server it is on.
    pub fn server(&self) -> &'server Server {
        self.server
    }

    /// The superuser's URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// The URL for another role (make it with `psql("create role …")`; roles belong to the server: name them uniquely).
    pub fn url_as(&self, role: &str) -> String {
        self.server.url_as(role, &self.name)
    }

    /// The URL over TCP, where the password counts.
    pub fn tcp_url(&self, role: &str, password: &str) -> String {
        self.server.tcp_url(role, password, &self.name)
    }

    /// Runs SQL with psql and returns its stdout (unaligned, tuples only); panics with the server's message.
    pub fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql)
    }

    /// The single value that `sql` returns.
    pub fn value(&self, sql: &str) -> String {
        self.psql(sql).trim_end_matches('\n').to_owned()
    }

    /// Runs pg_dump with `args` (`["-Fc"]`, `["-Fd", "-j2"]` …) and returns the file or directory it wrote.
    pub fn dump(&self, args: &[&str]) -> PathBuf {
        let number = self.dumps.fetch_add(1, Ordering::Relaxed);
        let path = self.files.join(format!("{}-{number}.dump", self.name));
        run(self.server.program("pg_dump", &self.name).args(args).arg("-f").arg(&path));
        path
    }

    /// The same written to a pipe, so that the archive has no data offsets.
    pub fn dump_to_pipe(&self, args: &[&str]) -> PathBuf {
        let number = self.dumps.fetch_add(1, Ordering::Relaxed);
        let path = self.files.join(format!("{}-{number}.dump", self.name));
        let mut command = self.server.program("pg_dump", &self.name);
        let output = command.args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&path, output.stdout).unwrap();
        path
    }

    /// The rows of a table (or of anything that can follow FROM) as canonical COPY text, sorted bytewise.
    pub fn rows(&self, table: &str) -> Vec<String> {
        let text = self.psql(&format!("copy (select * from {table}) to stdout"));
        let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    }

    /// Every row of every table, to compare whole databases with.
    pub fn digest(&self) -> Digest {
        Digest::read(self.server, &self.name)
    }

    /// `schema.sequence last_value is_called`, one line each.
    pub fn sequences(&self) -> Vec<String> {
        let list = self.psql(
            "select format('select %L, last_value, is_called from %I.%I;', schemaname || '.' || sequencename, \
             schemaname, sequencename) from pg_catalog.pg_sequences order by schemaname, sequencename",
        );
        if list.is_empty() { Vec::new() } else { self.psql(&list).lines().map(str::to_owned).collect() }
    }
}

impl Drop for TestDb<'_> {
    fn drop(&mut self) {
        let mut command = self.server.program("psql", SUPERUSER);
        let drop = format!("drop database if exists \"{}\" with (force)", self.name);
        // A server that the test itself stopped takes its databases with it.
        let _ended = command.args(["-XqAtc", &drop]).output();
    }
}
