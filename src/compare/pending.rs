//! Rows that one side has shown and the other not yet. Rows meet by key and leave in pairs, so what stays here is small
//! while both sides come in about the same order; what outgrows the memory goes to files, split by key.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use crate::value::copy_text::fields;

/// Files that rows are split into; each is later held in memory alone.
const PARTS: usize = 64;

/// Memory that a waiting row takes beside its text: two boxes and a slot of the table.
const ROW_OVERHEAD: usize = 64;

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Backup,
    Live,
}

impl Side {
    /// For messages.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::Backup => "in the backup",
            Self::Live => "in live",
        }
    }
}

/// What names a row: columns (positions in the row), or the whole row for a table without a key.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Columns(Vec<usize>),
    Row,
}

impl Key {
    /// The key's raw fields, joined by tabs.
    pub(super) fn of(&self, row: &[u8]) -> Box<[u8]> {
        match self {
            Self::Row => row.into(),
            Self::Columns(positions) => {
                let mut key = Vec::with_capacity(16);
                for (at, position) in positions.iter().enumerate() {
                    if at > 0 {
                        key.push(b'\t');
                    }
                    key.extend_from_slice(fields(row).nth(*position).unwrap_or_default());
                }
                key.into()
            }
        }
    }
}

/// What adding a row led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The other side has not shown this key yet.
    Nobody,
    /// The other side's row is equal.
    Equal,
    /// The other side's row, which differs.
    Other(Box<[u8]>),
    /// This side has shown the key before.
    Itself,
}

#[derive(Debug)]
struct Waiting {
    row: Box<[u8]>,
    /// How often; more than once only where whole rows are the key.
    times: u32,
}

/// The rows that wait for the other side.
#[derive(Debug)]
pub(super) struct Pending {
    key: Key,
    backup: HashMap<Box<[u8]>, Waiting>,
    live: HashMap<Box<[u8]>, Waiting>,
    bytes: usize,
    most_bytes: usize,
    files: Option<Files>,
}

impl Pending {
    pub(super) fn new(key: Key, most_bytes: usize) -> Self {
        Self { key, backup: HashMap::new(), live: HashMap::new(), bytes: 0, most_bytes, files: None }
    }

    /// Takes in one row (without newline) of a side.
    pub(super) fn add(&mut self, side: Side, row: &[u8]) -> io::Result<Met> {
        let met = self.meet(side, row);
        if self.bytes > self.most_bytes {
            self.spill()?;
        }
        Ok(met)
    }

    fn meet(&mut self, side: Side, row: &[u8]) -> Met {
        let key = self.key.of(row);
        let (own, other) = match side {
            Side::Backup => (&mut self.backup, &mut self.live),
            Side::Live => (&mut self.live, &mut self.backup),
        };
        if let Some(waiting) = other.get_mut(&key) {
            if waiting.times > 1 {
                waiting.times -= 1;
                return Met::Equal;
            }
            let Some((key, waiting)) = other.remove_entry(&key) else { return Met::Nobody };
            self.bytes -= key.len() + waiting.row.len() + ROW_OVERHEAD;
            // Where whole rows are the key, the row itself is not kept a second time.
            let equal = matches!(self.key, Key::Row) || *waiting.row == *row;
            return if equal { Met::Equal } else { Met::Other(waiting.row) };
        }
        if let Some(waiting) = own.get_mut(&key) {
            waiting.times += 1;
            return if matches!(self.key, Key::Row) { Met::Nobody } else { Met::Itself };
        }
        let kept: Box<[u8]> = if matches!(self.key, Key::Row) { Box::default() } else { Box::from(row) };
        self.bytes += key.len() + kept.len() + ROW_OVERHEAD;
        own.insert(key, Waiting { row: kept, times: 1 });
        Met::Nobody
    }

