//! What keeps rows where they are: the right table has a row of the key, or does not take them, or they would refer to
//! nothing there, or to something else than they do now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Station;
use super::gather::Movers;
use super::pairs::Pair;
use crate::catalog::{ForeignKey, Table, column_list};
use crate::diff::DiffError;
use crate::diff::blocked::Parents;
use crate::diff::drift::Fit;
use crate::diff::followers::CHUNK_ROWS;
use crate::diff::lookup::{RawKey, RawRow, StagedRow, StagedRows, by_key, key_of};
use crate::diff::probe::{Obstacle, obstacles};
use crate::diff::relation::push_relation;
use crate::diff::verdict::Verdict;
use crate::diff::verify_parents::in_live;
use crate::ident::{Ident, TableName};

/// What is needed to look at rows where they will be.
pub(super) struct Ground<'g, 's, 'a> {
    pub station: &'g Station<'s, 'a>,
    pub pairs: &'g [Pair<'a>],
}

/// Holds every row that cannot be where it belongs.
pub(super) async fn check(
    ground: &Ground<'_, '_, '_>,
    parents: &Parents,
    movers: &mut Movers,
) -> Result<(), DiffError> {
    let arriving = ground.arriving(movers);
    for (number, pair) in ground.pairs.iter().enumerate() {
        let rows: Vec<usize> = (0..movers.list.len()).filter(|&at| movers.list[at].pair == number).collect();
        if rows.is_empty() {
            continue;
        }
        let staged = ground.staged(pair, movers, &rows)?;
        staged.keys().for_each(|&at| movers.list[at].staged = true);
        ground.excluded(pair, movers, &rows);
        for chunk in rows.chunks(CHUNK_ROWS) {
            ground.taken(pair, movers, chunk).await?;
            for fk in ground.station.live.parents_of(&pair.to.live.name) {
                let upward = Upward { fk, parents, arriving: &arriving, staged: &staged };
                ground.parents(pair, &upward, movers, chunk).await?;
            }
        }
    }
    Ok(())
}

/// Keys by which rows will be referred to, by table and columns.
type Arriving = HashMap<(TableName, Vec<Ident>), HashSet<RawKey>>;

/// A foreign key upwards from where rows belong, and what is known of its parents.
struct Upward<'u> {
    fk: &'u ForeignKey,
    parents: &'u Parents,
    arriving: &'u Arriving,
    /// The backup's rows of the same keys, by place among the moving ones; columns as in the pair.
    staged: &'u HashMap<usize, Vec<Option<RawKey>>>,
}

impl<'a> Ground<'_, '_, 'a> {
    fn arriving(&self, movers: &Movers) -> Arriving {
        let mut found = Arriving::new();
        for mover in &movers.list {
            let (fit, after) = (&self.pairs[mover.pair].to, mover.after());
            for fk in self.station.live.children_of(&fit.live.name) {
                let columns: Vec<Ident> = fk.parent_columns().cloned().collect();
                if let Some(key) = fit.positions(&columns).and_then(|at| key_of(&after, &at)) {
                    found.entry((fit.live.name.clone(), columns)).or_default().insert(key);
                }
            }
        }
        found
    }

    /// The backup's rows of the right table, of the keys that move.
    fn staged(
        &self,
        pair: &Pair<'_>,
        movers: &Movers,
        rows: &[usize],
    ) -> Result<HashMap<usize, Vec<Option<RawKey>>>, DiffError> {
        let mut found = HashMap::new();
        let name = &pair.to.live.name;
        let input = self.station.input;
        let file = input.extracted.files.iter().find(|file| &file.table.table == name);
        let (Some(file), Some(fit)) = (file, self.station.fits.get(name)) else { return Ok(found) };
        let keys: HashMap<RawKey, usize> =
            rows.iter().filter_map(|&at| Some((key_of(&movers.list[at].row, &pair.to.key)?, at))).collect();
        let places: Vec<Option<usize>> =
            pair.to.columns.iter().map(|column| fit.position(&column.live.name)).collect();
        let mut staged = StagedRows::open(input.staging, file, fit)?;
        while let Some(row) = staged.next()? {
            if let Some(&at) = row.key(&fit.key).and_then(|key| keys.get(&key)) {
                let fields = places.iter().map(|place| place.map(|place| row.fields[place].clone()));
                found.insert(at, fields.collect());
            }
        }
        Ok(found)
    }

