//! Staging files on real data: every type of a real server, values that no Parquet type holds, other readers and
//! writers, damaged and edited files.

use std::collections::BTreeSet;

use rowback::ident::{Ident, TableName};
use rowback::staging::{
    CsvOptions, Finished, StagedColumn, StagedFile, StagedTable, StagingFormat, StagingReader, StagingWriter,
    verify_sha256,
};
use rowback::value::{BaseType, ColumnBuilder};

use super::prop_values::{read, stage, table_of};
use super::support::{TempDir, TestDb, run};

pub const BOTH: [StagingFormat; 2] = [StagingFormat::Parquet, StagingFormat::Csv];

/// The settings that rowback pins, for psql.
const PINNED: &str =
    "set timezone to 'UTC'; set extra_float_digits to 1; set bytea_output to hex; set xmloption to content;";

/// Types with values that print back from their native type, where there is one, and types that stay text.
pub const PLAIN: &[(&str, &[&str])] = &[
    ("bool", &["t", "f"]),
    ("int2", &["-32768", "32767", "0"]),
    ("int4", &["-2147483648", "2147483647"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    (
        "float4",
        &[
            "0.1",
            "-0",
            "1e-45",
            "3.4028235e38",
            "123456",
            "1234567",
            "NaN",
            "Infinity",
            "-Infinity",
            "0.00001",
        ],
    ),
    (
        "float8",
        &[
            "0.1",
            "-0",
            "5e-324",
            "1.7976931348623157e308",
            "1e15",
            "123456789012345.6",
            "NaN",
            "-Infinity",
            "1e-5",
        ],
    ),
    ("numeric(12,2)", &["0", "-0.01", "9999999999.99", "10.5"]),
    ("numeric(38,38)", &["0.00000000000000000000000000000000000001", "-0.5"]),
    ("numeric(38)", &["99999999999999999999999999999999999999", "-1"]),
    ("numeric(39,0)", &["999999999999999999999999999999999999999", "NaN"]),
    ("numeric(1000,500)", &["1.5", "-2"]),
    (
        "numeric",
        &[
            "1.10",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-30",
            "12345678901234567890.123456789012345678901234567890",
        ],
    ),
    ("text", &["", "\\N", "\\.", "a\tb\nc\\d\re\u{8}\u{b}\u{c}\u{1}", "日本語 🦀", "  ", "NULL", "\"q\""]),
    ("varchar(10)", &["", "a  "]),
    ("varchar", &["x"]),
    ("bpchar", &["x  "]),
    ("char(5)", &["ab", ""]),
    ("name", &["pg_class", ""]),
    ("\"char\"", &["a", ""]),
    ("bytea", &["", "\\x00ff5c0a", "\\x5c4e"]),
    ("date", &["0001-01-01", "9999-12-31", "1970-01-01", "2000-02-29"]),
    ("timestamp", &["0001-01-01", "9999-12-31 23:59:59.999999", "1969-12-31 23:59:59.1"]),
    ("timestamp(0)", &["2026-11-19 14:03:00"]),
    ("timestamptz", &["2026-11-19 14:03:00.5+02", "0001-01-01 00:00+00", "9999-12-31 23:59:59.999999+00"]),
    ("time", &["00:00", "23:59:59.999999", "12:00:00.5"]),
    ("timetz", &["12:00:00.5+02:30", "24:00:00-15:59", "00:00+00"]),
    ("interval", &["1 year 2 mons -3 days 04:05:06.789", "-178000000 years", "0"]),
    ("uuid", &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]),
    ("json", &["{\"b\": 1,  \"a\": 2, \"b\": 1.10}", "null", "\"\\u0041\\t\""]),
    ("jsonb", &["{\"b\": 123456789012345678901234567890.10, \"a\": null}", "null", "\"\\t\\\\\""]),
    ("jsonpath", &["$.a[*] ? (@.b > 1)"]),
    ("xml", &["<a b=\"c\">d &amp; e</a>", "text"]),
    ("money", &["-92233720368547758.08", "1.10"]),
    ("bit(3)", &["101"]),
    ("varbit", &["", "10101"]),
    ("inet", &["10.0.0.1/8", "::1", "192.168.0.1"]),
    ("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("point", &["(1.5,-2e300)", "(NaN,Infinity)"]),
    ("line", &["{1,2,3}"]),
    ("lseg", &["[(1,2),(3,4)]"]),
    ("box", &["(3,4),(1,2)"]),
    ("path", &["[(1,2),(3,4)]", "((1,2),(3,4))"]),
    ("polygon", &["((1,2),(3,4),(5,6))"]),
    ("circle", &["<(1,2),3.5>"]),
    ("tsvector", &["'a':1A,2B 'it''s':3", ""]),
    ("tsquery", &["'a' & ( 'b':*A | !'c' ) <-> 'd'", ""]),
    ("oid", &["0", "4294967295"]),
    ("xid", &["4294967295"]),
    ("xid8", &["18446744073709551615"]),
    ("cid", &["4294967295"]),
    ("tid", &["(4294967295,65535)"]),
    ("pg_lsn", &["FFFFFFFF/FFFFFFFF"]),
    ("pg_snapshot", &["10:20:10,14,15"]),
    ("txid_snapshot", &["10:20:10,14,15"]),
    ("aclitem", &["postgres=arwdDxt/postgres", "=r/postgres"]),
    ("refcursor", &["c", ""]),
    ("regclass", &["pg_class", "-"]),
    ("regcollation", &["\"C\""]),
    ("regconfig", &["simple"]),
    ("regdictionary", &["simple"]),
    ("regnamespace", &["pg_catalog"]),
    ("regoper", &["pg_catalog.||/"]),
    ("regoperator", &["+(integer,integer)"]),
    ("regproc", &["now"]),
    ("regprocedure", &["abs(integer)"]),
    ("regrole", &["postgres"]),
    ("regtype", &["integer", "numeric[]"]),
    ("int2vector", &["1 2 3", ""]),
    ("oidvector", &["1 4294967295"]),
    ("int4[]", &["{}", "{1,NULL,3}", "[2:4]={1,2,3}", "{{1,2},{3,4}}", "[0:1][-1:0]={{1,2},{3,4}}"]),
    ("text[]", &["{NULL,\"NULL\",\"\",\"a,b\",\"q\\\"q\",\"b\\\\s\",\"tab\there\"}"]),
    ("float8[]", &["{1e-5,NaN,-0}"]),
    ("timestamptz[]", &["{infinity,2026-11-19 14:03:00+00}"]),
    ("bytea[]", &["{\"\\\\x00ff\"}"]),
    ("int4range", &["empty", "[1,5)", "(,)"]),
    ("int8range", &["[1,)"]),
    ("numrange", &["[1.10,NaN]", "(,2)"]),
    ("daterange", &["[2026-01-01,infinity)"]),
    ("tsrange", &["[2026-01-01 00:00,)"]),
    ("tstzrange", &["(,2026-01-01 00:00+00]"]),
    ("int4multirange", &["{}", "{[1,2),[5,9)}"]),
    ("int8multirange", &["{[1,2)}"]),
    ("nummultirange", &["{[1.10,2)}"]),
    ("datemultirange", &["{[2026-01-01,2026-02-01)}"]),
    ("tsmultirange", &["{[2026-01-01 00:00,)}"]),
    ("tstzmultirange", &["{}"]),
    ("app.\"tier \"\"x\"\"\"", &["gold", "", "a,b\\c"]),
    ("app.\"tier \"\"x\"\"\"[]", &["{gold,\"\",\"a,b\\\\c\"}"]),
    ("app.price", &["12.30", "-0.01"]),
    ("app.price2", &["12.30"]),
    ("app.moment", &["2026-11-19 14:03:00+00"]),
    ("app.address", &["(\"Main \"\"St\"\", 1\",,\"\")", "(,,)"]),
    ("app.address[]", &["{\"(a,1,b)\",NULL}"]),
    ("app.floats", &["[1.5,2.5)", "empty"]),
];

/// Values that no native type prints back, and the columns that must become text for them.
const NASTY: &[(&str, &[&str])] = &[
    ("numeric(12,2)", &["NaN"]),
    ("numeric(5,-2)", &["12300", "-99999"]),
    ("numeric(2,5)", &["0.00099"]),
    ("date", &["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "10000-01-01"]),
    ("timestamp", &["infinity", "0044-03-15 12:00 BC", "294276-12-31 23:59:59.999999"]),
    ("timestamptz", &["-infinity", "4714-11-24 00:00+00 BC", "294276-12-31 23:59:59.999999+00"]),
    ("time", &["24:00:00", "12:00"]),
    ("app.moment", &["infinity"]),
    ("float8", &["NaN"]),
];

pub const TYPES_SQL: &str = r#"create schema app; create type app."tier ""x""" as enum ('gold', '', 'a,b\c');
    create domain app.price as numeric(12,2) check (value < 1000000); create domain app.price2 as app.price;
    create domain app.moment as timestamptz; create type app.address as (street text, number int, city text);
    create type app.floats as range (subtype = float8);"#;

/// Types without a working input function: no dump can hold a row of them. `gtsvector` exists inside indexes only.
const WITHOUT_INPUT: [&str; 7] = [
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

/// Makes table `name` with one column per type and one row per value; the last row is all NULL.
pub fn make_table(
    database: &TestDb<'_>,
    name: &str,
    types: &[(&str, &[&str])],
) -> (StagedTable, Vec<Vec<u8>>) {
    let columns: Vec<String> =
        types.iter().enumerate().map(|(at, (kind, _))| format!("c{at} {kind}")).collect();
    let mut sql = format!("{PINNED} create table {name} ({});", columns.join(", "));
    let most = types.iter().map(|(_, values)| values.len()).max().unwrap();
    for at in 0..=most {
        let values = types.iter().map(|(kind, values)| match values.get(at) {
            Some(value) => format!("$r${value}$r$::{kind}"),
            None => "null".to_owned(),
        });
        sql += &format!("insert into {name} values ({});", values.collect::<Vec<_>>().join(", "));
    }
    database.psql(&sql);
    (described(database, name), copy_out(database, name))
}

pub fn copy_out(database: &TestDb<'_>, name: &str) -> Vec<Vec<u8>> {
    let text = database.psql(&format!("{PINNED} copy (select * from {name}) to stdout"));
    text.strip_suffix('\n')
        .map(|text| text.split('\n').map(|row| row.as_bytes().to_vec()).collect())
        .unwrap_or_default()
}

/// The columns as the catalog has them, domains resolved.
fn described(database: &TestDb<'_>, name: &str) -> StagedTable {
    let lines = database.psql(&format!(
        "with recursive base (attnum, attname, shown, oid, typmod) as (
           select attnum, attname, format_type(atttypid, atttypmod), atttypid, atttypmod from pg_attribute
           where attrelid = '{name}'::regclass and attnum > 0 and not attisdropped
           union all
           select b.attnum, b.attname, b.shown, t.typbasetype, t.typtypmod from base b join pg_type t on t.oid = b.oid
           where t.typtype = 'd')
         select attname, shown, b.oid, typmod from base b join pg_type t on t.oid = b.oid where t.typtype <> 'd'
         order by attnum"
    ));
    let column = |line: &str| {
        let parts: Vec<&str> = line.rsplitn(3, '|').collect();
        let (name, pg_type) = parts[2].split_once('|').unwrap();
        let base_type = BaseType::of(parts[1].parse().unwrap(), parts[0].parse().unwrap());
        StagedColumn { name: Ident::new(name), pg_type: pg_type.to_owned(), base_type }
    };
    StagedTable {
        table: TableName::new("public", name),
        columns: lines.lines().map(column).collect(),
        key: vec![0],
    }
}

fn text_types(staged: &StagedFile) -> Vec<&str> {
    staged.text_columns.iter().map(|at| staged.table.columns[*at].pg_type.as_str()).collect()
}

#[test]
fn every_type_of_the_server_comes_back_the_same() {
    let database = TestDb::with("staging-types", TYPES_SQL);
    let known: BTreeSet<String> = database
        .psql(
            "select format_type(oid, null) from pg_type where typnamespace = 'pg_catalog'::regnamespace
               and typtype in ('b', 'r', 'm') and (typcategory <> 'A' or typname in ('int2vector', 'oidvector'))",
        )
        .lines()
        .map(str::to_owned)
        .collect();
    let list = PLAIN.iter().map(|(kind, _)| format!("format_type(to_regtype('{kind}'), null)"));
    let tried = database.psql(&format!("select {}", list.collect::<Vec<_>>().join(" || E'\\n' || ")));
    let covered: BTreeSet<String> = tried.lines().chain(WITHOUT_INPUT).map(str::to_owned).collect();
    assert_eq!(known.difference(&covered).collect::<Vec<_>>(), Vec::<&String>::new(), "types without a test");

    let (table, rows) = make_table(&database, "plain", PLAIN);
    assert_eq!((rows.len(), table.columns.len()), (11, PLAIN.len()));
    let native =
        table.columns.iter().filter(|column| !ColumnBuilder::native(column.base_type).is_text()).count();
    assert_eq!(native, 18);
    for format in BOTH {
        let dir = TempDir::new("staging");
        let staged = stage(&dir, format, &table, &rows, &CsvOptions::default());
        assert_eq!(text_types(&staged), Vec::<&str>::new());
        assert_eq!(read(StagingReader::open(dir.path(), &staged).unwrap()), rows, "{format:?}");
        assert_eq!(
            read(StagingReader::open_file(&dir.join(&staged.file), &table).unwrap()),
            rows,
            "{format:?}"
        );
    }
}

#[test]
fn values_beyond_the_native_types_stay_text() {
    let database = TestDb::with("staging-nasty", TYPES_SQL);
    let (table, rows) = make_table(&database, "nasty", NASTY);
    let dir = TempDir::new("staging");
    let staged = stage(&dir, StagingFormat::Parquet, &table, &rows, &CsvOptions::default());
    assert_eq!(
        text_types(&staged),
        [
            "numeric(12,2)",
            "date",
            "timestamp without time zone",
            "timestamp with time zone",
            "time without time zone",
            "app.moment"
        ]
    );
    assert_eq!(read(StagingReader::open(dir.path(), &staged).unwrap()), rows);
}

/// The server's own shortest output, also at the edges where Rust and PostgreSQL might choose differently.
#[test]
fn floats_print_as_the_server_prints_them() {
    let database = TestDb::new("staging-floats");
    database.psql(&format!(
        "{PINNED} create table f (a float8, b float4);
         insert into f select d, case when abs(d) < 1e38 and abs(d) > 1e-44 then d::float4 end
           from (select (random() * 2 - 1) * 10::float8 ^ (random() * 600 - 300) d from generate_series(1, 10000)) r;
         insert into f select r, r::float4 from (select (random() * 1e6)::numeric(12, 3)::float8 r from generate_series(1, 10000)) s;
         insert into f select n, n from generate_series(0, 2000) n;
         insert into f select 2::float8 ^ n * m, case when n between -120 and 120 then (2::float8 ^ n * m)::float4 end
           from generate_series(-1000, 1000) n, unnest('{{1, 3, 5, 7, 9, 0.9999999999999999, 1.0000000000000002}}'::float8[]) m;
         insert into f select m * 10::float8 ^ n, case when n between -37 and 36 then (m * 10::float8 ^ n)::float4 end
           from generate_series(-300, 300) n, unnest('{{1, 5, 9.5}}'::float8[]) m"
    ));
    let (table, rows) = (described(&database, "f"), copy_out(&database, "f"));
    assert_eq!(rows.len(), 37_811);
    let dir = TempDir::new("staging");
    let staged = stage(&dir, StagingFormat::Parquet, &table, &rows, &CsvOptions::default());
    assert_eq!(staged.text_columns, Vec::<usize>::new());
    assert_eq!(read(StagingReader::open(dir.path(), &staged).unwrap()), rows);
}

/// One value in row 70,001 that no native type holds, far behind the first row group's rows.
#[test]
fn one_late_infinity_makes_the_column_text() {
    let table = table_of(&[BaseType::Int8, BaseType::Timestamp, BaseType::Date, BaseType::Text]);
    let row = |n: u32| format!("{n}\t2026-01-01 00:00:01.{:05}1\t\\N\tnote {n}", n % 90_000).into_bytes();
    let mut rows: Vec<Vec<u8>> = (0..70_000).map(row).collect();
    rows.push(b"70000\tinfinity\t2026-01-01\tlast".to_vec());
    let dir = TempDir::new("staging");
    let mut writer =
        StagingWriter::create(dir.path(), StagingFormat::Parquet, &table, &BTreeSet::new()).unwrap();
    for row in &rows {
        writer.write_row(row).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), Finished::Demote(BTreeSet::from([1])));
    let staged = stage(&dir, StagingFormat::Parquet, &table, &rows, &CsvOptions::default());
    assert_eq!((staged.rows, staged.text_columns.as_slice()), (70_001, &[1][..]));
    assert_eq!(read(StagingReader::open(dir.path(), &staged).unwrap()), rows);
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let table = table_of(&[BaseType::Int4, BaseType::Text, BaseType::TimestampTz]);
    let rows: Vec<Vec<u8>> = (0..20_000)
        .map(|n| format!("{n}\tname {}\t2026-11-19 14:{:02}:00+00", n % 77, n % 60).into_bytes())
        .collect();
    for format in BOTH {
        let [one, other] = [TempDir::new("one"), TempDir::new("other")];
        let first = stage(&one, format, &table, &rows, &CsvOptions::default());
        assert_eq!(first, stage(&other, format, &table, &rows, &CsvOptions::default()));
        verify_sha256(one.path(), &first).unwrap();
        let mut changed = rows.clone();
        changed[12_345] = b"12345\tname 25\t2026-11-19 14:45:00.000001+00".to_vec();
        let second = stage(&other, format, &table, &changed, &CsvOptions::default());
        assert_ne!(first.sha256, second.sha256);
        let found = read(StagingReader::open(other.path(), &second).unwrap());
        let different: Vec<usize> = (0..rows.len()).filter(|at| found[*at] != rows[*at]).collect();
        assert_eq!(different, [12_345]);
    }
}

/// 200 MB of rows through writer and reader in a process of its own, whose peak memory is looked at.
#[test]
fn memory_stays_bounded() {
    if std::env::var_os("ROWBACK_TEST_CHILD").is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", "staging::memory_stays_bounded", "--nocapture"]);
        let told = run(child.env("ROWBACK_TEST_CHILD", "1"));
        assert!(told.contains("peak resident set below 160 MiB"), "{told}");
        return;
    }
    let table = table_of(&[BaseType::Int8, BaseType::Text, BaseType::Text]);
    let dir = TempDir::new("memory");
    let mut text = BTreeSet::new();
    let filler = "0123456789abcdef".repeat(62);
    let mut row = Vec::new();
    let staged = loop {
        let mut writer = StagingWriter::create(dir.path(), StagingFormat::Parquet, &table, &text).unwrap();
        for n in 0..200_000_u64 {
            row.clear();
            row.extend_from_slice(
                format!("{n}\t{filler}\t{}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).as_bytes(),
            );
            writer.write_row(&row).unwrap();
        }
        match writer.finish().unwrap() {
            Finished::Written(staged) => break staged,
            Finished::Demote(columns) => text = columns,
        }
    };
    let (mut reader, mut count) = (StagingReader::open(dir.path(), &staged).unwrap(), 0);
    while reader.next_row(&mut row).unwrap() {
        count += 1;
    }
    assert_eq!(count, 200_000);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 160 * 1024, "peak resident set {kib} KiB");
    #[allow(clippy::print_stdout, reason = "the parent reads it")]
    {
        println!("peak resident set below 160 MiB ({kib} KiB)");
    }
}
