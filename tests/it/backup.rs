//! Archives that pg_dump wrote, in every format, read and checked; and what is not in them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use libpgdump::CompressionAlgorithm;
use rowback::backup::{
    Archive, Backup, BackupError, Compression, Format, Inspection, KeepAll, LargeObjects, ReadCounts,
    RowFilter, Section, TableData, TableInspection,
};
use rowback::cancel::CancelToken;
use rowback::error::{Explain, Kind};
use rowback::ident::{Ident, TableName};
use rowback::progress::Silent;

use super::support::{TempDir, TestDb, run};

const SQL: &str = r#"
    create table orders (id int primary key, "Note, 1" text, twice int generated always as (id * 2) stored, weight float8);
    insert into orders (id, "Note, 1", weight) select g, case g % 4 when 0 then null when 1 then E'\\.' when 2 then E'tab\there\nand\\more' else '' end, g / 7.0
        from generate_series(1, 4000) g;
    create table blanks (text text);
    insert into blanks select '' from generate_series(1, 300);
    create table nothing ();
    insert into nothing select from generate_series(1, 3);
    create table empty (id int);
    create table wide (id int, text text);
    insert into wide select g, repeat(md5(g::text), 12000) from generate_series(1, 3) g;
    create schema "Öde.1"; create table "Öde.1"."T ""x""" ("a b" text, "from" int); insert into "Öde.1"."T ""x""" values ('ä', 1), (null, 2);
    create table log (at date, line text) partition by range (at);
    create table log_2026 partition of log for values from ('2026-01-01') to ('2027-01-01');
    insert into log values ('2026-05-01', 'May'), ('2026-06-01', 'June');
    create view seen as select * from orders;
    create sequence counter; select setval('counter', 42);
    alter table wide add foreign key (id) references orders;
    select lo_from_bytea(4000000000, repeat('large', 50000)::bytea), lo_from_bytea(7, ''), lo_from_bytea(8, 'small');
"#;

