//! A random schema with random rows: keys of one and several columns, foreign keys of every action, also to themselves and
//! in circles, unique constraints of every sort.

mod ddl;
mod kind;
mod random;

pub use self::kind::Kind;
use super::dice::Dice;

/// A value of a row.
pub type Value = Option<String>;

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub not_null: bool,
    pub default: Value,
    pub identity: Option<&'static str>,
}

/// A foreign key.
#[derive(Debug, Clone)]
pub struct Link {
    pub columns: Vec<usize>,
    pub parent: usize,
    pub parent_columns: Vec<usize>,
    pub delete: String,
    update: &'static str,
    full: bool,
    deferrable: &'static str,
    /// Does only the recipe know it? Then the application deletes with the parent what refers to it.
    pub declared: bool,
    /// The parent's column in which triggers keep count.
    pub counter: Option<usize>,
}

impl Link {
    /// Does the end of the parent change this column of the child?
    pub fn cuts(&self, table: &Table, at: usize) -> bool {
        self.columns.contains(&at)
            && (!self.delete.contains('(') || self.delete.contains(&table.names(&[at])))
    }

    /// What it leaves there.
    pub fn left(&self, table: &Table, at: usize) -> Value {
        if self.delete.contains("default") { table.columns[at].default.clone() } else { None }
    }
}

/// A unique constraint or index.
#[derive(Debug, Clone)]
pub struct Unique {
    pub columns: Vec<usize>,
    /// May a foreign key refer to it?
    pub plain: bool,
    sql: String,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub key: Vec<usize>,
    pub uniques: Vec<Unique>,
    pub links: Vec<Link>,
    /// Columns in which triggers count the rows that refer to a row.
    pub counters: Vec<usize>,
    /// A column that a trigger sets in every row that is inserted, and the value.
    pub stamped: Option<(usize, String)>,
    partitions: Option<Partitions>,
    pub rows: Vec<Vec<Value>>,
}

/// How the rows of a table are spread over partitions, by the first column of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Partitions {
    Hash,
    /// With a default one.
    Range,
}

/// The schema with its rows.
#[derive(Debug, Clone)]
pub struct Schema {
    pub tables: Vec<Table>,
}

/// `"name"`.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as a literal.
pub fn literal(value: &Value) -> String {
    value.as_ref().map_or("null".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

impl Table {
    /// `"a", "b"`.
    pub fn names(&self, columns: &[usize]) -> String {
        columns.iter().map(|&at| quoted(&self.columns[at].name)).collect::<Vec<_>>().join(", ")
    }

    /// `("a", "b") in ((1, 2), (3, 4))`.
    pub fn is_one_of(&self, keys: &[Vec<Value>]) -> String {
        let list: Vec<String> = keys.iter().map(|key| tuple(key)).collect();
        format!("({}) in ({})", self.names(&self.key), list.join(", "))
    }

    /// `insert into t (…) values (…);`
    pub fn insert(&self, row: &[Value]) -> String {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        format!(
            "insert into {} ({}) overriding system value values {};\n",
            quoted(&self.name),
            self.names(&all),
            tuple(row)
        )
    }

    /// Is the column part of the key, of a unique constraint or of a foreign key?
    pub fn is_payload(&self, at: usize) -> bool {
        !self.key.contains(&at)
            && !self.counters.contains(&at)
            && !self.uniques.iter().any(|unique| unique.columns.contains(&at))
            && !self.links.iter().any(|link| link.columns.contains(&at))
    }
}

/// `(1, 'b')`.
pub fn tuple(values: &[Value]) -> String {
    format!("({})", values.iter().map(literal).collect::<Vec<_>>().join(", "))
}

/// These columns of a row.
pub fn part(row: &[Value], columns: &[usize]) -> Vec<Value> {
    columns.iter().map(|&at| row[at].clone()).collect()
}

impl Column {
    /// The name of its type.
    pub fn sql_type(&self) -> &'static str {
        self.kind.sql()
    }
}

impl Schema {
    /// The schema of a seed, and the dice for its story: those of every seed's first stories, and others for what came later, so
    /// that a seed keeps its story.
    pub fn of(seed: u64) -> (Self, Dice, Dice) {
        let mut dice = Dice::new(seed);
        let mut more = Dice::new(seed.rotate_left(32) ^ 0x5eed);
        let mut schema = Self::random(&mut dice);
        schema.decorate(&mut more);
        (schema, dice, more)
    }

    /// Adds what changes neither its columns nor its rows: triggers that set a column of new rows, partitions, and foreign
    /// keys that nobody enforces.
    fn decorate(&mut self, dice: &mut Dice) {
        for table in &mut self.tables {
            let payload = |at: &usize| table.is_payload(*at) && table.columns[*at].name != "created_at";
            let payload: Vec<usize> = (0..table.columns.len()).filter(payload).collect();
            if dice.chance(15) && !payload.is_empty() {
                let at = *dice.pick(&payload);
                table.stamped = Some((at, table.columns[at].kind.any(dice)));
            }
            for link in &mut table.links {
                let of_key = link.columns.iter().any(|at| table.key.contains(at));
                let is_plain = !of_key && !link.delete.starts_with("set") && link.counter.is_none();
                link.declared = is_plain && dice.chance(15);
            }
            let first = &table.columns[table.key[0]];
            if dice.chance(20) && table.uniques.is_empty() && first.identity.is_none() {
                let range = first.kind == Kind::Int && dice.chance(60);
                table.partitions = Some(if range { Partitions::Range } else { Partitions::Hash });
            }
        }
    }
}
