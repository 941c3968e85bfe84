//! CSV as PostgreSQL's `COPY … (FORMAT csv, HEADER)` writes it: NULL is the unquoted marker, a value that looks like the
//! marker is quoted. A few more values are quoted than there, for the sake of other readers.

use std::io::{self, Write};

use super::manifest::HashedFile;
use super::{CsvOptions, StagedTable};
use crate::value::copy_text;

/// Writes rows of COPY text as records of CSV.
#[derive(Debug)]
pub(super) struct CsvSink {
    file: HashedFile,
    null_marker: Vec<u8>,
    record: Vec<u8>,
    value: Vec<u8>,
}

/// Why a field could not be written.
pub(super) enum CsvFailure {
    Io(io::Error),
    /// The field at this position is not spelled as COPY TO spells it.
    Spelling(usize),
}

impl CsvSink {
    /// Begins with the line that names the columns.
    pub(super) fn new(file: HashedFile, table: &StagedTable, options: &CsvOptions) -> io::Result<Self> {
        let mut sink = Self {
            file,
            null_marker: options.null_marker.clone().into_bytes(),
            record: Vec::new(),
            value: Vec::new(),
        };
        for (position, column) in table.columns.iter().enumerate() {
            if position > 0 {
                sink.record.push(b',');
            }
            push_value(&mut sink.record, column.name.as_str().as_bytes(), &[]);
        }
        sink.end_record()?;
        Ok(sink)
    }

    /// Writes one row; the number of fields is the caller's business.
    pub(super) fn write_row(&mut self, row: &[u8]) -> Result<(), CsvFailure> {
        for (position, field) in copy_text::fields(row).enumerate() {
            if position > 0 {
                self.record.push(b',');
            }
            if copy_text::is_null(field) {
                self.record.extend_from_slice(&self.null_marker);
                continue;
            }
            self.value.clear();
            if !copy_text::push_unescaped(&mut self.value, field) {
                return Err(CsvFailure::Spelling(position));
            }
            push_value(&mut self.record, &self.value, &self.null_marker);
        }
        self.end_record().map_err(CsvFailure::Io)
    }

    /// Size and SHA-256 of the finished file.
    pub(super) fn commit(self) -> io::Result<(u64, String)> {
        self.file.commit()
    }

    fn end_record(&mut self) -> io::Result<()> {
        self.record.push(b'\n');
        self.file.write_all(&self.record)?;
        self.record.clear();
        Ok(())
    }
}

fn push_value(record: &mut Vec<u8>, value: &[u8], null_marker: &[u8]) {
    if !needs_quotes(value, null_marker) {
        record.extend_from_slice(value);
        return;
    }
    record.push(b'"');
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'"', rest) {
        record.extend_from_slice(&rest[..=at]);
        record.push(b'"');
        rest = &rest[at + 1..];
    }
    record.extend_from_slice(rest);
    record.push(b'"');
}

/// Also quoted: the empty value whatever the marker is, blanks at the ends, which some readers cut off, and `\.`,
/// which ends the data for PostgreSQL before 18.
fn needs_quotes(value: &[u8], null_marker: &[u8]) -> bool {
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return true };
    value == null_marker
        || value == b"\\."
        || first.is_ascii_whitespace()
        || last.is_ascii_whitespace()
        || value.iter().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_and_marker_stay_apart() {
        let written = |value: &[u8], marker: &[u8]| {
            let mut record = Vec::new();
            push_value(&mut record, value, marker);
            String::from_utf8(record).unwrap()
        };
        assert_eq!(written(b"", b""), "\"\"");
        assert_eq!(written(b"", b"NULL"), "\"\"");
        assert_eq!((written(b"NULL", b"NULL"), written(b"NULL", b"")), ("\"NULL\"".into(), "NULL".into()));
        assert_eq!(written(b"\\N", b"\\N"), "\"\\N\"");
        assert_eq!(written(b"say \"hi\",\nbye", b""), "\"say \"\"hi\"\",\nbye\"");
        assert_eq!(
            (written(b" a", b""), written(b"\\.", b""), written(b"a b", b"")),
            ("\" a\"".into(), "\"\\.\"".into(), "a b".into())
        );
    }
}
