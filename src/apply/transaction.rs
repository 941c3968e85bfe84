//! Runs the steps of one batch or undo file inside an open transaction and collects what they report. Neither commits
//! nor rolls back, and knows no journal.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::beside::{self, Watcher};
use super::companions::{self, Ground, MadeRows, Taken};
use super::isolate::{Refused, Writing, single};
use super::isolate_groups;
use super::limits::{ZONE_OF_KEYS, ZONE_OF_TRIGGERS};
use super::moved::Moves;
use super::place::Task;
use super::removed::PutBack;
use super::row_key::json_array;
use super::traces::{FormerRows, LeftRows, Traces};
use super::{Limits, RowKey};
use crate::cancel::CancelToken;
use crate::ident::TableName;
use crate::pg::{PgError, WriteSession, column};
use crate::plan::recall::{Way, stored_sql};
use crate::plan::script::{CopyBlock, Step, StepKind};
use crate::plan::{Part, Reference};
use crate::sql::registry::APPLY_BEGIN_MARK;
use crate::value::copy_text;

/// COPY data is sent in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// How often the server is asked to stop, until it does: a request that comes between two statements is lost.
const CANCEL_AGAIN: Duration = Duration::from_millis(250);

/// An open transaction.
pub(super) struct Transaction<'a> {
    session: &'a WriteSession,
    cancel: &'a CancelToken,
    /// How rows are written, so that one that live refuses does not spoil the others.
    isolating: Writing,
    /// Number of the transaction, for `txid_status`.
    pub(super) xid: String,
    /// Process on the server.
    pub(super) pid: i32,
    /// The oldest transaction that ran when this one began.
    oldest: String,
    /// Looks after columns that only triggers change.
    pub(super) watcher: Option<Watcher<'a>>,
    /// References of the recipe, by which rows of a batch may hang on each other.
    pub(super) declared: Vec<Reference>,
}

/// One line of a report step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) table: TableName,
    pub(super) key: RowKey,
    pub(super) word: String,
}

/// What the steps did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Performed {
    /// Rows written, by part.
    pub(super) counts: Vec<u64>,
    /// Rows that did not end as staged.
    pub(super) reported: Vec<Reported>,
    /// Rows that a trigger altered, as stored, by part.
    pub(super) stored: Vec<BTreeMap<RowKey, String>>,
    /// Inserted rows that a trigger altered and that were set to their staged values.
    pub(super) settled: u64,
    /// Rows that live refused, when they were written one by one.
    pub(super) refused: Vec<Refused>,
    /// What else triggers did.
    pub(super) traces: Traces,
    /// Rows updated to set columns back that triggers had changed, in attempts that were rolled back, too.
    pub(super) set_back: BTreeMap<TableName, u64>,
    /// Why rows found their place taken, where a trigger took it.
    pub(super) in_the_way: Vec<Refused>,
    /// What triggers did beside the batch's own rows.
    pub(super) moves: Moves,
    /// Undo: rows that triggers had removed, and that are back.
    pub(super) put_back: PutBack,
    /// Of the rows written those that triggers had made and that were only set, by part.
    pub(super) taken: Vec<u64>,
    /// The oldest transaction that ran when this one began.
    pub(super) oldest: String,
    /// The highest number of this one and of its savepoints.
    pub(super) newest: String,
    /// Rows that triggers made where this batch or later ones insert rows.
    pub(super) made: Vec<MadeRows>,
}

/// The highest number that rows of the open transaction can carry, those of its savepoints and of triggers that catch errors
/// included: a savepoint of its own, the last one, gets it by touching a staged row.
pub(super) async fn newest(session: &WriteSession, xid: &str, parts: &[Part]) -> Result<String, PgError> {
    const WHAT: &str = "asking for the last number of the transaction";
    let whole: u64 = xid.parse().ok().ok_or_else(|| unexpected(WHAT, xid))?;
    if parts.is_empty() {
        return Ok(xid.to_owned());
    }
    let sql = "savepoint rowback_newest; update pg_temp.\"rowback_1\" set rowback_held = rowback_held \
               where ctid = (select ctid from pg_temp.\"rowback_1\" limit 1) returning xmin::text; release savepoint rowback_newest";
    let Some(version) = single(&session.text_rows(WHAT, sql).await?) else { return Ok(xid.to_owned()) };
    // Rows carry the lower half of a number, and a savepoint's comes behind that of its transaction.
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
    Ok((whole + u64::from(low(version).wrapping_sub(low(whole)))).to_string())
}

impl<'a> Transaction<'a> {
    /// Sets up a transaction that `session` has opened.
    pub(super) async fn enter(
        session: &'a WriteSession,
        cancel: &'a CancelToken,
        limits: &Limits,
        isolating: Writing,
    ) -> Result<Self, PgError> {
        const WHAT: &str = "asking for the number of the transaction";
        session.execute("setting up the transaction", &limits.transaction_settings()).await?;
        let rows = session.query(&APPLY_BEGIN_MARK, &[]).await?;
        let row = rows.first().ok_or_else(|| unexpected(WHAT, "no row"))?;
        Ok(Self {
            session,
            cancel,
            isolating,
            xid: column(row, "xid", WHAT)?,
            pid: column(row, "pid", WHAT)?,
            oldest: column(row, "oldest", WHAT)?,
            watcher: None,
            declared: Vec::new(),
        })
    }