    /// Moves everything that waits to files.
    fn spill(&mut self) -> io::Result<()> {
        let files = match self.files.take() {
            Some(files) => self.files.insert(files),
            None => self.files.insert(Files::create()?),
        };
        for (side, rows) in [(Side::Backup, &mut self.backup), (Side::Live, &mut self.live)] {
            for (key, waiting) in rows.drain() {
                let row = if waiting.row.is_empty() { &key } else { &waiting.row };
                for _ in 0..waiting.times {
                    files.write(side, &key, row)?;
                }
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// Both sides have ended: what is left, part by part.
    pub(super) fn into_rest(mut self) -> io::Result<Rest> {
        if self.files.is_some() {
            self.spill()?;
        }
        let parts = match self.files.take() {
            Some(files) => files.into_parts()?,
            None => Vec::new(),
        };
        Ok(Rest { key: self.key.clone(), waiting: Some(self), parts: parts.into_iter() })
    }

    fn into_alone(self) -> Vec<(Side, Box<[u8]>)> {
        let mut alone = Vec::with_capacity(self.backup.len() + self.live.len());
        for (side, rows) in [(Side::Backup, self.backup), (Side::Live, self.live)] {
            for (key, waiting) in rows {
                let row = if waiting.row.is_empty() { key } else { waiting.row };
                alone.extend((1..waiting.times).map(|_| (side, row.clone())));
                alone.push((side, row));
            }
        }
        alone
    }
}

/// What a part of the rest holds.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Rows that met only now: the later one, and what it met.
    pub(super) met: Vec<(Side, Vec<u8>, Met)>,
    /// Rows that met nobody.
    pub(super) alone: Vec<(Side, Box<[u8]>)>,
}

/// The rows that are left when both sides have ended.
pub(super) struct Rest {
    key: Key,
    waiting: Option<Pending>,
    parts: std::vec::IntoIter<Part>,
}

impl Rest {
    /// The next part: first what is in memory, then file by file.
    pub(super) fn next_part(&mut self) -> io::Result<Option<Left>> {
        if let Some(waiting) = self.waiting.take() {
            return Ok(Some(Left { met: Vec::new(), alone: waiting.into_alone() }));
        }
        let Some(mut part) = self.parts.next() else { return Ok(None) };
        // One in PARTS of what did not fit may take what it needs.
        let mut small = Pending::new(self.key.clone(), usize::MAX);
        let mut met = Vec::new();
        while let Some((side, row)) = part.read()? {
            let outcome = small.meet(side, &row);
            if outcome != Met::Nobody && outcome != Met::Equal {
                met.push((side, row, outcome));
            }
        }
        Ok(Some(Left { met, alone: small.into_alone() }))
    }
}

/// Unnamed temporary files: nobody else can open them, and they are gone with the process.
#[derive(Debug)]
struct Files {
    parts: Vec<BufWriter<File>>,
    hasher: RandomState,
}

impl Files {
    fn create() -> io::Result<Self> {
        let parts = (0..PARTS).map(|_| Ok(BufWriter::with_capacity(1 << 16, tempfile::tempfile()?)));
        Ok(Self { parts: parts.collect::<io::Result<_>>()?, hasher: RandomState::new() })
    }

    fn write(&mut self, side: Side, key: &[u8], row: &[u8]) -> io::Result<()> {
        let length = u32::try_from(row.len()).map_err(io::Error::other)?;
        let part = usize::try_from(self.hasher.hash_one(key) % 64).map_err(io::Error::other)?;
        let part = &mut self.parts[part];
        part.write_all(&[u8::from(side == Side::Live)])?;
        part.write_all(&length.to_le_bytes())?;
        part.write_all(row)
    }

    fn into_parts(self) -> io::Result<Vec<Part>> {
        let ready = |part: BufWriter<File>| {
            let mut file = part.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(Part { file: BufReader::with_capacity(1 << 16, file) })
        };
        self.parts.into_iter().map(ready).collect()
    }
}

struct Part {
    file: BufReader<File>,
}

impl Part {
    fn read(&mut self) -> io::Result<Option<(Side, Vec<u8>)>> {
        let mut side = [0];
        if self.file.read(&mut side)? == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.file.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        let mut row = vec![0; length];
        self.file.read_exact(&mut row)?;
        Ok(Some((if side == [1] { Side::Live } else { Side::Backup }, row)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What a comparison finds: rows of one side, and pairs that differ.
    type Found = (Vec<(u8, Vec<u8>)>, Vec<(Vec<u8>, Vec<u8>)>);

    fn compare(key: Key, most_bytes: usize, rows: &[(Side, String)]) -> Found {
        let mut pending = Pending::new(key, most_bytes);
        let mut changed = Vec::new();
        let mut alone = Vec::new();
        let mut note = |side: Side, row: &[u8], met: Met| {
            if let Met::Other(other) = met {
                let pair = (row.to_vec(), other.to_vec());
                changed.push(if side == Side::Backup { pair } else { (pair.1, pair.0) });
            }
        };
        for (side, row) in rows {
            let met = pending.add(*side, row.as_bytes()).unwrap();
            note(*side, row.as_bytes(), met);
        }
        let mut rest = pending.into_rest().unwrap();
        while let Some(left) = rest.next_part().unwrap() {
            left.met.into_iter().for_each(|(side, row, met)| note(side, &row, met));
            alone.extend(left.alone.iter().map(|(side, row)| (u8::from(*side == Side::Live), row.to_vec())));
        }
        alone.sort();
        changed.sort();
        (alone, changed)
    }

    fn expected(backup: &BTreeMap<u8, u8>, live: &BTreeMap<u8, u8>) -> Found {
        let text = |key: &u8, value: &u8| format!("{key}\tx{value}").into_bytes();
        let alone = |side: u8, own: &BTreeMap<u8, u8>, other: &BTreeMap<u8, u8>| {
            own.iter()
                .filter(|(key, _)| !other.contains_key(key))
                .map(|(key, value)| (side, text(key, value)))
                .collect::<Vec<_>>()
        };
        let mut all = alone(0, backup, live);
        all.extend(alone(1, live, backup));
        all.sort();
        let mut changed: Vec<_> = backup
            .iter()
            .filter_map(|(key, value)| {
                let other = live.get(key).filter(|other| *other != value)?;
                Some((text(key, value), text(key, other)))
            })
            .collect();
        changed.sort();
        (all, changed)
    }

    proptest! {
        #[test]
        fn finds_the_same_whatever_the_order_and_the_memory(
            backup in proptest::collection::btree_map(0u8..60, 0u8..3, 0..40),
            live in proptest::collection::btree_map(0u8..60, 0u8..3, 0..40),
            order in any::<u64>(),
            most_bytes in prop_oneof![Just(usize::MAX), Just(0), 100usize..2000],
        ) {
            let mut rows: Vec<(Side, String)> = Vec::new();
            rows.extend(backup.iter().map(|(key, value)| (Side::Backup, format!("{key}\tx{value}"))));
            rows.extend(live.iter().map(|(key, value)| (Side::Live, format!("{key}\tx{value}"))));
            let mix = |row: &(Side, String)| {
                row.1.bytes().fold(order ^ u64::from(row.0 == Side::Live), |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                })
            };
            rows.sort_by_key(mix);
            prop_assert_eq!(compare(Key::Columns(vec![0]), most_bytes, &rows), expected(&backup, &live));
        }
    }

    #[test]
    fn whole_rows_are_counted() {
        let row = |side: Side, text: &str| (side, text.to_owned());
        let rows =
            [row(Side::Backup, "a"), row(Side::Backup, "a"), row(Side::Live, "a"), row(Side::Live, "b")];
        for most_bytes in [0, usize::MAX] {
            let (alone, changed) = compare(Key::Row, most_bytes, &rows);
            assert_eq!(alone, [(0, b"a".to_vec()), (1, b"b".to_vec())]);
            assert!(changed.is_empty());
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_told() {
        let mut pending = Pending::new(Key::Columns(vec![0]), usize::MAX);
        assert_eq!(pending.add(Side::Live, b"1\ta").unwrap(), Met::Nobody);
        assert_eq!(pending.add(Side::Live, b"1\tb").unwrap(), Met::Itself);
    }
}
