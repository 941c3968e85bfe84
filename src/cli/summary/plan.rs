//! Plans and diffs as text: one line a table, one column a verdict, and what to run next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rowback::case::{DiffSummary, PlanSummary};
use rowback::ident::TableName;
use rowback::report::evidence_line;

use super::{push_list, push_notes, shell_word};
use crate::cli::output::{Output, Paint};
use crate::cli::table::{Align, grouped, table};

/// Verdicts in the order in which they matter; any other comes behind in alphabetical order.
const VERDICTS: &[&str] = &[
    "lost",
    "damaged",
    "unlinked",
    "misrouted",
    "same",
    "changed",
    "recreated",
    "id_reused",
    "orphan",
    "excluded",
    "unfit",
];

/// Table by table and verdict, notes, and the last two lines of every plan.
pub fn plan(plan: &PlanSummary, case: &Path, output: &Output) -> String {
    let mut text = verdict_table(&plan.verdicts);
    let evidence = evidence_line(&plan.evidence);
    if !evidence.is_empty() {
        text.push_str(&format!("\nEvidence: {evidence}.\n"));
    }
    push_list(&mut text, "Triggers that will fire:", &plan.triggers);
    push_notes(&mut text, &plan.notes, output);
    if !text.is_empty() {
        text.push('\n');
    }
    let counts = Counts {
        insert: plan.insert,
        repair: plan.repair,
        relink: plan.relink,
        conflicts: plan.conflicts,
        left_out: plan.left_out,
    };
    text.push_str(&output.paint(Paint::Bold, &counts.line()));
    text.push('\n');
    text.push_str(&next_line(case, counts.writes()));
    text
}

/// The verdicts.
pub fn diff(diff: &DiffSummary, case: &Path, output: &Output) -> String {
    let mut text = verdict_table(&diff.verdicts);
    push_notes(&mut text, &diff.notes, output);
    text.push_str(&format!("\nNothing has been written. Next: rowback plan {}\n", shell_word(case)));
    text
}

struct Counts {
    insert: u64,
    repair: u64,
    relink: u64,
    conflicts: u64,
    left_out: u64,
}

impl Counts {
    fn line(&self) -> String {
        let conflicts = match self.conflicts {
            0 => "no conflicts".to_owned(),
            1 => "1 conflict kept as it is".to_owned(),
            many => format!("{} conflicts kept as they are", grouped(many)),
        };
        let left_out = match self.left_out {
            0 => String::new(),
            rows => format!("; {} left out", grouped(rows)),
        };
        format!(
            "Plan: {} to insert, {} to repair, {} to re-link; {conflicts}{left_out}. Nothing has been written.",
            grouped(self.insert),
            grouped(self.repair),
            grouped(self.relink)
        )
    }

    fn writes(&self) -> u64 {
        self.insert + self.repair + self.relink
    }
}

fn next_line(case: &Path, writes: u64) -> String {
    let report = case.join("report.html");
    if writes == 0 {
        return format!("Review {}; there is nothing to apply.\n", report.display());
    }
    format!("Review {}, then run: rowback apply {}\n", report.display(), shell_word(case))
}

/// One line a table, one column a verdict that occurs.
fn verdict_table(verdicts: &BTreeMap<TableName, BTreeMap<String, u64>>) -> String {
    let found: BTreeSet<&str> = verdicts
        .values()
        .flat_map(|counts| counts.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name.as_str()))
        .collect();
    let known = VERDICTS.iter().copied().filter(|name| found.contains(name));
    let unknown = found.iter().copied().filter(|name| !VERDICTS.contains(name));
    let columns: Vec<&str> = known.chain(unknown).collect();
    if columns.is_empty() {
        return String::new();
    }
    let mut header = vec![("table", Align::Left)];
    header.extend(columns.iter().map(|name| (*name, Align::Right)));
    let count =
        |counts: &BTreeMap<String, u64>, name: &str| match counts.get(name).copied().unwrap_or_default() {
            0 => String::new(),
            some => grouped(some),
        };
    let rows: Vec<Vec<String>> = verdicts
        .iter()
        .map(|(name, counts)| {
            std::iter::once(name.to_string())
                .chain(columns.iter().map(|verdict| count(counts, verdict)))
                .collect()
        })
        .collect();
    table(&header, &rows)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{counts, plain};
    use super::*;

    fn sample() -> PlanSummary {
        let verdicts = BTreeMap::from([
            (TableName::new("public", "orders"), counts(&[("lost", 1204), ("same", 3), ("recreated", 1)])),
            (TableName::new("public", "order_items"), counts(&[("unlinked", 12), ("zzz", 2), ("orphan", 0)])),
        ]);
        PlanSummary {
            verdicts,
            evidence: counts(&[("predicate", 198), ("needed", 6), ("cascade", 1000)]),
            insert: 1204,
            repair: 37,
            relink: 12,
            conflicts: 3,
            left_out: 0,
            triggers: vec!["public.orders: touch_updated_at, before insert".to_owned()],
            passes: Vec::new(),
            notes: vec!["the predicate alone cannot tell rows deleted on purpose".to_owned()],
            timings: BTreeMap::new(),
        }
    }

    #[test]
    fn the_plan_ends_as_the_design_says() {
        insta::assert_snapshot!(plan(&sample(), Path::new("case"), &plain()), @r#"
        table                lost  unlinked  same  recreated  zzz
        public.order_items               12                     2
        public.orders       1,204               3          1

        Evidence: 1,000 by cascade, 198 by predicate only (it cannot know what was done on purpose), 6 by need (recovered rows hang on them).

        Triggers that will fire:
          public.orders: touch_updated_at, before insert

        note: the predicate alone cannot tell rows deleted on purpose

        Plan: 1,204 to insert, 37 to repair, 12 to re-link; 3 conflicts kept as they are. Nothing has been written.
        Review case/report.html, then run: rowback apply case
        "#);
    }

    #[test]
    fn a_plan_without_rows_says_so() {
        let mut empty = sample();
        (empty.insert, empty.repair, empty.relink, empty.conflicts) = (0, 0, 0, 1);
        (empty.verdicts, empty.evidence) = Default::default();
        (empty.triggers, empty.notes) = Default::default();
        let case = Path::new("my case");
        insta::assert_snapshot!(plan(&empty, case, &plain()), @r#"
        Plan: 0 to insert, 0 to repair, 0 to re-link; 1 conflict kept as it is. Nothing has been written.
        Review my case/report.html; there is nothing to apply.
        "#);
        empty.left_out = 2;
        assert!(plan(&empty, case, &plain()).contains("; 1 conflict kept as it is; 2 left out. Nothing"));
        empty.insert = 1;
        assert!(plan(&empty, case, &plain()).ends_with("then run: rowback apply 'my case'\n"));
    }
}