    /// Runs the steps.
    pub(super) async fn perform(
        &self,
        what: &str,
        steps: &[Step],
        parts: &[Part],
        ground: Option<Ground<'_>>,
    ) -> Result<Performed, PgError> {
        let mut performed = Performed { oldest: self.oldest.clone(), ..Performed::default() };
        let mut taken = Taken::default();
        let in_turn = self.isolating == Writing::InTurn;
        let mut watched = Vec::new();
        for step in steps {
            if self.cancel.is_cancelled() {
                return Err(PgError::Cancelled { what: what.to_owned() });
            }
            self.set_zone(step.kind, ZONE_OF_TRIGGERS).await?;
            if step.kind == StepKind::Write {
                (taken, watched) = self.before_write(parts, ground).await?;
            }
            match step.kind {
                StepKind::Begin | StepKind::Commit => {}
                StepKind::Settings | StepKind::Hold => self.execute(what, &step.sql).await?,
                StepKind::Stage => {
                    self.execute(what, &step.sql).await?;
                    if let Some(copy) = &step.copy {
                        self.copy_in(what, copy).await?;
                    }
                }
                StepKind::Write if in_turn && isolate_groups::moves(parts) => {
                    let work = self.back_in_turn(what, &step.sql, parts, ground);
                    performed.counts = self.watched(Box::pin(work)).await?;
                }
                StepKind::Write if in_turn => {
                    let work = companions::write_in_turn(self.session, parts, &step.sql, ground);
                    (performed.counts, taken) = self.watched(work).await?;
                }
                StepKind::Write
                    if self.isolating != Writing::Together && isolate_groups::has_groups(parts) =>
                {
                    let how = (self.isolating, self.declared.as_slice());
                    let work = isolate_groups::write(self.session, parts, &step.sql, how, ground);
                    (performed.counts, performed.refused) = self.watched(work).await?;
                }
                StepKind::Write => {
                    let rows = self.watched(self.session.text_rows(what, &step.sql)).await?;
                    performed.counts =
                        if parts.is_empty() { Vec::new() } else { counts(what, &rows, parts)? };
                    // Constraints that wait for the commit are checked now: after the journal's line nothing may fail.
                    self.execute(what, "set constraints all immediate").await?;
                }
                StepKind::Settle => {
                    let rows = self.watched(self.session.text_rows(what, &step.sql)).await?;
                    let counts = rows.iter().filter_map(|row| row.first()?.as_deref()?.parse::<u64>().ok());
                    performed.settled = counts.sum();
                }
                StepKind::Report => {
                    let rows = self.watched(self.session.text_rows(what, &step.sql)).await?;
                    performed.reported =
                        rows.into_iter().map(|row| reported(what, row)).collect::<Result<_, _>>()?;
                }
            }
            if step.kind == StepKind::Write {
                self.watched(Box::pin(self.look_beside(&watched, &mut performed))).await?;
            }
            self.set_zone(step.kind, ZONE_OF_KEYS).await?;
        }
        performed.counts.iter_mut().zip(&taken.rows).for_each(|(count, rows)| *count += rows);
        performed.taken = taken.rows;
        performed.refused.extend(taken.refused);
        performed.stored = self.stored(what, &performed.reported, parts).await?;
        Ok(performed)
    }

    /// Changes the time zone around steps that may fire triggers.
    async fn set_zone(&self, kind: StepKind, sql: &str) -> Result<(), PgError> {
        match kind {
            StepKind::Write | StepKind::Settle => self.execute("setting the time zone", sql).await,
            _ => Ok(()),
        }
    }

