//! Results as text for people. Pure: from a summary to its lines.

mod apply;
mod compare;
mod explain;
mod plan;

use std::path::Path;

use rowback::case::{DoctorSummary, ExtractSummary, VerifySummary};

pub use self::apply::{apply, undo};
pub use self::compare::{compare, no_case, not_planned};
pub use self::explain::explain;
pub use self::plan::{diff, plan};
use super::output::{Output, Paint};
use super::table::{Align, counted, grouped, table};

/// What was staged.
pub fn extract(staged: &ExtractSummary, case: &Path, output: &Output) -> String {
    let rows: Vec<_> =
        staged.tables.iter().map(|(name, rows)| vec![name.to_string(), grouped(*rows)]).collect();
    let mut text = table(&[("table", Align::Left), ("staged", Align::Right)], &rows);
    push_notes(&mut text, &staged.notes, output);
    let total = counted(staged.tables.values().sum(), "row");
    text.push_str(&format!("\nStaged {total} in {}. Nothing has been written to live.\n", case.display()));
    text.push_str(&format!("Next: rowback diff {}\n", shell_word(case)));
    text
}

/// The certificate in short.
pub fn verify(verified: &VerifySummary, case: &Path, output: &Output) -> String {
    let rows: Vec<_> = verified
        .tables
        .iter()
        .filter(|(_, (planned, _))| *planned > 0)
        .map(|(name, (planned, equal))| vec![name.to_string(), grouped(*planned), grouped(*equal)])
        .collect();
    let wanted = if verified.taken_back { "as before" } else { "present and equal" };
    let header = [("table", Align::Left), ("planned", Align::Right), (wanted, Align::Right)];
    let mut text = table(&header, &rows);
    push_list(&mut text, "Left for a human:", &verified.unexplained);
    let left_out: Vec<String> = verified
        .left_out
        .iter()
        .filter(|(verdict, count)| **count > 0 && verdict.as_str() != "same")
        .map(|(verdict, count)| format!("{} {verdict}", grouped(*count)))
        .collect();
    if !left_out.is_empty() && !verified.taken_back {
        text.push_str(&format!("\nLeft out by the plan: {}.\n", left_out.join(", ")));
    }
    push_notes(&mut text, &verified.notes, output);
    if !text.is_empty() {
        text.push('\n');
    }
    let line = if verified.taken_back && verified.unexplained.is_empty() {
        output.paint(Paint::Green, "Verified: the recovery is taken back.")
    } else if verified.unexplained.is_empty() {
        output.paint(Paint::Green, "Verified: everything that was planned is in live.")
    } else if verified.as_planned && !verified.taken_back {
        let line =
            "Everything that was planned is in live; rows that hang on it may belong to somebody else.";
        output.paint(Paint::Yellow, line)
    } else if verified.taken_back {
        output.paint(Paint::Yellow, "NOT verified: not everything that was recovered is taken back.")
    } else {
        output.paint(Paint::Yellow, "NOT verified: not everything that was planned is in live.")
    };
    let certificate = case.join("certificate.json");
    text.push_str(&format!("{line}\nThe certificate is {}.\n", certificate.display()));
    text
}

/// One line a check.
pub fn doctor(found: &DoctorSummary, output: &Output) -> String {
    let mut text = String::new();
    for check in &found.checks {
        let (paint, word) = if check.ok { (Paint::Green, "ok   ") } else { (Paint::Red, "wrong") };
        let detail = check.detail.replace('\n', "\n       ");
        text.push_str(&format!("{}  {}: {detail}\n", output.paint(paint, word), check.name));
    }
    text
}

/// The path as a word that a shell takes as it stands.
fn shell_word(path: &Path) -> String {
    rowback::report::shell_word(&path.display().to_string())
}

fn push_list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
}

fn push_notes(text: &mut String, notes: &[String], output: &Output) {
    if !notes.is_empty() && !text.is_empty() {
        text.push('\n');
    }
    for note in notes {
        text.push_str(&format!("{}: {note}\n", output.paint(Paint::Yellow, "note")));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rowback::env::Env;

    use super::*;
    use crate::cli::args::{ColorWhen, GlobalArgs};

    pub fn plain() -> Output {
        let global = GlobalArgs { json: false, show_values: false, quiet: true, color: ColorWhen::Never };
        Output::new(&global, &Env::default())
    }

    pub fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn verify_tells_whole_from_partial() {
        let orders = rowback::ident::TableName::new("public", "orders");
        let whole = VerifySummary {
            tables: BTreeMap::from([(orders.clone(), (1204, 1204))]),
            left_out: counts(&[("same", 3), ("changed", 1)]),
            unexplained: Vec::new(),
            as_planned: true,
            notes: Vec::new(),
            gone: 0,
            taken_back: false,
        };
        let partial = VerifySummary {
            tables: BTreeMap::from([(orders, (1204, 1203))]),
            left_out: BTreeMap::new(),
            unexplained: vec!["public.orders: 1 row is not there".to_owned()],
            as_planned: false,
            notes: vec!["1 of 2 batches are applied.".to_owned()],
            gone: 0,
            taken_back: false,
        };
        let show = |summary| verify(summary, Path::new("case"), &plain());
        insta::assert_snapshot!(format!("{}---\n{}", show(&whole), show(&partial)), @r#"
        table          planned  present and equal
        public.orders    1,204              1,204

        Left out by the plan: 1 changed.

        Verified: everything that was planned is in live.
        The certificate is case/certificate.json.
        ---
        table          planned  present and equal
        public.orders    1,204              1,203

        Left for a human:
          public.orders: 1 row is not there

        note: 1 of 2 batches are applied.

        NOT verified: not everything that was planned is in live.
        The certificate is case/certificate.json.
        "#);
    }
}