/// Tables with the query that prints their rows as the dump has them.
const TABLES: [(&str, &str, &str); 7] = [
    ("public", "orders", r#"select id, "Note, 1", weight from orders"#),
    ("public", "blanks", "table blanks"),
    ("public", "nothing", "table nothing"),
    ("public", "empty", "table empty"),
    ("public", "wide", "table wide"),
    ("Öde.1", "T \"x\"", r#"table "Öde.1"."T ""x""""#),
    ("public", "log_2026", "table log_2026"),
];

pub fn database() -> TestDb<'static> {
    TestDb::with("backup", SQL)
}

/// `pg_dump … >> file`: the archive then has no offsets either, and a second table of contents at its end.
/// With pg_dump 17 it is so after `> file`, too.
pub fn dump_appending(database: &TestDb, files: &TempDir, args: &[&str]) -> PathBuf {
    let path = files.join(format!("appended{}.dump", args.concat()));
    let file = std::fs::OpenOptions::new().create_new(true).append(true).open(&path).unwrap();
    run(database.server().program("pg_dump", database.name()).args(args).stdout(file));
    path
}

pub fn table(name: &str) -> TableName {
    TableName::new("public", name)
}

pub fn read(
    archive: &Archive,
    table: &TableName,
    filter: &dyn RowFilter,
) -> Result<(Vec<u8>, ReadCounts), BackupError> {
    let mut rows = Vec::new();
    let mut sink = |chunk: &[u8]| -> io::Result<()> {
        assert!(chunk.ends_with(b"\n"));
        rows.extend_from_slice(chunk);
        Ok(())
    };
    let counts = archive.read_rows(table, filter, &CancelToken::default(), &mut sink)?;
    Ok((rows, counts))
}

pub fn verify(archive: &Archive) -> Result<Inspection, BackupError> {
    archive.verify(None, &Silent, &CancelToken::default())
}

pub fn open_and_verify(path: &Path) -> Result<Inspection, BackupError> {
    verify(&Archive::open(path)?)
}

/// The rows of every table as the database prints them.
fn expected_rows(database: &TestDb) -> BTreeMap<TableName, String> {
    let rows = |query: &str| database.psql(&format!("copy ({query}) to stdout"));
    TABLES.iter().map(|(schema, name, query)| (TableName::new(*schema, *name), rows(query))).collect()
}

fn expected_tables(rows: &BTreeMap<TableName, String>) -> Vec<TableInspection> {
    let inspection = |(table, text): (&TableName, &String)| TableInspection {
        table: table.clone(),
        rows: u64::try_from(text.matches('\n').count()).unwrap(),
        bytes: u64::try_from(text.len()).unwrap(),
    };
    rows.iter().map(inspection).collect()
}

/// Holds one archive against the database: rows of each table, alone and in reverse order, and the whole inspection.
fn check(path: &Path, expected: &BTreeMap<TableName, String>, checksums: bool) {
    let archive = Archive::open(path).unwrap();
    for (table, rows) in expected.iter().rev() {
        let (found, counts) = read(&archive, table, &KeepAll).unwrap();
        assert!(found == rows.as_bytes(), "{}: rows of {table} differ", path.display());
        let lines = u64::try_from(rows.matches('\n').count()).unwrap();
        let bytes = u64::try_from(rows.len()).unwrap();
        assert_eq!(counts, ReadCounts { rows_read: lines, rows_kept: lines, bytes_read: bytes }, "{table}");
    }
    let inspection = verify(&archive).unwrap();
    let fresh = open_and_verify(path).unwrap();
    assert_eq!(inspection, fresh, "blocks found by reading and by scanning");
    let whole = Inspection {
        sha256: sha256_of(path),
        bytes: fresh.bytes,
        manifest: None,
        checksums,
        tables: expected_tables(expected),
        inserts: Vec::new(),
        missing: Vec::new(),
        large_objects: LargeObjects { objects: 3, bytes: 250_005 },
    };
    assert_eq!(inspection, whole, "{}", path.display());
}

/// As `sha256sum` sees it.
pub fn sha256_of(path: &Path) -> String {
    let script =
        if path.is_dir() { "cd \"$1\"; LC_ALL=C; sha256sum * | sha256sum" } else { "sha256sum \"$1\"" };
    let printed = run(std::process::Command::new("sh").args(["-c", script, "sh"]).arg(path));
    printed.split(' ').next().unwrap().to_owned()
}

#[test]
fn every_format_gives_the_rows_of_the_database() {
    let database = database();
    let expected = expected_rows(&database);
    let files = TempDir::new("appended");
    let kinds: [(&[&str], Format, Compression); 5] = [
        (&["-Fc"], Format::Custom, Compression::Gzip),
        (&["-Fc", "-Z0"], Format::Custom, Compression::None),
        (&["-Fd"], Format::Directory, Compression::Gzip),
        (&["-Fd", "-Z0", "-j2"], Format::Directory, Compression::None),
        (&["-Ft"], Format::Tar, Compression::None),
    ];
    for (args, format, compression) in kinds {
        let mut paths = vec![database.dump(args)];
        if format != Format::Directory {
            paths.push(database.dump_to_pipe(args));
            paths.push(dump_appending(&database, &files, args));
        }
        for path in paths {
            let archive = Archive::open(&path).unwrap();
            assert_eq!((archive.contents().format, archive.contents().compression), (format, compression));
            check(&path, &expected, compression == Compression::Gzip);
        }
    }
}

#[test]
fn lz4_and_zstd_and_every_archive_version() {
    let database = database();
    let expected = expected_rows(&database);
    let files = TempDir::new("rewritten");
    let mut original = libpgdump::format::custom::read_archive(&mut io::BufReader::new(
        std::fs::File::open(database.dump(&["-Fc"])).unwrap(),
    ))
    .unwrap();
    // The crate reads an empty large object as the end of them all.
    let blob = |oid, data: &[u8]| libpgdump::Blob { oid, data: data.to_vec() };
    let blobs = vec![blob(7, b""), blob(8, b"small"), blob(-294_967_296, &b"large".repeat(50_000))];
    original.blobs.values_mut().for_each(|found| found.clone_from(&blobs));
    let codecs = [
        (CompressionAlgorithm::None, Compression::None),
        (CompressionAlgorithm::Gzip, Compression::Gzip),
        (CompressionAlgorithm::Lz4, Compression::Lz4),
        (CompressionAlgorithm::Zstd, Compression::Zstd),
    ];
    for minor in 12..=16 {
        for (algorithm, compression) in &codecs[..if minor < 15 { 2 } else { 4 }] {
            let mut archive = original.clone();
            archive.header.version = libpgdump::ArchiveVersion::new(1, minor, 0);
            archive.header.compression = *algorithm;
            let path = files.join(format!("{minor}-{compression}.dump"));
            let mut file = std::fs::File::create(&path).unwrap();
            libpgdump::format::custom::write_archive(&mut file, &archive).unwrap();
            let opened = Archive::open(&path).unwrap();
            let contents = opened.contents();
            assert_eq!(
                (contents.archive_version.as_deref(), contents.compression),
                (Some(&*format!("1.{minor}")), *compression)
            );
            check(&path, &expected, *compression == Compression::Gzip);
            let directory = files.join(format!("{minor}-{compression}"));
            archive.header.format = libpgdump::Format::Directory;
            for entry in archive.entries.iter_mut().filter(|entry| entry.had_dumper) {
                let large_objects = archive.blobs.contains_key(&entry.dump_id);
                let name = if large_objects { "blobs.toc".into() } else { format!("{}.dat", entry.dump_id) };
                entry.filename = Some(name);
            }
            libpgdump::format::directory::write_archive(&directory, &archive).unwrap();
            check(&directory, &expected, *compression == Compression::Gzip);
        }
    }
}

#[test]
fn contents_are_what_the_catalog_says() {
    let database = database();
    let backup = Backup::open(&database.dump(&["-Fc"])).unwrap();
    let contents = backup.contents();
    let server_version = database.value("show server_version");
    assert_eq!(contents.dbname.as_deref(), Some(database.name()));
    assert_eq!(contents.server_version, server_version);
    assert_eq!(contents.dump_version, server_version);
    assert_eq!(contents.server_major.to_string(), server_version.split('.').next().unwrap());
    assert_eq!(contents.encoding, "UTF8");
    assert_eq!((contents.missing_schema(), contents.has_large_objects()), (false, true));
    let dumped_at = contents.dumped_at.as_deref().unwrap();
    assert!(dumped_at.len() == 19 && dumped_at.starts_with("20"), "{dumped_at}");

    let names: Vec<TableName> = contents.tables.keys().cloned().collect();
    let mut expected: Vec<TableName> =
        TABLES.iter().map(|(schema, name, _)| TableName::new(*schema, *name)).collect();
    expected.sort();
    assert_eq!(names, expected, "neither the partitioned root nor the view holds rows");
    let columns = |of: &TableName| match &contents.tables[of] {
        TableData::Rows { target, columns, .. } => {
            assert_eq!(target, of);
            columns.iter().map(Ident::as_str).collect::<Vec<_>>()
        }
        other => panic!("{of}: {other:?}"),
    };
    assert_eq!(columns(&table("orders")), ["id", "Note, 1", "weight"], "without the generated column");
    assert_eq!(columns(&table("nothing")), [""; 0]);
    assert_eq!(columns(&TableName::new("Öde.1", "T \"x\"")), ["a b", "from"]);

    let kinds = |kind: &str| contents.entries.iter().filter(|entry| entry.kind == kind).collect::<Vec<_>>();
    let [foreign_key] = kinds("FK CONSTRAINT")[..] else { panic!("one foreign key") };
    assert_eq!((foreign_key.section, &*foreign_key.name), (Section::PostData, "wide wide_id_fkey"));
    assert_eq!(foreign_key.schema.as_deref(), Some("public"));
    assert!(foreign_key.definition.contains("FOREIGN KEY (id) REFERENCES public.orders(id)"));
    assert!(!foreign_key.dependencies.is_empty() && !foreign_key.has_data);
    let [sequence] = kinds("SEQUENCE SET")[..] else { panic!("one sequence") };
    assert_eq!((sequence.section, sequence.has_data), (Section::Data, false));
    assert!(sequence.definition.contains("setval('public.counter', 42, true)"));
}

struct Ids(&'static [&'static str]);

