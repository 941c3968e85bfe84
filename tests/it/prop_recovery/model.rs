//! What a recovery must have done, worked out from what the database held before the accident, after it, and before the
//! recovery: knows nothing of rowback.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::{Schema, Table, Value, part, quoted};
use crate::support::TestDb;

/// A row's table and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub table: usize,
    pub values: Vec<Value>,
}

/// Rows by table and key, values as PostgreSQL prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub tables: Vec<BTreeMap<Vec<Value>, Vec<Value>>>,
}

impl Content {
    /// Reads everything.
    pub fn read(database: &TestDb<'_>, schema: &Schema) -> Self {
        let mut script = String::new();
        for table in &schema.tables {
            let all: Vec<usize> = (0..table.columns.len()).collect();
            script.push_str(&format!(
                "\\echo '\u{1}'\ncopy (select {} from {}) to stdout;\n",
                table.names(&all),
                quoted(&table.name)
            ));
        }
        let text = database.psql(&script);
        let blocks: Vec<&str> = text.split("\u{1}\n").skip(1).collect();
        assert_eq!(blocks.len(), schema.tables.len(), "every table was read");
        let tables = schema.tables.iter().zip(blocks).map(|(table, block)| {
            let rows: Vec<Vec<Value>> = block.lines().map(fields).collect();
            let count = rows.len();
            let keyed: BTreeMap<_, _> = rows.into_iter().map(|row| (part(&row, &table.key), row)).collect();
            assert_eq!(keyed.len(), count, "keys are unique");
            keyed
        });
        Self { tables: tables.collect() }
    }

    fn get(&self, key: &Key) -> Option<&Vec<Value>> {
        self.tables[key.table].get(&key.values)
    }

    fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let keys = |(table, rows): (usize, &'_ BTreeMap<Vec<Value>, Vec<Value>>)| {
            rows.keys().map(|values| Key { table, values: values.clone() }).collect::<Vec<_>>()
        };
        self.tables.iter().enumerate().flat_map(keys)
    }

    /// Rows of `self` that `other` does not have.
    pub fn without(&self, other: &Self) -> BTreeSet<Key> {
        self.keys().filter(|key| other.get(key).is_none()).collect()
    }

    /// As it would be without these rows: what refers to them is as PostgreSQL leaves it where a link is cut.
    pub fn forget(&mut self, away: &BTreeSet<Key>, schema: &Schema) {
        let gone: Vec<(usize, Vec<Value>)> = away
            .iter()
            .filter_map(|key| Some((key.table, self.tables[key.table].remove(&key.values)?)))
            .collect();
        for (number, table) in schema.tables.iter().enumerate() {
            for link in table.links.iter().filter(|link| link.delete.starts_with("set")) {
                let parents: BTreeSet<Vec<Value>> = gone
                    .iter()
                    .filter(|(of, _)| *of == link.parent)
                    .map(|(_, row)| part(row, &link.parent_columns))
                    .filter(|values: &Vec<Value>| !values.contains(&None))
                    .collect();
                for row in self.tables[number].values_mut() {
                    if parents.contains(&part(row, &link.columns)) {
                        let cut: Vec<usize> =
                            link.columns.iter().copied().filter(|at| link.cuts(table, *at)).collect();
                        cut.iter().for_each(|&at| row[at] = link.left(table, at));
                        // A default that leads to one of them leads nowhere.
                        if parents.contains(&part(row, &link.columns)) {
                            cut.iter().for_each(|&at| row[at] = None);
                        }
                    }
                }
            }
        }
    }

    /// What differs, one line per row; empty when equal.
    pub fn difference(&self, found: &Self, schema: &Schema) -> String {
        let mut report = String::new();
        let keys: BTreeSet<Key> = self.keys().chain(found.keys()).collect();
        for key in keys {
            let (wanted, is) = (self.get(&key), found.get(&key));
            if wanted != is {
                report.push_str(&format!(
                    "{} {:?}\n  wanted {wanted:?}\n  found  {is:?}\n",
                    schema.tables[key.table].name, key.values
                ));
            }
        }
        report
    }
}

/// The fields of a line of COPY.
fn fields(line: &str) -> Vec<Value> {
    let plain = |field: &str| {
        let mut text = String::new();
        let mut letters = field.chars();
        while let Some(letter) = letters.next() {
            text.push(match letter {
                '\\' => match letters.next().unwrap() {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    other => other,
                },
                other => other,
            });
        }
        text
    };
    line.split('\t').map(|field| (field != "\\N").then(|| plain(field))).collect()
}

