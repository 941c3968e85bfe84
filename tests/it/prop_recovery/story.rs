//! An accident and what happens afterwards, as SQL.

use std::collections::{BTreeMap, BTreeSet};

use super::damage::Damage;
use super::dice::Dice;
use super::model::{Content, Key};
use super::schema::{Schema, Table, Value, part, quoted, tuple};

/// One way in which rows may be lost or overwritten, with what a recipe's entries need to name them.
pub struct Accident {
    /// What was run, in one transaction.
    pub body: String,
    /// Table and condition of each deletion.
    pub entries: Vec<(String, String)>,
    pub damages: Vec<Damage>,
    /// Was it TRUNCATE?
    pub truncates: bool,
}

impl Accident {
    /// What was run.
    pub fn sql(&self) -> String {
        format!("begin;\n{}commit;", self.body)
    }
}

/// Something to try; the foreign keys may forbid it.
pub fn accident(schema: &Schema, dice: &mut Dice) -> Accident {
    let mut body = String::from("set constraints all deferred;\n");
    let mut entries = Vec::new();
    let damages = if dice.chance(40) { damages(schema, dice) } else { Vec::new() };
    let only_damage = !damages.is_empty() && damages.iter().any(|damage| damage.is_link);
    damages.iter().for_each(|damage| body.push_str(&damage.sql(schema)));
    for _ in 0..if only_damage { 0 } else { dice.weighted(&[(80, 1), (20, 2)]) } {
        let number = dice.below(schema.tables.len());
        let table = &schema.tables[number];
        // A condition over values that were overwritten before would choose other rows of the backup.
        let condition = if damages.is_empty() { condition(table, dice) } else { some_keys(table, dice) };
        let thorough = dice.chance(25);
        clean_up(schema, number, &condition, thorough, &mut body);
        body.push_str(&format!("delete from {} where {condition};\n", quoted(&table.name)));
        entries.push((table.name.clone(), condition));
    }
    Accident { body, entries, damages, truncates: false }
}

/// Overwrites columns of one or two tables. Links only where nothing else happens.
fn damages(schema: &Schema, dice: &mut Dice) -> Vec<Damage> {
    let links = dice.chance(30);
    let mut found: Vec<Damage> = Vec::new();
    for _ in 0..if links { 1 } else { dice.between(1, 2) } {
        let number = dice.below(schema.tables.len());
        let condition = condition(&schema.tables[number], dice);
        if found.iter().all(|damage| damage.table != number) {
            found.extend(Damage::random(schema, number, condition, links, dice));
        }
    }
    found
}

/// TRUNCATE is never forbidden: it takes all tables that refer to the first, rows that refer to nothing included.
pub fn truncation(schema: &Schema, dice: &mut Dice) -> Accident {
    let first = dice.below(schema.tables.len());
    let mut taken = BTreeSet::from([first]);
    while let Some(next) = (0..schema.tables.len()).find(|at| {
        let refers = |link: &super::schema::Link| !link.declared && taken.contains(&link.parent);
        !taken.contains(at) && schema.tables[*at].links.iter().any(refers)
    }) {
        taken.insert(next);
    }
    let name = |at: &usize| schema.tables[*at].name.clone();
    Accident {
        body: format!("truncate {} cascade;\n", quoted(&name(&first))),
        entries: taken.iter().map(|at| (name(at), "true".to_owned())).collect(),
        damages: Vec::new(),
        truncates: true,
    }
}

fn condition(table: &Table, dice: &mut Dice) -> String {
    let some = || -> Option<&Vec<Value>> { table.rows.first() };
    if some().is_none() || dice.chance(5) {
        return "true".to_owned();
    }
    match dice.below(4) {
        0 => {
            let at = dice.below(table.columns.len());
            let name = table.names(&[at]);
            match &dice.pick(&table.rows)[at] {
                None => format!("{name} is null"),
                value => format!(
                    "{name}::text = {}::{}::text",
                    super::schema::literal(value),
                    table.columns[at].sql_type()
                ),
            }
        }
        1 => format!("length({}::text) % 2 = {}", quoted(&table.name), dice.below(2)),
        _ => some_keys(table, dice),
    }
}

fn some_keys(table: &Table, dice: &mut Dice) -> String {
    if table.rows.is_empty() {
        return "true".to_owned();
    }
    let keys: Vec<Vec<Value>> = (0..dice.between(1, 5))
        .map(|_| part(&table.rows[dice.below(table.rows.len())], &table.key))
        .collect();
    table.is_one_of(&keys)
}

/// What an application does before it deletes a row that others refer to.
fn clean_up(schema: &Schema, number: usize, condition: &str, thorough: bool, sql: &mut String) {
    let parent = &schema.tables[number];
    for child in &schema.tables {
        for link in child.links.iter().filter(|link| link.parent == number) {
            let forbids = link.delete == "restrict" || link.delete == "no action";
            if link.declared || forbids && thorough {
                sql.push_str(&format!(
                    "delete from {} where ({}) in (select {} from {} where {condition});\n",
                    quoted(&child.name),
                    child.names(&link.columns),
                    parent.names(&link.parent_columns),
                    quoted(&parent.name)
                ));
            }
        }
    }
}

