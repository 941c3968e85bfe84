//! Rows as something a statement can select from: they travel within its text, because COPY takes no parameters. As one
//! array per column where every value can stand in an array, which the server reads far faster than a list of rows.

use super::Column;
use crate::sql::literal::push_literal;
use crate::value::BaseType;
use crate::value::copy_text::{NULL, text};

/// A row whose raw COPY fields are found by their positions.
pub trait RawFields {
    /// The field there; `None` where the row has none, which is as NULL.
    fn raw(&self, position: usize) -> Option<&[u8]>;
}

/// Some columns of rows.
pub struct Relation {
    /// Positions in the rows, each with the type of its column.
    columns: Vec<(usize, String)>,
    fits_arrays: bool,
}

impl Relation {
    /// These columns, each with its position in the rows.
    pub fn of<'c>(columns: impl Iterator<Item = (usize, &'c Column)>) -> Self {
        let mut fits_arrays = true;
        let columns: Vec<(usize, String)> = columns
            .map(|(at, column)| {
                fits_arrays &= fits_an_array(column);
                (at, column.type_name.clone())
            })
            .collect();
        Self { fits_arrays: fits_arrays && !columns.is_empty(), columns }
    }

    /// Appends what may stand behind FROM, with brackets and without an alias: the number of each row from 0, then its
    /// values, each of its column's type.
    pub fn push<'r, R: RawFields + 'r>(&self, sql: &mut String, rows: impl Iterator<Item = &'r R> + Clone) {
        if !self.fits_arrays {
            sql.push_str("(values ");
            self.push_values(sql, rows);
            sql.push(')');
            return;
        }
        let names: Vec<String> = (1..=self.columns.len()).map(|at| format!("v{at}")).collect();
        let names = names.join(", ");
        sql.push_str(&format!("(select n - 1, {names} from rows from ("));
        for (number, (position, type_name)) in self.columns.iter().enumerate() {
            sql.push_str(if number == 0 { "pg_catalog.unnest(" } else { ", pg_catalog.unnest(" });
            push_array(sql, type_name, rows.clone().map(|row| row.raw(*position).unwrap_or(NULL)));
            sql.push(')');
        }
        sql.push_str(&format!(") with ordinality as u({names}, n))"));
    }

    /// Appends `(0, 'a'::type, …), (1, 'b', …)`; only the first row needs casts, the others follow it.
    fn push_values<'r, R: RawFields + 'r>(&self, sql: &mut String, rows: impl Iterator<Item = &'r R>) {
        for (ordinal, row) in rows.enumerate() {
            sql.push_str(if ordinal == 0 { "(" } else { ",\n(" });
            sql.push_str(&ordinal.to_string());
            for (position, type_name) in &self.columns {
                sql.push(',');
                match text(row.raw(*position).unwrap_or(NULL)) {
                    Some(value) => push_literal(sql, &value),
                    None => sql.push_str("null"),
                }
                if ordinal == 0 {
                    sql.push_str("::");
                    sql.push_str(type_name);
                }
            }
            sql.push(')');
        }
    }
}

/// Appends one array of a column's type with all these raw COPY fields.
pub fn push_array<'r>(sql: &mut String, type_name: &str, values: impl Iterator<Item = &'r [u8]>) {
    push_literal(sql, &array(values));
    sql.push_str(&format!("::{type_name}[]"));
}

/// Arrays of arrays lose their inner bounds, and some types have another delimiter than the comma: only types known to
/// be neither, and domains over them.
pub fn fits_an_array(column: &Column) -> bool {
    column.base_type != BaseType::Other || column.is_enum
}

/// `{1,NULL,"a b"}`, from raw COPY fields.
fn array<'r>(values: impl Iterator<Item = &'r [u8]>) -> String {
    let mut array = String::from("{");
    for (number, field) in values.enumerate() {
        if number > 0 {
            array.push(',');
        }
        match std::str::from_utf8(field) {
            Ok(plain) if is_plain(field) => array.push_str(plain),
            _ => match text(field) {
                Some(value) => push_element(&mut array, &value),
                None => array.push_str("NULL"),
            },
        }
    }
    array.push('}');
    array
}

/// Does it mean itself in an array and in COPY text? A word could be NULL.
fn is_plain(field: &[u8]) -> bool {
    let is_start = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-+.:_".contains(byte);
    field.first().is_some_and(is_start) && field.iter().all(is_part)
}

fn push_element(array: &mut String, value: &str) {
    array.push('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            array.push('\\');
        }
        array.push(letter);
    }
    array.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_keeps_every_value_apart() {
        let raw: [&[u8]; 9] = [
            b"7",
            b"-1.5",
            b"\\N",
            b"",
            b"NULL",
            b"it's",
            b"a\\tb\\\\c\"",
            b"{,}",
            b"2026-11-21 14:00:00+00",
        ];
        assert_eq!(
            array(raw.into_iter()),
            "{7,-1.5,NULL,\"\",\"NULL\",\"it's\",\"a\tb\\\\c\\\"\",\"{,}\",\"2026-11-21 14:00:00+00\"}"
        );
    }
}
