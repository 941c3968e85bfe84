//! Both sides as rows in the same columns, order and spelling: the backup's from the archive, live's from COPY.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::CompareError;
use super::instant::in_utc;
use crate::backup::{Backup, BackupError, KeepAll};
use crate::cancel::CancelToken;
use crate::catalog::Table;
use crate::ident::{Ident, TableName};
use crate::pg::ReadSession;
use crate::progress::{SharedProgress, Step};
use crate::value::BaseType;
use crate::value::copy_text::fields;

/// Chunks under way on each side; at 128 KiB each they bound the memory.
const CHUNKS: usize = 8;

/// Live's rows are sent on in pieces of this size.
const CHUNK_BYTES: usize = 1 << 17;

/// One table or partition of the backup.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) stored_as: TableName,
    pub(super) columns: Vec<Ident>,
}

/// How a row of a part becomes one of the comparison.
struct Shape {
    /// Where each compared column stands in the part's rows.
    positions: Vec<usize>,
    /// Are these all columns, in order?
    whole: bool,
    /// Compared columns with a time zone.
    zoned: Vec<usize>,
}

impl Shape {
    fn of(part: &Part, columns: &[Ident], table: &Table) -> Self {
        let place = |name: &Ident| part.columns.iter().position(|column| column == name);
        let positions: Vec<usize> = columns.iter().filter_map(place).collect();
        let zoned =
            |name: &Ident| table.column(name).is_some_and(|column| column.base_type == BaseType::TimestampTz);
        Self {
            whole: positions.iter().copied().eq(0..part.columns.len()),
            zoned: (0..columns.len()).filter(|&at| zoned(&columns[at])).collect(),
            positions,
        }
    }

    /// Appends the rows in their new shape.
    fn push(&self, out: &mut BytesMut, rows: &[u8]) {
        let mut places: Vec<&[u8]> = Vec::new();
        for row in rows.split(|&byte| byte == b'\n').filter(|_| !rows.is_empty()) {
            places.clear();
            places.extend(fields(row));
            for (at, &position) in self.positions.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b"\t");
                }
                let field = places.get(position).copied().unwrap_or_default();
                match self.zoned.contains(&at).then(|| in_utc(field)).flatten() {
                    Some(moved) => out.extend_from_slice(&moved),
                    None => out.extend_from_slice(field),
                }
            }
            out.extend_from_slice(b"\n");
        }
    }

    /// The chunk as it is, where nothing has to be done.
    fn shaped(&self, rows: &[u8]) -> Bytes {
        if self.whole && (self.zoned.is_empty() || self.is_utc(rows)) {
            return Bytes::copy_from_slice(rows);
        }
        let mut out = BytesMut::with_capacity(rows.len() + rows.len() / 8);
        self.push(&mut out, rows.strip_suffix(b"\n").unwrap_or(rows));
        out.freeze()
    }

    fn is_utc(&self, rows: &[u8]) -> bool {
        rows.split(|&byte| byte == b'\n').filter(|row| !row.is_empty()).all(|row| {
            let mut zoned = self.zoned.iter().peekable();
            fields(row).enumerate().all(|(at, field)| {
                if zoned.peek() != Some(&&at) {
                    return true;
                }
                zoned.next();
                in_utc(field).is_none()
            })
        })
    }
}

/// A side's rows and the task that brings them; an error ends the rows, so the task must be asked how it went.
pub(super) struct Feed {
    pub(super) rows: Receiver<Bytes>,
    pub(super) task: JoinHandle<Result<(), CompareError>>,
}

/// Rows of the backup, part after part.
pub(super) fn backup(
    backup: &Arc<Backup>,
    parts: &[Part],
    columns: &[Ident],
    table: &Table,
    progress: &SharedProgress,
    cancel: &CancelToken,
) -> Feed {
    let (sender, rows) = channel(CHUNKS);
    let shapes: Vec<_> = parts.iter().map(|part| (part.clone(), Shape::of(part, columns, table))).collect();
    let (backup, progress, cancel) = (backup.clone(), progress.clone(), cancel.clone());
    let task = tokio::task::spawn_blocking(move || {
        for (part, shape) in shapes {
            let mut sink =
                |rows: &[u8]| sender.blocking_send(shape.shaped(rows)).map_err(std::io::Error::other);
            let read = backup.read_rows(&part.stored_as, &KeepAll, &cancel, &mut sink);
            let counts = read.map_err(|error| match error {
                BackupError::Cancelled => CompareError::Cancelled,
                other => other.into(),
            })?;
            progress.advance(Step::Compare, counts.rows_read);
        }
        Ok(())
    });
    Feed { rows, task }
}

/// Rows of live. The COPY has begun when this returns.
pub(super) async fn live(
    session: &ReadSession,
    table: &Table,
    columns: &[Ident],
    encoding: &str,
) -> Result<Feed, CompareError> {
    let names: Vec<String> = columns.iter().map(Ident::quoted).collect();
    let sql = format!(
        "copy (select {} from {}) to stdout with (encoding {})",
        names.join(", "),
        table.from_sql(),
        crate::sql::literal::literal(encoding)
    );
    let mut copy = session.copy_out(&format!("reading {}", table.name), &sql).await?;
    let (sender, rows) = channel(CHUNKS);
    let task = tokio::spawn(async move {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES + 4096);
        while let Some(row) = copy.next_row().await? {
            chunk.extend_from_slice(&row);
            chunk.extend_from_slice(b"\n");
            if chunk.len() >= CHUNK_BYTES && !send(&sender, &mut chunk).await {
                return Ok(());
            }
        }
        if !chunk.is_empty() {
            send(&sender, &mut chunk).await;
        }
        Ok(())
    });
    Ok(Feed { rows, task })
}

/// False when nobody wants any more.
async fn send(sender: &Sender<Bytes>, chunk: &mut BytesMut) -> bool {
    let full = std::mem::replace(chunk, BytesMut::with_capacity(CHUNK_BYTES + 4096));
    sender.send(full.freeze()).await.is_ok()
}
