//! Staging files from the outside: what other programs read and write, what happens to damaged and edited files.

use std::collections::BTreeSet;
use std::path::Path;

use rowback::error::{Explain, Kind};
use rowback::ident::TableName;
use rowback::staging::{
    CsvOptions, Manifest, StagedFile, StagingError, StagingFormat, StagingReader, StagingWriter,
    verify_sha256,
};
use rowback::value::BaseType;

use super::prop_values::{read, stage, table_of};
use super::staging::{BOTH, PLAIN, TYPES_SQL, copy_out, make_table};
use super::support::{TempDir, TestDb, python, repository, run};

/// What a user meets, as code, message, causes and kind.
fn told(error: &StagingError, dir: &TempDir) -> String {
    let text = format!("{} {:?}: {error}\n{}", error.code(), error.kind(), error.causes().join("\n"));
    assert!(error.hint().ends_with('.'), "{}", error.hint());
    text.replace(&format!("{}/", dir.path().display()), "")
}

fn refused(result: Result<StagingReader, StagingError>, dir: &TempDir) -> String {
    match result {
        Ok(mut reader) => {
            let mut row = Vec::new();
            loop {
                match reader.next_row(&mut row) {
                    Ok(true) => {}
                    Ok(false) => panic!("the file was taken"),
                    Err(error) => return told(&error, dir),
                }
            }
        }
        Err(error) => told(&error, dir),
    }
}

#[test]
fn csv_that_breaks_a_rule_is_refused_with_its_line() {
    let table = table_of(&[BaseType::Int4, BaseType::Text]);
    let dir = TempDir::new("csv");
    let told = |text: &[u8]| refused(StagingReader::open_file(&dir.write("t.csv", text), &table), &dir);
    let syntax = |line: u32, problem: &str| {
        format!("staging-csv-syntax Input: t.csv is no valid CSV at line {line}\n{problem}")
    };
    assert_eq!(told(b""), syntax(1, "the file is empty; its first line must name the columns"));
    assert_eq!(told(b"c0,c1\n1,\"a\nb\"\n2,b,c\n"), syntax(4, "3 fields where the first line names 2"));
    assert_eq!(told(b"c0,c1\n\n"), syntax(2, "1 fields where the first line names 2"));
    assert_eq!(told(b"c0,c1\n1,\"a\n2,b\n"), syntax(2, "a quote that opens in this record is never closed"));
    assert_eq!(told(b"c0,c1\n1,\"a\"b\n"), syntax(2, "there is text after a closing quote"));
    assert_eq!(
        told(b"c0,c1\n1,a\"b\"\n"),
        syntax(2, "a quote or carriage return stands in a value without quotes")
    );
    assert_eq!(told(b"c0,c1\n1,\xff\n"), syntax(2, "the record is no UTF-8"));
    assert_eq!(told(b"c0,c1\n1,\0\n"), syntax(2, "the record contains a zero byte"));
    assert_eq!(
        told(b"c0,C1,c0,note\n"),
        "staging-columns Input: the columns of t.csv are not those of public.t\ncolumn \"c0\" is there twice\n\
         column \"c1\" is missing\ncolumn \"C1\" is unknown\ncolumn \"note\" is unknown"
    );
    let taken =
        dir.write("t.csv", b"\xef\xbb\xbfc1,\"c0\"\r\n\"x \"\"y\"\"\r\n\",1\r\n,2\r\n\"\",\r\nlast,3");
    let rows = read(StagingReader::open_file(&taken, &table).unwrap());
    assert_eq!(rows, [&b"1\tx \"y\"\\r\\n"[..], b"2\t\\N", b"\\N\t", b"3\tlast"]);
}

#[test]
fn a_marker_for_null_is_told_from_the_same_text() {
    let table = table_of(&[BaseType::Int4, BaseType::Text]);
    let rows = [&b"1\t\\N"[..], b"2\t", b"3\tNULL", b"4\t\\\\N"].map(<[u8]>::to_vec);
    for (marker, file) in [
        ("", "c0,c1\n1,\n2,\"\"\n3,NULL\n4,\\N\n"),
        ("NULL", "c0,c1\n1,NULL\n2,\"\"\n3,\"NULL\"\n4,\\N\n"),
        ("\\N", "c0,c1\n1,\\N\n2,\"\"\n3,NULL\n4,\"\\N\"\n"),
    ] {
        let (dir, csv) = (TempDir::new("marker"), CsvOptions { null_marker: marker.to_owned() });
        let staged = stage(&dir, StagingFormat::Csv, &table, &rows, &csv);
        assert_eq!(std::fs::read_to_string(dir.join("public.t.csv")).unwrap(), file);
        assert_eq!(read(StagingReader::open(dir.path(), &staged).unwrap()), rows);
    }
    let csv = CsvOptions { null_marker: "a,b".to_owned() };
    let refused =
        StagingWriter::create_with(Path::new("/"), StagingFormat::Csv, &table, &BTreeSet::new(), &csv);
    assert_eq!(refused.err().unwrap().kind(), Kind::Usage);
}

