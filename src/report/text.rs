//! The report as text for a terminal or a pager: no colour, no line breaks out of values.

use super::table::{Align, grouped, table};
use super::{Report, ReportedBatch, ReportedRow, ReportedTable, RowList, evidence_line, visible};

/// Renders it.
pub(super) fn render(report: &Report) -> String {
    let mut text = format!("{}.\n{}\n\n", report.standing, visible(&report.next));
    text.push_str(&identity(report));
    text.push_str(&totals(report));
    text.push_str(&foreign_keys(report));
    rows(&mut text, report, "Left for a human", |table| &table.left);
    rows(&mut text, report, "Written, with a remark", |table| &table.partly);
    list(&mut text, "Not as planned", &report.problems);
    list(&mut text, "Triggers that fire", &report.triggers);
    let sequences: Vec<String> = report
        .sequences
        .iter()
        .map(|sequence| {
            let stood = sequence.stood_at.map_or("never used".to_owned(), |at| format!("at {at}"));
            format!("{} ({stood}) moves to {}", sequence.sequence, sequence.at_least)
        })
        .collect();
    list(&mut text, "Sequences", &sequences);
    list(&mut text, "Notes", &report.notes);
    text.push_str(&batches(report));
    text
}

fn identity(report: &Report) -> String {
    let (backup, live) = (&report.backup, &report.live);
    let database = backup.dbname.as_deref().map(|name| format!(", database \"{name}\"")).unwrap_or_default();
    let dumped = backup.dumped_at.as_deref().map(|at| format!(", dumped {at}")).unwrap_or_default();
    let cluster = live.system_identifier.as_deref().map(|id| format!(", cluster {id}")).unwrap_or_default();
    let lines = [
        ("Case", report.case.clone()),
        ("Backup", backup.path.clone()),
        ("", format!("SHA-256 {}", backup.sha256)),
        ("", format!("{}{database}, PostgreSQL {}{dumped}", backup.archive, backup.server_version)),
        (
            "Live",
            format!(
                "\"{}\", PostgreSQL {}, role \"{}\"{cluster}",
                live.dbname, live.server_version, live.role
            ),
        ),
    ];
    lines.iter().map(|(name, value)| format!("{name:<8}{}\n", visible(value))).collect()
}

fn totals(report: &Report) -> String {
    let verdicts = report.verdicts();
    let mut header = vec![("table", Align::Left)];
    header.extend(verdicts.iter().map(|verdict| (verdict.word(), Align::Right)));
    header.extend([("insert", Align::Right), ("update", Align::Right)]);
    let count = |number: u64| if number == 0 { String::new() } else { grouped(number) };
    let rows: Vec<Vec<String>> = report
        .tables
        .iter()
        .map(|one| {
            let of = |word: &str| one.verdicts.get(word).copied().unwrap_or(0);
            std::iter::once(visible(&one.table.to_string()))
                .chain(verdicts.iter().map(|verdict| count(of(verdict.word()))))
                .chain([count(one.insert), count(one.update)])
                .collect()
        })
        .collect();
    let mut text = format!("\nPlan: {}.\n", report.plan_line());
    let evidence = evidence_line(&report.evidence);
    if !evidence.is_empty() {
        text.push_str(&format!("Evidence: {evidence}.\n"));
    }
    format!("{text}\n{}", table(&header, &rows))
}

fn foreign_keys(report: &Report) -> String {
    let right = |name| (name, Align::Right);
    let header = [
        ("child → parent", Align::Left),
        ("foreign key", Align::Left),
        right("in backup"),
        right("staged"),
        right("missing in live"),
    ];
    let rows: Vec<Vec<String>> = report
        .edges
        .iter()
        .map(|edge| {
            let names = [format!("{} → {}", edge.child, edge.parent), edge.name.clone()];
            let counts = [edge.in_backup, edge.staged, edge.missing_in_live].map(grouped);
            names.iter().map(|name| visible(name)).chain(counts).collect()
        })
        .collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", table(&header, &rows)) }
}

fn rows(text: &mut String, report: &Report, title: &str, of: fn(&ReportedTable) -> &RowList) {
    if report.tables.iter().all(|table| of(table).total == 0) {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for table in report.tables.iter().filter(|table| of(table).total > 0) {
        let rows = of(table);
        text.push_str(&format!("  {}: {}\n", visible(&table.table.to_string()), grouped(rows.total)));
        rows.rows.iter().for_each(|one| text.push_str(&format!("    {}\n", row(table, one))));
        if rows.unlisted() > 0 {
            let more = grouped(rows.unlisted());
            text.push_str(&format!("    … and {more} more, in {}\n", visible(&table.diff_file)));
        }
    }
}

/// `id = 7  changed: live's email differs [email]`.
fn row(table: &ReportedTable, row: &ReportedRow) -> String {
    let key: Vec<String> = table
        .key
        .iter()
        .zip(&row.key)
        .map(|(name, value)| format!("{} = {}", visible(name), visible(value)))
        .collect();
    let shown =
        |value: &Option<String>| value.as_deref().map_or("NULL".to_owned(), |text| format!("{text:?}"));
    let columns: Vec<String> = row
        .columns
        .iter()
        .map(|column| match &column.values {
            Some(both) => {
                let after = both.after.as_ref().map(|after| format!(", after the accident {}", shown(after)));
                let (before, live) = (shown(&both.backup), shown(&both.live));
                format!("{}: backup {before}{}, live {live}", column.name, after.unwrap_or_default())
            }
            None => column.name.clone(),
        })
        .collect();
    let columns =
        if columns.is_empty() { String::new() } else { format!(" [{}]", visible(&columns.join("; "))) };
    let reason = if row.reason.is_empty() { String::new() } else { format!(": {}", visible(&row.reason)) };
    format!("{}  {}{reason}{columns}", key.join(", "), row.verdict)
}

fn batches(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .batches
        .iter()
        .map(|batch| vec![visible(&batch.file), written(batch), batch.state.word().to_owned()])
        .collect();
    let header = ["batch", "rows", "state"].map(|name| (name, Align::Left));
    if rows.is_empty() { String::new() } else { format!("\n{}", table(&header, &rows)) }
}

/// `3 insert`, or by table where there are several.
pub(super) fn written(batch: &ReportedBatch) -> String {
    let parts: Vec<String> = batch
        .parts
        .iter()
        .map(|(table, action, rows)| match batch.parts.len() {
            1 => format!("{} {}", grouped(*rows), action.word()),
            _ => format!("{}: {} {}", visible(&table.to_string()), grouped(*rows), action.word()),
        })
        .collect();
    if parts.is_empty() { "sequences".to_owned() } else { parts.join(", ") }
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    lines.iter().for_each(|line| text.push_str(&format!("  {}\n", visible(line))));
}
