//! A comparison as text: a table of counts, then a few rows of each sort.

use std::collections::BTreeMap;

use rowback::compare::{ChangedSample, Comparison, KeyTexts, TableComparison, Unplanned};
use rowback::ident::{Ident, TableName};

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
    let unmatched = sum(|one| u64::try_from(one.unmatched.len()).unwrap_or(u64::MAX));
    let unmatched = match unmatched.as_str() {
        "0" => String::new(),
        "1" => " 1 column of the backup was not compared.".to_owned(),
        many => format!(" {many} columns of the backup were not compared."),
    };
    text.push_str(&format!(
        "\nCompared {} with \"{}\": {} missing in live, {} changed, {} new.{unmatched} Nothing has been written.\n",
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
    lines.extend(not_compared(one));
    lines.extend(one.notes.iter().cloned());
    if !lines.is_empty() {
        text.push_str(&format!("\n{}\n", one.table));
        lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
}

/// Columns that were left out, those first whose values the backup holds.
fn not_compared(one: &TableComparison) -> Option<String> {
    let list = |names: &[&Ident]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let of_live: Vec<_> = one.not_compared.iter().filter(|name| !one.unmatched.contains(name)).collect();
    let groups = [
        (one.unmatched.iter().collect(), "not in live under this name, or generated there"),
        (of_live, "not in the backup"),
    ];
    let told: Vec<_> = groups
        .iter()
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, why)| format!("{} ({why})", list(names)))
        .collect();
    (!told.is_empty()).then(|| format!("columns not compared: {}", told.join("; ")))
}

/// Why there is no case, where there are no differences to be planned.
pub fn no_case(found: &Comparison) -> &'static str {
    if found.is_complete() {
        "Live lacks nothing and differs in nothing: there is no case to make.\n"
    } else {
        "Live lacks nothing and differs in nothing of what was compared: there is no case to make. The tables and columns above that \
         were not compared may still have lost values; a recipe (`rowback recover`) can name them, with `[columns]` for \
         what was renamed.\n"
    }
}

/// Rows that no plan can be about, by table.
pub fn not_planned(tables: &BTreeMap<TableName, Unplanned>, output: &Output) -> String {
    let is_nameless = |why: &Unplanned| matches!(why, Unplanned::Nameless(_));
    let (nameless, named): (Vec<_>, Vec<_>) = tables.iter().partition(|(_, why)| is_nameless(why));
    let mut text = String::new();
    if !nameless.is_empty() {
        let title = "Not planned, since without a key nothing names their rows:";
        text.push_str(&format!("\n{}\n", output.paint(Paint::Yellow, title)));
        for (table, why) in nameless {
            text.push_str(&format!("  {table}: {} missing in live\n", counted(why.rows(), "row")));
        }
        text.push_str(
            "  Where columns are unique all the same, a recipe can name them (`key` under [columns]); otherwise bring these rows \
             back by hand. `--table` names the tables that are wanted.\n",
        );
    }
    if !named.is_empty() {
        let title = "Not planned, since live has these rows in other tables than the backup:";
        text.push_str(&format!("\n{}\n", output.paint(Paint::Yellow, title)));
        for (table, why) in named {
            let rows = counted(why.rows(), "row");
            text.push_str(&format!("  {table}: {rows} missing or changed in live; {}\n", elsewhere(why)));
        }
        text.push_str(
            "  Where a partition was detached in live, attach it again and run this again; otherwise bring these rows back by hand.\n",
        );
    }
    text
}

fn elsewhere(why: &Unplanned) -> String {
    match why {
        Unplanned::HeldAs(_, tables) => {
            let names: Vec<_> = tables.iter().map(ToString::to_string).collect();
            format!("the backup has them as rows of {}", names.join(", "))
        }
        Unplanned::Part(_) => {
            "partitions of it are tables of their own there, and the rows are too many to be listed"
                .to_owned()
        }
        Unplanned::Nameless(_) => String::new(),
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
