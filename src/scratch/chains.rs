//! References inside tables that refer to themselves or to each other, followed on the dump's text: one scan keeps both
//! ends of every reference, packed, and tells which keys can be reached. Nothing is loaded here, and what is told is a
//! superset again: PostgreSQL follows the references once more over the loaded rows.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::choice::{Choice, ChoiceFilter};
use super::filter::{Lines, SLOTS, packed_key};
use super::load::Pass;
use super::{RestoreError, Scratch};
use crate::backup::RowFilter;
use crate::cancel::StopOnDrop;
use crate::ident::{Ident, TableName};
use crate::progress::Step;

/// A reference between two of the tables, by one column whose values have one text each.
#[derive(Debug, Clone)]
pub struct Link {
    /// The table that refers.
    pub child: TableName,
    /// The table referred to.
    pub parent: TableName,
    /// The column that refers.
    pub child_column: Ident,
    /// The column referred to.
    pub parent_column: Ident,
}

/// A row's place in the web of references: the value by which one of the links reaches it.
type Node = (usize, u128);

/// From the value by which a row refers, to the values by which others refer to the row.
type Steps = Vec<(Node, Node)>;

/// What a scan gathers.
#[derive(Debug, Default)]
struct Web {
    steps: Steps,
    /// Nodes of rows that are wanted whatever they refer to.
    starts: Vec<Node>,
    /// Something was not spelled as a server spells it, or there was too much of it.
    gave_up: bool,
}

impl Scratch {
    /// The keys of each link that rows reach from `starts`, and from the rows that `seeds` wants of each table. `None`
    /// when the text does not tell, or what must be remembered takes more memory than there is.
    pub async fn reach(
        &self,
        links: &[Link],
        seeds: &BTreeMap<TableName, Choice>,
        starts: Vec<Node>,
    ) -> Result<Option<Vec<HashSet<u128>>>, RestoreError> {
        let web = Arc::new(Mutex::new(Web { starts, ..Web::default() }));
        let most = self.loading.keys_bytes() / (2 * size_of::<(Node, Node)>());
        let tables: Vec<String> = seeds.keys().map(ToString::to_string).collect();
        self.begin(&tables);
        let mut readable = true;
        for (table, seed) in seeds {
            readable = readable && self.scan(table, links, seed, most, &web).await?;
        }
        self.end(&tables);
        let mut web = web.lock().unwrap_or_else(PoisonError::into_inner);
        if web.gave_up || !readable {
            return Ok(None);
        }
        let starts = std::mem::take(&mut web.starts);
        Ok(Some(reached(links.len(), &mut web.steps, starts)))
    }

    /// Adds what the rows of `table` refer to; `false` when its columns do not tell.
    async fn scan(
        &self,
        table: &TableName,
        links: &[Link],
        seed: &Choice,
        most: usize,
        web: &Arc<Mutex<Web>>,
    ) -> Result<bool, RestoreError> {
        let mut rows_read = 0;
        for stream in self.streams_of(table)? {
            let Some(scan) = Scan::new(table, links, seed, &stream.columns, most, web.clone()) else {
                return Ok(false);
            };
            let stop = StopOnDrop(self.cancel.child());
            let (backup, cancel, progress) = (self.backup.clone(), stop.0.clone(), self.progress.clone());
            let read = tokio::task::spawn_blocking(move || {
                let counts = backup.read_rows(&stream.stored_as, &scan, &cancel, &mut |_| Ok(()))?;
                progress.advance(Step::Load, counts.rows_read);
                Ok::<_, RestoreError>(counts.rows_read)
            });
            rows_read += read.await.map_err(RestoreError::Thread)??;
        }
        self.passes.lock().await.push(Pass {
            table: table.clone(),
            filter: "only its references".to_owned(),
            why: "it refers to itself, directly or through others; nothing is loaded by this pass".to_owned(),
            rows_read,
            rows_kept: 0,
        });
        Ok(true)
    }
}

