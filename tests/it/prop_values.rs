//! Any row of COPY text that goes into a staging file comes out the same, byte for byte, in both formats.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rowback::ident::{Ident, TableName};
use rowback::staging::{CsvOptions, Finished, StagedColumn, StagedFile, StagedTable, StagingFormat};
use rowback::staging::{StagingReader, StagingWriter};
use rowback::value::{BaseType, copy_text, float};

use super::support::TempDir;

/// A table of columns `c0`, `c1` … of these types.
pub fn table_of(types: &[BaseType]) -> StagedTable {
    let column = |(position, base_type): (usize, &BaseType)| StagedColumn {
        name: Ident::new(format!("c{position}")),
        pg_type: format!("{base_type:?}"),
        base_type: *base_type,
    };
    let columns = types.iter().enumerate().map(column).collect();
    StagedTable { table: TableName::new("public", "t"), columns, key: vec![0] }
}

/// Writes the rows, a second time where columns must be text.
pub fn stage(
    dir: &TempDir,
    format: StagingFormat,
    table: &StagedTable,
    rows: &[Vec<u8>],
    csv: &CsvOptions,
) -> StagedFile {
    let mut text = BTreeSet::new();
    for _attempt in 0..2 {
        let mut writer = StagingWriter::create_with(dir.path(), format, table, &text, csv).unwrap();
        for row in rows {
            writer.write_row(row).unwrap();
        }
        match writer.finish().unwrap() {
            Finished::Written(staged) => return staged,
            Finished::Demote(columns) => {
                assert_eq!(
                    std::fs::read_dir(dir.path()).unwrap().count(),
                    0,
                    "a demotion leaves nothing on disk"
                );
                text = columns;
            }
        }
    }
    panic!("two demotions");
}

/// All rows of a file.
pub fn read(mut reader: StagingReader) -> Vec<Vec<u8>> {
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    while reader.next_row(&mut row).unwrap() {
        rows.push(row.clone());
    }
    rows
}

const NASTY: &[&str] = &[
    "",
    " ",
    "\\N",
    "NULL",
    "\\",
    "\\.",
    "\"",
    "\"\"",
    ",",
    "a,b",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{1}",
    "\u{7f}",
    "'",
    ";",
    "infinity",
    "-infinity",
    "Infinity",
    "-Infinity",
    "NaN",
    "-0",
    "0",
    "00",
    "+1",
    "1.",
    ".5",
    "-0.00",
    "0.10",
    "1e20",
    "1e+20",
    "0001-01-01",
    "9999-12-31",
    "10000-01-01",
    "4714-11-24 BC",
    "0044-03-15 00:00:00 BC",
    "2000-02-30",
    "24:00:00",
    "23:59:60",
    "12:00:00.100000",
    "2026-11-19 14:03:00+02",
    "2026-11-19 14:03:00.000001+00",
    "294276-12-31 23:59:59.999999+00",
    "t",
    "f",
    "true",
    "32768",
    "2147483648",
    "9223372036854775808",
    "-9223372036854775808",
    "1.7976931348623157e+308",
    "5e-324",
    "3.4028235e+38",
    "1e-45",
    "\\x",
    "\\xAB",
    "\\x0",
    "\\xdeadbeef",
    "[2:4]={1,2,3}",
    "{{1,2},{3,4}}",
    "{NULL,\"NULL\",\"\"}",
    "(1,\"a\"\"b\",)",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "{\"a\": 1, \"a\": 2}",
    "日本語",
    "🦀",
    "e\u{301}",
    "\u{feff}",
    "\u{202e}",
    "ﬀ",
];

/// The value of a field: of the column's type, anything nasty, or any text. `None` is NULL.
fn value_of(base: BaseType) -> BoxedStrategy<Option<String>> {
    let proper = match base {
        BaseType::Bool => any::<bool>().prop_map(|value| if value { "t" } else { "f" }.to_owned()).boxed(),
        BaseType::Int2 => any::<i16>().prop_map(|value| value.to_string()).boxed(),
        BaseType::Int4 => any::<i32>().prop_map(|value| value.to_string()).boxed(),
        BaseType::Int8 => any::<i64>().prop_map(|value| value.to_string()).boxed(),
        BaseType::Float4 => {
            any::<u32>().prop_map(|bits| printed(|out| float::print4(f32::from_bits(bits), out))).boxed()
        }
        BaseType::Float8 => {
            any::<u64>().prop_map(|bits| printed(|out| float::print8(f64::from_bits(bits), out))).boxed()
        }
        BaseType::Numeric { scale: 2, .. } => "-?[1-9][0-9]{0,9}\\.[0-9]{2}".boxed(),
        BaseType::Numeric { .. } => "-?[1-9][0-9]{0,37}".boxed(),
        BaseType::UnboundedNumeric => "-?[1-9][0-9]{0,1000}\\.[0-9]{1,1000}".boxed(),
        BaseType::Bytea => {
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| hex(&bytes)).boxed()
        }
        BaseType::Date => date().boxed(),
        BaseType::Timestamp => (date(), time()).prop_map(|(date, time)| format!("{date} {time}")).boxed(),
        BaseType::TimestampTz => {
            (date(), time()).prop_map(|(date, time)| format!("{date} {time}+00")).boxed()
        }
        BaseType::Time => time().boxed(),
        _ => "[^\\x00]{0,30}".boxed(),
    };
    prop_oneof![
        20 => proper.prop_map(Some),
        2 => Just(None),
        1 => proptest::sample::select(NASTY).prop_map(|text| Some(text.to_owned())),
        1 => "[^\\x00]{0,12}".prop_map(Some),
    ]
    .boxed()
}