impl RowFilter for Ids {
    fn keep(&self, row: &[u8]) -> bool {
        let id = row.split(|&byte| byte == b'\t').next().unwrap();
        self.0.iter().any(|wanted| wanted.as_bytes() == id)
    }
}

#[test]
fn a_filter_sees_each_row_once_and_only_its_rows_come_out() {
    let database = database();
    let archive = Archive::open(&database.dump(&["-Fc"])).unwrap();
    let all = database.psql(r#"copy (select id, "Note, 1", weight from orders) to stdout"#);
    let kept = database
        .psql(r#"copy (select id, "Note, 1", weight from orders where id in (1, 2, 3999, 4000)) to stdout"#);
    let (rows, counts) = read(&archive, &table("orders"), &Ids(&["4000", "1", "2", "3999", "5000"])).unwrap();
    assert_eq!(String::from_utf8(rows).unwrap(), kept);
    let bytes_read = u64::try_from(all.len()).unwrap();
    assert_eq!(counts, ReadCounts { rows_read: 4000, rows_kept: 4, bytes_read });
    let (rows, counts) = read(&archive, &table("orders"), &Ids(&[])).unwrap();
    assert_eq!((rows.len(), counts.rows_read, counts.rows_kept), (0, 4000, 0));
}

#[test]
fn one_archive_serves_several_threads() {
    let database = database();
    let expected = expected_rows(&database);
    let archive = Archive::open(&database.dump_to_pipe(&["-Fc"])).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            for (table, rows) in expected.iter().rev() {
                let archive = &archive;
                scope.spawn(move || assert!(read(archive, table, &KeepAll).unwrap().0 == rows.as_bytes()));
            }
        }
    });
}