/// Rows that a recovery may look at: those that the accident took, and what referred to them, at any depth.
pub fn reach(schema: &Schema, before: &Content, taken: &BTreeSet<Key>) -> BTreeSet<Key> {
    let mut found = taken.clone();
    loop {
        let mut new = Vec::new();
        for (number, table) in schema.tables.iter().enumerate() {
            for link in &table.links {
                let parents: BTreeSet<Vec<Value>> = found
                    .iter()
                    .filter(|key| key.table == link.parent)
                    .map(|key| part(&before.tables[key.table][&key.values], &link.parent_columns))
                    .collect();
                for (values, row) in &before.tables[number] {
                    let key = Key { table: number, values: values.clone() };
                    if !found.contains(&key) && parents.contains(&part(row, &link.columns)) {
                        new.push(key);
                    }
                }
            }
        }
        if new.is_empty() {
            return found;
        }
        found.extend(new);
    }
}

/// What happens after the accident, statement by statement.
pub struct Later<'a> {
    pub schema: &'a Schema,
    pub before: &'a Content,
    pub after: &'a Content,
    pub taken: &'a BTreeSet<Key>,
    pub reach: &'a BTreeSet<Key>,
    /// Can the recipe tell what the accident took from what was deleted later?
    pub proven: bool,
    pub damages: &'a [Damage],
    pub fresh: usize,
}

