//! A comparison as text: a table of counts, then a few rows of each sort.

use rowback::compare::{ChangedSample, Comparison, KeyTexts, TableComparison};

use crate::cli::output::{Output, Paint};
use crate::cli::table::{Align, counted, grouped, table};

/// The whole of it.
pub fn compare(found: &Comparison, output: &Output) -> String {
    let header = ["backup", "live", "missing", "changed", "new"].map(|name| (name, Align::Right));
    let header: Vec<_> = [("table", Align::Left)].into_iter().chain(header).collect();
    let counts = |one: &TableComparison| [one.backup_rows, one.live_rows, one.missing, one.changed, one.new];
    let rows: Vec<_> = found
        .tables
        .iter()
        .map(|one| [one.table.to_string()].into_iter().chain(counts(one).map(grouped)).collect())
        .collect();
    let mut text = table(&header, &rows);
    found.tables.iter().for_each(|one| push_details(&mut text, one));
    if !found.skipped.is_empty() {
        text.push_str(&format!("\n{}\n", output.paint(Paint::Yellow, "Not compared:")));
        for (name, reason) in &found.skipped {
            text.push_str(&format!("  {name}: {reason}\n"));
        }
    }
    let sum = |of: fn(&TableComparison) -> u64| grouped(found.tables.iter().map(of).sum());
    text.push_str(&format!(
        "\nCompared {} with \"{}\": {} missing in live, {} changed, {} new. Nothing has been written.\n",
        counted(u64::try_from(found.tables.len()).unwrap_or(u64::MAX), "table"),
        found.live.dbname,
        sum(|one| one.missing),
        sum(|one| one.changed),
        sum(|one| one.new),
    ));
    text
}

fn push_details(text: &mut String, one: &TableComparison) {
    let mut lines = Vec::new();
    let mut add = |word: &str, shown: Vec<String>, all: u64| {
        let more = all - u64::try_from(shown.len()).unwrap_or(all).min(all);
        if !shown.is_empty() {
            let rest = if more > 0 { format!(", and {} more", grouped(more)) } else { String::new() };
            lines.push(format!("{word}: {}{rest}", shown.join(", ")));
        }
    };
    add("missing", one.samples.missing.iter().map(key).collect(), one.missing);
    add("changed", one.samples.changed.iter().map(changed).collect(), one.changed);
    add("new", one.samples.new.iter().map(key).collect(), one.new);
    if !one.changed_columns.is_empty() {
        let columns: Vec<_> = one
            .changed_columns
            .iter()
            .map(|(column, rows)| format!("{column} in {}", counted(*rows, "row")))
            .collect();
        lines.push(format!("changed columns: {}", columns.join(", ")));
    }
    if !one.not_compared.is_empty() && one.missing + one.changed + one.new > 0 {
        let names: Vec<_> = one.not_compared.iter().map(ToString::to_string).collect();
        lines.push(format!("columns not compared: {}", names.join(", ")));
    }
    lines.extend(one.notes.iter().cloned());
    if !lines.is_empty() {
        text.push_str(&format!("\n{}\n", one.table));
        lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
}

/// `42`, or `(tenant_id 7, number 42)`.
fn key(key: &KeyTexts) -> String {
    let value = |text: &Option<String>| match text {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            format!("{text:?}")
        }
        Some(text) => text.clone(),
    };
    if let (1, Some(one)) = (key.len(), key.values().next()) {
        return value(one);
    }
    let parts: Vec<_> = key.iter().map(|(name, text)| format!("{name} {}", value(text))).collect();
    format!("({})", parts.join(", "))
}

fn changed(sample: &ChangedSample) -> String {
    let value = |text: &Option<String>| text.as_ref().map_or("NULL".to_owned(), |text| format!("{text:?}"));
    let columns: Vec<_> = sample
        .columns
        .iter()
        .map(|change| match &change.values {
            None => change.column.to_string(),
            Some(both) => format!(
                "{} {} in the backup, {} in live",
                change.column,
                value(&both.backup),
                value(&both.live)
            ),
        })
        .collect();
    format!("{} ({})", key(&sample.key), columns.join("; "))
}
