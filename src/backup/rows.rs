//! Splits a table's decompressed COPY text into chunks of whole rows, up to its end mark. Values are not looked at.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter, memmem, memrchr};
use serde::{Deserialize, Serialize};

use super::input::ends_early;
use super::{RowFilter, RowSink, input};
use crate::cancel::CancelToken;

/// Size of the chunks that a sink gets, in bytes; only a longer row makes a longer chunk.
const CHUNK_BYTES: usize = 128 * 1024;
/// No server sends a longer row: a string buffer of PostgreSQL holds less than 1 GiB.
const MAX_ROW_BYTES: usize = 1 << 30;
const END_MARK: &[u8] = b"\\.\n";
const END_MARK_AFTER_ROW: &[u8] = b"\n\\.\n";

/// What was read of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCounts {
    /// Rows in the backup.
    pub rows_read: u64,
    /// Rows that the filter kept.
    pub rows_kept: u64,
    /// Bytes of all rows with their newlines, uncompressed.
    pub bytes_read: u64,
}

/// Why reading rows stopped.
#[derive(Debug)]
pub(super) enum RowFault {
    /// The block cannot be read on.
    Read(io::Error),
    /// The receiver of the rows failed.
    Sink(io::Error),
    /// Somebody asked to stop.
    Cancelled,
}

impl From<io::Error> for RowFault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Cuts a block into chunks of whole lines with one reused buffer.
pub(super) struct RowReader<R> {
    text: R,
    buffer: Vec<u8>,
    finder: memmem::Finder<'static>,
    /// `buffer[start..filled]` was read and not yet passed on.
    start: usize,
    filled: usize,
    ended: bool,
}

impl<R: Read> RowReader<R> {
    pub(super) fn new(text: R) -> Self {
        let finder = memmem::Finder::new(END_MARK_AFTER_ROW);
        Self { text, buffer: vec![0; CHUNK_BYTES], finder, start: 0, filled: 0, ended: false }
    }

    /// The next rows, each with its newline; `None` after the last one, when the block was read to its very end
    /// (so that its checksum was compared, too).
    pub(super) fn next_rows(&mut self) -> io::Result<Option<&[u8]>> {
        if self.ended {
            return Ok(None);
        }
        let from = self.fill_line()?;
        let lines = &self.buffer[from..self.start];
        let rows = if lines.starts_with(END_MARK) {
            Some(0)
        } else {
            self.finder.find(lines).map(|newline| newline + 1)
        };
        let Some(rows) = rows else { return Ok(Some(&self.buffer[from..self.start])) };
        self.ended = true;
        self.read_tail(from + rows + END_MARK.len())?;
        Ok((rows > 0).then_some(&self.buffer[from..from + rows]))
    }

