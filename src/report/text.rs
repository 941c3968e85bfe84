//! The report as text.

use super::{Report, ReportedConflict};

/// Renders it; plain text without colour.
pub(super) fn render(report: &Report) -> String {
    let mut text = head(report);
    text.push_str(&verdicts(report));
    text.push_str(&conflicts(report));
    for (title, list) in
        [("triggers that fire", &report.triggers), ("sequences", &report.sequences), ("notes", &report.notes)]
    {
        text.push_str(&listed(title, list));
    }
    text.push_str(&listed("not as planned", report.unexplained.as_deref().unwrap_or_default()));
    text.push_str(&format!("\nnext: {}\n", report.next));
    text
}

fn head(report: &Report) -> String {
    let mut text = String::new();
    for (name, value) in &report.backup {
        text.push_str(&format!("{name:<9} {value}\n"));
    }
    text.push_str(&format!("{:<9} {}\n{:<9} {}\n\n", "live", report.live, "state", report.state));
    let totals = report.totals;
    text.push_str(&format!(
        "{} to insert, {} to repair, {} to re-link; {} conflicts\n",
        totals.insert, totals.repair, totals.relink, totals.conflicts
    ));
    let evidence: Vec<String> =
        report.evidence.iter().map(|(name, rows)| format!("{rows} by {name}")).collect();
    if !evidence.is_empty() {
        text.push_str(&format!("evidence: {}\n", evidence.join(", ")));
    }
    text
}

fn verdicts(report: &Report) -> String {
    let mut text = String::from("\n");
    for (table, counts) in &report.verdicts {
        let counts: Vec<String> = report
            .columns()
            .iter()
            .filter_map(|word| counts.get(word).map(|count| format!("{count} {word}")))
            .collect();
        text.push_str(&format!("{table}: {}\n", counts.join(", ")));
    }
    if !report.edges.is_empty() {
        text.push_str("\nby foreign key (in backup / staged / missing in live)\n");
    }
    for edge in &report.edges {
        text.push_str(&format!(
            "  {} -> {} ({}): {} / {} / {}\n",
            edge.child, edge.parent, edge.name, edge.in_backup, edge.staged, edge.missing_in_live
        ));
    }
    text
}

fn conflicts(report: &Report) -> String {
    if report.conflicts.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nleft for a human\n");
    report.conflicts.iter().for_each(|row| text.push_str(&conflict(row)));
    for (table, rows) in &report.unnamed {
        text.push_str(&format!("  {table}: {rows} more, in the case's diff directory\n"));
    }
    text
}

fn conflict(row: &ReportedConflict) -> String {
    let columns: Vec<String> = row
        .columns
        .iter()
        .map(|column| match (&column.backup, &column.live) {
            (Some(backup), Some(live)) => format!("{}: {backup} -> {live}", column.name),
            _ => column.name.clone(),
        })
        .collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" [{}]", columns.join(", ")) };
    format!("  {} ({}) {}: {}{columns}\n", row.table, row.key.join(", "), row.verdict, row.reason)
}

fn listed(title: &str, list: &[String]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let lines: String = list.iter().map(|entry| format!("  {entry}\n")).collect();
    format!("\n{title}\n{lines}")
}
