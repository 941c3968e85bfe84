//! The order of rows and how they are packed into batches: a parent is never in a later batch than its child, and rows
//! that refer to each other in a circle share one. Pure.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::{DiGraph, NodeIndex};

/// Rows of one component of tables, numbered 0..n, and who needs whom.
#[derive(Debug, Clone, Default)]
pub struct RowOrder {
    rows: usize,
    needs: Vec<(usize, usize)>,
}

impl RowOrder {
    /// `rows` rows without any references yet.
    pub fn new(rows: usize) -> Self {
        Self { rows, needs: Vec::new() }
    }

    /// Row `child` refers to row `parent`.
    pub fn needs(&mut self, child: usize, parent: usize) {
        if child != parent {
            self.needs.push((child, parent));
        }
    }

    /// These rows and all that need them, over any number of others.
    pub fn below(&self, rows: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &(child, parent) in &self.needs {
            children.entry(parent).or_default().push(child);
        }
        let mut open: Vec<usize> = rows.iter().copied().collect();
        let mut found = rows;
        while let Some(row) = open.pop() {
            let below = children.get(&row).into_iter().flatten();
            open.extend(below.copied().filter(|child| found.insert(*child)));
        }
        found
    }

    /// Groups of rows that need each other, parents first; within the freedom that is left, in the order of the rows.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut graph = DiGraph::<(), ()>::with_capacity(self.rows, self.needs.len());
        for _ in 0..self.rows {
            graph.add_node(());
        }
        for &(child, parent) in &self.needs {
            graph.add_edge(NodeIndex::new(child), NodeIndex::new(parent), ());
        }
        let mut groups: Vec<Vec<usize>> = petgraph::algo::tarjan_scc(&graph)
            .into_iter()
            .map(|members| {
                let mut rows: Vec<usize> = members.into_iter().map(NodeIndex::index).collect();
                rows.sort_unstable();
                rows
            })
            .collect();
        self.sort_by_depth(&mut groups);
        groups
    }

    /// Tarjan's order is parents first but follows the search; depth, then first row, follows the input.
    fn sort_by_depth(&self, groups: &mut [Vec<usize>]) {
        let mut group_of = vec![0usize; self.rows];
        for (number, rows) in groups.iter().enumerate() {
            rows.iter().for_each(|&row| group_of[row] = number);
        }
        let mut parents: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
        for &(child, parent) in &self.needs {
            if group_of[child] != group_of[parent] {
                parents[group_of[child]].push(group_of[parent]);
            }
        }
        let mut depth = vec![0usize; groups.len()];
        for number in 0..groups.len() {
            depth[number] = parents[number].iter().map(|&parent| depth[parent] + 1).max().unwrap_or(0);
        }
        let first: Vec<(usize, usize)> =
            groups.iter().enumerate().map(|(number, rows)| (depth[number], rows[0])).collect();
        let mut numbers: Vec<usize> = (0..groups.len()).collect();
        numbers.sort_by_key(|&number| first[number]);
        let sorted: Vec<Vec<usize>> = numbers.iter().map(|&number| groups[number].clone()).collect();
        groups.clone_from_slice(&sorted);
    }
}

/// Packs groups into batches of at most `most` rows; a group is never split, so a larger one is a batch of its own.
pub fn pack(groups: Vec<Vec<usize>>, most: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for group in groups {
        match batches.last_mut() {
            Some(batch) if batch.len() + group.len() <= most => batch.extend(group),
            _ => batches.push(group),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn circles_stay_together_and_parents_come_first() {
        let mut order = RowOrder::new(6);
        for (child, parent) in [(0, 5), (1, 2), (2, 1), (3, 1), (4, 4)] {
            order.needs(child, parent);
        }
        let groups = order.groups();
        assert_eq!(groups, vec![vec![1, 2], vec![4], vec![5], vec![0], vec![3]]);
        assert_eq!(pack(groups, 2), vec![vec![1, 2], vec![4, 5], vec![0, 3]]);
    }

    proptest! {
        #[test]
        fn no_child_is_in_an_earlier_batch(
            rows in 1usize..60,
            edges in prop::collection::vec((0usize..60, 0usize..60), 0..120),
            most in 1usize..20,
        ) {
            let mut order = RowOrder::new(rows);
            let edges: Vec<_> = edges.into_iter().map(|(c, p)| (c % rows, p % rows)).collect();
            edges.iter().for_each(|&(child, parent)| order.needs(child, parent));
            let batches = pack(order.groups(), most);
            let mut batch_of = vec![usize::MAX; rows];
            for (number, batch) in batches.iter().enumerate() {
                batch.iter().for_each(|&row| { assert_eq!(batch_of[row], usize::MAX); batch_of[row] = number; });
            }
            prop_assert!(batch_of.iter().all(|&batch| batch != usize::MAX));
            for (child, parent) in edges {
                prop_assert!(batch_of[parent] <= batch_of[child]);
            }
        }
    }
}
