//! The one reading of the whole file that opens a plain dump: finds its entries and where each table's rows lie, and that
//! it is complete. Holds one command at a time, and the definitions; rows are looked at for their end mark only.

use std::io::{self, Read};

use memchr::memmem;

use super::Scanned;
use super::commands::Sorter;
use super::lexer::{Lexer, Piece};
use super::pass::{Pass, Source};
use super::refusal::Refusal;
use crate::backup::decode::Codec;
use crate::backup::input::{damaged, ends_early};
use crate::cancel::CancelToken;
use crate::progress::{Progress, Step};

const BUFFER_BYTES: usize = 256 * 1024;
/// Far more than any definition; a longer command is counted and not kept.
const COMMAND_BYTES: usize = 64 << 20;
const END_MARK: &[u8] = b"\\.\n";
const END_MARK_AFTER_ROW: &[u8] = b"\n\\.\n";

/// Why a scan stopped.
pub(super) enum Fault {
    /// The text cannot be read on, or ends too early.
    Read(io::Error),
    /// It is nothing that pg_dump writes for one database.
    Refused(Refusal),
    /// Somebody asked to stop.
    Cancelled,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Where a fault was met.
pub(super) struct Located {
    pub(super) fault: Fault,
    /// What was being read.
    pub(super) object: String,
    /// Position in the file.
    pub(super) stored_at: u64,
}

/// Reads everything.
pub(super) fn scan(
    source: &Source,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Scanned, Located> {
    let begin =
        |error: io::Error| Located { fault: error.into(), object: "its beginning".into(), stored_at: 0 };
    let text = Text::new(source.pass(0).map_err(begin)?, progress, cancel);
    let mut scan = Scan { text, lexer: Lexer::new(COMMAND_BYTES), sorter: Sorter::default() };
    match scan.run() {
        Ok(()) => scan.sorter.finish().map_err(|refusal| Located {
            fault: refusal.into(),
            object: String::new(),
            stored_at: source.bytes,
        }),
        Err(fault) => Err(Located {
            fault,
            object: scan.sorter.whereabouts(),
            stored_at: if source.codec == Codec::Plain { scan.text.at() } else { scan.text.pass.stored_at() },
        }),
    }
}

struct Scan<'a> {
    text: Text<'a>,
    lexer: Lexer,
    sorter: Sorter,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        while self.text.fill(1)? {
            if self.commands()? {
                self.rows()?;
            }
        }
        if !self.lexer.is_between() || !self.sorter.is_complete() {
            return Err(if self.sorter.began() { ends_early().into() } else { Refusal::no_dump().into() });
        }
        Ok(())
    }

    /// Takes what is available up to a command that rows follow; true when there is one.
    fn commands(&mut self) -> Result<bool, Fault> {
        while let Some(byte) = self.text.next_byte() {
            match self.lexer.push(byte) {
                Piece::None if self.lexer.length() >= COMMAND_BYTES && self.sorter.keeps() => {
                    return Err(damaged("a definition is longer than 64 MiB").into());
                }
                Piece::None => {}
                Piece::Comment => self.sorter.comment(self.lexer.line())?,
                Piece::Meta => self.sorter.meta(self.lexer.line())?,
                Piece::Stray => return Err(Refusal::psql("\\").into()),
                Piece::Command => {
                    let rows = self.sorter.command(self.lexer.command(), self.lexer.length())?;
                    self.lexer.clear();
                    if rows {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// From behind the semicolon of a COPY command to behind the end mark of its rows.
    fn rows(&mut self) -> Result<(), Fault> {
        self.text.fill(1)?;
        match self.text.available().first() {
            None => return Err(ends_early().into()),
            Some(b'\n') => self.text.consume(1),
            Some(_) => return Err(Refusal::line_ends().into()),
        }
        let start = self.text.at();
        self.text.fill(END_MARK.len())?;
        if self.text.available().starts_with(END_MARK) {
            self.text.consume(END_MARK.len());
        } else {
            self.find_end()?;
        }
        self.sorter.rows(start, self.text.at());
        Ok(())
    }

    fn find_end(&mut self) -> Result<(), Fault> {
        let finder = memmem::Finder::new(END_MARK_AFTER_ROW);
        loop {
            if !self.text.fill(END_MARK_AFTER_ROW.len())?
                || self.text.available().len() < END_MARK_AFTER_ROW.len()
            {
                return Err(ends_early().into());
            }
            let available = self.text.available();
            if let Some(found) = finder.find(available) {
                self.text.consume(found + END_MARK_AFTER_ROW.len());
                return Ok(());
            }
            let seen = available.len() + 1 - END_MARK_AFTER_ROW.len();
            self.text.consume(seen);
        }
    }
}

/// A window on the text.
struct Text<'a> {
    pass: Pass,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    reported: u64,
    progress: &'a dyn Progress,
    cancel: &'a CancelToken,
}

impl<'a> Text<'a> {
    fn new(pass: Pass, progress: &'a dyn Progress, cancel: &'a CancelToken) -> Self {
        Self { pass, buffer: vec![0; BUFFER_BYTES], from: 0, to: 0, reported: 0, progress, cancel }
    }

    /// Position in the text of the first byte available.
    fn at(&self) -> u64 {
        self.pass.at().saturating_sub(u64::try_from(self.to - self.from).unwrap_or(0))
    }

    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.buffer[self.from..self.to].first().copied();
        self.consume(1);
        byte
    }

    fn available(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    fn consume(&mut self, count: usize) {
        self.from = (self.from + count).min(self.to);
    }

    /// Reads on until at least `wanted` bytes are available; fewer are at the end of the text only. False when there is
    /// none at all.
    fn fill(&mut self, wanted: usize) -> Result<bool, Fault> {
        if self.to - self.from >= wanted {
            return Ok(true);
        }
        if self.cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        while self.to < wanted {
            match self.pass.read(&mut self.buffer[self.to..]) {
                Ok(0) => break,
                Ok(count) => self.to += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let position = self.pass.stored_at();
        self.progress.advance(Step::Inspect, position.saturating_sub(self.reported));
        self.reported = position;
        Ok(self.to > 0)
    }
}
