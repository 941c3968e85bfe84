//! The foreign-key graph: its strongly connected components, parents first. Pure.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::{DiGraph, NodeIndex};

use super::ForeignKey;
use crate::ident::TableName;

/// A strongly connected component of tables: a single table, or tables that refer to each other in a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The tables, by name.
    pub tables: Vec<TableName>,
    /// Does it contain a reference inside itself (a cycle or a self-reference)?
    pub cyclic: bool,
}

/// Orders `tables` so that every parent's component comes before its children's. Foreign keys to or from other tables
/// are left out. The order depends on names only, never on the order of the input.
pub fn parents_first(tables: &BTreeSet<TableName>, foreign_keys: &[ForeignKey]) -> Vec<Component> {
    parents_first_with(tables, foreign_keys, &[])
}

/// The same where the tables of each list are of one component, whether or not they refer to each other.
pub fn parents_first_with(
    tables: &BTreeSet<TableName>,
    foreign_keys: &[ForeignKey],
    tied: &[Vec<&TableName>],
) -> Vec<Component> {
    let mut graph = DiGraph::<&TableName, ()>::new();
    let nodes: BTreeMap<&TableName, NodeIndex> =
        tables.iter().map(|table| (table, graph.add_node(table))).collect();
    let next = tied.iter().flat_map(|tied| {
        let tied: Vec<&TableName> = tied.iter().copied().filter(|table| tables.contains(*table)).collect();
        let next = tied.iter().copied().cycle().skip(1);
        tied.iter().copied().zip(next).collect::<Vec<_>>()
    });
    let edges: BTreeSet<(&TableName, &TableName)> = foreign_keys
        .iter()
        .map(|fk| (&fk.child, &fk.parent))
        .filter(|(child, parent)| tables.contains(*child) && tables.contains(*parent))
        .chain(next.filter(|(one, other)| one != other))
        .collect();
    for (child, parent) in &edges {
        graph.add_edge(nodes[child], nodes[parent], ());
    }
    // Tarjan gives a component after all that it points at; with child → parent edges that is parents first.
    let components = petgraph::algo::tarjan_scc(&graph).into_iter().map(|members| {
        let mut tables: Vec<TableName> = members.into_iter().map(|node| graph[node].clone()).collect();
        tables.sort();
        let cyclic = tables.len() > 1 || edges.contains(&(&tables[0], &tables[0]));
        Component { tables, cyclic }
    });
    by_depth(components.collect(), &edges)
}

/// Sorts by the longest way to a component without parents, then by name: the same for any order of discovery.
fn by_depth(components: Vec<Component>, edges: &BTreeSet<(&TableName, &TableName)>) -> Vec<Component> {
    let mut depth_of: BTreeMap<TableName, usize> = BTreeMap::new();
    let mut with_depth = Vec::with_capacity(components.len());
    for component in components {
        let parents = edges.iter().filter(|(child, _)| component.tables.contains(child));
        let outside = parents.filter(|(_, parent)| !component.tables.contains(parent));
        let depth = outside.filter_map(|(_, parent)| depth_of.get(*parent)).max().map_or(0, |deep| deep + 1);
        depth_of.extend(component.tables.iter().map(|table| (table.clone(), depth)));
        with_depth.push((depth, component));
    }
    with_depth.sort_by(|left, right| (left.0, &left.1.tables).cmp(&(right.0, &right.1.tables)));
    with_depth.into_iter().map(|(_, component)| component).collect()
}

/// The same order with the components at the end that hold one of `tables` or lie below one, and where these begin.
pub fn last_below(
    order: Vec<Component>,
    tables: &BTreeSet<TableName>,
    foreign_keys: &[ForeignKey],
) -> (Vec<Component>, usize) {
    let mut below = tables.clone();
    let mut open: Vec<TableName> = tables.iter().cloned().collect();
    while let Some(parent) = open.pop() {
        let children = foreign_keys.iter().filter(|fk| fk.parent == parent).map(|fk| &fk.child);
        open.extend(children.filter(|child| below.insert((*child).clone())).cloned());
    }
    let (last, mut first): (Vec<_>, Vec<_>) =
        order.into_iter().partition(|component| component.tables.iter().any(|table| below.contains(table)));
    let begins = first.len();
    first.extend(last);
    (first, begins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Action, Origin};

    fn fk(child: &str, parent: &str) -> ForeignKey {
        ForeignKey {
            name: format!("{child}_{parent}"),
            child: TableName::new("s", child),
            parent: TableName::new("s", parent),
            columns: vec![],
            operators: vec![],
            paths: vec![],
            on_delete: Action::NoAction,
            on_update: Action::NoAction,
            set_columns: vec![],
            match_full: false,
            deferrable: false,
            origin: Origin::Catalog,
            carriers: vec![],
        }
    }

    fn names(components: &[Component]) -> Vec<(Vec<&str>, bool)> {
        components
            .iter()
            .map(|c| (c.tables.iter().map(|table| table.name.as_str()).collect(), c.cyclic))
            .collect()
    }

    #[test]
    fn parents_come_first_and_cycles_stay_together() {
        let tables: BTreeSet<_> =
            ["item", "order", "staff", "store", "node", "alone"].map(|name| TableName::new("s", name)).into();
        let keys = [
            fk("item", "order"),
            fk("order", "store"),
            fk("staff", "store"),
            fk("store", "staff"),
            fk("node", "node"),
            fk("item", "elsewhere"),
        ];
        let wanted = vec![
            (vec!["alone"], false),
            (vec!["node"], true),
            (vec!["staff", "store"], true),
            (vec!["order"], false),
            (vec!["item"], false),
        ];
        assert_eq!(names(&parents_first(&tables, &keys)), wanted);
        let mut reversed = keys.to_vec();
        reversed.reverse();
        assert_eq!(names(&parents_first(&tables, &reversed)), wanted);
    }

    #[test]
    fn tied_tables_are_one_component_with_what_lies_between() {
        let tables: BTreeSet<_> =
            ["item", "order", "box", "store", "alone", "below"].map(|name| TableName::new("s", name)).into();
        let keys = [fk("item", "order"), fk("order", "box"), fk("box", "store"), fk("below", "store")];
        let [store, order, gone] = ["store", "order", "gone"].map(|name| TableName::new("s", name));
        let wanted = vec![
            (vec!["alone"], false),
            (vec!["box", "order", "store"], true),
            (vec!["below"], false),
            (vec!["item"], false),
        ];
        assert_eq!(names(&parents_first_with(&tables, &keys, &[vec![&store, &gone, &order]])), wanted);
        let untied = parents_first(&tables, &keys);
        assert_eq!(names(&parents_first_with(&tables, &keys, &[vec![&store], vec![]])), names(&untied));
    }
}
