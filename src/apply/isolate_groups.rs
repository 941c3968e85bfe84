//! A batch of several tables that one row spoils: rows that move, in the groups of the plan, or rows of tables that refer to
//! each other, in groups that need each other. Groups are tried in ever fewer at a time, each time behind a savepoint, until the
//! ones that live refuses are alone. They stay as they are and are named; all others are written.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use petgraph::graph::DiGraph;

use super::RowKey;
use super::companions::{self, Ground};
use super::isolate::{Refused, Writing, is_about_rows, refuses_everything, single};
use super::limits::{ZONE_OF_KEYS, ZONE_OF_TRIGGERS};
use crate::pg::{DbFacts, PgError, WriteSession};
use crate::plan::recall::{Way, staged_columns};
use crate::plan::{Action, Part, YIELDING, row_key_json};

const WHAT: &str = "finding the rows that live refuses";

/// Is it a batch of moving rows?
pub(super) fn moves(parts: &[Part]) -> bool {
    !parts.is_empty() && parts.iter().all(|part| part.action == Action::Move)
}

/// Is it a batch of rows to insert in tables that refer to each other?
pub(super) fn is_circle(parts: &[Part]) -> bool {
    parts.len() > 1 && parts.iter().all(|part| part.action == Action::Insert)
}

/// Can it be written group by group?
pub(super) fn has_groups(parts: &[Part]) -> bool {
    moves(parts) || is_circle(parts)
}

/// A batch that is tried.
struct Trial<'a> {
    session: &'a WriteSession,
    parts: &'a [Part],
    write_sql: &'a str,
    groups: Vec<i64>,
    ground: Option<Ground<'a>>,
    /// Did any of them only come through table by table?
    in_turn: AtomicBool,
}

/// Groups that were refused, by place in the list, with the server's words.
type Refusals = Vec<(usize, DbFacts)>;

/// Writes the groups of a batch. Returns how many rows moved, by part, and the rows refused. The temporary tables hold all
/// rows again afterwards.
pub(super) async fn write(
    session: &WriteSession,
    parts: &[Part],
    write_sql: &str,
    writing: Writing,
    ground: Option<Ground<'_>>,
) -> Result<(Vec<u64>, Vec<Refused>), PgError> {
    let (mut copies, mut lists) = (Vec::new(), Vec::new());
    let group = if is_circle(parts) { ", null::int8 as rowback_group" } else { "" };
    for number in 1..=parts.len() {
        copies.push(format!(
            "create temporary table rowback_rows_{number} on commit drop as select r.*{group} from pg_temp.\"rowback_{number}\" as r \
             where r.rowback_held is null"
        ));
        lists.push(format!("select rowback_group from pg_temp.rowback_rows_{number}"));
    }
    session.execute(WHAT, &copies.join("; ")).await?;
    if is_circle(parts) {
        group_by_links(session, parts).await?;
    }
    let listed = session.text_rows(WHAT, &format!("{} order by 1", lists.join(" union "))).await?;
    let groups = listed.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse().ok());
    let in_turn = AtomicBool::new(false);
    let trial = Trial { session, parts, write_sql, groups: groups.collect(), ground, in_turn };
    session.execute(WHAT, "savepoint rowback_trial").await?;
    let (mut written, refused) = trial.try_all().await?;
    let count = u64::try_from(trial.groups.len()).unwrap_or(u64::MAX);
    let numbered: Vec<(u64, DbFacts)> =
        refused.iter().map(|(at, db)| (u64::try_from(*at).unwrap_or(u64::MAX), db.clone())).collect();
    if let Some(error) = refuses_everything(count, &numbered) {
        return Err(error);
    }
    let named = trial.name(&refused).await?;
    if writing == Writing::WithoutRefused {
        let left: Vec<String> = refused.iter().map(|(at, _)| trial.groups[*at].to_string()).collect();
        let rest = if left.is_empty() {
            "true".to_owned()
        } else {
            format!("rowback_group not in ({})", left.join(", "))
        };
        let back = "rollback to savepoint rowback_trial; release savepoint rowback_trial";
        session.execute(WHAT, &format!("{back}; {}", trial.refill(&rest))).await?;
        written = trial.write_for_good().await?;
    }
    let drops: Vec<String> =
        (1..=parts.len()).map(|number| format!("drop table pg_temp.rowback_rows_{number}")).collect();
    session.execute(WHAT, &format!("{}; {}", trial.refill("true"), drops.join("; "))).await?;
    Ok((written, named))
}

