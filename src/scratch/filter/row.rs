//! One line of COPY text whose fields are looked for only when somebody asks, and only up to the last one asked for.

use std::cell::Cell;

use memchr::memchr;

/// Most columns that one filter looks at; what needs more is not decided.
pub const SLOTS: usize = 16;

/// A row with slots for the wanted columns.
pub struct Lines<'a> {
    /// The columns' positions in the row, in order, one a slot.
    wanted: &'a [usize],
    rest: Cell<Option<&'a [u8]>>,
    /// The position that `rest` begins with.
    next: Cell<usize>,
    /// Slots that are filled.
    filled: Cell<usize>,
    fields: [Cell<&'a [u8]>; SLOTS],
}

impl<'a> Lines<'a> {
    /// Nothing is looked at yet. `wanted` is sorted and has at most [`SLOTS`] positions.
    pub fn new(row: &'a [u8], wanted: &'a [usize]) -> Self {
        Self {
            wanted,
            rest: Cell::new(Some(row)),
            next: Cell::new(0),
            filled: Cell::new(0),
            fields: [const { Cell::new(&[]) }; SLOTS],
        }
    }

    /// The raw field of a slot; `None` when the row is too short.
    pub fn field(&self, slot: usize) -> Option<&'a [u8]> {
        while self.filled.get() <= slot {
            self.fill_next()?;
        }
        self.fields.get(slot).map(Cell::get)
    }

    fn fill_next(&self) -> Option<()> {
        let wanted = *self.wanted.get(self.filled.get())?;
        loop {
            let line = self.rest.get()?;
            let (field, rest) = cut_field(line);
            let position = self.next.replace(self.next.get() + 1);
            self.rest.set(rest);
            if position == wanted {
                self.fields.get(self.filled.get())?.set(field);
                self.filled.set(self.filled.get() + 1);
                return Some(());
            }
        }
    }
}

/// The raw field at a position; `None` when the row is too short.
pub fn field_at(row: &[u8], position: usize) -> Option<&[u8]> {
    let mut rest = Some(row);
    for _ in 0..position {
        rest = cut_field(rest?).1;
    }
    rest.map(|line| cut_field(line).0)
}

/// The first field, and what follows its tab.
fn cut_field(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    // Keys are short and stand in front: to look at a few bytes takes less time than to call who looks at many at once.
    let near = line.len().min(16);
    let tab = match line[..near].iter().position(|byte| *byte == b'\t') {
        None => memchr(b'\t', &line[near..]).map(|at| near + at),
        found => found,
    };
    match tab {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_order() {
        let wanted = [1, 3, 4];
        let row = Lines::new(b"a\tb\t\td\t", &wanted);
        assert_eq!(row.field(1), Some(&b"d"[..]));
        assert_eq!((row.field(0), row.field(2), row.field(3)), (Some(&b"b"[..]), Some(&b""[..]), None));
        let short = Lines::new(b"a\tb\tc", &wanted);
        assert_eq!((short.field(1), short.field(0)), (None, Some(&b"b"[..])));
        assert_eq!(Lines::new(b"", &[0]).field(0), Some(&b""[..]));
    }
    #[test]
    fn a_field_is_found_by_its_position_however_long_it_is() {
        for length in [0, 1, 15, 16, 17, 40] {
            let field = "x".repeat(length);
            let row = format!("{field}\t{field}y\t{field}");
            let found: Vec<_> = (0..4).map(|position| field_at(row.as_bytes(), position)).collect();
            let last = format!("{field}y");
            assert_eq!(found, [Some(field.as_bytes()), Some(last.as_bytes()), Some(field.as_bytes()), None]);
        }
    }
}
