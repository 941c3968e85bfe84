//! Which user triggers will fire for the rows of a plan, and what they look like they do. A guess from the function's
//! source, for people; nothing is decided by it.

use std::collections::BTreeSet;

use super::Action;
use crate::catalog::{Table, Trigger, TriggerMode};

/// Behind the line of a trigger that only undo fires.
const AT_UNDO: &str = " (at undo)";

/// One line for each trigger of `table` that rows which leave it will fire, and for each that undo will when it puts them
/// there again.
pub fn triggers_that_fire_on_leaving(table: &Table) -> Vec<String> {
    let mut found = lines(table, |trigger| trigger.on_delete);
    let back = lines(table, |trigger| trigger.on_insert);
    found.extend(back.into_iter().map(|line| format!("{line}{AT_UNDO}")));
    found
}

/// One line for each trigger of `table` that the plan's actions will fire.
pub fn triggers_that_fire(table: &Table, actions: &BTreeSet<Action>) -> Vec<String> {
    lines(table, |trigger| {
        actions.iter().any(|action| match action {
            Action::Insert | Action::Move => trigger.on_insert,
            Action::Update => trigger.on_update,
        })
    })
}

fn lines(table: &Table, on: impl Fn(&Trigger) -> bool) -> Vec<String> {
    let fires =
        |trigger: &&Trigger| matches!(trigger.mode, TriggerMode::Origin | TriggerMode::Always) && on(trigger);
    let describe = |trigger: &Trigger| {
        let when = if trigger.before { "before" } else { "after" };
        let level = if trigger.row_level { "each row" } else { "the statement" };
        format!(
            "{}: {} ({}, {when} {level}): {}",
            table.name,
            trigger.name,
            trigger.function,
            looks_like(trigger)
        )
    };
    table.triggers.iter().filter(fires).map(describe).collect()
}

fn looks_like(trigger: &Trigger) -> String {
    let source = trigger.source.to_lowercase();
    let mut found = Vec::new();
    if trigger.before
        && (source.contains("new.") && source.contains(":=")
            || source.contains("new.") && source.contains("into new"))
    {
        found.push("changes the row");
    }
    if trigger.before && source.contains("return null") {
        found.push("may drop the row");
    }
    if source.contains("insert into") {
        found.push("writes rows elsewhere");
    }
    if source.contains("update ") && source.contains(" set ") {
        found.push("updates other rows");
    }
    if source.contains("delete from") {
        found.push("deletes rows elsewhere");
    }
    if source.contains("pg_notify") || source.contains("notify ") || source.contains("http") {
        found.push("notifies others");
    }
    if source.contains("raise exception") {
        found.push("may refuse the row");
    }
    if found.is_empty() { "its source does not tell what it does".to_owned() } else { found.join(", ") }
}