/// What is told, with the directory of the test left out.
pub fn code(result: Result<impl std::fmt::Debug, BackupError>) -> &'static str {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "{error}");
    assert!(error.hint().ends_with("Nothing was changed."), "{}", error.hint());
    error.code()
}

#[test]
fn rows_that_are_not_there_are_never_an_empty_table() {
    let database = database();
    let schema_only = Archive::open(&database.dump(&["-Fc", "--schema-only"])).unwrap();
    assert!(schema_only.contents().tables.values().all(|data| *data == TableData::Missing));
    assert_eq!(schema_only.contents().tables.len(), TABLES.len());
    assert_eq!(code(read(&schema_only, &table("orders"), &KeepAll)), "backup-without-rows");
    let inspection = verify(&schema_only).unwrap();
    assert_eq!((inspection.tables.len(), inspection.missing.len()), (0, TABLES.len()));

    let excluded = Archive::open(&database.dump(&["-Fd", "--exclude-table-data=orders"])).unwrap();
    assert_eq!(code(read(&excluded, &table("orders"), &KeepAll)), "backup-without-rows");
    assert_eq!(read(&excluded, &table("log_2026"), &KeepAll).unwrap().1.rows_read, 2);
    assert_eq!(verify(&excluded).unwrap().missing, [table("orders")]);

    for args in [["-Fc", "--inserts"], ["-Ft", "--column-inserts"]] {
        let inserts = Archive::open(&database.dump(&args)).unwrap();
        assert_eq!(code(read(&inserts, &table("orders"), &KeepAll)), "backup-inserts");
        let inspection = verify(&inserts).unwrap();
        assert_eq!((inspection.tables.len(), inspection.inserts.len()), (0, TABLES.len()));
    }

    let data_only = Archive::open(&database.dump(&["-Fc", "--data-only"])).unwrap();
    assert!(data_only.contents().missing_schema());
    assert!(!schema_only.contents().missing_schema());

    let unknown = read(&schema_only, &table("order"), &KeepAll).unwrap_err();
    let BackupError::UnknownTable { nearest, .. } = &unknown else { panic!("{unknown:?}") };
    assert_eq!(nearest.as_ref(), Some(&table("orders")));
    assert_eq!(code(read(&schema_only, &table("zzzzzzzzzz"), &KeepAll)), "backup-table-unknown");
}

#[test]
fn rows_dumped_through_the_partition_root_name_it() {
    let database = database();
    let archive = Archive::open(&database.dump(&["-Fc", "--load-via-partition-root"])).unwrap();
    let TableData::Rows { target, .. } = &archive.contents().tables[&table("log_2026")] else { panic!() };
    assert_eq!(target, &table("log"));
    assert_eq!(read(&archive, &table("log_2026"), &KeepAll).unwrap().1.rows_read, 2);
}

#[test]
fn stops_between_chunks_when_asked() {
    let archive = Archive::open(&database().dump(&["-Fc"])).unwrap();
    let cancel = CancelToken::default();
    cancel.cancel();
    let error = archive.read_rows(&table("orders"), &KeepAll, &cancel, &mut |_| Ok(())).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("backup-interrupted", Kind::Stopped));
    let error = archive.verify(None, &Silent, &cancel).unwrap_err();
    assert_eq!(error.code(), "backup-interrupted");
    let mut full = |_: &[u8]| Err(io::Error::from(io::ErrorKind::StorageFull));
    let error =
        archive.read_rows(&table("orders"), &KeepAll, &CancelToken::default(), &mut full).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("backup-sink", "the rows of public.orders could not be passed on")
    );
}
