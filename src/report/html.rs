//! The report as one HTML file: no scripts, nothing from elsewhere, readable on paper. Everything that comes from a
//! database is escaped.

use super::Report;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;font-size:14px}\
th,td{border-bottom:1px solid #d8dee4;padding:.3rem .6rem;text-align:left;vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.next{background:#eef6ff;padding:.8rem 1rem;border-left:4px solid #4583c9}\
code{font-family:ui-monospace,monospace;font-size:13px}@media print{body{margin:0}}";

/// Renders it.
pub(super) fn render(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>rowback: recovery of {}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Recovery of {}</h1>\n",
        escaped(&report.live),
        escaped(&report.live)
    );
    let totals = report.totals;
    html.push_str(&format!(
        "<p><strong>{}</strong> to insert, <strong>{}</strong> to repair, <strong>{}</strong> to re-link; \
         <strong>{}</strong> conflicts kept as they are. {}</p>\n<p class=\"next\">Next: {}</p>\n",
        totals.insert,
        totals.repair,
        totals.relink,
        totals.conflicts,
        escaped(&report.state),
        escaped(&report.next)
    ));
    push_pairs(&mut html, report);
    push_verdicts(&mut html, report);
    push_edges(&mut html, report);
    push_conflicts(&mut html, report);
    push_list(&mut html, "Not as planned", report.unexplained.as_deref().unwrap_or_default());
    push_list(&mut html, "Triggers that fire", &report.triggers);
    push_list(&mut html, "Sequences", &report.sequences);
    push_list(&mut html, "Notes", &report.notes);
    html.push_str("</body></html>\n");
    html
}

fn push_pairs(html: &mut String, report: &Report) {
    html.push_str("<h2>Backup</h2>\n<table>\n");
    for (name, value) in &report.backup {
        html.push_str(&format!(
            "<tr><th>{}</th><td><code>{}</code></td></tr>\n",
            escaped(name),
            escaped(value)
        ));
    }
    html.push_str("</table>\n");
}

fn push_verdicts(html: &mut String, report: &Report) {
    let columns = report.columns();
    html.push_str("<h2>Verdicts</h2>\n<table>\n<tr><th>table</th>");
    columns.iter().for_each(|word| html.push_str(&format!("<th class=\"n\">{}</th>", escaped(word))));
    html.push_str("</tr>\n");
    for (table, counts) in &report.verdicts {
        html.push_str(&format!("<tr><td>{}</td>", escaped(&table.to_string())));
        for word in &columns {
            let count = counts.get(word).filter(|count| **count > 0).map_or(String::new(), u64::to_string);
            html.push_str(&format!("<td class=\"n\">{count}</td>"));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
    let evidence: Vec<String> =
        report.evidence.iter().map(|(name, rows)| format!("{rows} by {}", escaped(name))).collect();
    if !evidence.is_empty() {
        html.push_str(&format!("<p>Evidence: {}.</p>\n", evidence.join(", ")));
    }
}

fn push_edges(html: &mut String, report: &Report) {
    if report.edges.is_empty() {
        return;
    }
    html.push_str(
        "<h2>By foreign key</h2>\n<table>\n<tr><th>child</th><th>parent</th><th>foreign key</th>\
         <th class=\"n\">in backup</th><th class=\"n\">staged</th><th class=\"n\">missing in live</th></tr>\n",
    );
    for edge in &report.edges {
        html.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            escaped(&edge.child.to_string()),
            escaped(&edge.parent.to_string()),
            escaped(&edge.name),
            edge.in_backup,
            edge.staged,
            edge.missing_in_live
        ));
    }
    html.push_str("</table>\n");
}

fn push_conflicts(html: &mut String, report: &Report) {
    if report.conflicts.is_empty() {
        return;
    }
    html.push_str(
        "<h2>Left for a human</h2>\n<table>\n<tr><th>table</th><th>key</th><th>verdict</th><th>why</th><th>columns</th></tr>\n",
    );
    for row in &report.conflicts {
        let columns: Vec<String> = row
            .columns
            .iter()
            .map(|column| match (&column.backup, &column.live) {
                (Some(backup), Some(live)) => {
                    format!("{}: {} → {}", escaped(&column.name), escaped(backup), escaped(live))
                }
                _ => escaped(&column.name),
            })
            .collect();
        html.push_str(&format!(
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(&row.table.to_string()),
            escaped(&row.key.join(", ")),
            escaped(&row.verdict),
            escaped(&row.reason),
            columns.join("<br>")
        ));
    }
    html.push_str("</table>\n");
    for (table, rows) in &report.unnamed {
        let table = escaped(&table.to_string());
        html.push_str(&format!("<p>{table}: {rows} more, in the case's diff directory.</p>\n"));
    }
}

fn push_list(html: &mut String, title: &str, list: &[String]) {
    if list.is_empty() {
        return;
    }
    html.push_str(&format!("<h2>{title}</h2>\n<ul>\n"));
    list.iter().for_each(|entry| html.push_str(&format!("<li>{}</li>\n", escaped(entry))));
    html.push_str("</ul>\n");
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{ReportedColumn, ReportedConflict};
    use super::*;
    use crate::ident::TableName;
    use crate::plan::Totals;

    #[test]
    fn everything_from_a_database_is_escaped() {
        let table = TableName::new("a", "<b>&\"");
        let report = Report {
            backup: vec![("file".into(), "x<script>".into())],
            live: "<live>".into(),
            totals: Totals::default(),
            verdicts: BTreeMap::from([(table.clone(), BTreeMap::from([("lost".to_owned(), 2)]))]),
            evidence: BTreeMap::new(),
            edges: vec![],
            conflicts: vec![ReportedConflict {
                table,
                key: vec!["<i>".into()],
                verdict: "changed".into(),
                reason: "a<b".into(),
                columns: vec![ReportedColumn {
                    name: "c".into(),
                    backup: Some("<u>".into()),
                    live: Some("NULL".into()),
                }],
            }],
            unnamed: BTreeMap::new(),
            triggers: vec![],
            sequences: vec![],
            notes: vec!["<em>".into()],
            state: "planned".into(),
            unexplained: None,
            next: "go".into(),
        };
        let html = report.html();
        for planted in ["<script", "<i>", "<u>", "<em>", "<live>", "<b>&"] {
            assert!(!html.contains(planted), "{planted}");
        }
        assert!(html.contains("&lt;u&gt; → NULL") && html.contains("<td class=\"n\">2</td>"));
        assert!(
            report.text().contains("a.\"<b>&\"\"\" (<i>) changed: a<b [c: <u> -> NULL]"),
            "{}",
            report.text()
        );
    }
}
