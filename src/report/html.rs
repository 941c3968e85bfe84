//! The report as one HTML file: no scripts, nothing from elsewhere, readable on paper.

use super::markup::{Cell, Markup, all, element, fixed, joined, monospace, table, text};
use super::table::grouped;
use super::text::written;
use super::{Report, ReportedColumn, ReportedTable, RowList, evidence_line};
use crate::diff::Verdict;

const STYLE: &str = include_str!("style.css");

/// Renders it.
pub(super) fn render(report: &Report) -> String {
    let title = text(&format!("rowback: recovery of {}", report.live.dbname));
    let head = all([
        fixed(
            "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        ),
        element("title", &title),
        element("style", &fixed(STYLE)),
    ]);
    let mut page = fixed("<!doctype html>\n<html lang=\"en\">\n");
    page.block("head", &head);
    page.block("body", &body(report));
    page.push(&fixed("</html>\n"));
    page.into_string()
}

fn body(report: &Report) -> Markup {
    let mut body = fixed("\n");
    body.block("h1", &text(&format!("Recovery of {}", report.live.dbname)));
    body.block("p", &text(&format!("{}.", report.standing)));
    body.block("p class=\"next\"", &text(&report.next));
    body.push(&sums(report));
    body.push(&identity(report));
    body.push(&verdicts(report));
    body.push(&foreign_keys(report));
    body.push(&rows(report, "Left for a human", |table| &table.left));
    body.push(&rows(report, "Written, with a remark", |table| &table.partly));
    list(&mut body, "Not as planned", &report.problems);
    list(&mut body, "Triggers that fire", &report.triggers);
    body.push(&sequences(report));
    list(&mut body, "Notes", &report.notes);
    body.push(&batches(report));
    let made = concat!("Made by rowback ", env!("CARGO_PKG_VERSION"), ". The same as JSON: ");
    let command = format!("rowback report {} --json", super::shell_word(&report.case));
    body.block("p class=\"soft\"", &all([fixed(made), monospace(&command)]));
    body
}

fn sums(report: &Report) -> Markup {
    let totals = report.totals;
    let conflicts = if totals.conflicts > 0 { "li class=\"warn\"" } else { "li" };
    let tile = |opening, count: u64, what: &'static str| {
        element(opening, &all([element("b", &text(&grouped(count))), fixed(what)]))
    };
    let mut tiles = Markup::default();
    tiles.block(
        "ul class=\"sums\"",
        &all([
            tile("li", totals.insert, "to insert"),
            tile("li", totals.repair, "to repair"),
            tile("li", totals.relink, "to re-link"),
            tile(conflicts, totals.conflicts, "conflicts, kept as they are"),
        ]),
    );
    tiles
}

fn identity(report: &Report) -> Markup {
    let (backup, live) = (&report.backup, &report.live);
    let optional = |value: &Option<String>| value.as_deref().map_or_else(|| text("not known"), text);
    let database = backup.dbname.as_deref().unwrap_or("not known");
    let sides = [
        (
            "Backup",
            vec![
                ("File", monospace(&backup.path)),
                ("SHA-256", monospace(&backup.sha256)),
                ("Format", text(&backup.archive)),
                ("Database", text(&format!("{database} (PostgreSQL {})", backup.server_version))),
                ("Dumped", optional(&backup.dumped_at)),
            ],
        ),
        (
            "Live",
            vec![
                ("Database", text(&format!("{} (PostgreSQL {})", live.dbname, live.server_version))),
                ("Cluster", optional(&live.system_identifier)),
                ("Role", text(&live.role)),
            ],
        ),
        ("Case", vec![("Directory", monospace(&report.case))]),
    ];
    let mut out = Markup::default();
    for (title, pairs) in sides {
        out.block("h2", &fixed(title));
        let rows = pairs
            .iter()
            .map(|(name, value)| element("tr", &all([element("th", &fixed(name)), element("td", value)])));
        out.block("table", &element("tbody", &all(rows)));
    }
    out
}

fn verdicts(report: &Report) -> Markup {
    let occurring = report.verdicts();
    let number = |name: &str| (name.to_owned(), Cell::Number);
    let mut header = vec![("table".to_owned(), Cell::Words)];
    header.extend(occurring.iter().map(|verdict| number(verdict.word())));
    header.extend([number("insert"), number("update")]);
    let count = |number: u64| text(&if number == 0 { String::new() } else { grouped(number) });
    let rows = report.tables.iter().map(|one| {
        let of = |verdict: &Verdict| one.verdicts.get(verdict.word()).copied().unwrap_or(0);
        std::iter::once(text(&one.table.to_string()))
            .chain(occurring.iter().map(|verdict| count(of(verdict))))
            .chain([count(one.insert), count(one.update)])
            .collect()
    });
    let mut out = Markup::default();
    out.block("h2", &fixed("Rows by table"));
    out.push(&table(&header, rows.collect()));
    let evidence = evidence_line(&report.evidence);
    if !evidence.is_empty() {
        out.block("p", &text(&format!("Evidence of the rows that are written: {evidence}.")));
    }
    let meanings = occurring.iter().map(|verdict| {
        all([element("dt", &fixed(verdict.word())), element("dd", &fixed(meaning(*verdict)))])
    });
    out.block("dl", &all(meanings));
    out
}

