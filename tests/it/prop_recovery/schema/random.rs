//! A schema of any shape, and its rows.

use super::kind::PAYLOAD;
use super::{Column, Kind, Link, Schema, Table, Unique, Value, part, quoted};
use crate::prop_recovery::dice::Dice;

fn column(name: impl Into<String>, kind: Kind, not_null: bool) -> Column {
    Column { name: name.into(), kind, not_null, default: None, identity: None }
}

impl Schema {
    /// A schema of three to seven tables.
    pub fn random(dice: &mut Dice) -> Self {
        let mut schema = Self { tables: Vec::new() };
        for number in 0..dice.between(3, 7) {
            let table = schema.table(number, dice);
            schema.tables.push(table);
        }
        for number in 0..schema.tables.len() {
            for _ in 0..dice.weighted(&[(3, 0), (5, 1), (3, 2)]) {
                schema.add_link(number, dice);
            }
        }
        if dice.chance(25) {
            schema.add_counters(dice);
        }
        schema.fill(dice);
        schema
    }

    /// Counts rows in some of their parents, as applications do that cannot afford to count when asked.
    fn add_counters(&mut self, dice: &mut Dice) {
        for number in 0..self.tables.len() {
            for link in 0..self.tables[number].links.len() {
                if dice.chance(50) {
                    let parent = self.tables[number].links[link].parent;
                    let table = &mut self.tables[parent];
                    let at = table.columns.len();
                    let counter = Column {
                        default: Some("0".to_owned()),
                        ..column(format!("n{number}_{link}"), Kind::Int, true)
                    };
                    table.columns.push(counter);
                    table.counters.push(at);
                    self.tables[number].links[link].counter = Some(at);
                }
            }
        }
    }

    fn table(&self, number: usize, dice: &mut Dice) -> Table {
        const ODD: [&str; 4] = ["Odd Name", "order", "naïve", "a\"b"];
        let name =
            if dice.chance(20) { format!("{} {number}", dice.pick(&ODD)) } else { format!("t{number}") };
        let mut table = Table {
            name,
            columns: Vec::new(),
            key: Vec::new(),
            uniques: Vec::new(),
            links: Vec::new(),
            counters: Vec::new(),
            stamped: None,
            partitions: None,
            rows: Vec::new(),
        };
        match dice.weighted(&[(40, 0), (15, 1), (15, 2), (10, 3), (20, 4)]) {
            0 => table.columns.push(column("id", Kind::Int, true)),
            1 => {
                let identity = Some(*dice.pick(&["by default", "always"]));
                table.columns.push(Column { identity, ..column("id", Kind::Big, true) });
            }
            2 => table.columns.push(column("code", Kind::Text, true)),
            3 => table.columns.push(column("uid", Kind::Uuid, true)),
            _ if number == 0 => {
                table.columns.extend([column("a", Kind::Int, true), column("b", Kind::Text, true)]);
            }
            _ => self.weak_key(&mut table, number, dice),
        }
        table.key = (0..table.columns.len()).collect();
        if dice.chance(20) {
            table.columns.push(column("created_at", Kind::Stamp, true));
        }
        for at in 0..dice.between(1, 4) {
            let not_null = dice.chance(40);
            table.columns.push(column(format!("p{at}"), *dice.pick(&PAYLOAD), not_null));
        }
        for at in 0..dice.weighted(&[(5, 0), (4, 1), (1, 2)]) {
            add_unique(&mut table, at, dice);
        }
        table
    }

    /// Rows named by their parent's key and a number.
    fn weak_key(&self, table: &mut Table, number: usize, dice: &mut Dice) {
        let parent = dice.below(number);
        let key = self.tables[parent].key.clone();
        for (at, &of) in key.iter().enumerate() {
            let kind = self.tables[parent].columns[of].kind;
            table.columns.push(column(format!("of{at}"), kind, true));
        }
        let delete = dice.weighted(&[(70, "cascade"), (15, "no action"), (15, "restrict")]).to_owned();
        let columns = (0..key.len()).collect();
        table.links.push(Link {
            columns,
            parent,
            parent_columns: key,
            delete,
            update: "cascade",
            full: false,
            deferrable: "",
            counter: None,
            declared: false,
        });
        table.columns.push(column("line", Kind::Int, true));
    }

    fn add_link(&mut self, number: usize, dice: &mut Dice) {
        let parent = dice.below(self.tables.len());
        let target = &self.tables[parent];
        let by_unique = target.uniques.iter().find(|unique| unique.plain).filter(|_| dice.chance(25));
        let parent_columns = by_unique.map_or(target.key.clone(), |unique| unique.columns.clone());
        let by_key = by_unique.is_none();
        let kinds: Vec<Kind> = parent_columns.iter().map(|&at| target.columns[at].kind).collect();
        let not_null = by_key && dice.chance(35);
        let several = kinds.len() > 1;
        let actions: &[(usize, &str)] = if not_null {
            &[(55, "cascade"), (25, "no action"), (10, "restrict")]
        } else {
            &[(35, "cascade"), (25, "set null"), (10, "set default"), (8, "restrict"), (22, "no action")]
        };
        let mut delete = dice.weighted(actions).to_owned();
        let partly = several && by_key && delete == "set null" && dice.chance(40);
        let table = &mut self.tables[number];
        let first = table.columns.len();
        for (at, kind) in kinds.iter().enumerate() {
            let not_null = not_null || (partly && at == 0);
            table.columns.push(column(format!("f{}_{at}", table.links.len()), *kind, not_null));
        }
        let columns: Vec<usize> = (first..table.columns.len()).collect();
        if partly {
            delete = format!("set null ({})", table.names(&columns[1..]));
        }
        let deferrable =
            dice.weighted(&[(80, ""), (10, "deferrable initially deferred"), (10, "deferrable")]);
        let full = several && !partly && dice.chance(20);
        let update = *dice.pick(&["cascade", "no action", "restrict"]);
        let (counter, declared) = (None, false);
        table.links.push(Link {
            columns,
            parent,
            parent_columns,
            delete,
            update,
            full,
            deferrable,
            declared,
            counter,
        });
    }

