//! Small text tables and numbers for people. Only text; nothing here knows what it shows.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// `1204` as `1,204`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `1,204 rows`.
pub fn counted(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {one}s", grouped(number)) }
}

/// Bytes in a unit that keeps the number short.
pub fn sized(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size {
            let tenths = bytes / (size / 10).max(1);
            return format!("{}.{} {unit}", grouped(tenths / 10), tenths % 10);
        }
    }
    format!("{bytes} bytes")
}

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table without lines, two spaces between columns; ends with a newline. Empty without rows.
pub fn table(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let alignment = |align: Align| match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    };
    let cell = |text: &str, align: Align| Cell::new(text).set_alignment(alignment(align));
    table.set_header(header.iter().map(|(name, align)| cell(name, *align)));
    for row in rows {
        table.add_row(row.iter().zip(header).map(|(text, (_, align))| cell(text, *align)));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    format!("{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1204, 1_000_000].map(grouped), ["0", "999", "1,204", "1,000,000"]);
        assert_eq!([0, 1, 2000].map(|number| counted(number, "row")), ["0 rows", "1 row", "2,000 rows"]);
        assert_eq!([12, 1024, 1_600_000, 3 << 30].map(sized), ["12 bytes", "1.0 kB", "1.5 MB", "3.0 GB"]);
    }

    #[test]
    fn columns_are_aligned() {
        let rows =
            [vec!["public.orders".to_owned(), "1,204".to_owned()], vec!["a".to_owned(), "3".to_owned()]];
        insta::assert_snapshot!(table(&[("table", Align::Left), ("lost", Align::Right)], &rows), @r#"
        table           lost
        public.orders  1,204
        a                  3
        "#);
        assert_eq!(table(&[("table", Align::Left)], &[]), "");
    }
}
