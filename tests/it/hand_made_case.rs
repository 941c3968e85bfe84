//! Cases made by hand, without backup, extract and diff: what apply, undo and verify need and nothing else. The shop
//! loses customers with everything below them; a copy of the database from before serves as the backup.

use std::collections::BTreeMap;
use std::path::Path;

use rowback::apply::{
    self, ApplyError, ApplyOptions, ApplySummary, JournalPlace, Limits, Mode, UndoSummary, undo,
};
use rowback::cancel::CancelToken;
use rowback::catalog::{self, Catalog};
use rowback::ident::{Ident, TableName};
use rowback::pg::{ConnectSettings, ReadSession, SessionOptions};
use rowback::plan::{
    Action, Batch, BatchTable, FORMAT, LiveIdentity, Part, Plan, SequenceMove, batch_script, sequence_script,
    sha256_hex, undo_script,
};
use rowback::progress::Silent;

use super::support::{TempDir, TestDb};

/// The shop: 40 customers with 2 orders each, 3 items an order; a cycle that only one statement can fill.
pub const SHOP: &str = "
    create table customers (id int primary key, email text not null unique, tags text[], updated_at timestamptz);
    create table orders (id int generated always as identity primary key, total numeric(12,2), note text,
        customer_id int not null references customers on delete cascade,
        doubled numeric generated always as (total * 2) stored);
    create table items (order_id int references orders on delete cascade, line int, what json, primary key (order_id, line));
    create table team (id serial primary key, lead_id int not null);
    create table person (id int primary key, team_id int not null references team on delete cascade);
    alter table team add foreign key (lead_id) references person on delete cascade;
    insert into customers select n, 'c' || n || '@shop', array['a b', null, n::text], '2026-01-01 12:00+02' from generate_series(1, 40) n;
    insert into orders (customer_id, total, note) select c, c * 1.5, case when n = 1 then E'tab\\there\\nand \\\\.' end
        from generate_series(1, 40) c, generate_series(1, 2) n order by c, n;
    insert into items select o, n, '{\"b\":1,  \"a\":2}' from generate_series(1, 80) o, generate_series(1, 3) n;
    with t as (insert into team (lead_id) select n from generate_series(1, 6) n) insert into person select n, n from generate_series(1, 6) n";

/// The accident.
pub const ACCIDENT: &str = "delete from customers where id <= 30; delete from team where id <= 4";

/// What the accident took, table by table, parents first; tables of one line belong into one statement.
const LOST: [&[(&str, &str)]; 4] = [
    &[("customers", "id <= 30")],
    &[("orders", "customer_id <= 30")],
    &[("items", "order_id <= 60")],
    &[("person", "id <= 4"), ("team", "id <= 4")],
];

/// A case directory and the database it is for.
pub struct HandMadeCase {
    pub live: TestDb<'static>,
    pub backup: TestDb<'static>,
    pub directory: TempDir,
}

/// How to reach a test database.
pub fn settings(database: &TestDb<'_>) -> ConnectSettings {
    let server = database.server();
    ConnectSettings::for_socket(server.socket_directory(), server.port(), database.name(), "postgres", "")
}

/// The structure and identity of a database.
pub async fn read_catalog(database: &TestDb<'_>) -> (Catalog, LiveIdentity) {
    let session = ReadSession::connect(&settings(database), &SessionOptions::named("test")).await.unwrap();
    let identity = session.identity().await.unwrap();
    let live = LiveIdentity {
        system_identifier: identity.system_identifier,
        dbname: identity.dbname,
        database_oid: identity.database_oid,
    };
    (catalog::load::load(catalog::load::Place::Live(&session)).await.unwrap(), live)
}

/// Rows for one table of one batch, owned.
pub struct Rows {
    pub table: TableName,
    pub action: Action,
    pub columns: Vec<Ident>,
    pub text: Vec<String>,
}

/// Writes files and plan of a case; each entry of `batches` is one batch.
pub fn write_case(
    directory: &Path,
    catalog: &Catalog,
    live: LiveIdentity,
    batches: &[Vec<Rows>],
    moves: &[SequenceMove],
) {
    let write = |name: &str, text: &[u8]| {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        sha256_hex(text)
    };
    let mut planned = Vec::new();
    for (at, tables) in batches.iter().enumerate() {
        let number = u32::try_from(at + 1).unwrap();
        let parts: Vec<BatchTable<'_>> = tables.iter().map(|rows| batch_table(catalog, rows)).collect();
        let (file, undo_file) = (format!("batches/{number:04}.sql"), format!("undo/{number:04}.sql"));
        planned.push(Batch {
            number,
            sha256: write(&file, &batch_script(number, &parts)),
            undo_sha256: Some(write(&undo_file, &undo_script(number, &parts, &catalog.foreign_keys))),
            file,
            undo_file: Some(undo_file),
            parts: parts.iter().map(part).collect(),
        });
    }
    if !moves.is_empty() {
        let number = u32::try_from(batches.len() + 1).unwrap();
        let file = format!("batches/{number:04}-sequences.sql");
        let sha256 = write(&file, &sequence_script(number, moves));
        planned.push(Batch { number, file, sha256, undo_file: None, undo_sha256: None, parts: vec![] });
    }
    let plan = Plan {
        format: FORMAT,
        live,
        staging_sha256: write("staging/manifest.json", b"{}"),
        diff_sha256: write("diff/manifest.json", b"{}"),
        batches: planned,
        sequences: moves.to_vec(),
        verdicts: BTreeMap::new(),
        evidence: BTreeMap::new(),
        totals: rowback::plan::Totals::default(),
        triggers: vec![],
        notes: vec![],
        tombstones: rowback::plan::Tombstones::default(),
        declared: vec![],
        seal: String::new(),
    };
    write("plan.json", &serde_json::to_vec_pretty(&plan.sealed()).unwrap());
}

