//! What is done about user triggers while a batch runs: they fire, are disabled by name, or sleep with the role
//! `replica`. Pure: text only.

use std::collections::BTreeSet;

use super::{Action, BatchTable};
use crate::catalog::{ForeignKey, Trigger, TriggerMode};
use crate::recipe::Triggers;
use crate::sql::literal::literal;
use crate::sql::own_rows::own_rows;

/// How the batches of a plan treat triggers.
#[derive(Debug, Clone, Copy)]
pub struct Firing<'a> {
    /// The recipe's choice.
    pub triggers: Triggers,
    /// Live's foreign keys, which PostgreSQL does not check for a replica.
    pub foreign_keys: &'a [ForeignKey],
}

impl Firing<'_> {
    /// Triggers fire as they do for anybody.
    pub const AS_EVER: Firing<'static> = Firing { triggers: Triggers::Fire, foreign_keys: &[] };

    /// Behind the settings of the transaction.
    pub(super) fn before(&self, tables: &[BatchTable<'_>], undo: bool) -> String {
        match self.triggers {
            Triggers::Fire => String::new(),
            Triggers::Replica => "\nset local session_replication_role = replica;".to_owned(),
            Triggers::Disable => {
                let all = each(tables, |table, trigger| {
                    format!("\nalter table {table} disable trigger {};", trigger.name.quoted())
                });
                let names = tables.iter().flat_map(|part| std::iter::once(part.table).chain(part.from));
                let names: BTreeSet<String> = names.map(|table| literal(&table.name.quoted())).collect();
                all.concat() + &if undo { String::new() } else { all_sleep(&names) }
            }
        }
    }

    /// Behind the statement that writes: triggers as they were, and the check that PostgreSQL did not make.
    pub(super) fn after(&self, tables: &[BatchTable<'_>], undo: bool) -> Option<String> {
        match self.triggers {
            Triggers::Fire => None,
            Triggers::Disable => {
                let all = each(tables, |table, trigger| {
                    let mode = if trigger.mode == TriggerMode::Always { "enable always" } else { "enable" };
                    format!("alter table {table} {mode} trigger {};", trigger.name.quoted())
                });
                // A table with checks still waiting cannot be altered.
                (!all.is_empty()).then(|| format!("set constraints all immediate;\n{}", all.join("\n")))
            }
            Triggers::Replica if undo => None,
            Triggers::Replica => self.own_check(tables),
        }
    }

    /// Every written row must have its parents, which are locked against going until the commit.
    fn own_check(&self, tables: &[BatchTable<'_>]) -> Option<String> {
        let mut checks = Vec::new();
        for (at, part) in tables.iter().enumerate() {
            let keys = self.foreign_keys.iter().filter(|fk| fk.is_enforced() && fk.child == part.table.name);
            checks.extend(keys.map(|fk| check_sql(at + 1, part, fk)));
        }
        (!checks.is_empty()).then(|| format!("do $rowback$\nbegin\n{}\nend\n$rowback$;", checks.join("\n")))
    }
}

fn each(tables: &[BatchTable<'_>], line: impl Fn(&str, &Trigger) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    for of in tables.iter().flat_map(|part| std::iter::once(part.table).chain(part.from)) {
        let table = of.name.quoted();
        let awake = of
            .triggers
            .iter()
            .filter(|trigger| matches!(trigger.mode, TriggerMode::Origin | TriggerMode::Always));
        for trigger in awake {
            let line = line(&table, trigger);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

fn check_sql(number: usize, part: &BatchTable<'_>, fk: &ForeignKey) -> String {
    let own: Vec<String> = part
        .key
        .iter()
        .enumerate()
        .map(|(at, name)| match part.action {
            Action::Insert | Action::Move => format!("l.{0} = r.{0}", name.quoted()),
            Action::Update => format!("l.{} = r.k{}", name.quoted(), at + 1),
        })
        .collect();
    let refers: Vec<String> =
        fk.child_columns().map(|name| format!("l.{} is not null", name.quoted())).collect();
    let pairs: Vec<(String, String)> = fk
        .columns
        .iter()
        .map(|(child, parent)| (format!("p.{}", parent.quoted()), format!("l.{}", child.quoted())))
        .collect();
    let same = pairs.iter().enumerate().map(|(at, (up, down))| format!("{up} {} {down}", fk.operator(at)));
    let same = same.chain([own_rows("p", &fk.parent)]).collect::<Vec<_>>().join(" and ");
    let (child, parents) = (part.table.from_sql(), format!("{} as p", fk.parent.quoted()));
    let has_parent =
        pairs.last().map_or_else(String::new, |(up, down)| fk.has_parent_sql((&parents, &same), (up, down)));
    let rows = format!(
        "{child} as l join pg_temp.\"rowback_{number}\" as r on {} where {}",
        own.join(" and "),
        refers.join(" and ")
    );
    let message =
        literal(&format!("a recovered row of {} has no parent in {} ({})", fk.child, fk.parent, fk.name));
    format!(
        "  perform 1 from {parents} where exists (select from {rows} and {same}) for key share;\n  \
         if exists (select from {rows} and not {has_parent}) then\n    \
         raise exception using errcode = 'foreign_key_violation', message = {message};\n  end if;"
    )
}

/// A trigger that a table has got since the plan is none of those that were disabled: nothing is written then. Undo does not ask,
/// what triggers do to it is listed.
fn all_sleep(tables: &BTreeSet<String>) -> String {
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    format!(
        "\ndo $rowback$\ndeclare\n  awake text;\nbegin\n  select pg_catalog.string_agg(pg_catalog.format('%I of %s', t.tgname, t.tgrelid::pg_catalog.regclass), ', ' order by t.tgname)\n    \
         into awake from pg_catalog.pg_trigger as t where not t.tgisinternal and t.tgenabled in ('O', 'A')\n    \
         and t.tgrelid::pg_catalog.regclass = any (array[{}]::pg_catalog.regclass[]);\n  \
         if awake is not null then\n    raise exception using errcode = 'object_not_in_prerequisite_state',\n      \
         message = 'the plan does not know the trigger ' || awake || ', which it would have to disable';\n  end if;\nend\n$rowback$;",
        tables.join(", ")
    )
}

/// What the recipe's choice needs and risks, for the plan's notes.
pub fn needs_and_risks(triggers: Triggers) -> Option<&'static str> {
    match triggers {
        Triggers::Fire => None,
        Triggers::Disable => Some(
            "triggers = \"disable\": user triggers of the written tables are disabled inside each transaction; this needs \
             ownership of the tables and locks out other writers of these tables while a batch runs",
        ),
        Triggers::Replica => Some(
            "triggers = \"replica\": needs a superuser or SET on session_replication_role; PostgreSQL checks no foreign key \
             then, so each batch checks its own rows before it commits; triggers that are ENABLE ALWAYS or ENABLE REPLICA fire",
        ),
    }
}