/// Numbers the groups of rows that need each other by the foreign keys between the tables, those that others need first.
async fn group_by_links(session: &WriteSession, parts: &[Part]) -> Result<(), PgError> {
    let numbers: Vec<String> = (1..=parts.len())
        .map(|number| {
            // Numbers of different tables differ by what is left when they are divided by the number of tables.
            format!(
                "update pg_temp.rowback_rows_{number} as r set rowback_group = s.n * {} + {number} \
                 from (select ctid as place, pg_catalog.row_number() over () as n from pg_temp.rowback_rows_{number}) as s \
                 where r.ctid = s.place",
                parts.len()
            )
        })
        .collect();
    session.execute(WHAT, &numbers.join("; ")).await?;
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (child, parent, condition) in companions::bonds(session, parts).await? {
        let sql = format!(
            "select c.rowback_group, p.rowback_group from pg_temp.rowback_rows_{} as c join pg_temp.rowback_rows_{} as p on {condition}",
            child + 1,
            parent + 1
        );
        for row in session.text_rows(WHAT, &sql).await? {
            let number = |at: usize| row.get(at).and_then(Option::as_deref)?.parse().ok();
            pairs.extend(number(0).zip(number(1)));
        }
    }
    let lists =
        (1..=parts.len()).map(|number| format!("select rowback_group from pg_temp.rowback_rows_{number}"));
    let highest =
        format!("select max(rowback_group) from ({}) as g", lists.collect::<Vec<_>>().join(" union all "));
    let highest =
        single(&session.text_rows(WHAT, &highest).await?).and_then(|highest| usize::try_from(highest).ok());
    let mut needs = DiGraph::<(), (), usize>::default();
    for _ in 0..=highest.unwrap_or(0) {
        let _row = needs.add_node(());
    }
    needs.extend_with_edges(pairs);
    // With edges from child to parent a component comes after all that it points at.
    let groups = (0_usize..).zip(petgraph::algo::kosaraju_scc(&needs));
    let members = groups.flat_map(|(group, rows)| rows.into_iter().map(move |row| (row.index(), group)));
    let (rows, groups): (Vec<String>, Vec<String>) =
        members.map(|(row, group)| (row.to_string(), group.to_string())).unzip();
    let groups: Vec<String> = (1..=parts.len())
        .map(|number| {
            format!(
                "update pg_temp.rowback_rows_{number} as r set rowback_group = u.g from rows from \
                 (pg_catalog.unnest('{{{}}}'::int8[]), pg_catalog.unnest('{{{}}}'::int8[])) as u(n, g) where r.rowback_group = u.n",
                rows.join(","),
                groups.join(",")
            )
        })
        .collect();
    session.execute(WHAT, &groups.join("; ")).await
}

