//! `rowback show`: the rows of a diff one by one, for a pager or as JSON.

use std::collections::BTreeSet;

use rowback::case::{self, ShowOptions, ShownRows};
use rowback::diff::Verdict;
use rowback::env::Env;
use rowback::recipe::nearest;
use rowback::report::table::{counted, grouped};
use rowback::report::visible;
use serde_json::{Map, Value, json};

use crate::cli::Ending;
use crate::cli::args::ShowArgs;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, JSON_SCHEMA, Output, Paint, Results, json_text, width};

/// Prints the rows as they are read; the end of a pager is the end of the reading.
pub fn run(args: &ShowArgs, env: &Env, output: &Output) -> Result<Ending, Failure> {
    let options = ShowOptions {
        table: args.table.clone(),
        verdicts: verdicts(&args.verdict)?,
        values: args.values || output.shows_values(),
    };
    let rows = case::show(&args.case.case, &options)?;
    let limit = args.limit.unwrap_or(u64::MAX);
    match output.format() {
        Format::Text => text(rows, limit, width(env), output),
        Format::Json => objects(rows, limit),
    }
}

fn verdicts(words: &[String]) -> Result<BTreeSet<Verdict>, Failure> {
    let known = || Verdict::ALL.into_iter().map(Verdict::word);
    let verdict = |word: &String| {
        Verdict::parse(word).ok_or_else(|| {
            let meant =
                nearest(word, known()).map(|near| format!("Is \"{near}\" meant? ")).unwrap_or_default();
            let all: Vec<&str> = known().collect();
            let hint = format!("{meant}The verdicts are {}. Nothing was touched.", all.join(", "));
            Failure::usage("unknown-verdict", format!("{word:?} is no verdict"), hint)
        })
    };
    words.iter().map(verdict).collect()
}

fn text(mut rows: ShownRows, limit: u64, width: u16, output: &Output) -> Result<Ending, Failure> {
    let mut results = Results::open();
    let by_verdict: Vec<String> = rows
        .verdicts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(verdict, count)| format!("{} {verdict}", grouped(*count)))
        .chain((rows.followers > 0).then(|| format!("{} that move with others", grouped(rows.followers))))
        .collect();
    let found = if by_verdict.is_empty() { "no rows".to_owned() } else { by_verdict.join(", ") };
    results.write(&format!("{}: {found}\n", visible(&rows.table.to_string())))?;
    let total = rows.total();
    let mut shown = 0;
    while shown < limit {
        let Some(row) = rows.next_row()? else { break };
        results.write(&format!("\n{}\n{}", output.paint(Paint::Bold, &row.heading()), row.body(width)))?;
        shown += 1;
    }
    let rest = total.saturating_sub(shown);
    if rest > 0 {
        results
            .write(&format!("\n… and {} more; --limit sets how many are shown\n", counted(rest, "row")))?;
    } else if shown == 0 && !by_verdict.is_empty() {
        results.write("\nNone of them has such a verdict.\n")?;
    }
    results.finish()?;
    Ok(Ending::Done)
}

/// One object; its rows are written as they are read.
fn objects(mut rows: ShownRows, limit: u64) -> Result<Ending, Failure> {
    let mut results = Results::open();
    let counts = rows.verdicts.iter().filter(|(_, count)| **count > 0);
    let counts: Map<String, Value> =
        counts.map(|(verdict, count)| (verdict.word().to_owned(), (*count).into())).collect();
    let total = rows.total();
    let head = json!({
        "schema": JSON_SCHEMA, "command": "show", "table": rows.table.to_string(), "verdicts": counts,
        "followers": rows.followers,
    });
    let head = head.to_string();
    results.write(head.strip_suffix('}').unwrap_or(&head))?;
    results.write(",\"rows\":[")?;
    let mut shown = 0;
    while shown < limit {
        let Some(row) = rows.next_row()? else { break };
        let comma = if shown == 0 { "\n" } else { ",\n" };
        results.write(&format!("{comma}{}", json_text(&row)?))?;
        shown += 1;
    }
    results.write(&format!("],\"shown\":{shown},\"of\":{total}}}\n"))?;
    results.finish()?;
    Ok(Ending::Done)
}