/// The states of a database that was hit.
pub struct States<'a> {
    pub schema: &'a Schema,
    pub before: &'a Content,
    pub after: &'a Content,
    pub live: &'a Content,
    pub result: &'a Content,
    /// Rows that must stay away.
    pub away: &'a BTreeSet<Key>,
    /// Can the recipe tell what the accident took from what was deleted later?
    pub proven: bool,
    /// May another row stand in for a lost one?
    pub repoint: bool,
}

impl States<'_> {
    /// Everything that is wrong with the result, whatever happened between accident and recovery.
    pub fn problems(&self, database: &TestDb<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        for key in self.live.keys() {
            problems.extend(self.live_row(&key));
        }
        for key in self.result.without(self.live) {
            problems.extend(self.new_row(&key));
        }
        for key in self.before.without(self.after) {
            if self.result.get(&key).is_none() && !self.away.contains(&key) {
                problems.extend(self.missing_row(&key, database));
            }
        }
        problems
    }

    fn named(&self, key: &Key) -> String {
        format!("{} {:?}", self.schema.tables[key.table].name, key.values)
    }

    /// A row of live is as it was, but for links that the accident cut and nobody touched since.
    fn live_row(&self, key: &Key) -> Option<String> {
        let live = self.live.get(key)?;
        let Some(result) = self.result.get(key) else {
            return Some(format!("{}: was in live and is gone", self.named(key)));
        };
        let table = &self.schema.tables[key.table];
        for at in (0..live.len()).filter(|&at| live[at] != result[at] && !table.counters.contains(&at)) {
            let (before, after) =
                (self.before.get(key).map(|row| &row[at]), self.after.get(key).map(|row| &row[at]));
            // Whether a link was cut or is empty because somebody made the row again cannot be told: a known limit.
            let again = after.is_none() && is_cut_link(table, at, &live[at]);
            let cut = before != after && (after == Some(&live[at]) || again) && before == Some(&result[at]);
            // Cut later, by the deletion of a row that comes back since it hung on a lost one: the same known limit.
            let returned = before == Some(&result[at])
                && is_cut_link(table, at, &live[at])
                && self.parent_returned(table, at, key);
            if !cut && !returned && !self.stands_in(table, at, self.before.get(key), result) {
                let name = &table.columns[at].name;
                return Some(format!(
                    "{}: {name} of live was overwritten: {live:?} {result:?}",
                    self.named(key)
                ));
            }
        }
        None
    }

    /// Did a link's parent come back that was not in live?
    fn parent_returned(&self, table: &Table, at: usize, key: &Key) -> bool {
        let Some(before) = self.before.get(key) else { return false };
        table.links.iter().filter(|link| link.columns.contains(&at)).any(|link| {
            let wanted = part(before, &link.columns);
            self.before.tables[link.parent].iter().any(|(values, row)| {
                let parent = Key { table: link.parent, values: values.clone() };
                part(row, &link.parent_columns) == wanted
                    && self.live.get(&parent).is_none()
                    && self.result.get(&parent).is_some()
            })
        })
    }

    /// A row that is new is one that the backup had, as the backup had it, but for links that PostgreSQL itself would
    /// have cut.
    fn new_row(&self, key: &Key) -> Option<String> {
        let result = self.result.get(key)?;
        let table = &self.schema.tables[key.table];
        let Some(before) = self.before.get(key) else {
            // Its key was a part of the lost parent's.
            let of_another = self.before.tables[key.table].values().any(|before| {
                let differs = |at: &usize| before[*at] != result[*at] && !table.counters.contains(at);
                (0..before.len()).filter(differs).all(|at| {
                    self.stands_in(table, at, Some(before), result) || self.may_be_cut(table, at, before)
                })
            });
            return (!of_another).then(|| format!("{}: was never there", self.named(key)));
        };
        if self.away.contains(key) {
            return Some(format!("{}: was deleted on purpose and came back", self.named(key)));
        }
        for at in (0..before.len()).filter(|&at| before[at] != result[at] && !table.counters.contains(&at)) {
            if !self.may_be_cut(table, at, before) && !self.stands_in(table, at, Some(before), result) {
                let name = &table.columns[at].name;
                return Some(format!(
                    "{}: {name} came back as another value: {before:?} {result:?}",
                    self.named(key)
                ));
            }
        }
        let was_taken = self.after.get(key).is_none();
        let is_needed = self.schema.tables.iter().enumerate().any(|(child, table)| {
            table.links.iter().filter(|link| link.parent == key.table).any(|link| {
                self.result.tables[child].iter().any(|(values, row)| {
                    !self.live.tables[child].contains_key(values)
                        && part(row, &link.columns) == part(before, &link.parent_columns)
                })
            })
        });
        let hung = !self.proven && self.hangs_on_taken(key);
        (!was_taken && !is_needed && !hung)
            .then(|| format!("{}: was deleted after the accident and came back", self.named(key)))
    }

    /// Is the column a part of a link that PostgreSQL itself would have cut, its parent not being back?
    fn may_be_cut(&self, table: &Table, at: usize, before: &[Value]) -> bool {
        table.links.iter().any(|link| {
            link.columns.contains(&at)
                && link.delete.starts_with("set")
                && self.parent_is_not_back(link, before)
        })
    }

    /// Does the row hang on one that stands in for its lost parent, by holding one of its unique values?
    fn stands_in(&self, table: &Table, at: usize, before: Option<&Vec<Value>>, result: &[Value]) -> bool {
        let Some(before) = before.filter(|_| self.repoint) else { return false };
        table.links.iter().filter(|link| link.columns.contains(&at)).any(|link| {
            let of = |content: &Content, row: &[Value]| {
                let wanted = part(row, &link.columns);
                let mut rows = content.tables[link.parent].values();
                rows.find(|parent| part(parent, &link.parent_columns) == wanted).cloned()
            };
            let (Some(lost), Some(there)) = (of(self.before, before), of(self.result, result)) else {
                return false;
            };
            let uniques = &self.schema.tables[link.parent].uniques;
            uniques.iter().any(|unique| part(&lost, &unique.columns) == part(&there, &unique.columns))
                // The parent's own key was a part of its parent's.
                || self.schema.tables[link.parent].links.iter().any(|up| {
                    up.columns.iter().any(|at| link.parent_columns.contains(at))
                        && up.columns.iter().any(|&at| {
                            self.stands_in(&self.schema.tables[link.parent], at, Some(&lost), &there)
                        })
                })
        })
    }

    /// What was deleted later but hung on a row that the accident took looks like a part of the accident: a known limit.
    fn hangs_on_taken(&self, key: &Key) -> bool {
        let taken = self.before.without(self.after);
        super::story::reach(self.schema, self.before, &taken).contains(key)
    }

    fn parent_is_not_back(&self, link: &super::schema::Link, before: &[Value]) -> bool {
        let wanted = part(before, &link.columns);
        let parents = |content: &Content| -> BTreeSet<Vec<Value>> {
            let rows = content.tables[link.parent].iter();
            rows.filter(|(_, row)| part(row, &link.parent_columns) == wanted)
                .map(|(key, _)| key.clone())
                .collect()
        };
        let in_backup = parents(self.before);
        let back: BTreeSet<_> = parents(self.result);
        // Gone, or somebody changed it or made it again since: then it may be another one.
        in_backup != back
            || in_backup.iter().any(|key| {
                let key = Key { table: link.parent, values: key.clone() };
                let live = self.live.get(&key);
                live.is_some() && (self.after.get(&key).is_none() || live != self.before.get(&key))
            })
    }

    /// A lost row that is not back could not come back: PostgreSQL refuses it, or it would hang on a row that somebody
    /// made since under the key of a lost one.
    fn missing_row(&self, key: &Key, database: &TestDb<'_>) -> Option<String> {
        let before = self.before.get(key)?;
        let table = &self.schema.tables[key.table];
        let doubtful = table.links.iter().any(|link| {
            let refers = !part(before, &link.columns).contains(&None);
            refers && !link.delete.starts_with("set") && self.parent_is_not_back(link, before)
        });
        let row = self.without_cut_links(table, before);
        if doubtful || !takes(database, &table.insert(&row)) {
            return None;
        }
        Some(format!("{}: could have come back, and did not", self.named(key)))
    }

    fn without_cut_links(&self, table: &Table, before: &[Value]) -> Vec<Value> {
        let mut row = before.to_vec();
        for link in table.links.iter().filter(|link| link.delete.starts_with("set")) {
            if self.parent_is_not_back(link, before) {
                link.columns.iter().for_each(|&at| row[at].clone_from(&table.columns[at].default));
            }
        }
        row
    }
}

fn is_cut_link(table: &Table, at: usize, live: &Value) -> bool {
    let sets = |link: &super::schema::Link| link.columns.contains(&at) && link.delete.starts_with("set");
    *live == table.columns[at].default && table.links.iter().any(sets)
}

/// Would PostgreSQL take this statement?
fn takes(database: &TestDb<'_>, statement: &str) -> bool {
    let script = format!(
        "do $x$ begin {statement} set constraints all immediate; raise exception 'taken'; \
         exception when others then if sqlerrm <> 'taken' then create temp table refused (); end if; end $x$;\n\
         select to_regclass('pg_temp.refused') is null;"
    );
    database.value(&script) == "t"
}