    /// Fills the buffer until it holds a line, moves `start` behind its last newline, returns where the lines begin.
    fn fill_line(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        let mut searched = 0;
        loop {
            let at_end = self.fill()?;
            if let Some(newline) = memrchr(b'\n', &self.buffer[searched..self.filled]) {
                self.start = searched + newline + 1;
                return Ok(0);
            }
            if at_end {
                return Err(ends_early());
            }
            searched = self.filled;
            if self.filled > MAX_ROW_BYTES {
                return Err(input::damaged("a row is longer than 1 GiB"));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    /// Reads until the buffer is full (false) or the block ends (true).
    fn fill(&mut self) -> io::Result<bool> {
        while self.filled < self.buffer.len() {
            match self.text.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Ok(true),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Behind the end mark there are only blank lines. The rows before it stay in the buffer.
    fn read_tail(&mut self, from: usize) -> io::Result<()> {
        let blank = |bytes: &[u8]| bytes.iter().all(|&byte| byte == b'\n');
        let mut clean = blank(&self.buffer[from..self.filled]);
        let mut tail = [0; 4096];
        while clean {
            match self.text.read(&mut tail) {
                Ok(0) => return Ok(()),
                Ok(count) => clean = blank(&tail[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Err(input::damaged("text follows the end mark of the rows"))
    }
}

/// Number of newlines.
pub(super) fn count_lines(rows: &[u8]) -> u64 {
    count_bytes(b'\n', rows)
}

/// How often `byte` occurs.
pub(super) fn count_bytes(byte: u8, bytes: &[u8]) -> u64 {
    u64::try_from(memchr_iter(byte, bytes).count()).unwrap_or(u64::MAX)
}

/// Have these lines, which follow `before` rows, as many fields as there are columns, and no byte that COPY never writes?
/// A damaged row may hide its neighbours, also from a filter that wants those and not it.
pub(super) fn check_shape(rows: &[u8], lines: u64, columns: usize, before: u64) -> io::Result<()> {
    let separators = u64::try_from(columns.saturating_sub(1)).unwrap_or(u64::MAX);
    let tabs = count_bytes(b'\t', rows);
    if tabs != lines.saturating_mul(separators) {
        return Err(input::damaged(format!(
            "after {before} rows, {lines} rows of {columns} columns have {tabs} separators"
        )));
    }
    if memchr(0, rows).is_some() {
        return Err(input::damaged(format!("after {before} rows, a row holds a byte 0")));
    }
    Ok(())
}

/// How many columns the rows have, as the backup says elsewhere, and how far that is held against them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// `None` where the backup does not say.
    pub(super) columns: Option<usize>,
    /// Does a checksum tell that the rows are as they were written? Then only the first ones are looked at: they may still be
    /// another table's, out of a file that went under a wrong name.
    pub(super) vouched: bool,
}

impl Shape {
    /// `before` rows have been looked at.
    fn check(self, rows: &[u8], before: u64) -> io::Result<()> {
        match self.columns {
            Some(columns) if before == 0 || !self.vouched => {
                check_shape(rows, count_lines(rows), columns, before)
            }
            _ => Ok(()),
        }
    }
}

/// Sends the rows that `filter` keeps to `sink`. `counts` is right also when this fails.
pub(super) fn pass_rows<R: Read>(
    (text, shape): (R, Shape),
    filter: &dyn RowFilter,
    cancel: &CancelToken,
    sink: &mut RowSink<'_>,
    counts: &mut ReadCounts,
) -> Result<(), RowFault> {
    let mut reader = RowReader::new(text);
    let mut kept = Kept { chunk: Vec::new(), sink };
    while let Some(rows) = reader.next_rows()? {
        if cancel.is_cancelled() {
            return Err(RowFault::Cancelled);
        }
        shape.check(rows, counts.rows_read)?;
        if filter.keeps_all() {
            let read = count_lines(rows);
            (kept.sink)(rows).map_err(RowFault::Sink)?;
            counts.rows_kept += read;
            counts.rows_read += read;
        } else {
            kept.push(rows, filter, counts).map_err(RowFault::Sink)?;
        }
        counts.bytes_read += u64::try_from(rows.len()).unwrap_or(u64::MAX);
    }
    kept.flush().map_err(RowFault::Sink)
}

/// Gathers kept rows until they make a chunk.
struct Kept<'a, 's> {
    chunk: Vec<u8>,
    sink: &'a mut RowSink<'s>,
}

impl Kept<'_, '_> {
    /// Counts the rows, and those that were kept. Runs of kept rows are copied in one piece.
    fn push(&mut self, rows: &[u8], filter: &dyn RowFilter, counts: &mut ReadCounts) -> io::Result<()> {
        let mut run = 0;
        let mut line = 0;
        for newline in memchr_iter(b'\n', rows) {
            let next = newline + 1;
            if filter.keep(&rows[line..newline]) {
                counts.rows_kept += 1;
            } else {
                self.chunk.extend_from_slice(&rows[run..line]);
                run = next;
            }
            counts.rows_read += 1;
            line = next;
        }
        self.chunk.extend_from_slice(&rows[run..]);
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            (self.sink)(&self.chunk)?;
            self.chunk.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::KeepAll;

    /// Gives at most `step` bytes at a time.
    struct Dribble<'a> {
        text: &'a [u8],
        step: usize,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.step.min(buffer.len()).min(self.text.len());
            buffer[..count].copy_from_slice(&self.text[..count]);
            self.text = &self.text[count..];
            Ok(count)
        }
    }

    const UNKNOWN: Shape = Shape { columns: None, vouched: true };

    struct Even;

    impl RowFilter for Even {
        fn keep(&self, row: &[u8]) -> bool {
            row.len().is_multiple_of(2)
        }
    }

    fn pass(text: &[u8], step: usize, filter: &dyn RowFilter) -> Result<(Vec<u8>, ReadCounts), RowFault> {
        let mut out = Vec::new();
        let mut counts = ReadCounts::default();
        let mut sink = |rows: &[u8]| -> io::Result<()> {
            assert!(rows.ends_with(b"\n"), "a chunk holds whole rows");
            out.extend_from_slice(rows);
            Ok(())
        };
        pass_rows(
            (Dribble { text, step }, UNKNOWN),
            filter,
            &CancelToken::default(),
            &mut sink,
            &mut counts,
        )?;
        Ok((out, counts))
    }

    fn counts(rows_read: u64, rows_kept: u64, bytes_read: u64) -> ReadCounts {
        ReadCounts { rows_read, rows_kept, bytes_read }
    }

    #[test]
    fn rows_of_every_length_come_through_whatever_the_reads() {
        let mut text = Vec::new();
        let lengths = [0, 1, 0, 2, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5, 0, 7, 100];
        for length in lengths {
            text.extend(std::iter::repeat_n(b'x', length));
            text.push(b'\n');
        }
        let rows = text.clone();
        text.extend_from_slice(b"\\.\n\n\n");
        let bytes = u64::try_from(rows.len()).unwrap();
        let even: Vec<u8> = rows
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|row| row.len() % 2 == 1)
            .flatten()
            .copied()
            .collect();
        for step in [1, 7, 4096, usize::MAX] {
            assert_eq!(pass(&text, step, &KeepAll).unwrap(), (rows.clone(), counts(10, 10, bytes)));
            assert_eq!(pass(&text, step, &Even).unwrap(), (even.clone(), counts(10, 6, bytes)));
        }
    }

    #[test]
    fn an_empty_table_has_an_end_mark_and_nothing_else() {
        assert_eq!(pass(b"\\.\n\n\n", 2, &KeepAll).unwrap(), (Vec::new(), counts(0, 0, 0)));
    }

    #[test]
    fn what_only_looks_like_an_end_mark_is_a_row() {
        let text = b"\\\\.\nx\\.\n\\.x\n\\\\.\t\\.\n\\.\n";
        assert_eq!(pass(text, 1, &KeepAll).unwrap().1, counts(4, 4, 19));
    }

    #[test]
    fn a_missing_end_mark_and_text_behind_it_are_errors() {
        for text in [&b""[..], b"1\n", b"1\n2", b"1\n\\.", b"1\n\\.\nx\n", b"1\n\\.\n\n\n1\n"] {
            assert!(matches!(pass(text, 3, &KeepAll), Err(RowFault::Read(_))), "{text:?}");
        }
    }

    #[test]
    fn stops_when_asked_and_when_the_sink_fails() {
        let cancel = CancelToken::default();
        cancel.cancel();
        let mut none = ReadCounts::default();
        let stopped = pass_rows((&b"1\n\\.\n"[..], UNKNOWN), &KeepAll, &cancel, &mut |_| Ok(()), &mut none);
        assert!(matches!(stopped, Err(RowFault::Cancelled)));
        let cancel = CancelToken::default();
        let mut full = |_: &[u8]| Err(io::Error::other("full"));
        let stopped = pass_rows((&b"1\n\\.\n"[..], UNKNOWN), &Even, &cancel, &mut full, &mut none);
        assert!(matches!(stopped, Ok(())), "no row was kept: {stopped:?}");
        let stopped = pass_rows((&b"12\n\\.\n"[..], UNKNOWN), &Even, &cancel, &mut full, &mut none);
        assert!(matches!(stopped, Err(RowFault::Sink(_))));
    }
    #[test]
    fn rows_of_another_shape_are_damage_whoever_wants_them() {
        struct Nothing;
        impl RowFilter for Nothing {
            fn keep(&self, _: &[u8]) -> bool {
                false
            }
        }
        let read = |text: &[u8], columns, vouched| {
            let mut counts = ReadCounts::default();
            let shape = Shape { columns, vouched };
            pass_rows((text, shape), &Nothing, &CancelToken::default(), &mut |_| Ok(()), &mut counts)
        };
        let sound = b"1\ta\n2\tb\n\\.\n";
        assert!(read(sound, Some(2), false).is_ok());
        for damaged in [&b"1\ta\t2\tb\n\\.\n"[..], b"1\ta\n2\n\\.\n", b"1\ta\n2\t\0\n\\.\n"] {
            assert!(matches!(read(damaged, Some(2), false), Err(RowFault::Read(_))), "{damaged:?}");
            assert!(
                matches!(read(damaged, Some(2), true), Err(RowFault::Read(_))),
                "another table's: {damaged:?}"
            );
            assert!(read(damaged, None, false).is_ok(), "nobody knows");
        }
        // Behind the first chunk a checksum has told.
        let mut late = b"1\ta\n".repeat(CHUNK_BYTES);
        late.extend_from_slice(b"2\n\\.\n");
        assert!(matches!(read(&late, Some(2), false), Err(RowFault::Read(_))));
        assert!(read(&late, Some(2), true).is_ok());
    }
}
