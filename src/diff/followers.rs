//! Which rows of live hang on rows that move, over all foreign keys of a convoy.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use petgraph::unionfind::UnionFind;

use super::DiffError;
use super::convoy::{Convoy, Edge};
use super::drift::Fit;
use super::lookup::{RawKey, RawRow, StagedRow, key_of, text};
use super::relation::push_relation;
use super::verdict::{Evidence, Verdict};
use crate::catalog::ForeignKey;
use crate::pg::ReadSession;
use crate::value::copy_text::fields;

/// Rows that are asked about together.
pub(super) const CHUNK_ROWS: usize = 1000;

/// True values by position in a fit's columns: raw COPY fields.
pub(super) type Truth = BTreeMap<usize, RawKey>;

/// A row that moves.
pub(super) struct Moving {
    /// Number of its table in the convoy.
    pub wagon: usize,
    /// The leading row's place in the chunk.
    pub leader: usize,
    /// As live has it.
    pub live: RawRow,
    /// What it will hold.
    pub truth: Truth,
    /// All columns of the references by which it hangs on the convoy.
    pub bound: BTreeSet<usize>,
    /// Does PostgreSQL move it?
    pub cascades: bool,
    /// Is it the leading row itself?
    pub leads: bool,
    /// What became of it.
    pub verdict: Verdict,
    /// How we know.
    pub evidence: Evidence,
    /// One line for the report.
    pub why: String,
}

impl Moving {
    /// The whole row when it has moved.
    pub fn after(&self) -> RawRow {
        let mut row = self.live.clone();
        for (at, value) in &self.truth {
            row[*at].clone_from(value);
        }
        row
    }
}

/// Leading rows that stay: by place, with the verdict and one line.
pub(super) type Held = BTreeMap<usize, (Verdict, String)>;

/// What ties leading rows to each other, and what keeps them where they are.
pub(super) struct Ties {
    sets: UnionFind<usize>,
    held: Held,
}

impl Ties {
    /// Of so many leading rows, each by itself.
    pub fn new(leaders: usize) -> Self {
        Self { sets: UnionFind::new(leaders), held: Held::new() }
    }

    /// Both move, or none.
    pub fn tie(&mut self, one: usize, other: usize) {
        self.sets.union(one, other);
    }

    /// The leading row cannot move, for this reason; the first one counts.
    pub fn hold(&mut self, leader: usize, verdict: Verdict, reason: String) {
        self.held.entry(leader).or_insert((verdict, reason));
    }

    /// Who stays, with all that can only move together with it, and which leading rows are one group.
    pub fn settle(self) -> (Held, Vec<usize>) {
        let groups = self.sets.into_labeling();
        let mut held = self.held;
        let mut stays: HashMap<usize, String> = HashMap::new();
        for (leader, (_, reason)) in &held {
            stays.entry(groups[*leader]).or_insert_with(|| reason.clone());
        }
        if !stays.is_empty() {
            for (leader, group) in groups.iter().enumerate() {
                let Some(reason) = stays.get(group) else { continue };
                let reason = || format!("kept: it can only move with others, of which one is {reason}");
                held.entry(leader).or_insert_with(|| (Verdict::Changed, reason()));
            }
        }
        (held, groups)
    }
}

/// Places of rows, by table of the convoy and key.
type Known = HashMap<(usize, RawKey), usize>;