impl Trial<'_> {
    async fn try_all(&self) -> Result<(Vec<u64>, Refusals), PgError> {
        let mut written = vec![0; self.parts.len()];
        let mut waiting = VecDeque::new();
        if !self.groups.is_empty() {
            waiting.push_back((0, self.groups.len() - 1));
        }
        let mut refused: Refusals = Vec::new();
        // A group may need a row of another: what was refused is tried again as long as that helps.
        loop {
            let (before, so_far) = (refused.len(), written.clone());
            refused.clear();
            while let Some((first, last)) = waiting.pop_front() {
                match self.some(first, last).await? {
                    Ok(counts) => written.iter_mut().zip(counts).for_each(|(sum, rows)| *sum += rows),
                    Err(db) if first == last => refused.push((first, db)),
                    Err(_) => {
                        let middle = first + (last - first) / 2;
                        waiting.push_front((middle + 1, last));
                        waiting.push_front((first, middle));
                    }
                }
            }
            if refused.is_empty() || written == so_far || refused.len() == before {
                return Ok((written, refused));
            }
            waiting = refused.iter().map(|(at, _)| (*at, *at)).collect();
        }
    }

    async fn some(&self, first: usize, last: usize) -> Result<Result<Vec<u64>, DbFacts>, PgError> {
        let fill =
            self.refill(&format!("rowback_group between {} and {}", self.groups[first], self.groups[last]));
        self.session.execute(WHAT, &format!("savepoint rowback_row; {fill}")).await?;
        let tried = async {
            let counts = self.write().await?;
            self.session
                .execute(WHAT, "set constraints all immediate; release savepoint rowback_row")
                .await?;
            Ok(counts)
        };
        match tried.await {
            Ok(counts) => Ok(Ok(counts)),
            Err(error) if is_about_rows(&error) => {
                let back = "rollback to savepoint rowback_row; release savepoint rowback_row";
                self.session.execute(WHAT, back).await?;
                let db = error.db().cloned().unwrap_or_default();
                Ok(Err(if first == last { self.first_reason(&fill, db).await? } else { db }))
            }
            Err(error) => Err(error),
        }
    }

    /// A row that is left out since its place is taken leaves those of its circle without a parent, of which the server speaks:
    /// what has its place is the reason.
    async fn first_reason(&self, fill: &str, db: DbFacts) -> Result<DbFacts, PgError> {
        let insisting = self.write_sql.replace(YIELDING, "");
        if !is_circle(self.parts) || db.sqlstate != "23503" || insisting == self.write_sql {
            return Ok(db);
        }
        self.session.execute(WHAT, &format!("savepoint rowback_why; {fill}")).await?;
        let tried = self.session.text_rows(WHAT, &insisting).await;
        if tried.as_ref().is_err_and(|error| !is_about_rows(error)) {
            return tried.map(|_| db);
        }
        self.session
            .execute(WHAT, "rollback to savepoint rowback_why; release savepoint rowback_why")
            .await?;
        let taken = tried.err().and_then(|error| error.db().cloned());
        Ok(taken.filter(|taken| ["23505", "23P01"].contains(&&*taken.sqlstate)).unwrap_or(db))
    }

    /// In one statement, or table by table where what triggers make collides with it.
    async fn write(&self) -> Result<Vec<u64>, PgError> {
        self.session.execute(WHAT, "savepoint rowback_together").await?;
        let error = match self.session.text_rows(WHAT, self.write_sql).await {
            Ok(rows) => {
                self.session.execute(WHAT, "release savepoint rowback_together").await?;
                return Ok(self.counts(&rows));
            }
            Err(error) => error,
        };
        let Some(ground) = self.ground.filter(|_| companions::may_help_to_move(self.parts, &error)) else {
            return Err(error);
        };
        let back = "rollback to savepoint rowback_together; release savepoint rowback_together";
        self.session.execute(WHAT, back).await?;
        let written = companions::move_in_turn(self.session, self.parts, Way::Home, ground).await?;
        self.in_turn.fetch_or(written.is_some(), Ordering::Relaxed);
        written.ok_or(error)
    }

    /// The same without a savepoint, behind which rows carry another number than the transaction.
    async fn write_for_good(&self) -> Result<Vec<u64>, PgError> {
        let mut written = None;
        if let (true, Some(ground)) = (self.in_turn.load(Ordering::Relaxed), self.ground) {
            written = companions::move_in_turn(self.session, self.parts, Way::Home, ground).await?;
        }
        let written = match written {
            Some(written) => written,
            None => self.counts(&self.session.text_rows(WHAT, self.write_sql).await?),
        };
        self.session.execute(WHAT, "set constraints all immediate").await?;
        Ok(written)
    }

    fn counts(&self, rows: &[Vec<Option<String>>]) -> Vec<u64> {
        let first = rows.first().into_iter().flatten();
        let counts = first.map(|count| count.as_deref().and_then(|count| count.parse().ok()).unwrap_or(0));
        counts.chain(std::iter::repeat(0)).take(self.parts.len()).collect()
    }

    /// Fills the batch's temporary tables with some of the rows.
    fn refill(&self, condition: &str) -> String {
        let fills: Vec<String> = self
            .parts
            .iter()
            .enumerate()
            .map(|(at, part)| {
                let (number, columns) = (at + 1, staged_columns(part));
                format!(
                    "delete from pg_temp.\"rowback_{number}\" where rowback_held is null; insert into \
                     pg_temp.\"rowback_{number}\" ({columns}) select {columns} from pg_temp.rowback_rows_{number} \
                     where {condition}"
                )
            })
            .collect();
        fills.join("; ")
    }

    async fn name(&self, refused: &Refusals) -> Result<Vec<Refused>, PgError> {
        let mut named = Vec::new();
        self.session.execute(WHAT, ZONE_OF_KEYS).await?;
        for (at, db) in refused {
            for (number, part) in self.parts.iter().enumerate() {
                let sql = format!(
                    "select {}::text from pg_temp.rowback_rows_{} as r where r.rowback_group = {}",
                    row_key_json(&part.key, part.action),
                    number + 1,
                    self.groups[*at]
                );
                let is_own = |table: &str| table == part.table.name.as_str();
                let message = match &db.table {
                    Some(table) if is_circle(self.parts) && !is_own(table) => {
                        format!("a row of {table} that it needs was refused: {}", db.message)
                    }
                    _ => db.message.clone(),
                };
                for row in self.session.text_rows(WHAT, &sql).await? {
                    let text = row.into_iter().next().flatten().unwrap_or_default();
                    let key = RowKey::parse(&text).unwrap_or_default();
                    named.push(Refused { table: part.table.clone(), key, message: message.clone() });
                }
            }
        }
        self.session.execute(WHAT, ZONE_OF_TRIGGERS).await?;
        Ok(named)
    }
}
