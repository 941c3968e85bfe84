//! What apply and undo did, as text.

use std::path::Path;

use rowback::apply::{ApplySummary, Fate, HeldRow, Leftover, Remains, TableCount, UndoSummary};

use super::{push_list, push_notes, shell_word};
use crate::cli::output::{Output, Paint};
use crate::cli::table::{Align, counted, grouped, table};

/// Rows that are listed one by one; the report has them all.
const LISTED: usize = 20;

/// Rows that are named in one line.
const NAMED: usize = 10;

/// What apply did.
pub fn apply(applied: &ApplySummary, case: &Path, output: &Output) -> String {
    let any_moved = applied.moved > 0;
    let counts = |one: &TableCount| -> Vec<u64> {
        let moved = any_moved.then_some(one.moved);
        [one.inserted, one.updated].into_iter().chain(moved).chain([one.present]).collect()
    };
    let row = |one: &TableCount| {
        std::iter::once(one.table.to_string()).chain(counts(one).into_iter().map(grouped)).collect()
    };
    let rows: Vec<Vec<String>> = applied.tables.iter().map(row).collect();
    let right = |name| (name, Align::Right);
    let mut header = vec![("table", Align::Left), right("inserted"), right("updated")];
    header.extend(any_moved.then_some(right("moved")));
    header.push(right("there before"));
    let mut text = table(&header, &rows);
    push_list(&mut text, "Left for a human:", &shortened(&applied.leftovers, leftover_line));
    push_notes(&mut text, &applied.notes, output);
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&apply_end(applied, case, output));
    text
}

fn apply_end(applied: &ApplySummary, case: &Path, output: &Output) -> String {
    let recipe = shell_word(&case.join("recipe.toml"));
    let case = shell_word(case);
    let mut rows =
        format!("{} inserted, {} updated", counted(applied.inserted, "row"), counted(applied.updated, "row"));
    if applied.moved > 0 {
        rows.push_str(&format!(", {} moved", counted(applied.moved, "row")));
    }
    let left = match applied.leftovers.len() {
        // What happened since then is not known: nobody looked.
        0 if applied.was_done_before() => "what became of the rows since was not looked at".to_owned(),
        0 if applied.committed_before > 0 => {
            "every row of this run ended as staged, what became of the others since was not looked at"
                .to_owned()
        }
        0 => "every row ended as staged".to_owned(),
        some => format!("{} left for a human", counted(u64::try_from(some).unwrap_or(u64::MAX), "row")),
    };
    if applied.dry_run {
        return format!(
            "Dry run in {:?}: {rows}; {left}. Everything was rolled back.\n\
             To write it, run the same command without --dry-run.\n",
            applied.dbname
        );
    }
    if applied.batches == 0 {
        return format!(
            "Nothing to write to {:?}: the plan has no batch. What it leaves for a human: rowback report {case}\n",
            applied.dbname
        );
    }
    let batches = match (applied.was_done_before(), applied.committed_before) {
        (true, _) => "an earlier run had done everything".to_owned(),
        (false, 0) => batches(applied.committed_now),
        (false, before) => {
            format!("{}, {} by an earlier run", batches(applied.committed_now), grouped(before.into()))
        }
    };
    let line = format!("Applied to {:?}: {rows} ({batches}); {left}.", applied.dbname);
    let paint = if applied.complete() { Paint::Green } else { Paint::Yellow };
    let mut end = format!(
        "{}\nNext: rowback verify {case}. To take it back: rowback undo {case}\n",
        output.paint(paint, &line)
    );
    if applied.conflicts > 0 {
        end.push_str(&format!(
            "The plan leaves {} to a human, as before: rowback report {case}\n",
            counted(applied.conflicts, "row")
        ));
    }
    if !applied.leftovers.is_empty() {
        end.push_str(&format!(
            "What is left is not tried again by this case. Once nothing stands in its way: rowback recover {recipe} --case NEW\n"
        ));
    }
    end
}

fn batches(count: u32) -> String {
    if count == 1 { "1 batch".to_owned() } else { format!("{} batches", grouped(count.into())) }
}

