//! Goes through both sides in step. Runs of rows that are equal on both sides, which is nearly everything, are passed
//! over as bytes; only around a difference are rows looked at one by one.

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem, memrchr};
use tokio::sync::mpsc::Receiver;

use super::pending::Side;

/// How far a row is searched for on the other side before both are left to meet by key.
const WINDOW_BYTES: usize = 1 << 16;

/// Searches in vain before the sides are taken to be in different orders.
const PATIENCE: i32 = 64;

/// Once patience is lost, one row in so many is searched for all the same.
const TRY_AGAIN: u32 = 256;

/// One side: whole rows with their newlines, in chunks.
#[derive(Debug)]
pub(super) struct Stream {
    chunks: Receiver<Bytes>,
    chunk: Bytes,
    at: usize,
    pub(super) rows: u64,
}

impl Stream {
    pub(super) fn new(chunks: Receiver<Bytes>) -> Self {
        Self { chunks, chunk: Bytes::new(), at: 0, rows: 0 }
    }

    /// Makes sure that there is a row, if any is left.
    async fn fill(&mut self) {
        while self.at == self.chunk.len() {
            let Some(chunk) = self.chunks.recv().await else { return };
            (self.chunk, self.at) = (chunk, 0);
        }
    }

    fn rest(&self) -> &[u8] {
        &self.chunk[self.at..]
    }

    /// Goes on by whole rows.
    fn pass(&mut self, bytes: usize) {
        self.rows += count_rows(&self.chunk[self.at..self.at + bytes]);
        self.at += bytes;
    }
}

/// What the walk meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// This many bytes of rows of the backup have no equal here.
    Backup(usize),
    /// This many bytes of rows of live have no equal here.
    Live(usize),
}

/// Both sides.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) backup: Stream,
    pub(super) live: Stream,
    patience: i32,
    given_up: u32,
}

impl Walk {
    pub(super) fn new(backup: Receiver<Bytes>, live: Receiver<Bytes>) -> Self {
        Self { backup: Stream::new(backup), live: Stream::new(live), patience: PATIENCE, given_up: 0 }
    }

