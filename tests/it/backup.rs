//! Archives that pg_dump wrote, in every format, read and checked; then cut, bent and emptied in every way.

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

fn database() -> TestDb<'static> {
    TestDb::with("backup", SQL)
}

/// `pg_dump … >> file`: the archive then has no offsets either, and a second table of contents at its end.
/// With pg_dump 17 it is so after `> file`, too.
fn dump_appending(database: &TestDb, files: &TempDir, args: &[&str]) -> PathBuf {
    let path = files.join(format!("appended{}.dump", args.concat()));
    let file = std::fs::OpenOptions::new().create_new(true).append(true).open(&path).unwrap();
    run(database.server().program("pg_dump", database.name()).args(args).stdout(file));
    path
}

fn table(name: &str) -> TableName {
    TableName::new("public", name)
}

fn read(
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

fn verify(archive: &Archive) -> Result<Inspection, BackupError> {
    archive.verify(None, &Silent, &CancelToken::default())
}

fn open_and_verify(path: &Path) -> Result<Inspection, BackupError> {
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
fn sha256_of(path: &Path) -> String {
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
fn code(result: Result<impl std::fmt::Debug, BackupError>) -> &'static str {
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
fn what_is_no_archive_is_said() {
    let files = TempDir::new("no-archive");
    let database = database();
    let archive = database.dump(&["-Fc"]);
    let archive_bytes = std::fs::read(&archive).unwrap();
    std::fs::copy(&archive, files.join("a.dump")).unwrap();
    let shell =
        |script: &str| run(std::process::Command::new("sh").arg("-c").arg(script).current_dir(files.path()));
    shell("mkdir empty base locked; touch base/PG_VERSION; gzip -k a.dump");
    files.write("locked/toc.dat/x", "");
    let mut version = std::fs::read(&archive).unwrap();
    version[6] = 17;
    let mut old = version.clone();
    old[6] = 11;
    let zipped = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let cases: Vec<(PathBuf, &str, &str)> = vec![
        (files.join("absent"), "backup-unreadable", "cannot read the backup"),
        (files.join("locked"), "backup-unreadable", "cannot read the backup"),
        (files.write("zero", ""), "backup-empty", "is empty"),
        (files.write("noise", "hello world"), "backup-format", "is not a backup"),
        (files.write("archive-inside.gz", zipped(&archive_bytes)), "backup-format", "inside a gzip file"),
        (files.write("noise.gz", zipped(b"hello")), "backup-format", "is not a backup"),
        (files.join("a.dump.gz"), "backup-format", "is an archive of pg_dump inside a gzip file"),
        (files.join("empty"), "backup-no-toc", "has no toc.dat"),
        (files.join("base"), "backup-format", "is a base backup"),
        (PathBuf::from("postgres://me:secret@h/d"), "backup-format", "the backup is a running server"),
        (files.write("version", version), "backup-version", "has archive version 1.17"),
        (files.write("old", old), "backup-version", "has archive version 1.11"),
    ];
    for (path, expected, words) in cases {
        let error = Backup::open(&path).unwrap_err();
        assert!(error.to_string().contains(words), "{}: {error}", path.display());
        assert!(!error.to_string().contains("secret"));
        assert_eq!(code(Backup::open(&path)), expected, "{}", path.display());
    }
}

#[test]
fn an_archive_cut_anywhere_is_never_taken_for_a_whole_one() {
    let database = database();
    let files = TempDir::new("cut");
    let appended = dump_appending(&database, &files, &["-Fc"]);
    let data_end = std::fs::read(database.dump_to_pipe(&["-Fc"])).unwrap().len();
    assert!(std::fs::read(&appended).unwrap().len() > data_end + 5000, "a second table of contents");
    for path in [database.dump(&["-Fc"]), database.dump_to_pipe(&["-Fc"]), appended, database.dump(&["-Ft"])]
    {
        let whole = std::fs::read(&path).unwrap();
        let intact = open_and_verify(&path).unwrap();
        // A tar file goes on with a script for people, which nothing is read from; before it there is padding.
        let needed = memchr::memmem::find(&whole, b"restore.sql").unwrap_or(whole.len());
        let codes =
            ["backup-empty", "backup-truncated", "backup-block-missing", "backup-format", "backup-damaged"];
        for cut in (0..needed).step_by(needed / 150).chain([5, 9, 20, needed - 1]) {
            let cut_path = files.write("cut", &whole[..cut]);
            match open_and_verify(&cut_path) {
                Ok(found) => {
                    let in_padding = !whole.starts_with(b"PGDMP") && needed - cut < 512;
                    assert!(in_padding || cut == data_end, "cut at {cut}");
                    assert_eq!(
                        (found.tables, found.large_objects),
                        (intact.tables.clone(), intact.large_objects)
                    );
                }
                Err(error) => assert!(codes.contains(&error.code()), "cut at {cut}: {error}"),
            }
        }
    }
}

#[test]
fn a_directory_with_a_file_cut_or_gone_is_an_error() {
    let database = database();
    let directory = database.dump(&["-Fd"]);
    let archive = Archive::open(&directory).unwrap();
    let TableData::Rows { entry, .. } = archive.contents().tables[&table("orders")] else { panic!() };
    let file = directory.join(format!("{entry}.dat.gz"));
    let whole = std::fs::read(&file).unwrap();
    for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(code(read(&archive, &table("orders"), &KeepAll)), "backup-truncated", "{cut}");
        assert_eq!(code(verify(&archive)), "backup-truncated");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code(read(&archive, &table("orders"), &KeepAll)), "backup-block-missing");
    // Unpacked by hand it is as good.
    let rows = database.psql(r#"copy (select id, "Note, 1", weight from orders) to stdout"#);
    std::fs::write(directory.join(format!("{entry}.dat")), format!("{rows}\\.\n\n\n")).unwrap();
    assert!(read(&archive, &table("orders"), &KeepAll).unwrap().0 == rows.as_bytes());
}

#[test]
fn one_flipped_byte_in_a_compressed_block_is_found() {
    let database = database();
    let files = TempDir::new("flip");
    let path = database.dump(&["-Fc"]);
    let whole = std::fs::read(&path).unwrap();
    let metadata = libpgdump::format::custom::read_metadata(&mut &whole[..]).unwrap();
    let offsets = metadata.entries.iter().map(|entry| usize::try_from(entry.offset).unwrap());
    let data = offsets.filter(|offset| *offset > 0).min().unwrap();
    let intact = open_and_verify(&path).unwrap().tables;
    let mut found = 0;
    for at in (data..whole.len()).step_by((whole.len() - data) / 300) {
        let mut bent = whole.clone();
        bent[at] ^= 0x10;
        match open_and_verify(&files.write("bent", &bent)) {
            Err(error) => {
                found += 1;
                let expected = ["backup-damaged", "backup-truncated", "backup-block-missing"];
                assert!(expected.contains(&error.code()), "byte {at}: {error}");
            }
            // The last bits before a checksum mean nothing.
            Ok(inspection) => assert_eq!(inspection.tables, intact, "byte {at}"),
        }
    }
    assert!(found >= 295, "{found} of 300 found");
}

#[test]
fn a_flipped_byte_without_checksums_is_found_where_it_changes_the_shape_of_rows() {
    let database = database();
    let files = TempDir::new("shape");
    let whole = std::fs::read(database.dump(&["-Fc", "-Z0"])).unwrap();
    let at = memchr::memmem::find(&whole, b"tab\\there").unwrap();
    for (bent, fact) in [(b'\t', "separators"), (0, "a byte 0"), (0xff, "UTF-8"), (b'\n', "separators")] {
        let mut copy = whole.clone();
        copy[at] = bent;
        let error = open_and_verify(&files.write("bent", &copy)).unwrap_err();
        assert_eq!(error.code(), "backup-damaged");
        assert!(error.causes()[0].contains(fact), "{:?}", error.causes());
    }
}

#[test]
fn claims_in_a_header_are_not_believed() {
    let database = database();
    let files = TempDir::new("claims");
    let whole = std::fs::read(database.dump(&["-Fc"])).unwrap();
    // Header of 11 bytes and the compression level (5), seven integers, then the length of the database's name.
    let name = 11 + 5 + 7 * 5;
    assert_eq!(usize::from(whole[name + 1]), database.name().len());
    let count = {
        let mut at = name;
        for _ in 0..3 {
            at += 5 + usize::from(whole[at + 1]);
        }
        at
    };
    for at in [name, count] {
        let mut bent = whole.clone();
        bent[at + 1..at + 5].copy_from_slice(&i32::MAX.to_le_bytes());
        let found = code(Archive::open(&files.write("bent", &bent)));
        assert!(["backup-truncated", "backup-damaged"].contains(&found), "{found}");
    }
    for (at, value) in [(8, 8), (8, 0), (9, 200)] {
        let mut bent = whole.clone();
        bent[at] = value;
        assert_eq!(code(Archive::open(&files.write("bent", &bent))), "backup-damaged", "byte {at} = {value}");
    }
}

#[test]
fn names_in_another_encoding_are_refused_and_rows_are_not() {
    let database = database();
    let error = Archive::open(&database.dump(&["-Fc", "-E", "LATIN1"])).unwrap_err();
    assert_eq!(error.code(), "backup-encoding");

    let files = TempDir::new("encoding");
    let mut bent = std::fs::read(database.dump(&["-Fc"])).unwrap();
    let at = memchr::memmem::find(&bent, "Öde".as_bytes()).unwrap();
    bent[at] = b'x';
    let error = Archive::open(&files.write("bent", &bent)).unwrap_err();
    assert_eq!((error.code(), error.causes().len()), ("backup-damaged", 1), "UTF-8 was promised");

    let latin = TestDb::with("latin", "create table a (b text); insert into a values ('é')");
    let archive = Archive::open(&latin.dump(&["-Fc", "-E", "LATIN1"])).unwrap();
    assert_eq!(archive.contents().encoding, "LATIN1");
    assert_eq!(read(&archive, &table("a"), &KeepAll).unwrap().0, b"\xe9\n");
    assert!(verify(&archive).is_ok());
}

#[test]
fn a_manifest_must_name_and_match_every_file() {
    let database = database();
    let files = TempDir::new("manifest");
    let check = |path: &Path, manifest: &Path| {
        Archive::open(path).unwrap().verify(Some(manifest), &Silent, &CancelToken::default())
    };
    let file = files.join("shop.dump");
    std::fs::copy(database.dump(&["-Fc"]), &file).unwrap();
    let directory = files.join("shop");
    let made = database.dump(&["-Fd"]);
    let shell = |script: &str| {
        run(std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&made).current_dir(files.path()))
    };
    shell(
        "cp -r \"$1\" shop; sha256sum shop.dump > one; sha256sum shop/* > many; (cd shop; sha256sum *) > names; sha256sum one > other",
    );
    let one = files.join("one");
    let inspection = check(&file, &one).unwrap();
    assert_eq!(inspection.manifest.as_deref(), Some(&*one));
    for manifest in ["many", "names"] {
        assert!(check(&directory, &files.join(manifest)).is_ok(), "{manifest}");
    }
    assert_eq!(code(check(&file, &files.join("absent"))), "manifest-unreadable");
    assert_eq!(code(check(&file, &files.write("noise", "hello"))), "manifest-unreadable");
    assert_eq!(code(check(&file, &files.join("other"))), "manifest-unnamed");
    assert_eq!(code(check(&directory, &one)), "manifest-unnamed");
    let wrong = std::fs::read_to_string(&one).unwrap().replace(&sha256_of(&file), &"0".repeat(64));
    assert_eq!(code(check(&file, &files.write("wrong", wrong))), "manifest-mismatch");
    std::fs::write(directory.join("stray"), "x").unwrap();
    assert_eq!(code(check(&directory, &files.join("many"))), "manifest-unnamed");
    std::fs::remove_file(directory.join("stray")).unwrap();
    shell("rm shop/blobs.toc");
    assert_eq!(code(check(&directory, &files.join("many"))), "manifest-absent");
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
