//! What a person writes who is told of the accident: one of three ways to say which rows are meant, and a policy.

use std::collections::BTreeSet;
use std::path::Path;

use super::dice::Dice;
use super::model::{Content, Key};
use super::schema::{Schema, Table, part};
use super::story::Accident;

/// How the recipe knows what the accident did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Conditions.
    Where,
    /// The statements, run again.
    Replay,
    /// A second backup.
    After,
}

/// The choices of a recipe.
#[derive(Debug)]
pub struct Choices {
    pub means: Means,
    pub repoint: bool,
    /// Rows of one table that were deleted on purpose, too.
    pub erased: BTreeSet<Key>,
    /// Whether `columns` are named where they need not be.
    columns: bool,
    /// Are links of one column that lead elsewhere called misrouted, where conditions tell?
    pub misrouted: bool,
}

impl Choices {
    /// Any.
    pub fn random(schema: &Schema, taken: &BTreeSet<Key>, dice: &mut Dice) -> Self {
        let means = dice.weighted(&[(50, Means::Where), (25, Means::Replay), (25, Means::After)]);
        let mut erased = BTreeSet::new();
        // Counters of rows that stay away are nobody's business.
        let counted = schema.tables.iter().any(|table| !table.counters.is_empty());
        if dice.chance(20) && !counted && !taken.is_empty() {
            let all: Vec<&Key> = taken.iter().collect();
            let table = dice.pick(&all).table;
            let of_table: Vec<&Key> = all.into_iter().filter(|key| key.table == table).collect();
            erased.extend((0..dice.between(1, 3)).map(|_| (*dice.pick(&of_table)).clone()));
        }
        // What a trigger counts differs as well, and is no damage.
        let columns = counted || dice.chance(50);
        Self { means, repoint: dice.chance(30), erased, columns, misrouted: false }
    }

    /// Can the recipe tell what the accident took from what was deleted later? A replay sees nothing of references that only
    /// the recipe knows.
    pub fn proves(&self, schema: &Schema) -> bool {
        let declared = || schema.tables.iter().flat_map(|table| &table.links).any(|link| link.declared);
        match self.means {
            Means::Where => false,
            Means::Replay => !declared(),
            Means::After => true,
        }
    }

    /// The text.
    pub fn recipe(&self, schema: &Schema, accident: &Accident, (left, after): (&Content, &Path)) -> String {
        let mut text = String::new();
        if self.means == Means::After {
            text.push_str(&format!("[backup]\nafter = {}\n\n", quote(&after.display().to_string())));
        }
        for (at, (table, condition)) in accident.entries.iter().enumerate() {
            let which = match self.means {
                Means::Replay if at > 0 => continue,
                Means::Replay => format!("replay = {}", quote(&accident.body)),
                Means::Where | Means::After => format!("where = {}", quote(condition)),
            };
            let table = schema.tables.iter().find(|one| one.name == *table).unwrap();
            text.push_str(&format!("[[recover]]\ntable = {}\n{which}\n\n", name(table)));
        }
        for damage in &accident.damages {
            let table = &schema.tables[damage.table];
            let stayed =
                left.tables[damage.table].values().any(|row| part(row, &damage.columns) == damage.values);
            if self.means == Means::Replay && !stayed {
                // All that it overwrote, it deleted: a recipe that asks for such rows is refused.
                continue;
            }
            let columns = format!("columns = {}\n", damage.column_list(table));
            let columns = if self.columns || self.means == Means::Where { columns } else { String::new() };
            let which = match self.means {
                Means::Replay => format!("replay = {}", quote(&accident.body)),
                Means::After => format!("where = {}", quote(&damage.condition)),
                Means::Where => format!(
                    "where = {}\ndamaged = {}",
                    quote(&damage.condition),
                    quote(&damage.damaged(schema))
                ),
            };
            let is_owner = damage.is_link && damage.columns.len() == 1 && self.means == Means::Where;
            let what = if self.misrouted && is_owner {
                let owner = quote(&table.columns[damage.columns[0]].name);
                format!("kind = \"misrouted\"\nowner = {owner}\n")
            } else {
                format!("kind = \"corrupted\"\n{columns}")
            };
            text.push_str(&format!("[[recover]]\ntable = {}\n{what}{which}\n\n", name(table)));
        }
        for table in &schema.tables {
            for link in table.links.iter().filter(|link| link.declared) {
                let parent = &schema.tables[link.parent];
                let end = |table: &Table, columns: &[usize]| {
                    quote(&format!("public.{}({})", super::schema::quoted(&table.name), table.names(columns)))
                };
                text.push_str(&format!(
                    "[[foreign_key]]\nfrom = {}\nto = {}\n\n",
                    end(table, &link.columns),
                    end(parent, &link.parent_columns)
                ));
            }
        }
        text.push_str("[policy]\n");
        if self.repoint {
            text.push_str("recreated = \"repoint\"\n");
        }
        if accident.truncates && schema.tables.iter().any(|table| !table.counters.is_empty()) {
            // TRUNCATE fires no trigger of rows, so nothing was counted down: a known limit, with this way round.
            text.push_str("triggers = \"disable\"\n");
        }
        if let Some(key) = self.erased.first() {
            text.push_str(&format!(
                "exclude_keys = {{ {} = \"erased.csv\" }}\n",
                name(&schema.tables[key.table])
            ));
        }
        text
    }

    /// The file of those who must stay away.
    pub fn erased_csv(&self, schema: &Schema) -> Option<String> {
        let table = &schema.tables[self.erased.first()?.table];
        let field = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let line = |fields: Vec<&str>| fields.into_iter().map(field).collect::<Vec<_>>().join(",") + "\n";
        let mut text = line(table.key.iter().map(|&at| table.columns[at].name.as_str()).collect());
        for key in &self.erased {
            text.push_str(&line(key.values.iter().map(|value| value.as_deref().unwrap()).collect()));
        }
        Some(text)
    }

    /// Lost rows that must stay away: those who are named, and whatever of the lost would have gone with them. Others come
    /// back with the link cut, as PostgreSQL leaves it.
    pub fn stays_away(&self, schema: &Schema, before: &Content, taken: &BTreeSet<Key>) -> BTreeSet<Key> {
        let mut found = self.erased.clone();
        loop {
            let hangs = |key: &&Key| {
                let row = &before.tables[key.table][&key.values];
                schema.tables[key.table].links.iter().filter(|link| !link.delete.starts_with("set")).any(
                    |link| {
                        let wanted = part(row, &link.columns);
                        !wanted.contains(&None)
                            && found.iter().filter(|parent| parent.table == link.parent).any(|parent| {
                                part(&before.tables[parent.table][&parent.values], &link.parent_columns)
                                    == wanted
                            })
                    },
                )
            };
            let new: Vec<Key> =
                taken.iter().filter(|key| !found.contains(key)).filter(hangs).cloned().collect();
            if new.is_empty() {
                return found;
            }
            found.extend(new);
        }
    }
}

fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn name(table: &Table) -> String {
    quote(&format!("public.{}", super::schema::quoted(&table.name)))
}
