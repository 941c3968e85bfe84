//! Reads CSV strictly: what breaks a rule is an error with its line, never a guess. A field is NULL when it is the
//! marker without quotes. The first line names the columns.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::reader::column_order;
use super::{CsvOptions, StagedTable, StagingError};
use crate::value::copy_text;

/// PostgreSQL takes no row above 1 GB; a longer record is a quote that never closes.
const RECORD_BYTES: usize = 2 << 30;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Turns records into rows of COPY text.
#[derive(Debug)]
pub(super) struct CsvSource {
    path: PathBuf,
    input: BufReader<File>,
    null_marker: Vec<u8>,
    /// For each column of the table its position in the file.
    order: Vec<usize>,
    /// Number of the last line that was read.
    line: u64,
    /// Number of the line on which the current record begins.
    record_line: u64,
    record: Vec<u8>,
    /// The values of the current record, one after the other.
    values: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    null: bool,
}

impl CsvSource {
    pub(super) fn open(path: &Path, table: &StagedTable, options: &CsvOptions) -> Result<Self, StagingError> {
        let file = File::open(path).map_err(|source| StagingError::read(path, source))?;
        let mut source = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(256 * 1024, file),
            null_marker: options.null_marker.clone().into_bytes(),
            order: Vec::new(),
            line: 0,
            record_line: 0,
            record: Vec::new(),
            values: Vec::new(),
            spans: Vec::new(),
        };
        if !source.read_record()? {
            return Err(source.error("the file is empty; its first line must name the columns"));
        }
        if source.record.starts_with(BYTE_ORDER_MARK) {
            source.record.drain(..BYTE_ORDER_MARK.len());
        }
        source.split()?;
        let names: Vec<String> = source.spans.iter().map(|span| source.text(*span)).collect();
        source.order = column_order(path, table, &names)?;
        Ok(source)
    }

    /// Appends the next row; `false` at the end of the file.
    pub(super) fn next_row(&mut self, row: &mut Vec<u8>) -> Result<bool, StagingError> {
        if !self.read_record()? {
            return Ok(false);
        }
        self.split()?;
        if self.spans.len() != self.order.len() {
            let (found, expected) = (self.spans.len(), self.order.len());
            return Err(self.error(&format!("{found} fields where the first line names {expected}")));
        }
        for (position, &place) in self.order.iter().enumerate() {
            let span = self.spans[place];
            let value = (!span.null).then(|| &self.values[span.start..span.end]);
            copy_text::push_field(row, position == 0, value);
        }
        Ok(true)
    }

    /// Reads one record without its line break; `false` at the end of the file. Line breaks inside quotes belong to
    /// the record, and a record is whole when it has an even number of quotes.
    fn read_record(&mut self) -> Result<bool, StagingError> {
        self.record.clear();
        self.record_line = self.line + 1;
        let mut open = false;
        loop {
            let before = self.record.len();
            let read = self.input.read_until(b'\n', &mut self.record);
            let count = read.map_err(|source| StagingError::read(&self.path, source))?;
            if count == 0 && before == 0 {
                return Ok(false);
            }
            self.line += u64::from(count > 0);
            open ^= memchr::memchr_iter(b'"', &self.record[before..]).count() % 2 == 1;
            if !open {
                break;
            }
            if count == 0 || self.record.len() > RECORD_BYTES {
                return Err(self.error("a quote that opens in this record is never closed"));
            }
        }
        if self.record.ends_with(b"\n") {
            self.record.pop();
            if self.record.ends_with(b"\r") {
                self.record.pop();
            }
        }
        Ok(true)
    }

    /// Splits the record into values.
    fn split(&mut self) -> Result<(), StagingError> {
        if std::str::from_utf8(&self.record).is_err() {
            return Err(self.error("the record is no UTF-8"));
        }
        if memchr::memchr(0, &self.record).is_some() {
            return Err(self.error("the record contains a zero byte"));
        }
        self.values.clear();
        self.spans.clear();
        let mut rest = &self.record[..];
        loop {
            let start = self.values.len();
            let split = match rest.strip_prefix(b"\"") {
                Some(quoted) => push_quoted(quoted, &mut self.values).map(|rest| (rest, false)),
                None => push_unquoted(rest, &mut self.values)
                    .map(|rest| (rest, self.values[start..] == self.null_marker)),
            };
            let (after, null) = split.map_err(|problem| self.error(problem))?;
            self.spans.push(Span { start, end: self.values.len(), null });
            match after {
                Some(next) => rest = next,
                None => return Ok(()),
            }
        }
    }

    fn text(&self, span: Span) -> String {
        String::from_utf8_lossy(&self.values[span.start..span.end]).into_owned()
    }

    fn error(&self, problem: &str) -> StagingError {
        StagingError::CsvSyntax {
            path: self.path.clone(),
            line: self.record_line.max(1),
            problem: problem.to_owned(),
        }
    }
}

/// What is left of the record after a field and its comma; `None` after the last field.
type Rest<'a> = Option<&'a [u8]>;

/// `quoted` begins after the opening quote.
fn push_quoted<'a>(quoted: &'a [u8], values: &mut Vec<u8>) -> Result<Rest<'a>, &'static str> {
    let mut rest = quoted;
    while let Some(at) = memchr::memchr(b'"', rest) {
        values.extend_from_slice(&rest[..at]);
        match &rest[at + 1..] {
            [] => return Ok(None),
            [b',', next @ ..] => return Ok(Some(next)),
            [b'"', next @ ..] => {
                values.push(b'"');
                rest = next;
            }
            _ => return Err("there is text after a closing quote"),
        }
    }
    Err("a quote that opens in this record is never closed")
}

fn push_unquoted<'a>(text: &'a [u8], values: &mut Vec<u8>) -> Result<Rest<'a>, &'static str> {
    let (field, rest) = match memchr::memchr(b',', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if memchr::memchr2(b'"', b'\r', field).is_some() {
        return Err("a quote or carriage return stands in a value without quotes");
    }
    values.extend_from_slice(field);
    Ok(rest)
}