fn printed(print: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    print(&mut out);
    String::from_utf8(out).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn date() -> impl Strategy<Value = String> {
    (1..10_000, 1..13, 1..29).prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"))
}

fn time() -> impl Strategy<Value = String> {
    (0..24, 0..60, 0..60, prop_oneof!["", "\\.[0-9]{0,5}[1-9]"])
        .prop_map(|(hour, minute, second, fraction)| format!("{hour:02}:{minute:02}:{second:02}{fraction}"))
}

const TYPES: [BaseType; 19] = [
    BaseType::Bool,
    BaseType::Int2,
    BaseType::Int4,
    BaseType::Int8,
    BaseType::Float4,
    BaseType::Float8,
    BaseType::Numeric { precision: 12, scale: 2 },
    BaseType::Numeric { precision: 38, scale: 0 },
    BaseType::UnboundedNumeric,
    BaseType::Text,
    BaseType::Bpchar,
    BaseType::Bytea,
    BaseType::Date,
    BaseType::Timestamp,
    BaseType::TimestampTz,
    BaseType::Time,
    BaseType::Uuid,
    BaseType::Jsonb,
    BaseType::Other,
];

fn row() -> impl Strategy<Value = Vec<u8>> {
    TYPES.map(value_of).prop_map(|values| {
        let mut row = Vec::new();
        for (position, value) in values.iter().enumerate() {
            copy_text::push_field(&mut row, position == 0, value.as_ref().map(String::as_bytes));
        }
        row
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back_the_same(rows in proptest::collection::vec(row(), 0..12), marker in prop_oneof!["", "NULL", "\\\\N", "t", " "]) {
        let table = table_of(&TYPES);
        let csv = CsvOptions { null_marker: marker };
        for format in [StagingFormat::Parquet, StagingFormat::Csv] {
            let dir = TempDir::new("prop-values");
            let staged = stage(&dir, format, &table, &rows, &csv);
            prop_assert_eq!(staged.rows, rows.len() as u64);
            let found = read(StagingReader::open(dir.path(), &staged).unwrap());
            prop_assert_eq!(&found, &rows, "{:?}", format);
            let foreign = StagingReader::open_file_with(&dir.join(&staged.file), &table, &csv).unwrap();
            prop_assert_eq!(&read(foreign), &rows, "{:?} as a foreign file", format);
        }
    }

    #[test]
    fn every_float_keeps_its_bits(bits in any::<u64>()) {
        let double = f64::from_bits(bits);
        let text = printed(|out| float::print8(double, out));
        let parsed = float::parse8(text.as_bytes()).unwrap();
        prop_assert!(parsed.to_bits() == bits || double.is_nan(), "{}", text);
        let single = f32::from_bits((bits >> 32) as u32);
        let text = printed(|out| float::print4(single, out));
        let parsed = float::parse4(text.as_bytes()).unwrap();
        prop_assert!(parsed.to_bits() == single.to_bits() || single.is_nan(), "{}", text);
    }
}

/// Without this, rows of nothing but text would pass the test above, too.
#[test]
fn proper_values_are_kept_natively() {
    let table = table_of(&TYPES);
    let rows = [
        &b"t\t-32768\t7\t9223372036854775807\t1e-45\t-0\t-0.01\t99999999999999999999999999999999999999\t1.10\t\t a \t\\\\x00ff\t0001-01-01\t9999-12-31 23:59:59.999999\t2026-11-19 14:03:00.5+00\t23:59:59\ta0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\t{}\t[2:3]={1,2}"[..],
        &[&b"\\N\t"[..]; 19].concat()[..19 * 3 - 1],
    ]
    .map(<[u8]>::to_vec);
    let dir = TempDir::new("native");
    let staged = stage(&dir, StagingFormat::Parquet, &table, &rows, &CsvOptions::default());
    assert_eq!(staged.text_columns, Vec::<usize>::new());
    assert_eq!(read(StagingReader::open(dir.path(), &staged).unwrap()), rows);
}
