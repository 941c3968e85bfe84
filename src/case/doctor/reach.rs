//! Which tables of live a recipe reaches, and what has to be done to each. Pure; told from the recipe and live's catalog,
//! so it is what could be needed, not what a certain backup will need.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, ForeignKey, Table, TriggerMode};
use crate::ident::TableName;
use crate::recipe::{Changed, Children, Kind, Links, Parents, Recipe, Recover, Triggers};

/// Tables by what a recovery could do to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Tables of which rows can be staged.
    pub(super) staged: BTreeSet<TableName>,
    /// Tables that must be readable: staged ones, parents that are only looked for, and what can refer to a row that undo
    /// would take away.
    pub(super) read: BTreeSet<TableName>,
    /// Tables that can get lost rows back; undo deletes these.
    pub(super) insert: BTreeSet<TableName>,
    /// Tables of which rows can be updated.
    pub(super) update: BTreeSet<TableName>,
    /// Tables that rows can leave for others, by `misrouted_to`; undo puts them back there.
    pub(super) leave: BTreeSet<TableName>,
}

impl Reach {
    /// Follows foreign keys as extraction does, but over the whole tables. Tables that are not in the catalog count as
    /// well: that they are missing is for somebody else to say.
    pub(super) fn of(recipe: &Recipe, catalog: &Catalog) -> Self {
        let mut reach = Self::default();
        for entry in &recipe.recover {
            reach.staged.insert(entry.table.clone());
            if is_followed(entry) {
                let taken = descend(entry, catalog);
                reach.staged.extend(taken.iter().cloned());
                reach.insert.extend(taken);
            } else {
                reach.update.insert(entry.table.clone());
            }
        }
        reach.add_transfers(recipe, catalog);
        reach.read.clone_from(&reach.staged);
        reach.read.extend(reach.leave.iter().cloned());
        reach.read.extend(parents(&reach.leave, catalog));
        let ups = parents(&reach.insert, catalog);
        reach.read.extend(ups.iter().cloned());
        if recipe.policy.parents == Parents::Missing {
            let all = ancestors(&reach.insert, catalog);
            reach.staged.extend(all.iter().cloned());
            reach.read.extend(all.iter().cloned());
            reach.insert.extend(all);
        }
        reach.add_updates(recipe, catalog);
        let enforced = catalog.foreign_keys.iter().filter(|fk| fk.is_enforced());
        let referring = enforced.filter(|fk| reach.insert.contains(&fk.parent)).map(|fk| fk.child.clone());
        reach.read.extend(referring.collect::<Vec<_>>());
        reach
    }

    /// What hangs on rows of the other table moves along where the right schema has a table of the same name.
    fn add_transfers(&mut self, recipe: &Recipe, catalog: &Catalog) {
        for entry in &recipe.recover {
            let Some(other) = &entry.misrouted_to else { continue };
            let below = closure(BTreeSet::from([other.clone()]), |table| {
                catalog.children_of(table).map(|fk| fk.child.clone()).collect()
            });
            for table in below.into_iter().filter(|table| table != other) {
                let twin = TableName::new(entry.table.schema.as_str(), table.name.as_str());
                if table.schema == other.schema && catalog.tables.contains_key(&twin) {
                    self.insert.insert(twin);
                    self.leave.insert(table);
                }
            }
            self.leave.insert(other.clone());
        }
    }

    fn add_updates(&mut self, recipe: &Recipe, catalog: &Catalog) {
        if recipe.recover.iter().any(|entry| is_followed(entry) && entry.links == Links::Repair) {
            let cut = |fk: &&ForeignKey| {
                fk.cuts_link() && self.staged.contains(&fk.child) && self.insert.contains(&fk.parent)
            };
            let relinked: Vec<TableName> =
                catalog.foreign_keys.iter().filter(cut).map(|fk| fk.child.clone()).collect();
            self.update.extend(relinked);
        }
        if recipe.policy.changed == Changed::Overwrite {
            self.update.extend(self.staged.iter().cloned());
        }
        // What a trigger made of an inserted row is set right by an update.
        if recipe.policy.triggers != Triggers::Disable {
            let meddles = |name: &&TableName| catalog.tables.get(*name).is_some_and(has_insert_trigger);
            let settled: Vec<TableName> = self.insert.iter().filter(meddles).cloned().collect();
            self.update.extend(settled);
        }
    }

    /// All tables that are written.
    pub(super) fn written(&self) -> BTreeSet<TableName> {
        self.insert.iter().chain(&self.update).chain(&self.leave).cloned().collect()
    }
}

fn has_insert_trigger(table: &Table) -> bool {
    table
        .triggers
        .iter()
        .any(|trigger| trigger.row_level && trigger.on_insert && trigger.mode != TriggerMode::Disabled)
}

/// Are the entry's rows gone from their table, so that what hung on them is looked for?
fn is_followed(entry: &Recover) -> bool {
    entry.kind == Kind::Deleted || entry.misrouted_to.is_some()
}