/// Follows the foreign keys downwards from the leading rows until nothing new is found.
pub(super) async fn gather(
    session: &ReadSession,
    convoy: &Convoy<'_>,
    moving: &mut Vec<Moving>,
    ties: &mut Ties,
) -> Result<(), DiffError> {
    let mut known = Known::new();
    for (at, row) in moving.iter().enumerate() {
        if let Some(key) = key_of(&row.live, &convoy.wagons[row.wagon].fit.key) {
            known.insert((row.wagon, key), at);
        }
    }
    let mut from = 0;
    while from < moving.len() {
        let until = moving.len();
        for (number, wagon) in convoy.wagons.iter().enumerate() {
            for edge in &wagon.edges {
                let fresh: Vec<usize> = (from..until).filter(|&at| drags(edge, &moving[at])).collect();
                for chunk in fresh.chunks(CHUNK_ROWS) {
                    for found in children(session, convoy, number, edge, moving, chunk).await? {
                        take(convoy, (number, edge), found, (moving, &mut known), ties);
                    }
                }
            }
        }
        from = until;
    }
    Ok(())
}

/// Adds one follower, or what this way to it says to a follower that is known.
fn take(
    convoy: &Convoy<'_>,
    (number, edge): (usize, &Edge<'_>),
    (at, child): (usize, RawRow),
    (moving, known): (&mut Vec<Moving>, &mut Known),
    ties: &mut Ties,
) {
    let (parent, fit) = (&moving[at], &convoy.wagons[number].fit);
    let mut truth = Truth::new();
    if let Some(beside) = &edge.beside {
        let (above, own) = beside.owner;
        let carries = child[own] == parent.live[above] && beside.carry.knows(&child, &beside.names);
        if !carries || convoy.wagons[number].holds(&child, own) {
            return;
        }
        truth.extend(parent.truth.get(&above).map(|value| (own, value.clone())));
    }
    for (at, (up, down)) in edge.pairs.iter().enumerate() {
        let Some(value) = parent.truth.get(up) else { continue };
        let field = truth.get(down).unwrap_or(&child[*down]);
        match edge.fk.refer(at, field, value) {
            Ok(new) => truth.insert(*down, new),
            Err(problem) => {
                let reason = format!(
                    "kept: a row of {} cannot follow: {} {problem}",
                    fit.live.name,
                    edge.fk.child_end(at)
                );
                return ties.hold(parent.leader, Verdict::Changed, reason);
            }
        };
    }
    let bound = edge.pairs.iter().map(|(_, down)| *down);
    let Some(key) = key_of(&child, &fit.key) else { return };
    if let Some(&twin) = known.get(&(number, key.clone())) {
        let leader = parent.leader;
        let twin = &mut moving[twin];
        // It goes home with the first that leads to it; another may be in a later batch.
        let agrees =
            twin.leader == leader && truth.iter().all(|(at, value)| twin.truth.get(at) == Some(value));
        if edge.beside.is_some() && !agrees {
            return;
        }
        ties.tie(twin.leader, leader);
        twin.bound.extend(bound);
        if !add(&mut twin.truth, truth) {
            let reason =
                format!("kept: a row of {} hangs on rows that belong to different owners", fit.live.name);
            ties.hold(leader, Verdict::Changed, reason);
        }
        return;
    }
    known.insert((number, key), moving.len());
    let told =
        edge.beside.as_ref().map_or("", |_| ": in the backup it had the owner of the row that it hangs on");
    moving.push(Moving {
        wagon: number,
        leader: parent.leader,
        live: child,
        truth,
        bound: bound.collect(),
        cascades: convoy.cascades && edge.beside.is_none(),
        leads: false,
        verdict: Verdict::Misrouted,
        evidence: Evidence::Cascade,
        why: format!("follows {} by {}{told}", edge.fk.parent, edge.fk.name),
    });
}

/// Does the row's move change what the foreign key refers to?
fn drags(edge: &Edge<'_>, row: &Moving) -> bool {
    let moves = |up: &usize| row.truth.contains_key(up);
    let beside = edge.beside.as_ref().is_some_and(|beside| moves(&beside.owner.0));
    row.wagon == edge.parent && (beside || edge.pairs.iter().any(|(up, _)| moves(up)))
}

/// Adds what another way to a row says of it. Do they agree on where it goes?
fn add(known: &mut Truth, truth: Truth) -> bool {
    truth.into_iter().all(|(at, value)| *known.entry(at).or_insert_with(|| value.clone()) == value)
}

/// Live's rows that hang on the given moving rows by an edge, each with the place of its parent.
async fn children(
    session: &ReadSession,
    convoy: &Convoy<'_>,
    number: usize,
    edge: &Edge<'_>,
    moving: &[Moving],
    parents: &[usize],
) -> Result<Vec<(usize, RawRow)>, DiffError> {
    let (parent, child) = (&convoy.wagons[edge.parent].fit, &convoy.wagons[number].fit);
    let positions: Vec<usize> = edge.pairs.iter().map(|(up, _)| *up).collect();
    let with_key: Vec<usize> =
        parents.iter().copied().filter(|&at| key_of(&moving[at].live, &positions).is_some()).collect();
    if with_key.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<StagedRow> =
        with_key.iter().map(|&at| StagedRow::of(moving[at].live.clone(), String::new())).collect();
    let rows: Vec<&StagedRow> = rows.iter().collect();
    let reference = Reference { fk: edge.fk, parent, child, pairs: &edge.pairs };
    let found = referring(session, &reference, &rows).await?;
    Ok(found.into_iter().filter_map(|(number, row)| Some((*with_key.get(number)?, row))).collect())
}

/// A foreign key between two tables.
pub(super) struct Reference<'r, 'a> {
    /// The reference.
    pub fk: &'r ForeignKey,
    /// The table referred to.
    pub parent: &'r Fit<'a>,
    /// The table that refers.
    pub child: &'r Fit<'a>,
    /// Positions of parent and child column, pair by pair.
    pub pairs: &'r [(usize, usize)],
}

/// Live's rows that refer to the given rows of the parent, each with the number of the row that it refers to.
pub(super) async fn referring(
    session: &ReadSession,
    reference: &Reference<'_, '_>,
    rows: &[&StagedRow],
) -> Result<Vec<(usize, RawRow)>, DiffError> {
    let Reference { fk, parent, child, pairs } = *reference;
    let positions: Vec<usize> = pairs.iter().map(|(up, _)| *up).collect();
    let names: Vec<String> =
        child.columns.iter().map(|column| format!("c.{}", column.live.name.quoted())).collect();
    let keys: Vec<String> = (1..=positions.len()).map(|at| format!("k{at}")).collect();
    let cast = if fk.is_enforced() { "" } else { "::text" };
    let equal: Vec<String> = pairs
        .iter()
        .zip(&keys)
        .enumerate()
        .map(|(at, ((_, down), key))| {
            let equals = fk.operator(at);
            let refers = fk.referring_sql(at, &format!("c.{}", child.columns[*down].live.name.quoted()));
            format!("k.{key}{cast} {equals} {refers}{cast}")
        })
        .collect();
    let source = match fk.when() {
        Some(when) => format!("(select * from {} where (\n{when}\n)) as c", child.live.from_sql()),
        None => format!("{} as c", child.live.from_sql()),
    };
    let by_key: Vec<String> =
        child.key.iter().map(|&at| format!(", c.{}", child.columns[at].live.name.quoted())).collect();
    let mut sql = format!("copy (select k.n, {} from ", names.join(", "));
    push_relation(&mut sql, rows, &positions, parent);
    sql.push_str(&format!(
        " as k(n, {}) join {source} on {} order by k.n{}) to stdout",
        keys.join(", "),
        equal.join(" and "),
        by_key.concat()
    ));
    let what = format!("looking for rows of {} that move along", child.live.name);
    let mut answer = session.copy_out(&what, &sql).await?;
    let mut found = Vec::new();
    while let Some(row) = answer.next_row().await? {
        let mut parts = fields(&row);
        let ordinal = parts.next().and_then(|field| text(field)?.parse::<usize>().ok());
        found.extend(ordinal.map(|at| (at, parts.map(RawKey::from_slice).collect())));
    }
    Ok(found)
}
