//! A batch that one row spoils: rows that move, in the groups of the plan, rows to insert, in groups that need each other, rows
//! of several tables to update, in groups that hang on each other, or rows of one table to update, each by itself.
//! Groups are tried in ever fewer at a time, each time behind a savepoint, until the
//! ones that live refuses are alone. They stay as they are and are named; all others are written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use petgraph::graph::DiGraph;

use super::RowKey;
use super::companions::{self, Ground};
use super::isolate::{Refused, Writing, is_about_rows, refuses_everything, single};
use super::isolate_together::{self, updates};
use super::limits::{ZONE_OF_KEYS, ZONE_OF_TRIGGERS};
use crate::pg::{DbFacts, PgError, WriteSession};
use crate::plan::recall::{Way, staged_columns};
use crate::plan::{Action, Part, Reference, YIELDING, row_key_json};

const WHAT: &str = "finding the rows that live refuses";

/// Is it a batch of moving rows?
pub(super) fn moves(parts: &[Part]) -> bool {
    !parts.is_empty() && parts.iter().all(|part| part.action == Action::Move)
}

/// Is it a batch of rows to insert? They may need each other, in one table or several.
pub(super) fn inserts(parts: &[Part]) -> bool {
    !parts.is_empty() && parts.iter().all(|part| part.action == Action::Insert)
}

/// Can it be written group by group?
pub(super) fn has_groups(parts: &[Part]) -> bool {
    parts.len() == 1 || moves(parts) || inserts(parts) || updates(parts)
}

/// A batch that is tried.
struct Trial<'a> {
    session: &'a WriteSession,
    parts: &'a [Part],
    write_sql: &'a str,
    /// Their numbers.
    groups: Vec<i64>,
    /// Those of several rows, by place in the list.
    of_several: BTreeSet<usize>,
    /// By place in the list, which groups cannot come without it.
    needed_by: BTreeMap<usize, Vec<usize>>,
    ground: Option<Ground<'a>>,
    /// Did any of them only come through table by table?
    in_turn: AtomicBool,
}

/// Groups that were refused, by place in the list, with the server's words.
type Refusals = Vec<(usize, DbFacts)>;