    /// Rows that were deleted on purpose.
    fn excluded(&self, pair: &Pair<'_>, movers: &mut Movers, rows: &[usize]) {
        let Some(court) = self.station.courts.get(&pair.to.live.name) else { return };
        let Some(tombstones) = court.tombstones else { return };
        let places: Vec<Option<usize>> =
            court.fit.columns.iter().map(|column| pair.to.position(&column.live.name)).collect();
        for &at in rows {
            let after = movers.list[at].after();
            let null = || RawKey::from(&b"\\N"[..]);
            let fields = places.iter().map(|place| place.map_or_else(null, |place| after[place].clone()));
            if tombstones.contains(&StagedRow::of(fields.collect(), String::new())) {
                let reason = format!("a row of {} is named in the tombstones", pair.to.live.name);
                movers.hold(at, Verdict::Excluded, reason);
            }
        }
    }

    /// Places that are taken, and values that the right table does not take.
    async fn taken(&self, pair: &Pair<'_>, movers: &mut Movers, chunk: &[usize]) -> Result<(), DiffError> {
        let session = self.station.session;
        let (to, name) = (&pair.to, &pair.to.live.name);
        let after: Vec<StagedRow> =
            chunk.iter().map(|&at| StagedRow::of(movers.list[at].after(), String::new())).collect();
        let after: Vec<&StagedRow> = after.iter().collect();
        let there = by_key(session, to, &after).await?;
        for (&at, _) in chunk.iter().zip(&there).filter(|(_, there)| there.is_some()) {
            let reason = format!("kept: {name} has a row of the key of what goes with it");
            movers.hold(at, Verdict::Changed, reason);
        }
        let found = obstacles(session, to, &after).await?;
        for (&at, found) in chunk.iter().zip(found) {
            let Some(obstacle) = found.first() else { continue };
            let leads = movers.list[at].leads;
            let verdict = match obstacle {
                Obstacle::Held { .. } if leads => Verdict::Recreated,
                Obstacle::Held { .. } => Verdict::Changed,
                _ => Verdict::Unfit,
            };
            let reason = obstacle.reason();
            movers.hold(at, verdict, if leads { reason } else { format!("kept: in {name} {reason}") });
        }
        Ok(())
    }

    /// Rows that would refer to nothing, or to another row than they do now.
    async fn parents(
        &self,
        pair: &Pair<'_>,
        upward: &Upward<'_>,
        movers: &mut Movers,
        chunk: &[usize],
    ) -> Result<(), DiffError> {
        let fk = upward.fk;
        let Some(positions) = pair.to.positions(fk.child_columns()) else { return Ok(()) };
        let arriving = upward.arriving.get(&(fk.parent.clone(), fk.parent_columns().cloned().collect()));
        let mut open: BTreeMap<RawKey, Vec<usize>> = BTreeMap::new();
        for &at in chunk {
            let Some(key) = fk.key_in(&movers.list[at].after(), &positions) else { continue };
            if let Some(block) = upward.parents.blocked(fk, &key) {
                let excluded = block.verdict == Verdict::Excluded;
                let verdict = if excluded { Verdict::Excluded } else { Verdict::Orphan };
                let reason = format!("hangs on {} that is {}: {}", fk.parent, block.verdict, block.reason);
                movers.hold(at, verdict, reason);
            } else if !arriving.is_some_and(|keys| keys.contains(&key)) && fk.when().is_none() {
                open.entry(key).or_default().push(at);
            }
        }
        let keys: Vec<&[u8]> = open.keys().map(|key| &**key).collect();
        let there = in_live(self.station.session, (&pair.to, upward.parents), fk, &positions, &keys).await?;
        let mut named: Vec<usize> = Vec::new();
        for (number, (key, rows)) in open.iter().enumerate() {
            if there.contains(&number) {
                let knows =
                    |at: &&usize| !knows_numbers(upward.staged.get(*at), &movers.list[**at].row, &positions);
                named.extend(rows.iter().filter(knows));
            } else if fk.is_enforced() && !upward.parents.is_recovered(fk, key) {
                let reason = format!(
                    "kept: {} of {} would refer to a row of {} that is not in live",
                    fk.name, fk.child, fk.parent
                );
                rows.iter().for_each(|at| movers.hold(*at, Verdict::Orphan, reason.clone()));
            }
        }
        self.strangers(pair, fk, &positions, (movers, &named)).await
    }

