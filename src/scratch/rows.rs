//! Streams a table's rows from the backup into scratch, all of them or those that a choice lets through.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::RestoreError;
use super::choice::{Choice, ChoiceFilter};
use crate::backup::{Backup, ReadCounts, TableData};
use crate::cancel::{CancelToken, StopOnDrop};
use crate::catalog::quoted_list;
use crate::ident::{Ident, TableName};
use crate::pg::ScratchSession;
use crate::progress::{SharedProgress, Step};

/// Chunks on their way from the archive to the server; at 128 KiB each this bounds the memory of one stream.
const CHUNKS_UNDER_WAY: usize = 8;

/// One data entry of the backup: a table or a partition, the table its COPY names, and its columns.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    /// Id of the entry with the rows.
    pub entry: i32,
    /// The name under which the backup keeps the rows.
    pub stored_as: TableName,
    /// The table that the rows are copied into.
    pub target: TableName,
    /// The columns of the rows, in order.
    pub columns: Vec<Ident>,
    /// Columns of the rows that the target does not have.
    pub discard: Vec<Ident>,
}

/// The streams that hold the rows of a root table: its own and those of its partitions. An entry without rows in the
/// backup (schema only, INSERT statements) is an error, never an empty table.
pub(super) fn streams<'a>(
    backup: &Backup,
    names: impl Iterator<Item = &'a TableName>,
    root: Option<&TableName>,
) -> Result<Vec<Stream>, RestoreError> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match backup.contents().tables.get(name) {
            Some(TableData::Rows { entry, target, columns }) => found.push(Stream {
                entry: *entry,
                stored_as: name.clone(),
                target: target.clone(),
                columns: columns.clone(),
                discard: Vec::new(),
            }),
            other => missing.push((name.clone(), matches!(other, Some(TableData::Inserts { .. })))),
        }
    }
    // A partitioned table has no rows of its own, be it the root or, below it, partitioned once more: nothing of it in
    // the backup is right. A leaf always has its entry.
    let known = &backup.contents().tables;
    let excused = |name: &TableName| root.is_some() && !known.contains_key(name) && !found.is_empty();
    missing.retain(|(name, inserts)| *inserts || !excused(name));
    match missing.into_iter().next() {
        Some((table, true)) => Err(RestoreError::RowsAsInserts { table }),
        Some((table, false)) => Err(RestoreError::RowsMissing { table }),
        None => Ok(found),
    }
}

/// Copies the rows of one stream that `choice` lets through and that no `earlier` choice has already loaded.
pub(super) async fn copy_stream(
    backup: Arc<Backup>,
    session: &ScratchSession,
    stream: Stream,
    choice: &Choice,
    earlier: &[Choice],
    progress: &SharedProgress,
    cancel: &CancelToken,
) -> Result<ReadCounts, RestoreError> {
    let filter = ChoiceFilter::new(choice, earlier, &stream.columns);
    let encoding = crate::sql::literal::literal(&backup.contents().encoding);
    let into = format!(
        "copy {} ({}) from stdin with (encoding {encoding})",
        stream.target.quoted(),
        quoted_list("", &stream.columns)
    );
    let mut copy = session.copy_in("loading rows into scratch", &into).await?;
    let (sender, mut chunks) = mpsc::channel::<Bytes>(CHUNKS_UNDER_WAY);
    let stop = StopOnDrop(cancel.child());
    let cancel = stop.0.clone();
    let shown = progress.clone();
    let reader = tokio::task::spawn_blocking(move || {
        let mut sink =
            |chunk: &[u8]| sender.blocking_send(Bytes::copy_from_slice(chunk)).map_err(std::io::Error::other);
        let counts = backup.read_rows(&stream.stored_as, &filter, &cancel, &mut sink);
        if let Ok(counts) = &counts {
            shown.advance(Step::Load, counts.rows_read);
        }
        counts
    });
    while let Some(chunk) = chunks.recv().await {
        if let Err(error) = copy.send(chunk).await {
            // The archive's side ends by itself once nobody receives; the server's reason is the one to report.
            drop(chunks);
            reader.await.map_err(RestoreError::Thread)?.ok();
            return Err(error.into());
        }
    }
    let counts = reader.await.map_err(RestoreError::Thread)??;
    copy.finish().await?;
    Ok(counts)
}