/// Writes the groups of a batch; `declared` are references of the recipe. Returns how many rows moved, by part, and the rows refused. The temporary tables hold all
/// rows again afterwards.
pub(super) async fn write(
    session: &WriteSession,
    parts: &[Part],
    write_sql: &str,
    (writing, declared): (Writing, &[Reference]),
    ground: Option<Ground<'_>>,
) -> Result<(Vec<u64>, Vec<Refused>), PgError> {
    let (mut copies, mut lists) = (Vec::new(), Vec::new());
    for number in 1..=parts.len() {
        // Numbers of different tables differ by what is left when they are divided by the number of tables.
        let group = if moves(parts) {
            String::new()
        } else {
            format!(", pg_catalog.row_number() over () * {} + {number} as rowback_group", parts.len())
        };
        copies.push(format!(
            "create temporary table rowback_rows_{number} on commit drop as select r.*, pg_catalog.row_number() over () as rowback_n{group} from pg_temp.\"rowback_{number}\" as r \
             where r.rowback_held is null"
        ));
        lists.push(format!("select rowback_group from pg_temp.rowback_rows_{number}"));
    }
    session.execute(WHAT, &copies.join("; ")).await?;
    let needs = if inserts(parts) { group_by_needs(session, parts).await? } else { Vec::new() };
    let is_told = !updates(parts) || isolate_together::group(session, parts, declared).await?;
    let listed = format!(
        "select rowback_group, pg_catalog.count(*) from ({}) as g group by 1 order by 1",
        lists.join(" union all ")
    );
    let listed = session.text_rows(WHAT, &listed).await?;
    let number =
        |row: &[Option<String>], at: usize| row.get(at).and_then(Option::as_deref)?.parse::<i64>().ok();
    let groups: Vec<i64> = listed.iter().filter_map(|row| number(row, 0)).collect();
    let several = |(_, row): &(usize, &Vec<Option<String>>)| number(row, 1).is_some_and(|rows| rows > 1);
    let of_several = listed.iter().enumerate().filter(several).map(|(at, _)| at).collect();
    let mut needed_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (child, parent) in needs {
        if let (Ok(child), Ok(parent)) = (groups.binary_search(&child), groups.binary_search(&parent)) {
            needed_by.entry(parent).or_default().push(child);
        }
    }
    let in_turn = AtomicBool::new(false);
    let trial = Trial { session, parts, write_sql, groups, of_several, needed_by, ground, in_turn };
    if !is_told {
        return Ok((trial.write_for_good().await?, Vec::new()));
    }
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

/// Numbers the groups of rows that need each other by the foreign keys between the tables, those that others need first. Returns
/// which group needs which.
async fn group_by_needs(session: &WriteSession, parts: &[Part]) -> Result<Vec<(i64, i64)>, PgError> {
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
    let mut needs = DiGraph::<(), (), usize>::default();
    for _ in 0..=highest_group(session, parts).await? {
        let _row = needs.add_node(());
    }
    needs.extend_with_edges(&pairs);
    // With edges from child to parent a component comes after all that it points at.
    let mut group_of = vec![0_i64; needs.node_count()];
    for (group, rows) in (0_i64..).zip(petgraph::algo::kosaraju_scc(&needs)) {
        rows.into_iter().for_each(|row| group_of[row.index()] = group);
    }
    let between: BTreeSet<(i64, i64)> =
        pairs.iter().map(|(child, parent)| (group_of[*child], group_of[*parent])).collect();
    number_groups(session, parts, &group_of).await?;
    Ok(between.into_iter().filter(|(child, parent)| child != parent).collect())
}

/// The highest number of a row.
pub(super) async fn highest_group(session: &WriteSession, parts: &[Part]) -> Result<usize, PgError> {
    let lists =
        (1..=parts.len()).map(|number| format!("select rowback_group from pg_temp.rowback_rows_{number}"));
    let highest =
        format!("select max(rowback_group) from ({}) as g", lists.collect::<Vec<_>>().join(" union all "));
    let highest = single(&session.text_rows(WHAT, &highest).await?);
    Ok(highest.and_then(|highest| usize::try_from(highest).ok()).unwrap_or(0))
}

/// Gives each row the number of its group, by its own number so far.
pub(super) async fn number_groups(
    session: &WriteSession,
    parts: &[Part],
    group_of: &[i64],
) -> Result<(), PgError> {
    let (rows, groups): (Vec<String>, Vec<String>) =
        group_of.iter().enumerate().map(|(row, group)| (row.to_string(), group.to_string())).unzip();
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
        let mut in_vain: BTreeMap<usize, DbFacts> = BTreeMap::new();
        // A group may need a row of another: what was refused is tried again as long as that helps.
        loop {
            let (before, so_far) = (refused.len(), written.clone());
            refused.clear();
            while let Some((first, last)) = waiting.pop_front() {
                if first == last && in_vain.contains_key(&first) {
                    continue;
                }
                match self.some((first, last), &in_vain).await? {
                    Ok(counts) => written.iter_mut().zip(counts).for_each(|(sum, rows)| *sum += rows),
                    Err(db) if first == last => {
                        self.forgo(first, &db, &mut in_vain);
                        refused.push((first, db));
                    }
                    Err(_) => {
                        let middle = first + (last - first) / 2;
                        waiting.push_front((middle + 1, last));
                        waiting.push_front((first, middle));
                    }
                }
            }
            if refused.is_empty() || written == so_far || refused.len() == before {
                refused.extend(in_vain);
                refused.sort_by_key(|(at, _)| *at);
                return Ok((written, refused));
            }
            let again: BTreeSet<usize> =
                refused.iter().map(|(at, _)| *at).chain(in_vain.into_keys()).collect();
            waiting = again.into_iter().map(|at| (at, at)).collect();
            in_vain = BTreeMap::new();
        }
    }

    /// What needs a refused group is not tried: its links would lead nowhere.
    fn forgo(&self, refused: usize, db: &DbFacts, in_vain: &mut BTreeMap<usize, DbFacts>) {
        let message = format!("a row that it needs was refused: {}", db.message);
        let mut open = vec![refused];
        while let Some(at) = open.pop() {
            for &child in self.needed_by.get(&at).into_iter().flatten() {
                // Nothing raised for it: whether a trigger refuses everything is told by rows that were tried.
                let db =
                    DbFacts { message: message.clone(), sqlstate: "23503".to_owned(), ..DbFacts::default() };
                if child != refused && in_vain.insert(child, db).is_none() {
                    open.push(child);
                }
            }
        }
    }

    async fn some(
        &self,
        (first, last): (usize, usize),
        in_vain: &BTreeMap<usize, DbFacts>,
    ) -> Result<Result<Vec<u64>, DbFacts>, PgError> {
        let without = in_vain.range(first..=last).map(|(at, _)| self.groups[*at].to_string());
        let fill = self.refill(&format!(
            "rowback_group between {} and {} and rowback_group <> all ('{{{}}}'::int8[])",
            self.groups[first],
            self.groups[last],
            without.collect::<Vec<_>>().join(",")
        ));
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
                let alone = first == last && self.of_several.contains(&first);
                Ok(Err(if alone { self.first_reason(&fill, db).await? } else { db }))
            }
            Err(error) => Err(error),
        }
    }

    /// A row that is left out since its place is taken leaves those of its circle without a parent, of which the server speaks:
    /// what has its place is the reason.
    async fn first_reason(&self, fill: &str, db: DbFacts) -> Result<DbFacts, PgError> {
        let insisting = self.write_sql.replace(YIELDING, "");
        if !inserts(self.parts) || db.sqlstate != "23503" || insisting == self.write_sql {
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
                     where {condition} order by rowback_n"
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
                let mut others = self.parts.iter().filter(|other| other.table != part.table);
                let mut is_of_another = |name: &str| others.any(|other| other.table.name.as_str() == name);
                let message = match &db.table {
                    Some(table) if inserts(self.parts) && is_of_another(table) => {
                        format!("a row of {table} that it needs was refused: {}", db.message)
                    }
                    // A foreign key's words name both sides.
                    Some(table) if updates(self.parts) && is_of_another(table) && db.sqlstate != "23503" => {
                        format!("a row of {table} that moves with it was refused: {}", db.message)
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