/// What undo did.
pub fn undo(undone: &UndoSummary, output: &Output) -> String {
    let rows: Vec<_> = undone
        .tables
        .iter()
        .map(|one| vec![one.table.to_string(), grouped(one.removed), grouped(one.restored)])
        .collect();
    let header = [("table", Align::Left), ("removed", Align::Right), ("as before", Align::Right)];
    let mut text = table(&header, &rows);
    let (changed, alone): (Vec<HeldRow>, Vec<HeldRow>) =
        undone.held.iter().cloned().partition(|row| !row.columns.is_empty());
    push_list(&mut text, "Left alone:", &shortened(&alone, held_line));
    push_list(&mut text, "Not as before:", &shortened(&changed, held_line));
    push_list(&mut text, "Left by triggers:", &shortened(&undone.remains, remains_line));
    push_notes(&mut text, &undone.notes, output);
    if !text.is_empty() {
        text.push('\n');
    }
    let rows = |rows: &[HeldRow]| counted(rows.iter().map(|row| row.rows).sum(), "row");
    let mut held = Vec::new();
    if !alone.is_empty() {
        held.push(format!("{} left alone", rows(&alone)));
    }
    if !changed.is_empty() {
        held.push(format!("{} not as before in columns that triggers changed", rows(&changed)));
    }
    if !undone.remains.is_empty() {
        held.push("what triggers did elsewhere is still there".to_owned());
    }
    if held.is_empty() {
        held.push("everything that apply wrote is taken back".to_owned());
    }
    let held = held.join(", ");
    let mut line = format!(
        "Taken back in {:?}: {} removed, {} as before; {held}.",
        undone.dbname,
        counted(undone.removed, "row"),
        counted(undone.restored, "row")
    );
    if undone.undone_now == 0 && undone.undone_before == 0 && undone.complete() {
        line = format!(
            "Nothing was taken back in {:?}: the journal tells of nothing that was applied.",
            undone.dbname
        );
    }
    let paint = if undone.complete() { Paint::Green } else { Paint::Yellow };
    text.push_str(&format!("{}\n", output.paint(paint, &line)));
    text
}

fn leftover_line(row: &Leftover) -> String {
    if row.key.0.is_empty() {
        return format!("{}: {}", row.table, row.reason());
    }
    format!("{} ({}): {}", row.table, row.key, row.reason())
}

fn held_line(row: &HeldRow) -> String {
    if row.key.0.is_empty() {
        return format!("{}: {}, {}", row.table, counted(row.rows, "row"), row.reason);
    }
    format!("{} ({}): {}", row.table, row.key, row.reason)
}

fn remains_line(left: &Remains) -> String {
    let mut line = match (left.columns.as_slice(), left.looked) {
        _ if left.fate.is_some() => {
            let what = match left.fate {
                Some(Fate::Changed) => "changed by triggers; nobody knows which, or how they were",
                Some(Fate::Departed) => "removed by triggers, or moved to another partition",
                Some(Fate::Displaced) => {
                    "removed by triggers and not put back: another row has their key by now, or that of their parent; journal.jsonl has them"
                }
                _ if !left.looked => "removed by triggers; nobody knows which",
                _ => "that triggers removed not in live; journal.jsonl has what is known of them",
            };
            format!("{}: {} {what}", left.table, counted(left.rows, "row"))
        }
        ([], true) => format!("{}: {} made by triggers", left.table, counted(left.rows, "row")),
        ([], false) => format!(
            "{}: up to {} made by triggers; the table is too large to be looked through, or may not be read",
            left.table,
            counted(left.rows, "row")
        ),
        (columns, _) => format!(
            "{}: {} of {} not as before apply",
            left.table,
            columns.join(", "),
            counted(left.rows, "row")
        ),
    };
    let keys: Vec<String> = left.keys.iter().take(NAMED).map(|key| format!("({key})")).collect();
    if !keys.is_empty() {
        line.push_str(&format!(": {}", keys.join(", ")));
    }
    if left.rows > u64::try_from(keys.len()).unwrap_or(u64::MAX) && !keys.is_empty() {
        line.push_str(", …");
    }
    if let Some(because) = &left.because {
        line.push_str(&format!("; could not be put back: {because}"));
    }
    line
}