/// All nodes that steps lead to, by link, the starts included.
fn reached(links: usize, steps: &mut Steps, starts: Vec<Node>) -> Vec<HashSet<u128>> {
    steps.sort_unstable();
    let mut found = vec![HashSet::new(); links];
    let mut open = starts;
    while let Some(node) = open.pop() {
        if !found[node.0].insert(node.1) {
            continue;
        }
        let first = steps.partition_point(|(from, _)| *from < node);
        open.extend(steps[first..].iter().take_while(|(from, _)| *from == node).map(|(_, to)| *to));
    }
    found
}

/// Looks at every row of a stream and keeps none.
struct Scan {
    positions: Vec<usize>,
    /// Links by which the rows refer, with the slot of the column.
    outwards: Vec<(usize, usize)>,
    /// Links by which the rows are referred to.
    inwards: Vec<(usize, usize)>,
    seed: ChoiceFilter,
    most: usize,
    web: Arc<Mutex<Web>>,
}

impl Scan {
    fn new(
        table: &TableName,
        links: &[Link],
        seed: &Choice,
        columns: &[Ident],
        most: usize,
        web: Arc<Mutex<Web>>,
    ) -> Option<Self> {
        let position = |wanted: &Ident| columns.iter().position(|column| column == wanted);
        let ends = |of: fn(&Link) -> (&TableName, &Ident)| -> Option<Vec<(usize, usize)>> {
            let own = links.iter().enumerate().filter(|(_, link)| of(link).0 == table);
            own.map(|(at, link)| Some((at, position(of(link).1)?))).collect()
        };
        let outwards = ends(|link| (&link.child, &link.child_column))?;
        let inwards = ends(|link| (&link.parent, &link.parent_column))?;
        let mut positions: Vec<usize> = outwards.iter().chain(&inwards).map(|(_, at)| *at).collect();
        positions.sort_unstable();
        positions.dedup();
        let slots = |ends: Vec<(usize, usize)>| -> Option<Vec<(usize, usize)>> {
            ends.into_iter().map(|(link, at)| Some((link, positions.binary_search(&at).ok()?))).collect()
        };
        let (outwards, inwards) = (slots(outwards)?, slots(inwards)?);
        let seed = ChoiceFilter::new(seed, &[], columns);
        (positions.len() <= SLOTS).then_some(Self { positions, outwards, inwards, seed, most, web })
    }
}

/// The nodes of a row at these ends; `None` when one is not as a server spells it. NULL refers to nothing.
fn nodes(ends: &[(usize, usize)], fields: &Lines<'_>) -> Option<Vec<Node>> {
    let mut nodes = Vec::with_capacity(ends.len());
    for (link, slot) in ends {
        if let Some(key) = packed_key(fields.field(*slot)?)? {
            nodes.push((*link, key));
        }
    }
    Some(nodes)
}

impl RowFilter for Scan {
    fn keep(&self, row: &[u8]) -> bool {
        let fields = Lines::new(row, &self.positions);
        let (from, to) = (nodes(&self.outwards, &fields), nodes(&self.inwards, &fields));
        let mut web = self.web.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(from), Some(to)) = (from, to) else {
            web.gave_up = true;
            return false;
        };
        if web.gave_up {
            return false;
        }
        web.steps.extend(from.iter().flat_map(|from| to.iter().map(|to| (*from, *to))));
        if self.seed.keep(row) {
            web.starts.extend(to);
        }
        web.gave_up = web.steps.len() + web.starts.len() > self.most;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_the_starts_is_reached_and_nothing_else() {
        let step = |from: u128, to: u128| ((0, from), (0, to));
        let mut steps =
            vec![step(1, 2), step(2, 3), step(3, 1), step(9, 8), ((0, 3), (1, 30)), ((1, 30), (0, 4))];
        let found = reached(2, &mut steps, vec![(0, 2)]);
        assert_eq!(found, [HashSet::from([2, 3, 1, 4]), HashSet::from([30])]);
        assert_eq!(reached(2, &mut steps, Vec::new()), [HashSet::new(), HashSet::new()]);
    }
}