/// What a verdict means, for somebody who never saw one.
fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Lost => "not in live",
        Verdict::Damaged => "in live, with a damaged value in a column of the recipe",
        Verdict::Unlinked => "in live, but its link was cut when the row it points to went",
        Verdict::Misrouted => "in live under the wrong owner",
        Verdict::Same => "in live and equal: nothing to do",
        Verdict::Changed => {
            "in live and different, and nothing says that this is damage: live stays as it is"
        }
        Verdict::Recreated => "not in live, but another row of live holds one of its unique values: left out",
        Verdict::IdReused => "its key is in live, but names something else: live stays as it is",
        Verdict::Orphan => "a row that it needs is neither in live nor comes back: left out",
        Verdict::Excluded => "kept out on purpose (exclude_keys), or hangs on a row that is",
        Verdict::Unfit => "live does not take the value any more: left out",
    }
}

fn foreign_keys(report: &Report) -> Markup {
    if report.edges.is_empty() {
        return Markup::default();
    }
    let words = ["child", "parent", "foreign key"].map(|name| (name.to_owned(), Cell::Words));
    let numbers = ["in backup", "staged", "missing in live"].map(|name| (name.to_owned(), Cell::Number));
    let header: Vec<_> = words.into_iter().chain(numbers).collect();
    let rows = report.edges.iter().map(|edge| {
        let names = [edge.child.to_string(), edge.parent.to_string(), edge.name.clone()];
        let counts = [edge.in_backup, edge.staged, edge.missing_in_live].map(grouped);
        names.iter().chain(&counts).map(|cell| text(cell)).collect()
    });
    let mut out = Markup::default();
    out.block("h2", &fixed("What hangs on the chosen rows"));
    out.push(&table(&header, rows.collect()));
    out
}

fn rows(report: &Report, title: &'static str, of: fn(&ReportedTable) -> &RowList) -> Markup {
    let mut out = Markup::default();
    for one in report.tables.iter().filter(|one| of(one).total > 0) {
        if out.is_empty() {
            out.block("h2", &fixed(title));
        }
        let list = of(one);
        out.block("h3", &text(&format!("{}: {}", one.table, grouped(list.total))));
        let mut header: Vec<_> = one.key.iter().map(|name| (name.clone(), Cell::Words)).collect();
        header.extend(["verdict", "why", "columns"].map(|name| (name.to_owned(), Cell::Words)));
        let rows = list.rows.iter().map(|row| {
            let columns = joined(row.columns.iter().map(column), "<br>");
            let key = row.key.iter().map(|value| monospace(value));
            key.chain([text(&row.verdict), text(&row.reason), columns]).collect()
        });
        out.push(&table(&header, rows.collect()));
        if list.unlisted() > 0 {
            let more = format!("{} more are not listed here; all are in ", grouped(list.unlisted()));
            out.block("p class=\"soft\"", &all([text(&more), monospace(&one.diff_file)]));
        }
    }
    out
}

/// The column, and both values where they were asked for.
fn column(column: &ReportedColumn) -> Markup {
    let Some(both) = &column.values else { return text(&column.name) };
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| fixed("NULL"), monospace);
    let after = both.after.as_ref().map(|after| all([fixed(", after the accident "), value(after)]));
    let live = all([fixed(", live "), value(&both.live)]);
    all([
        text(&column.name),
        fixed(": backup "),
        value(&both.backup),
        after.unwrap_or_else(|| fixed("")),
        live,
    ])
}

fn sequences(report: &Report) -> Markup {
    if report.sequences.is_empty() {
        return Markup::default();
    }
    let header = [
        ("sequence".to_owned(), Cell::Words),
        ("stood at".to_owned(), Cell::Number),
        ("moves to".to_owned(), Cell::Number),
    ];
    let rows = report.sequences.iter().map(|one| {
        let stood = one.stood_at.map_or("never used".to_owned(), |at| at.to_string());
        vec![text(&one.sequence.to_string()), text(&stood), text(&one.at_least.to_string())]
    });
    let mut out = Markup::default();
    out.block("h2", &fixed("Sequences"));
    out.push(&table(&header, rows.collect()));
    out
}

fn batches(report: &Report) -> Markup {
    if report.batches.is_empty() {
        return Markup::default();
    }
    let header = ["file", "rows", "state", "taken back by"].map(|name| (name.to_owned(), Cell::Words));
    let rows = report.batches.iter().map(|batch| {
        let undo = batch.undo_file.as_deref().map_or_else(Markup::default, monospace);
        vec![monospace(&batch.file), text(&written(batch)), fixed(batch.state.word()), undo]
    });
    let mut out = Markup::default();
    out.block("h2", &fixed("Batches"));
    out.push(&table(&header, rows.collect()));
    out
}

fn list(body: &mut Markup, title: &'static str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    body.block("h2", &fixed(title));
    body.block("ul", &all(lines.iter().map(|line| element("li", &text(line)))));
}