#[test]
fn damaged_and_edited_files_are_noticed() {
    let table = table_of(&[BaseType::Int4, BaseType::Text]);
    let rows: Vec<Vec<u8>> = (0..5_000).map(|n| format!("{n}\ttext {n}").into_bytes()).collect();
    let dir = TempDir::new("damaged");
    let staged = stage(&dir, StagingFormat::Parquet, &table, &rows, &CsvOptions::default());
    let path = dir.join(&staged.file);
    let good = std::fs::read(&path).unwrap();
    verify_sha256(dir.path(), &staged).unwrap();

    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    let told = refused(StagingReader::open(dir.path(), &staged), &dir);
    assert!(
        told.starts_with("staging-corrupt Input: public.t.parquet is no readable Parquet file\n"),
        "{told}"
    );
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    let error = verify_sha256(dir.path(), &staged).unwrap_err();
    assert_eq!((error.code(), error.kind(), error.causes().len()), ("staging-edited", Kind::Refused, 2));

    std::fs::write(&path, &good).unwrap();
    let more = StagedFile { rows: 5_001, ..staged.clone() };
    assert_eq!(
        refused(StagingReader::open(dir.path(), &more), &dir),
        "staging-row-count Refused: public.t.parquet holds 5000 rows, the manifest says 5001\n"
    );
    let less = StagedFile { rows: 4_999, ..staged.clone() };
    assert!(refused(StagingReader::open(dir.path(), &less), &dir).starts_with("staging-row-count Refused"));
    let other = table_of(&[BaseType::Date, BaseType::Text]);
    assert_eq!(
        refused(StagingReader::open_file(&path, &other), &dir),
        "staging-column-type Input: column \"c0\" of public.t.parquet has the wrong type\n\
         the file has Int32; for Date it may be date or text"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(
        refused(StagingReader::open(dir.path(), &staged), &dir)
            .starts_with("staging-not-readable Input: cannot read")
    );
}

#[test]
fn rows_that_are_no_rows_are_a_bug_and_leave_nothing() {
    let table = table_of(&[BaseType::Int4, BaseType::Text]);
    for format in BOTH {
        for (row, expected) in [
            (
                &b"1"[..],
                "staging-bad-row Bug: row 2 for public.t is no COPY row of that table\n1 fields for 2 columns",
            ),
            (
                b"1\ta\tb",
                "staging-bad-row Bug: row 2 for public.t is no COPY row of that table\n3 fields for 2 columns",
            ),
            (
                b"1\t\\q",
                "staging-bad-row Bug: row 2 for public.t is no COPY row of that table\nthe field of column \"c1\" is not spelled as COPY TO spells it",
            ),
            (b"1\t\xff", "staging-encoding Input: column \"c1\" of public.t holds bytes that are no UTF-8\n"),
        ] {
            let dir = TempDir::new("bad");
            let mut writer = StagingWriter::create(dir.path(), format, &table, &BTreeSet::new()).unwrap();
            writer.write_row(b"0\tgood").unwrap();
            let error =
                writer.write_row(row).map(|()| writer.finish()).and_then(|finished| finished).unwrap_err();
            let found = told(&error, &dir);
            assert!(found.starts_with(expected), "{found}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_manifest_says_what_it_said() {
    let table = table_of(&[BaseType::Numeric { precision: 12, scale: 2 }, BaseType::Other]);
    let dir = TempDir::new("manifest");
    let staged = stage(&dir, StagingFormat::Csv, &table, &[b"1.00\t\\N".to_vec()], &CsvOptions::default());
    let mut manifest = Manifest::new(vec![staged.clone()]);
    manifest.extra.insert("note".to_owned(), serde_json::json!([1, null]));
    manifest.store(dir.path()).unwrap();
    let loaded = Manifest::load(dir.path()).unwrap();
    assert_eq!(loaded, manifest);
    assert_eq!(loaded.find(&TableName::new("public", "t")), Some(&staged));
    let newer = std::fs::read_to_string(dir.join("manifest.json")).unwrap().replacen(
        "\"format\": 1",
        "\"format\": 2",
        1,
    );
    dir.write("manifest.json", newer);
    let error = Manifest::load(dir.path()).unwrap_err();
    assert_eq!(
        told(&error, &dir),
        "staging-manifest-format Input: manifest.json has format 2, this version reads format 1\n"
    );
    dir.write("manifest.json", "{\"format\": 1");
    assert_eq!(Manifest::load(dir.path()).unwrap_err().code(), "staging-manifest-corrupt");
}

/// PyArrow, DuckDB and PostgreSQL read what we write.
#[test]
fn other_programs_read_the_same_values() {
    let database = TestDb::with("staging-second", TYPES_SQL);
    let (table, rows) = make_table(&database, "plain", PLAIN);
    let dir = TempDir::new("second");
    for format in BOTH {
        stage(&dir, format, &table, &rows, &CsvOptions::default());
    }
    let csv = dir.join("public.plain.csv");
    database.psql(&format!(
        "create table again (like plain);\n\\copy again from '{}' with (format csv, header)\n",
        csv.display()
    ));
    assert_eq!(copy_out(&database, "again"), rows);

    dir.write("rows.copy", rows.join(&b'\n'));
    let told = run(python().arg(repository().join("tests/it/staging_readers.py")).arg(dir.path()));
    assert_eq!(told, format!("{} columns, {} rows: the same\n", PLAIN.len(), rows.len()));
}

/// A planted difference makes the comparison above fail.
#[test]
fn the_second_readers_notice_a_difference() {
    let table = table_of(&[BaseType::Int4, BaseType::Text]);
    let dir = TempDir::new("second");
    for format in BOTH {
        stage(&dir, format, &table, &[b"1\ta".to_vec(), b"2\t".to_vec()], &CsvOptions::default());
    }
    for (rows, told) in [
        ("1\ta\n2\t\\N", "differs"),
        ("1\ta\n3\t", "differs"),
        ("1\ta", "differs"),
        ("1\ta\n2\t", "the same"),
    ] {
        dir.write("rows.copy", rows);
        let told_now = run(python().arg(repository().join("tests/it/staging_readers.py")).arg(dir.path()));
        assert!(told_now.contains(told), "{rows}: {told_now}");
    }
}

/// Files that DuckDB and PyArrow write are taken where the values are exact, and refused otherwise.
#[test]
fn files_of_other_programs_are_taken() {
    let types = [
        BaseType::Int8,
        BaseType::Int2,
        BaseType::Numeric { precision: 12, scale: 2 },
        BaseType::UnboundedNumeric,
        BaseType::Varchar,
        BaseType::TimestampTz,
        BaseType::Timestamp,
        BaseType::Date,
        BaseType::Time,
        BaseType::Uuid,
        BaseType::Bytea,
        BaseType::Float8,
        BaseType::Bool,
        BaseType::Other,
    ];
    let table = table_of(&types);
    let dir = TempDir::new("foreign");
    run(python().arg(repository().join("tests/it/staging_writers.py")).arg(dir.path()));
    let expected = [
        &b"1\t-7\t12.50\t0.333\tO'Neil\\n\t2026-11-19 14:03:00.5+00\t2026-11-19 14:03:00\t2026-11-19\t14:03:00.25\ta0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\t\\\\x00ff\t0.1\tt\t{1,2}"[..],
        b"2\t\\N\t\\N\t\\N\t\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N",
    ];
    for file in ["duckdb.parquet", "pyarrow.parquet"] {
        assert_eq!(read(StagingReader::open_file(&dir.join(file), &table).unwrap()), expected, "{file}");
    }
    let told = |file: &str, base: BaseType| {
        refused(StagingReader::open_file(&dir.join(file), &table_of(&[base])), &dir)
    };
    assert_eq!(
        told("float.parquet", BaseType::Numeric { precision: 12, scale: 2 }),
        "staging-column-type Input: column \"c0\" of float.parquet has the wrong type\nthe file has Float64; for \
         Numeric { precision: 12, scale: 2 } it may be a decimal, an integer or text (no float: it would round)"
    );
    assert_eq!(
        told("large.parquet", BaseType::Int2),
        "staging-value Input: row 3, column \"c0\" of large.parquet cannot be taken\nthe number does not fit the column's type (Int2)"
    );
    assert!(told("nested.parquet", BaseType::Other).contains("for Other it may be text"));
    assert!(told("naive.parquet", BaseType::TimestampTz).contains("it may be a timestamp in UTC or text"));
}

/// Whatever byte of a file is damaged, reading it ends with rows or an error, never with a crash.
#[test]
fn no_flipped_byte_brings_the_reader_down() {
    let table = table_of(&[BaseType::Int4, BaseType::Text, BaseType::Numeric { precision: 30, scale: 2 }]);
    let rows: Vec<Vec<u8>> = (0..40).map(|n| format!("{n}\ttext {}\t{n}.50", n % 7).into_bytes()).collect();
    let dir = TempDir::new("flipped");
    let staged = stage(&dir, StagingFormat::Parquet, &table, &rows, &CsvOptions::default());
    let path = dir.join(&staged.file);
    let good = std::fs::read(&path).unwrap();
    let (mut refused, mut row) = (0, Vec::new());
    for (at, mask) in (0..good.len()).map(|at| (at, [1_u8, 0x80, 0xff][at % 3])) {
        let mut damaged = good.clone();
        damaged[at] ^= mask;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(verify_sha256(dir.path(), &staged).unwrap_err().code(), "staging-edited");
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut reader = StagingReader::open(dir.path(), &staged)?;
            while reader.next_row(&mut row)? {}
            Ok::<(), StagingError>(())
        }));
        assert!(read.is_ok(), "byte {at} of {} with {mask:#x}", good.len());
        refused += usize::from(!matches!(read, Ok(Ok(()))));
    }
    assert!(refused > good.len() / 3, "{refused} of {} damages were noticed", good.len());
}