impl Later<'_> {
    /// Work that would have gone the same way without the accident.
    pub fn calm(&mut self, dice: &mut Dice) -> Vec<String> {
        let mut done = Vec::new();
        for number in 0..self.schema.tables.len() {
            for _ in 0..dice.below(3) {
                done.extend(self.insert(number, dice));
            }
            let keys: Vec<&Vec<Value>> = self.after.tables[number].keys().collect();
            for key in keys {
                if dice.chance(20) {
                    done.extend(self.update(number, key, dice));
                }
            }
        }
        // Last, so that nothing refers to what is gone.
        for (number, table) in self.schema.tables.iter().enumerate() {
            for key in self.after.tables[number].keys() {
                let id = Key { table: number, values: key.clone() };
                if dice.chance(15)
                    && (self.proven || !self.reach.contains(&id))
                    && !self.is_referred(number, key)
                {
                    let key = table.is_one_of(std::slice::from_ref(key));
                    done.push(format!(
                        "delete from {} as gone where {key}{};",
                        quoted(&table.name),
                        self.nobody_refers(number)
                    ));
                }
            }
        }
        done
    }

    /// Does any row refer to it, before the accident or after?
    fn is_referred(&self, number: usize, key: &[Value]) -> bool {
        self.schema.tables.iter().enumerate().any(|(child, table)| {
            table.links.iter().filter(|link| link.parent == number).any(|link| {
                let refers = |content: &Content| {
                    content.tables[child].values().any(|row| {
                        content.tables[number].get(key).is_some_and(|parent| {
                            part(row, &link.columns) == part(parent, &link.parent_columns)
                        })
                    })
                };
                refers(self.before) || refers(self.after)
            })
        })
    }

    /// A condition that leaves rows alone to which others came to refer.
    fn nobody_refers(&self, number: usize) -> String {
        let parent = &self.schema.tables[number];
        let mut sql = String::new();
        for child in &self.schema.tables {
            for link in child.links.iter().filter(|link| link.parent == number) {
                let pairs: Vec<String> = link
                    .columns
                    .iter()
                    .zip(&link.parent_columns)
                    .map(|(&of, &to)| format!("c.{} = gone.{}", child.names(&[of]), parent.names(&[to])))
                    .collect();
                sql.push_str(&format!(
                    " and not exists (select from {} as c where {})",
                    quoted(&child.name),
                    pairs.join(" and ")
                ));
            }
        }
        sql
    }

    fn number(&mut self) -> usize {
        self.fresh += 1;
        self.fresh
    }

    fn insert(&mut self, number: usize, dice: &mut Dice) -> Option<String> {
        let fresh = self.number();
        let table = &self.schema.tables[number];
        let mut row: Vec<Value> = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            row.push(if table.key.contains(&at) {
                Some(column.kind.numbered(fresh))
            } else {
                table.new_value(at, fresh, dice)
            });
        }
        for link in &table.links {
            let values = self.a_parent(number, link, dice)?;
            for (value, &at) in values.into_iter().zip(&link.columns) {
                row[at] = value;
            }
        }
        Some(table.insert(&row))
    }

    /// Values of a link to a row that survived; nulls where there is none and none is needed. Where triggers count, to none that
    /// the accident may have taken: it would be changed by that, and nothing tells who such a row is.
    fn a_parent(&self, number: usize, link: &super::schema::Link, dice: &mut Dice) -> Option<Vec<Value>> {
        let table = &self.schema.tables[number];
        let needed = link.columns.iter().any(|&at| table.columns[at].not_null);
        let reached =
            |key: &Vec<Value>| self.reach.contains(&Key { table: link.parent, values: key.clone() });
        let all = self.after.tables[link.parent].iter();
        let usable = all.filter(|(key, _)| link.counter.is_none() || !reached(key));
        let rows: Vec<&Vec<Value>> = usable.map(|(_, row)| row).collect();
        let nulls = vec![None; link.columns.len()];
        if rows.is_empty() || (!needed && dice.chance(30)) {
            return (!needed).then_some(nulls);
        }
        let values = part(rows[dice.below(rows.len())], &link.parent_columns);
        if values.contains(&None) { (!needed).then_some(nulls) } else { Some(values) }
    }

    fn update(&mut self, number: usize, key: &[Value], dice: &mut Dice) -> Option<String> {
        let fresh = self.number();
        let table = &self.schema.tables[number];
        let id = Key { table: number, values: key.to_vec() };
        // Who a row is that was changed since, and that the accident may have taken, cannot be told where it has nothing but
        // a number: what hangs on it would be held back. Likewise where a link that must be there points elsewhere.
        let reached = self.reach.contains(&id);
        if reached && self.is_referred(number, key) {
            return None;
        }
        let payload = |at: &usize| table.is_payload(*at) && table.columns[*at].name != "created_at";
        let payload: Vec<usize> = (0..table.columns.len()).filter(payload).collect();
        let is_free = |link: &&super::schema::Link| {
            let of_key = link.columns.iter().any(|at| table.key.contains(at));
            let loose = link.columns.iter().all(|&at| !table.columns[at].not_null);
            let row = |content: &Content| content.tables[number].get(key).map(|row| part(row, &link.columns));
            let cut = row(self.before) != row(self.after);
            // Somebody who sets a damaged link to the very value that the accident wrote cannot be told from it.
            let damaged = self.damages.iter().any(|damage| {
                damage.table == number && damage.columns.iter().any(|at| link.columns.contains(at))
            });
            // A row that was damaged and then needs another parent looks like another row.
            let hit = self.before.tables[number].get(key) != self.after.tables[number].get(key);
            !damaged
                && !of_key
                && (loose && !cut || !(reached || self.is_referred(number, key) || hit && !loose))
        };
        let free: Vec<_> = table.links.iter().filter(is_free).collect();
        let (columns, values) = if dice.chance(70) && !payload.is_empty() {
            let at = *dice.pick(&payload);
            (vec![at], vec![table.new_value(at, fresh, dice)])
        } else if !free.is_empty() {
            let link = *dice.pick(&free);
            (link.columns.clone(), self.a_parent(number, link, dice)?)
        } else {
            return None;
        };
        Some(set(table, key, &columns, &values))
    }

    /// Work that gets in the way: keys and unique values of lost rows are used again, parents go.
    pub fn stormy(&mut self, dice: &mut Dice) -> Vec<String> {
        let mut done = Vec::new();
        for key in self.taken {
            let table = &self.schema.tables[key.table];
            let old = &self.before.tables[key.table][&key.values];
            if dice.chance(15) {
                done.extend(self.again(key, &table.key.clone(), old, dice));
            }
            if dice.chance(15) && !table.uniques.is_empty() {
                let columns = dice.pick(&table.uniques).columns.clone();
                done.extend(self.again(key, &columns, old, dice));
            }
            let rows: Vec<&Vec<Value>> = self.after.tables[key.table].keys().collect();
            if dice.chance(10) && !table.uniques.is_empty() && !rows.is_empty() {
                let columns = &dice.pick(&table.uniques).columns;
                done.push(set(table, rows[dice.below(rows.len())], columns, &part(old, columns)));
            }
        }
        for (number, table) in self.schema.tables.iter().enumerate() {
            for key in self.after.tables[number].keys() {
                if dice.chance(8) {
                    let name = quoted(&table.name);
                    done.push(format!(
                        "delete from {name} where {};",
                        table.is_one_of(std::slice::from_ref(key))
                    ));
                }
            }
        }
        done
    }

    /// A new row that holds these values of an old one.
    fn again(&mut self, key: &Key, columns: &[usize], old: &[Value], dice: &mut Dice) -> Option<String> {
        let statement = self.insert(key.table, dice)?;
        let table = &self.schema.tables[key.table];
        let values = part(old, columns);
        // The insert, then the values: whatever PostgreSQL does not take is left out as a whole.
        let fresh: BTreeMap<usize, Value> =
            table.key.iter().map(|&at| (at, Some(table.columns[at].kind.numbered(self.fresh)))).collect();
        let of_parent = table.links.iter().any(|link| link.columns.iter().any(|at| table.key.contains(at)));
        if of_parent {
            return Some(statement);
        }
        let key: Vec<Value> = fresh.into_values().collect();
        Some(format!("{statement} {}", set(table, &key, columns, &values)))
    }
}

fn set(table: &Table, key: &[Value], columns: &[usize], values: &[Value]) -> String {
    let name = quoted(&table.name);
    let row = if columns.len() > 1 { tuple(values) } else { super::schema::literal(&values[0]) };
    let left = if columns.len() > 1 { format!("({})", table.names(columns)) } else { table.names(columns) };
    format!("update {name} set {left} = {row} where {};", table.is_one_of(&[key.to_vec()]))
}
