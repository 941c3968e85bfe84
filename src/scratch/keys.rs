//! Wanted keys, found by their text in the dump. Integers are kept packed; anything else as the bytes of COPY text.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::filter::{is_canonical, whole_number};
use crate::value::copy_text::is_null;

/// A set of keys.
#[derive(Debug)]
pub struct KeySet {
    keys: Keys,
    bytes: usize,
}

#[derive(Debug)]
enum Keys {
    /// One integer column.
    Whole(HashSet<i64, BuildHasherDefault<Scatter>>),
    /// Escaped fields joined by tabs.
    Text(HashSet<Box<[u8]>>),
}

/// What sort of keys a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySort {
    /// One column of an integer type.
    Whole,
    /// Any other columns whose values have one text each.
    Text,
}

impl KeySet {
    /// No keys yet.
    pub fn new(sort: KeySort) -> Self {
        let keys = match sort {
            KeySort::Whole => Keys::Whole(HashSet::default()),
            KeySort::Text => Keys::Text(HashSet::new()),
        };
        Self { keys, bytes: 0 }
    }

    /// Adds one key, a row of COPY text holding the key's columns. A key with a NULL refers to nothing and is left out.
    /// `false` when the text is not as a server prints it.
    #[must_use]
    pub fn insert(&mut self, row: &[u8]) -> bool {
        match &mut self.keys {
            Keys::Whole(_) if is_null(row) => true,
            Keys::Whole(numbers) => whole_number(row).map(|number| numbers.insert(number)).is_some(),
            Keys::Text(texts) => {
                if !row.split(|byte| *byte == b'\t').any(is_null) && texts.insert(row.into()) {
                    self.bytes += row.len();
                }
                true
            }
        }
    }

    /// Adds an integer or a uuid as [`packed_key`](super::filter::packed_key) packs it.
    pub fn insert_packed(&mut self, key: u128) {
        match &mut self.keys {
            Keys::Whole(numbers) => {
                // Packed from an i64, so the upper half is empty.
                if let Ok(number) = u64::try_from(key) {
                    numbers.insert(number.cast_signed());
                }
            }
            Keys::Text(texts) => {
                let hex = format!("{key:032x}");
                let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                let text = groups.join("-").into_bytes().into_boxed_slice();
                self.bytes += text.len();
                texts.insert(text);
            }
        }
    }

    /// May this key be among them? A field that no server writes so may be any value.
    pub fn may_contain(&self, fields: &[&[u8]], buffer: &mut Vec<u8>) -> bool {
        if fields.iter().any(|field| is_null(field)) {
            return false;
        }
        match (&self.keys, fields) {
            (Keys::Whole(numbers), [field]) => {
                whole_number(field).is_none_or(|number| numbers.contains(&number))
            }
            (Keys::Whole(_), _) => true,
            (Keys::Text(texts), [field]) => texts.contains(*field) || !is_canonical(field),
            (Keys::Text(texts), _) => {
                buffer.clear();
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        buffer.push(b'\t');
                    }
                    buffer.extend_from_slice(field);
                }
                texts.contains(buffer.as_slice()) || !fields.iter().all(|field| is_canonical(field))
            }
        }
    }

    /// Are all its keys in `other` as well?
    pub fn is_subset(&self, other: &Self) -> bool {
        match (&self.keys, &other.keys) {
            (Keys::Whole(own), Keys::Whole(other)) => own.is_subset(other),
            (Keys::Text(own), Keys::Text(other)) => own.is_subset(other),
            _ => false,
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        match &self.keys {
            Keys::Whole(numbers) => numbers.len(),
            Keys::Text(texts) => texts.len(),
        }
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes of memory the set takes.
    pub fn memory_bytes(&self) -> usize {
        match &self.keys {
            // Eight bytes and a control byte, in a table that is at least seven sixteenths full.
            Keys::Whole(numbers) => numbers.capacity() * 11,
            // One boxed slice and its hash-table slot take about 48 bytes beside the key itself.
            Keys::Text(texts) => self.bytes + 48 * texts.len(),
        }
    }
}

/// Spreads integers over a hash table: one multiplication by an odd constant, its upper half folded onto the lower.
#[derive(Debug, Default, Clone, Copy)]
struct Scatter(u64);

impl Hasher for Scatter {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio, which keeps neighbours far from each other.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(set: &KeySet, fields: &[&str]) -> bool {
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        set.may_contain(&fields, &mut Vec::new())
    }

    #[test]
    fn integers_are_found_by_value_and_odd_spellings_are_kept() {
        let mut set = KeySet::new(KeySort::Whole);
        for text in ["7", "-9223372036854775808", "9223372036854775807", "\\N", "7"] {
            assert!(set.insert(text.as_bytes()), "{text}");
        }
        assert!(!set.insert(b"seven"));
        assert_eq!(set.len(), 3);
        for (field, wanted) in [
            ("7", true),
            ("8", false),
            ("-7", false),
            ("9223372036854775807", true),
            ("\\N", false),
            ("07", true),
            ("x", true),
        ] {
            assert_eq!(has(&set, &[field]), wanted, "{field}");
        }
    }

    #[test]
    fn texts_are_found_by_their_bytes() {
        let mut set = KeySet::new(KeySort::Text);
        assert!(set.insert(b"north\t1") && set.insert(b"south\t\\N") && set.insert(b"a\\tb\t2"));
        assert_eq!(set.len(), 2);
        for (fields, wanted) in [
            (["north", "1"], true),
            (["north", "2"], false),
            (["south", "\\N"], false),
            (["a\\tb", "2"], true),
            (["a\\x09b", "3"], true),
        ] {
            assert_eq!(has(&set, &fields), wanted, "{fields:?}");
        }
    }

    #[test]
    fn packed_keys_come_back() {
        use crate::scratch::filter::packed_key;
        for (sort, texts) in [
            (KeySort::Whole, vec!["0", "-1", "-9223372036854775808", "9223372036854775807"]),
            (
                KeySort::Text,
                vec!["00000000-0000-0000-0000-00000000000a", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
            ),
        ] {
            let mut set = KeySet::new(sort);
            for text in &texts {
                assert!(!has(&set, &[text]), "{text}");
                set.insert_packed(packed_key(text.as_bytes()).unwrap().unwrap());
                assert!(has(&set, &[text]), "{text}");
            }
            assert_eq!(set.len(), texts.len());
        }
        assert_eq!((packed_key(b"\\N"), packed_key(b"07"), packed_key(b"x")), (Some(None), None, None));
    }

    #[test]
    fn a_million_neighbours_do_not_crowd() {
        let mut set = KeySet::new(KeySort::Whole);
        assert!((0..1_000_000_i64).all(|number| set.insert((number * 1024).to_string().as_bytes())));
        assert_eq!(set.len(), 1_000_000);
        assert!(set.memory_bytes() < 32 << 20);
    }
}
