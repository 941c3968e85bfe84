//! Values that an accident overwrites, and how a recipe tells them from later work.

use super::dice::Dice;
use super::schema::{Kind, Schema, Table, Value, literal, part, quoted};

/// Some columns of some rows of a table get one value.
#[derive(Debug, Clone)]
pub struct Damage {
    /// Number of the table.
    pub table: usize,
    pub columns: Vec<usize>,
    pub values: Vec<Value>,
    /// Over the backup's row.
    pub condition: String,
    /// Does it lead a link elsewhere?
    pub is_link: bool,
}

/// A value that nobody else writes; none for types with few of them.
fn unheard_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Int => Some("77777"),
        Kind::Big => Some("-99"),
        Kind::Text => Some("it's\tdamaged"),
        Kind::Uuid => Some("00000000-0000-4000-8000-000000000000"),
        Kind::Numeric => Some("-77.70"),
        Kind::Stamp => Some("1999-09-09 09:09:00+00"),
        Kind::Date => Some("1999-09-09"),
        Kind::Json => Some("{\"bad\": [true]}"),
        Kind::Ints => Some("{{7,7},{7,7}}"),
        Kind::Bytes => Some("\\xbad0"),
        Kind::Double => Some("-7.5e-07"),
        Kind::Bool | Kind::Mood => None,
    }
}

impl Damage {
    /// Something to overwrite in a table; links only where the accident deletes nothing, since a link that is damaged and
    /// then cut holds nothing that a condition could name.
    pub fn random(
        schema: &Schema,
        number: usize,
        condition: String,
        links: bool,
        dice: &mut Dice,
    ) -> Option<Self> {
        let table = &schema.tables[number];
        let free: Vec<_> = table
            .links
            .iter()
            .filter(|link| links && !link.columns.iter().any(|at| table.key.contains(at)))
            .collect();
        if !free.is_empty() && dice.chance(50) {
            let link = *dice.pick(&free);
            let parents = &schema.tables[link.parent].rows;
            let values = part(&parents[dice.below(parents.len())], &link.parent_columns);
            return (!values.contains(&None)).then(|| Self {
                table: number,
                columns: link.columns.clone(),
                values,
                condition,
                is_link: true,
            });
        }
        let usable = |at: &usize| {
            let column = &table.columns[*at];
            table.is_payload(*at) && column.name != "created_at" && unheard_of(column.kind).is_some()
        };
        let columns: Vec<usize> = (0..table.columns.len()).filter(usable).collect();
        let at = *columns.get(dice.below(columns.len()))?;
        let value = unheard_of(table.columns[at].kind).map(str::to_owned);
        Some(Self { table: number, columns: vec![at], values: vec![value], condition, is_link: false })
    }

    /// What did it.
    pub fn sql(&self, schema: &Schema) -> String {
        let table = &schema.tables[self.table];
        let set: Vec<String> = self
            .columns
            .iter()
            .zip(&self.values)
            .map(|(&at, value)| format!("{} = {}", table.names(&[at]), literal(value)))
            .collect();
        format!("update {} set {} where {};\n", quoted(&table.name), set.join(", "), self.condition)
    }

    /// What a person would write who knows what was written.
    pub fn damaged(&self, schema: &Schema) -> String {
        let table = &schema.tables[self.table];
        let holds = |(&at, value): (&usize, &Value)| {
            let kind = table.columns[at].sql_type();
            format!("live.{}::text = {}::{kind}::text", table.names(&[at]), literal(value))
        };
        self.columns.iter().zip(&self.values).map(holds).collect::<Vec<_>>().join(" and ")
    }

    /// The recipe's list of columns.
    pub fn column_list(&self, table: &Table) -> String {
        let names = self.columns.iter().map(|&at| serde_json::to_string(&table.columns[at].name).unwrap());
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    }
}
