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

/// Tables and columns that the UPDATEs of a source in lower case set: `shop.customers (orders, total)`.
fn updated(source: &str) -> Vec<String> {
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (at, _) in source.match_indices("update ") {
        let before = source[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &source[at + "update ".len()..];
        let rest = rest.strip_prefix("only ").unwrap_or(rest);
        let Some((target, assignments)) = rest.split_once(" set ") else { continue };
        // `name`, `name alias` or `name as alias`; more words are another statement.
        let table = target.split(' ').next().unwrap_or_default();
        let is_name = |word: &str| word.chars().all(|one| one.is_alphanumeric() || "_.\"*".contains(one));
        if table.is_empty() || target.split(' ').count() > 3 || !target.split(' ').all(is_name) {
            continue;
        }
        let columns = assigned(assignments);
        let line = format!("{table} ({})", columns.join(", "));
        if !columns.is_empty() && !found.contains(&line) {
            found.push(line);
        }
    }
    found
}

/// The columns on the left of `a = 1, (b, c) = (2, 3) where …`.
fn assigned(assignments: &str) -> Vec<String> {
    let (mut found, mut depth, mut word, mut is_value) = (Vec::new(), 0_i32, String::new(), false);
    for letter in assignments.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match letter {
            ';' => break,
            '=' if !is_value => {
                let names = word.trim().trim_matches(|one| one == '(' || one == ')').split(',');
                found.extend(names.map(|name| name.trim().to_owned()));
                is_value = true;
                word.clear();
            }
            ',' if depth == 0 && is_value => {
                is_value = false;
                word.clear();
            }
            _ => word.push(letter),
        }
        if is_value
            && depth == 0
            && [" where ", " from ", " returning "].iter().any(|end| word.ends_with(end))
        {
            break;
        }
    }
    found.retain(|name| {
        !name.is_empty() && name.chars().all(|one| one.is_alphanumeric() || "_\"".contains(one))
    });
    found
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
    let updates = updated(&source);
    let updates =
        if updates.is_empty() { String::new() } else { format!("updates {}", updates.join(" and ")) };
    if !updates.is_empty() {
        found.push(&updates);
    } else if source.contains("update ") && source.contains(" set ") {
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

#[cfg(test)]
mod tests {
    use super::updated;

    #[test]
    fn updates_are_read_from_the_source() {
        for (source, told) in [
            (
                "begin\n update shop.customers set orders = orders + 1,\n total = coalesce(total, 0) + new.amount where id = new.customer; return new; end",
                &["shop.customers (orders, total)"][..],
            ),
            (
                "update only counts c set (n, m) = (select 1, 2), at = now() from x where c.id = 1",
                &["counts (n, m, at)"],
            ),
            (
                "if tg_op = 'insert' then update a set n = n + 1 where id = new.a; else update a set n = n - 1; end if; update b as o set m = 0;",
                &["a (n)", "b (m)"],
            ),
            ("select 1 from t for update; perform set_config('a', 'b', true)", &[]),
            ("insert into t values (1) on conflict (id) do update set n = 1", &[]),
            ("execute format('update %i set n = 1', tg_table_name)", &[]),
            ("new.updated_at := now(); return new;", &[]),
        ] {
            assert_eq!(updated(source), told, "{source}");
        }
    }
}
