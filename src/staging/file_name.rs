//! The file name of a staged table. Names in PostgreSQL may hold any character; file names may not.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::StagingFormat;
use super::manifest::hex;
use crate::ident::TableName;

/// Longest stem that leaves room for an extension and a temporary name in the 255 bytes of a file name.
const STEM_BYTES: usize = 200;
const KEPT_CHARS: usize = 40;

/// `<schema>.<table>.parquet` or `.csv`. ASCII letters, digits, `_`, `-` and letters of other scripts stand for
/// themselves; every other byte is `%` and two hexadecimal digits, so two tables never share a name and it can be read
/// back. A name that gets too long ends in `~` and a part of its SHA-256 instead.
pub fn file_name(table: &TableName, format: StagingFormat) -> String {
    let mut stem = encoded(table.schema.as_str());
    stem.push('.');
    stem.push_str(&encoded(table.name.as_str()));
    if stem.len() > STEM_BYTES {
        let digest = hex(&Sha256::digest(stem.as_bytes()));
        stem = format!("{}~{}", stem.chars().take(KEPT_CHARS).collect::<String>(), &digest[..32]);
    }
    format!("{stem}.{}", format.extension())
}

fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut buffer = [0; 4];
    for (position, letter) in name.chars().enumerate() {
        let safe = letter.is_ascii_alphanumeric()
            || letter == '_'
            || (letter == '-' && position > 0)
            || (!letter.is_ascii() && letter.is_alphanumeric());
        if safe {
            out.push(letter);
            continue;
        }
        for byte in letter.encode_utf8(&mut buffer).bytes() {
            // Writing to a string cannot fail.
            if write!(out, "%{byte:02X}").is_err() {
                return out;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn decoded(part: &str) -> String {
        let (mut bytes, mut rest) = (Vec::new(), part.as_bytes());
        while let [first, tail @ ..] = rest {
            if *first == b'%' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_are_safe_distinct_and_reversible() {
        let plain = TableName::new("public", "order_items");
        assert_eq!(file_name(&plain, StagingFormat::Parquet), "public.order_items.parquet");
        assert_eq!(
            file_name(&TableName::new("..", "a/b c%2F"), StagingFormat::Csv),
            "%2E%2E.a%2Fb%20c%252F.csv"
        );
        let odd = [
            "a.b",
            "a",
            "b",
            "a/b",
            "a%2Fb",
            "-rf",
            "~x",
            "été",
            "日本語",
            "\u{202e}x",
            "\n",
            "C:\\x",
            "a~b",
        ];
        let mut seen = BTreeSet::new();
        for schema in odd {
            for name in odd {
                let file = file_name(&TableName::new(schema, name), StagingFormat::Parquet);
                let stem = file.strip_suffix(".parquet").unwrap();
                let (first, second) = stem.split_once('.').unwrap();
                assert_eq!((decoded(first).as_str(), decoded(second).as_str()), (schema, name));
                assert!(seen.insert(file));
            }
        }
    }

    #[test]
    fn long_names_stay_short_and_distinct() {
        let long = |last: &str| TableName::new("/".repeat(63), format!("{}{last}", "/".repeat(62)));
        let (a, b) = (file_name(&long("a"), StagingFormat::Csv), file_name(&long("b"), StagingFormat::Csv));
        assert!(a.len() < 100 && a != b, "{a} {b}");
        let scripts = TableName::new("日".repeat(21), "語".repeat(21));
        assert!(!file_name(&scripts, StagingFormat::Csv).contains('~'));
    }
}
