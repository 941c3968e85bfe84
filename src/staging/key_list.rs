//! A CSV file of keys that a person keeps beside the recipe: a header of column names, then one row a line, every value as
//! text. Reads it whole, interprets nothing.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::ident::{Ident, TableName};
use crate::sql::literal::push_literal;

/// The file as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyList {
    /// SHA-256 of the bytes that were read.
    pub sha256: String,
    /// The columns of the header.
    pub columns: Vec<Ident>,
    /// The values, row by row, as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

impl KeyList {
    /// Reads the file; the error is one line that says what is wrong with it.
    pub fn read(path: &Path, table: &TableName) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        // Blanks are a part of a value: trimmed, a key that has some would name no row, and its row would come back.
        let mut file = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(bytes.as_slice());
        let header = file.headers().map_err(|error| error.to_string())?.clone();
        let columns: Vec<Ident> =
            header.iter().map(|name| Ident::new(name.trim_start_matches('\u{feff}'))).collect();
        if columns.iter().all(|name| name.as_str().is_empty()) {
            return Err(format!("it has no header, which must name the columns of {table} that it lists"));
        }
        if let Some((at, twice)) = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name))
        {
            return Err(format!("column {} of its header names \"{twice}\" once more", at + 1));
        }
        let mut rows = Vec::new();
        for record in file.records() {
            let record = record.map_err(|error| error.to_string())?;
            rows.push(record.iter().map(str::to_owned).collect());
        }
        Ok(Self { sha256, columns, rows })
    }

    /// `('a'::type, …), (…)`: the rows as a list of values of these types; empty without rows.
    pub fn values(&self, types: &[&str]) -> String {
        let mut sql = String::new();
        for row in &self.rows {
            sql.push_str(if sql.is_empty() { "(" } else { ",\n(" });
            for (at, (value, kind)) in row.iter().zip(types).enumerate() {
                sql.push_str(if at > 0 { "," } else { "" });
                push_literal(&mut sql, value);
                sql.push_str("::");
                sql.push_str(kind);
            }
            sql.push(')');
        }
        sql
    }
}