    /// Makes way for the rows of the batch, and notes how its rows are.
    async fn before_write<'p>(
        &'p self,
        parts: &'p [Part],
        ground: Option<Ground<'_>>,
    ) -> Result<(Taken, Vec<beside::Watched<'p>>), PgError> {
        let (mut taken, mut watched) = (Taken::default(), Vec::new());
        if let Some(ground) = ground.filter(|_| self.isolating != Writing::InTurn) {
            taken = self.watched(companions::take_over(self.session, parts, ground)).await?;
        }
        if let Some(watcher) = self.watcher {
            watched = self.watched(beside::watch(self.session, parts, watcher)).await?;
        }
        Ok((taken, watched))
    }

    /// What triggers made of the columns of the batch's own rows: undo sets it back, apply notes how they were.
    async fn look_beside(
        &self,
        parts: &[beside::Watched<'_>],
        performed: &mut Performed,
    ) -> Result<(), PgError> {
        let undo = self.watcher.is_some_and(|watcher| watcher.task == Task::Undo);
        for part in parts {
            if undo {
                let done = part.set_back().await?;
                *performed.set_back.entry(done.table).or_default() += done.updated;
                performed.traces.left.extend(LeftRows::gather(done.left));
            } else {
                performed.traces.shifted.extend(FormerRows::gather(part.shifted().await?));
            }
        }
        Ok(())
    }

    /// Undo: rows go back table by table, because what triggers make collides with the statement for all of them.
    async fn back_in_turn(
        &self,
        what: &str,
        write_sql: &str,
        parts: &[Part],
        ground: Option<Ground<'_>>,
    ) -> Result<Vec<u64>, PgError> {
        if let Some(ground) = ground {
            let written = companions::move_in_turn(self.session, parts, Way::Back, ground).await?;
            if let Some(written) = written {
                return Ok(written);
            }
        }
        let rows = self.session.text_rows(what, write_sql).await?;
        counts(what, &rows, parts)
    }

    async fn execute(&self, what: &str, sql: &str) -> Result<(), PgError> {
        if sql.is_empty() {
            return Ok(());
        }
        self.watched(self.session.execute(what, sql)).await
    }

    async fn copy_in(&self, what: &str, copy: &CopyBlock) -> Result<(), PgError> {
        self.watched(async {
            let mut stream = self.session.copy_in(what, &copy.sql).await?;
            for piece in copy.rows.chunks(PIECE_BYTES) {
                stream.send(Bytes::copy_from_slice(piece)).await?;
            }
            stream.finish().await.map(drop)
        })
        .await
    }

    /// Reads the rows that a trigger altered, so that undo knows what apply really left behind.
    async fn stored(
        &self,
        what: &str,
        reported: &[Reported],
        parts: &[Part],
    ) -> Result<Vec<BTreeMap<RowKey, String>>, PgError> {
        let mut stored = vec![BTreeMap::new(); parts.len()];
        for (at, part) in parts.iter().enumerate() {
            let altered = reported.iter().filter(|row| row.word == "altered" && row.table == part.table);
            let keys: Vec<&RowKey> = altered.map(|row| &row.key).collect();
            if keys.is_empty() {
                continue;
            }
            let sql = stored_sql(at + 1, part, &json_array(keys.into_iter()));
            let mut rows = self.watched(self.session.copy_out(what, &sql)).await?;
            while let Some(row) = self.watched(rows.next_row()).await? {
                let (key, row) = split_key(what, &row)?;
                stored[at].insert(key, row);
            }
        }
        Ok(stored)
    }

    /// Waits for the server; when somebody asks to stop, the server is told, again and again until it answers.
    pub(super) async fn watched<T>(
        &self,
        work: impl Future<Output = Result<T, PgError>>,
    ) -> Result<T, PgError> {
        tokio::pin!(work);
        tokio::select! {
            biased;
            answer = &mut work => return answer,
            () = self.cancel.cancelled() => {}
        }
        let canceller = self.session.canceller();
        loop {
            // A request that cannot be sent is sent again; the statement's own time limit remains.
            drop(canceller.cancel().await);
            tokio::select! {
                biased;
                answer = &mut work => return answer,
                () = tokio::time::sleep(CANCEL_AGAIN) => {}
            }
        }
    }
}

fn unexpected(what: &str, cause: &str) -> PgError {
    PgError::Answer { what: what.to_owned(), cause: cause.to_owned() }
}

pub(super) fn counts(what: &str, rows: &[Vec<Option<String>>], parts: &[Part]) -> Result<Vec<u64>, PgError> {
    let first =
        rows.first().ok_or_else(|| unexpected(what, "the statement that writes returned no counts"))?;
    let counts: Option<Vec<u64>> =
        first.iter().map(|count| count.as_deref().and_then(|count| count.parse().ok())).collect();
    counts
        .filter(|counts| counts.len() == parts.len())
        .ok_or_else(|| unexpected(what, "the statement that writes returned other than one count per table"))
}

fn reported(what: &str, row: Vec<Option<String>>) -> Result<Reported, PgError> {
    let fields: Option<Vec<String>> = row.into_iter().collect();
    let Some([table, key, word]) = fields.and_then(|fields| <[String; 3]>::try_from(fields).ok()) else {
        return Err(unexpected(what, "a reported row is not table, key and outcome"));
    };
    let table = TableName::try_from(table).map_err(|cause| unexpected(what, &cause))?;
    let key = RowKey::parse(&key).map_err(|error| unexpected(what, &error.to_string()))?;
    Ok(Reported { table, key, word })
}

fn split_key(what: &str, row: &[u8]) -> Result<(RowKey, String), PgError> {
    let at = memchr::memchr(b'\t', row).ok_or_else(|| unexpected(what, "a stored row without a key"))?;
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|error| unexpected(what, &error.to_string()))
    };
    let key = text(&copy_text::unescape(&row[..at]))?;
    let key = RowKey::parse(&key).map_err(|error| unexpected(what, &error.to_string()))?;
    Ok((key, text(&row[at + 1..])?))
}