/// The first rows as lines, and how many more there are.
fn shortened<T>(rows: &[T], line: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().take(LISTED).map(line).collect();
    if rows.len() > LISTED {
        let more = u64::try_from(rows.len() - LISTED).unwrap_or(u64::MAX);
        lines.push(format!("… and {} more; --json and the report list them all", grouped(more)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use rowback::apply::{Outcome, RowKey, UndoCount};
    use rowback::ident::TableName;

    use super::super::tests::plain;
    use super::*;

    fn orders() -> TableName {
        TableName::new("public", "orders")
    }

    fn key(id: usize) -> RowKey {
        RowKey([("id".to_owned(), Some(id.to_string()))].into())
    }

    fn applied() -> ApplySummary {
        ApplySummary {
            dry_run: false,
            dbname: "shop".to_owned(),
            batches: 3,
            committed_now: 2,
            committed_before: 1,
            inserted: 1204,
            updated: 1,
            moved: 0,
            tables: vec![TableCount { table: orders(), inserted: 1204, updated: 1, moved: 0, present: 0 }],
            conflicts: 0,
            leftovers: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn apply_tells_dry_from_real() {
        let case = Path::new("case");
        let real = apply(&applied(), case, &plain());
        let dry = apply(&ApplySummary { dry_run: true, ..applied() }, case, &plain());
        insta::assert_snapshot!(format!("{real}---\n{dry}"), @r#"
        table          inserted  updated  there before
        public.orders     1,204        1             0

        Applied to "shop": 1,204 rows inserted, 1 row updated (2 batches, 1 by an earlier run); every row of this run ended as staged, what became of the others since was not looked at.
        Next: rowback verify case. To take it back: rowback undo case
        ---
        table          inserted  updated  there before
        public.orders     1,204        1             0

        Dry run in "shop": 1,204 rows inserted, 1 row updated; every row of this run ended as staged, what became of the others since was not looked at. Everything was rolled back.
        To write it, run the same command without --dry-run.
        "#);
    }

    /// They come with another case: the words that lead there work in a shell.
    #[test]
    fn what_is_left_has_a_way_on() {
        let leftover =
            Leftover { batch: 1, table: orders(), key: key(7), outcome: Outcome::Kept, because: None };
        let left = ApplySummary { leftovers: vec![leftover], ..applied() };
        let text = apply(&left, Path::new("my case"), &plain());
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(
            last,
            [
                "What is left is not tried again by this case. Once nothing stands in its way: rowback recover \
                 'my case/recipe.toml' --case NEW",
                "Next: rowback verify 'my case'. To take it back: rowback undo 'my case'",
            ]
        );
        let kept = apply(&ApplySummary { conflicts: 2, ..applied() }, Path::new("case"), &plain());
        let kept_line = "The plan leaves 2 rows to a human, as before: rowback report case\n";
        assert!(kept.ends_with(kept_line), "{kept}");
        let tried = apply(&ApplySummary { dry_run: true, ..left }, Path::new("my case"), &plain());
        assert!(!tried.contains("--case NEW"), "{tried}");
    }

    #[test]
    fn leftovers_are_listed_but_not_for_ever() {
        let leftover =
            |id| Leftover { batch: 1, table: orders(), key: key(id), outcome: Outcome::Kept, because: None };
        let some = ApplySummary { leftovers: (1..=22).map(leftover).collect(), ..applied() };
        let text = apply(&some, Path::new("case"), &plain());
        assert!(text.contains("  public.orders (id = 20): live holds other values, left alone\n"), "{text}");
        assert!(!text.contains("id = 21") && text.contains("… and 2 more"), "{text}");
        assert!(text.contains("; 22 rows left for a human."), "{text}");
    }

    #[test]
    fn undo_names_what_it_left_alone() {
        let undone = UndoSummary {
            dbname: "shop".to_owned(),
            undone_now: 1,
            undone_before: 0,
            removed: 3,
            restored: 0,
            tables: vec![UndoCount { table: orders(), removed: 3, restored: 0 }],
            held: vec![HeldRow {
                batch: 1,
                table: orders(),
                key: key(7),
                reason: "changed since".to_owned(),
                rows: 1,
                columns: Vec::new(),
            }],
            remains: Vec::new(),
            notes: Vec::new(),
        };
        insta::assert_snapshot!(undo(&undone, &plain()), @r#"
        table          removed  as before
        public.orders        3          0

        Left alone:
          public.orders (id = 7): changed since

        Taken back in "shop": 3 rows removed, 0 rows as before; 1 row left alone.
        "#);
    }
}