fn batch_table<'a>(catalog: &'a Catalog, rows: &Rows) -> BatchTable<'a> {
    let table = catalog.table(&rows.table).unwrap();
    let text: String = rows.text.iter().map(|row| format!("{row}\n")).collect();
    BatchTable {
        table,
        action: rows.action,
        key: table.key_columns().unwrap(),
        columns: rows.columns.clone(),
        rows: text.into_bytes(),
        count: u64::try_from(rows.text.len()).unwrap(),
        from: None,
        guards: Vec::new(),
    }
}

fn part(table: &BatchTable<'_>) -> Part {
    Part {
        table: table.table.name.clone(),
        action: table.action,
        key: table.key.clone(),
        columns: table.columns.clone(),
        rows: table.count,
        from: None,
    }
}

/// The rows of a table that can be written, as COPY text in the order of the key.
pub fn rows_of(database: &TestDb<'_>, catalog: &Catalog, table: &str, condition: &str) -> Rows {
    let table = TableName::new("public", table);
    let found = catalog.table(&table).unwrap();
    let columns: Vec<Ident> =
        found.columns.iter().filter(|column| !column.generated).map(|column| column.name.clone()).collect();
    let key = catalog::column_list(&found.key_columns().unwrap());
    let text = database.psql(&format!(
        "set timezone = 'UTC'; copy (select {} from {} where {condition} order by {key}) to stdout",
        catalog::quoted_list("", &columns),
        table.quoted()
    ));
    Rows { table, action: Action::Insert, columns, text: text.lines().map(str::to_owned).collect() }
}

impl HandMadeCase {
    /// The shop after the accident and a case that brings everything back, `most` rows a batch, then sequences.
    pub async fn shop(name: &str, before: &str, most: usize) -> Self {
        let backup = TestDb::with(name, SHOP);
        let live = backup.copy(&format!("{name}_live"));
        live.psql(ACCIDENT);
        live.psql(before);
        let directory = TempDir::new("case");
        let (catalog, identity) = read_catalog(&live).await;
        let mut batches = Vec::new();
        for tables in LOST {
            let mut all: Vec<Rows> = tables
                .iter()
                .map(|(table, condition)| rows_of(&backup, &catalog, table, condition))
                .collect();
            if let [rows] = all.as_slice() {
                let chunks = rows.text.chunks(most).map(|text| {
                    let (table, columns) = (rows.table.clone(), rows.columns.clone());
                    vec![Rows { table, action: rows.action, columns, text: text.to_vec() }]
                });
                batches.extend(chunks);
            } else {
                batches.push(std::mem::take(&mut all));
            }
        }
        live.psql("select setval('team_id_seq', 1, false)");
        let moves =
            [SequenceMove { sequence: TableName::new("public", "team_id_seq"), at_least: 6, increment: 1 }];
        write_case(directory.path(), &catalog, identity, &batches, &moves);
        Self { live, backup, directory }
    }

    /// Applies with the right confirmation.
    pub async fn apply(&self) -> Result<ApplySummary, ApplyError> {
        self.apply_with(|_| {}).await
    }

    /// Applies with other options.
    pub async fn apply_with(
        &self,
        change: impl FnOnce(&mut ApplyOptions),
    ) -> Result<ApplySummary, ApplyError> {
        let mut options = ApplyOptions {
            confirm: self.live.name().to_owned(),
            mode: Mode::Real,
            limits: Limits::default(),
            jobs: 2,
            journal: JournalPlace::Case,
        };
        change(&mut options);
        let (settings, cancel) = (settings(&self.live), CancelToken::default());
        apply::run(self.directory.path(), &settings, &options, std::sync::Arc::new(Silent), cancel).await
    }

    /// Takes everything back.
    pub async fn undo(&self) -> Result<UndoSummary, ApplyError> {
        let options = undo::UndoOptions { confirm: self.live.name().to_owned(), limits: Limits::default() };
        let (settings, cancel) = (settings(&self.live), CancelToken::default());
        undo::run(self.directory.path(), &settings, &options, std::sync::Arc::new(Silent), cancel).await
    }

    /// The text of the journal.
    pub fn journal(&self) -> String {
        std::fs::read_to_string(self.directory.join("journal.jsonl")).unwrap_or_default()
    }
}