/// The entry's table and what hangs on it, however indirectly.
fn descend(entry: &Recover, catalog: &Catalog) -> BTreeSet<TableName> {
    let follows = |fk: &&ForeignKey| match &entry.children {
        Children::All => true,
        Children::None => false,
        Children::Only(tables) => tables.contains(&fk.child),
    };
    closure(BTreeSet::from([entry.table.clone()]), |table| {
        catalog.children_of(table).filter(follows).map(|fk| fk.child.clone()).collect()
    })
}

fn ancestors(tables: &BTreeSet<TableName>, catalog: &Catalog) -> BTreeSet<TableName> {
    closure(tables.clone(), |table| catalog.parents_of(table).map(|fk| fk.parent.clone()).collect())
}

fn parents(tables: &BTreeSet<TableName>, catalog: &Catalog) -> BTreeSet<TableName> {
    tables.iter().flat_map(|table| catalog.parents_of(table)).map(|fk| fk.parent.clone()).collect()
}

fn closure(
    mut found: BTreeSet<TableName>,
    next: impl Fn(&TableName) -> Vec<TableName>,
) -> BTreeSet<TableName> {
    let mut open: Vec<TableName> = found.iter().cloned().collect();
    while let Some(table) = open.pop() {
        for other in next(&table) {
            if found.insert(other.clone()) {
                open.push(other);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Action, Origin};
    use crate::ident::Ident;

    fn name(table: &str) -> TableName {
        TableName::new("public", table)
    }

    fn fk(child: &str, parent: &str, on_delete: Action) -> ForeignKey {
        ForeignKey {
            name: format!("{child}_{parent}_fkey"),
            child: name(child),
            parent: name(parent),
            columns: vec![(Ident::new(format!("{parent}_id")), Ident::new("id"))],
            operators: Vec::new(),
            paths: Vec::new(),
            on_delete,
            on_update: Action::NoAction,
            set_columns: Vec::new(),
            match_full: false,
            deferrable: false,
            origin: Origin::Catalog,
            carriers: vec![name(child)],
        }
    }

    /// items → orders → customers → tenants, reviews → customers (set null), logs → items.
    fn catalog() -> Catalog {
        let foreign_keys = vec![
            fk("items", "orders", Action::Cascade),
            fk("orders", "customers", Action::Cascade),
            fk("customers", "tenants", Action::NoAction),
            fk("reviews", "customers", Action::SetNull),
            fk("logs", "items", Action::NoAction),
        ];
        Catalog { foreign_keys, ..Catalog::default() }
    }

    fn reach(recipe: &str) -> [String; 4] {
        let recipe = Recipe::parse(recipe, std::path::Path::new("/")).unwrap();
        let Reach { staged, read, insert, update, .. } = Reach::of(&recipe, &catalog());
        [staged, read, insert, update].map(|tables| {
            tables.iter().map(|table| table.name.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        })
    }

    #[test]
    fn all_children_and_the_parents_they_need() {
        let all = "customers items logs orders reviews tenants";
        let found = reach("[[recover]]\ntable = 'customers'\nwhere = 'true'");
        assert_eq!(found, [all, all, all, "reviews"].map(str::to_owned));
    }

    #[test]
    fn children_and_parents_as_the_recipe_says() {
        let found = reach(
            "[[recover]]\ntable = 'orders'\nwhere = 'true'\nchildren = ['items']\n[policy]\nparents = 'none'",
        );
        assert_eq!(
            found,
            ["items orders", "customers items logs orders", "items orders", ""].map(str::to_owned)
        );
        let found = reach("[[recover]]\ntable = 'orders'\nwhere = 'true'\nchildren = 'none'");
        let up = "customers orders tenants";
        assert_eq!(found, [up, "customers items orders reviews tenants", up, ""].map(str::to_owned));
    }

    #[test]
    fn rows_of_another_tenant_leave_its_tables() {
        let recipe =
            "[[recover]]\ntable = 'customers'\nkind = 'misrouted'\nmisrouted_to = 'orders'\nwhere = 'true'";
        let recipe = Recipe::parse(recipe, std::path::Path::new("/")).unwrap();
        let found = Reach::of(&recipe, &catalog());
        assert_eq!(found.leave, BTreeSet::from([name("orders")]));
        assert!(found.insert.contains(&name("customers")) && found.update.len() == 1, "{found:?}");
        assert!(found.read.contains(&name("orders")) && found.written().contains(&name("orders")));
    }

    #[test]
    fn damaged_rows_are_only_updated() {
        let found = reach(
            "[[recover]]\ntable = 'customers'\nkind = 'corrupted'\ncolumns = ['email']\nwhere = 'true'\ndamaged = 'true'",
        );
        assert_eq!(found, ["customers", "customers", "", "customers"].map(str::to_owned));
    }
}