    /// Hands the rows that have no equal at the same place to `take`, one by one, without their newlines, and returns
    /// after each chunk's worth with false, at the end with true.
    pub(super) async fn next<E>(
        &mut self,
        mut take: impl FnMut(Side, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.backup.fill().await;
        self.live.fill().await;
        let (mut left_backup, mut left_live) = (self.backup.rest().len(), self.live.rest().len());
        if left_backup == 0 && left_live == 0 {
            return Ok(true);
        }
        if left_backup == 0 || left_live == 0 {
            let (stream, side, bytes) = if left_live == 0 {
                (&mut self.backup, Side::Backup, left_backup)
            } else {
                (&mut self.live, Side::Live, left_live)
            };
            hand_over(stream, side, bytes, &mut take)?;
            return Ok(false);
        }
        while left_backup > 0 && left_live > 0 {
            let equal = equal_rows(self.backup.rest(), self.live.rest());
            if equal > 0 {
                self.backup.pass(equal);
                self.live.pass(equal);
            } else {
                for step in self.steps() {
                    match step {
                        Step::Backup(bytes) => hand_over(&mut self.backup, Side::Backup, bytes, &mut take)?,
                        Step::Live(bytes) => hand_over(&mut self.live, Side::Live, bytes, &mut take)?,
                    }
                }
            }
            (left_backup, left_live) = (self.backup.rest().len(), self.live.rest().len());
        }
        Ok(false)
    }

    /// The next rows differ: looks for the place where both sides are in step again.
    fn steps(&mut self) -> Vec<Step> {
        let (backup, live) = (self.backup.rest(), self.live.rest());
        let (head_backup, head_live) = (first_row(backup), first_row(live));
        self.given_up += u32::from(self.patience <= 0);
        if self.patience > 0 || self.given_up.is_multiple_of(TRY_AGAIN) {
            let gone = find_row(&backup[head_backup..], &live[..head_live]).map(|at| at + head_backup);
            let found = match gone {
                Some(at) => Some(vec![Step::Backup(at)]),
                None => find_row(&live[head_live..], &backup[..head_backup])
                    .map(|at| vec![Step::Live(at + head_live)]),
            };
            self.patience = (self.patience + if found.is_some() { 4 } else { -1 }).min(PATIENCE);
            if let Some(found) = found {
                return found;
            }
        }
        vec![Step::Backup(head_backup), Step::Live(head_live)]
    }
}

fn hand_over<E>(
    stream: &mut Stream,
    side: Side,
    bytes: usize,
    take: &mut impl FnMut(Side, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for row in stream.rest()[..bytes].split_inclusive(|&byte| byte == b'\n') {
        take(side, row.strip_suffix(b"\n").unwrap_or(row))?;
    }
    stream.pass(bytes);
    Ok(())
}

/// Number of newlines.
fn count_rows(rows: &[u8]) -> u64 {
    u64::try_from(memchr_iter(b'\n', rows).count()).unwrap_or(u64::MAX)
}

/// Length of the first row with its newline.
fn first_row(rows: &[u8]) -> usize {
    memchr(b'\n', rows).map_or(rows.len(), |at| at + 1)
}

/// Where, at the beginning of a row, `row` (with newline) stands within the window.
fn find_row(rows: &[u8], row: &[u8]) -> Option<usize> {
    let window = &rows[..rows.len().min(WINDOW_BYTES)];
    if window.starts_with(row) {
        return Some(0);
    }
    let finder = memmem::Finder::new(row);
    finder.find_iter(window).find(|&at| window[at - 1] == b'\n')
}

/// Length of the whole rows that both begin with.
fn equal_rows(one: &[u8], other: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    let most = one.len().min(other.len());
    let mut same = 0;
    while same < most {
        let end = (same + BLOCK).min(most);
        if one[same..end] == other[same..end] {
            same = end;
            continue;
        }
        same += one[same..end].iter().zip(&other[same..end]).take_while(|(a, b)| a == b).count();
        break;
    }
    memrchr(b'\n', &one[..same]).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rows that were handed over, and how many each side had.
    fn walk(backup: &[String], live: &[String], chunk_rows: usize) -> (Vec<String>, Vec<String>, u64, u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let send = |rows: &[String]| {
            let (sender, receiver) = tokio::sync::mpsc::channel(1000);
            for chunk in rows.chunks(chunk_rows) {
                let text: String = chunk.iter().map(|row| format!("{row}\n")).collect();
                sender.try_send(Bytes::from(text)).unwrap();
            }
            receiver
        };
        let mut walk = Walk::new(send(backup), send(live));
        let (mut from_backup, mut from_live) = (Vec::new(), Vec::new());
        let mut take = |side: Side, row: &[u8]| -> Result<(), std::convert::Infallible> {
            let text = String::from_utf8(row.to_vec()).unwrap();
            if side == Side::Backup {
                from_backup.push(text);
            } else {
                from_live.push(text);
            }
            Ok(())
        };
        while !runtime.block_on(walk.next(&mut take)).unwrap() {}
        (from_backup, from_live, walk.backup.rows, walk.live.rows)
    }

    fn rows(of: &[u16]) -> Vec<String> {
        of.iter().map(|number| format!("{number}\tx")).collect()
    }

    #[test]
    fn equal_sides_hand_over_nothing_and_a_gap_only_itself() {
        let all: Vec<u16> = (0..500).collect();
        let backup = rows(&all);
        assert_eq!(walk(&backup, &backup, 7), (vec![], vec![], 500, 500));
        let live: Vec<u16> = all.iter().copied().filter(|number| !(100..150).contains(number)).collect();
        let (from_backup, from_live, ..) = walk(&backup, &rows(&live), 1000);
        assert_eq!(from_backup, rows(&(100..150).collect::<Vec<_>>()));
        assert!(from_live.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_passed_over_is_on_both_sides(
            backup in proptest::collection::btree_set(0u16..300, 0..200),
            live in proptest::collection::btree_set(0u16..300, 0..200),
            chunk_rows in 1usize..50,
            turn in 0usize..200,
        ) {
            let backup: Vec<u16> = backup.into_iter().collect();
            let mut live: Vec<u16> = live.into_iter().collect();
            let middle = turn.min(live.len());
            live.rotate_left(middle);
            let (from_backup, from_live, rows_backup, rows_live) =
                walk(&rows(&backup), &rows(&live), chunk_rows);
            prop_assert_eq!(rows_backup, backup.len() as u64);
            prop_assert_eq!(rows_live, live.len() as u64);
            // Taking away what was handed over leaves the same rows on both sides.
            let left = |all: &[String], handed: &[String]| {
                all.iter().filter(|row| !handed.contains(row)).cloned().collect::<std::collections::BTreeSet<_>>()
            };
            prop_assert_eq!(left(&rows(&backup), &from_backup), left(&rows(&live), &from_live));
        }
    }
}