    /// Rows of which nothing tells by whose numbers they name their parents: fine where both schemas have the same parent.
    async fn strangers(
        &self,
        pair: &Pair<'_>,
        fk: &ForeignKey,
        positions: &[usize],
        (movers, rows): (&mut Movers, &[usize]),
    ) -> Result<(), DiffError> {
        let live = self.station.live;
        let same_columns =
            |other: &&ForeignKey| other.child_columns().eq(fk.child_columns()) && other.paths == fk.paths;
        let other = live.parents_of(&pair.from.live.name).find(same_columns).map(|other| &other.parent);
        if rows.is_empty() || other == Some(&fk.parent) {
            return Ok(());
        }
        let tables = live.tables.get(&fk.parent).zip(other.and_then(|other| live.tables.get(other)));
        let alike = match tables {
            Some((right, wrong)) => {
                let asked: Vec<RawRow> = rows.iter().map(|&at| movers.list[at].after()).collect();
                self.alike(&pair.to, fk, positions, (right, wrong), asked).await?
            }
            None => BTreeSet::new(),
        };
        for (_, &at) in rows.iter().enumerate().filter(|(number, _)| !alike.contains(number)) {
            let columns: Vec<Ident> = fk.child_columns().cloned().collect();
            let reason = format!(
                "kept: {} of {} may be a number of its own: {} has not the row that it names there",
                column_list(&columns),
                pair.from.live.name,
                fk.parent
            );
            movers.hold(at, Verdict::Changed, reason);
        }
        Ok(())
    }

    /// Numbers of the rows whose parents are equal in both tables.
    async fn alike(
        &self,
        fit: &Fit<'a>,
        fk: &ForeignKey,
        positions: &[usize],
        (right, wrong): (&Table, &Table),
        rows: Vec<RawRow>,
    ) -> Result<BTreeSet<usize>, DiffError> {
        let rows: Vec<StagedRow> = rows.into_iter().map(|row| StagedRow::of(row, String::new())).collect();
        let mut relation = String::new();
        push_relation(&mut relation, &rows.iter().collect::<Vec<_>>(), positions, fit);
        let names: Vec<String> = (1..=positions.len()).map(|at| format!("k{at}")).collect();
        let pairs = |alias: &str| {
            let columns = fk.parent_columns().enumerate();
            let pairs = columns.map(|(at, name)| {
                let refers = fk.referring_sql(at, &format!("k.k{}", at + 1));
                format!("{alias}.{}::text = {refers}::text", name.quoted())
            });
            pairs.collect::<Vec<_>>().join(" and ")
        };
        let equal: Vec<String> = right
            .column_names()
            .map(|name| match wrong.column(name) {
                Some(_) => format!("p.{0}::text is not distinct from q.{0}::text", name.quoted()),
                None => "false".to_owned(),
            })
            .collect();
        let sql = format!(
            "select k.n from {relation} as k(n, {}) join {} as p on {} join {} as q on {} where {}",
            names.join(", "),
            right.from_sql(),
            pairs("p"),
            wrong.from_sql(),
            pairs("q"),
            equal.join(" and ")
        );
        let what = format!("comparing {} with {}", right.name, wrong.name);
        let answers = self.station.session.text_rows(&what, &sql).await?;
        Ok(answers.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse().ok()).collect())
    }
}

/// Does the backup's row of the right table name the same parent? Then the number is one of that schema's.
fn knows_numbers(staged: Option<&Vec<Option<RawKey>>>, row: &[RawKey], positions: &[usize]) -> bool {
    staged.is_some_and(|staged| positions.iter().all(|&at| staged[at].as_deref() == Some(&*row[at])))
}