    fn fill(&mut self, dice: &mut Dice) {
        for number in 0..self.tables.len() {
            for at in 0..dice.between(2, 14) {
                let row = self.new_row(number, at + 1, dice);
                self.tables[number].rows.extend(row);
            }
        }
        for number in 0..self.tables.len() {
            self.set_defaults(number, dice);
            for at in 0..self.tables[number].rows.len() {
                for link in 0..self.tables[number].links.len() {
                    let values = self.link_values(number, link, dice);
                    let link = self.tables[number].links[link].clone();
                    if !self.tables[number].key.contains(&link.columns[0]) {
                        for (value, &column) in values.into_iter().zip(&link.columns) {
                            self.tables[number].rows[at][column] = value;
                        }
                    }
                }
            }
        }
    }

    /// A row of this number without its links; `None` where it would need a parent and none is there.
    fn new_row(&self, number: usize, at: usize, dice: &mut Dice) -> Option<Vec<Value>> {
        let table = &self.tables[number];
        let mut row: Vec<Value> = Vec::new();
        let weak = table.links.first().filter(|link| table.key.contains(&link.columns[0]));
        let of = match weak {
            Some(link) => {
                let parents = &self.tables[link.parent].rows;
                Some(part(parents.get(dice.below(parents.len()))?, &link.parent_columns))
            }
            None => None,
        };
        for (place, column) in table.columns.iter().enumerate() {
            let value = match &of {
                Some(key) if place < key.len() => key[place].clone(),
                _ if table.key.contains(&place) => Some(column.kind.numbered(at)),
                _ => table.new_value(place, at, dice),
            };
            row.push(value);
        }
        Some(row)
    }

    /// The values of a link: of some parent's row, or nulls.
    fn link_values(&self, number: usize, link: usize, dice: &mut Dice) -> Vec<Value> {
        let table = &self.tables[number];
        let link = &table.links[link];
        let rows = &self.tables[link.parent].rows;
        let values = part(&rows[dice.below(rows.len())], &link.parent_columns);
        let null = !table.columns[link.columns[0]].not_null && dice.chance(25);
        if null || values.contains(&None) { vec![None; values.len()] } else { values }
    }

    fn set_defaults(&mut self, number: usize, dice: &mut Dice) {
        for link in self.tables[number].links.clone() {
            if link.delete.contains("set default") && dice.chance(60) {
                let values = part(&self.tables[link.parent].rows[0], &link.parent_columns);
                if !values.contains(&None) {
                    for (value, &column) in values.into_iter().zip(&link.columns) {
                        self.tables[number].columns[column].default = value;
                    }
                }
            }
        }
    }
}

impl Table {
    /// A value for a column that is no part of a key or link; unique columns take the value of the number.
    pub fn new_value(&self, place: usize, at: usize, dice: &mut Dice) -> Value {
        let column = &self.columns[place];
        if self.counters.contains(&place) {
            return Some("0".to_owned());
        }
        let unique = self.uniques.iter().any(|unique| unique.columns.contains(&place));
        match (unique, column.not_null) {
            (true, false) if at > 1 && at < 1000 && at.is_multiple_of(5) && !self.distinct_nulls() => None,
            (true, _) => Some(column.kind.numbered(at)),
            (false, false) if dice.chance(30) => None,
            (false, _) => Some(column.kind.any(dice)),
        }
    }

    fn distinct_nulls(&self) -> bool {
        self.uniques.iter().any(|unique| unique.sql.contains("nulls not distinct"))
    }
}

fn add_unique(table: &mut Table, number: usize, dice: &mut Dice) {
    let kind = *dice.pick(&[Kind::Int, Kind::Text, Kind::Uuid, Kind::Big]);
    let not_null = dice.chance(50);
    let first = table.columns.len();
    table.columns.push(column(format!("u{number}"), kind, not_null));
    let mut columns = vec![first];
    if dice.chance(25) {
        table.columns.push(column(format!("v{number}"), Kind::Int, true));
        columns.push(first + 1);
    }
    let (name, list) = (quoted(&table.name), table.names(&columns));
    let index = quoted(&format!("{} u{number}", table.name));
    let style = dice.weighted(&[(50, 0), (10, 1), (10, 2), (15, 3), (15, 4)]);
    let sql = match style {
        1 => format!("alter table {name} add unique nulls not distinct ({list})"),
        2 => format!("alter table {name} add unique ({list}) deferrable initially deferred"),
        3 => format!(
            "create unique index {index} on {name} ({list}) where {} is not null",
            table.names(&columns[..1])
        ),
        4 => format!("create unique index {index} on {name} ((md5({}::text)))", table.names(&columns[..1])),
        _ => format!("alter table {name} add unique ({list})"),
    };
    table.uniques.push(Unique { columns, plain: style == 0, sql });
}
