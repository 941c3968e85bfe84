//! The SQL of rows that move from one tenant's table to another's: inserted on the one side and deleted on the other by one
//! statement, under a guard on every column of what is deleted. Rows that hang on each other are one group, and a group
//! moves whole or not at all. Pure.

use super::script::{Step, StepKind};
use super::sql::{DO, as_seen, as_staged, key_json, same_key};
use super::undo::{OVERRULED, hold_referred, hold_referred_by_new};
use super::{Action, BatchTable};
use crate::catalog::{ForeignKey, Table, quoted_list};
use crate::ident::Ident;
use crate::sql::literal::literal;

/// The column of a temporary table that says which rows move or stay together.
pub(super) const GROUP: &str = "rowback_group";

/// Why a row stays. No name of a foreign key, which the guards on parents leave in the same place, begins like this.
const STAYS: &str = "@";

/// The parts that move, each with its number and the table that its rows leave.
fn moving<'t, 'a>(
    tables: &'t [BatchTable<'a>],
) -> impl Iterator<Item = (usize, &'t BatchTable<'a>, &'a Table)> + Clone {
    let numbered = tables.iter().enumerate().filter(|(_, part)| part.action == Action::Move);
    numbered.filter_map(|(at, part)| Some((at + 1, part, part.from?)))
}

/// Marks the groups that must stay: a row that is gone or changed since, one whose place is taken, one on which rows hang
/// that do not move. Rows are locked first, so that nobody can come to hang on them any more; a statement inside `do` sees
/// what others committed while the locks were waited for.
pub(super) fn hold(tables: &[BatchTable<'_>], foreign_keys: &[ForeignKey]) -> Option<Step> {
    moving(tables).next()?;
    let mut first = Vec::new();
    let mut looped = Vec::new();
    for (number, part, from) in moving(tables) {
        first.push(lock(number, part, from));
    }
    for (number, part, from) in moving(tables) {
        let temporary = format!("pg_temp.\"rowback_{number}\"");
        let mark = |why: &str, condition: String| {
            format!(
                "  update {temporary} as r set rowback_held = '{STAYS}{why}' where rowback_held is null and {condition};"
            )
        };
        let (source, here) = (from.from_sql(), part.table.from_sql());
        let (key, seen) = (same_key(part), as_seen(part));
        first.push(mark(
            "changed",
            format!("exists (select from {source} as l where {key} and not ({seen}))"),
        ));
        first.push(mark("taken", format!("exists (select from {here} as l where {key})")));
        let referring: Vec<&ForeignKey> =
            foreign_keys.iter().filter(|fk| fk.is_enforced() && fk.parent == from.name).collect();
        first.push(hold_referred_by_new(&temporary, &from.name, &referring, &[]));
        for fk in referring {
            let leaving: Vec<(usize, &[Ident])> = moving(tables)
                .filter(|(_, _, from)| from.name == fk.child)
                .map(|(number, part, _)| (number, part.key.as_slice()))
                .collect();
            looped.extend(fk.carriers.iter().map(|carrier| hold_referred(&temporary, fk, carrier, &leaving)));
        }
    }
    looped.extend(hold_groups(tables, "@group", "true"));
    let sql = format!(
        "{DO}declare\n  moved bigint;\n  total bigint;\n  fk record;\nbegin\n{}\n  loop\n    total := 0;\n{}\n    \
         exit when total = 0;\n  end loop;\nend\n$rowback$;",
        first.join("\n"),
        looped.join("\n")
    );
    Some(Step::sql(StepKind::Hold, sql))
}

/// A row that cannot be locked is not there.
fn lock(number: usize, part: &BatchTable<'_>, from: &Table) -> String {
    let keys: Vec<String> = part.key.iter().map(|name| format!("r.{}", name.quoted())).collect();
    let same: Vec<String> =
        part.key.iter().map(|name| format!("locked.{0} = r.{0}", name.quoted())).collect();
    format!(
        "  with locked as materialized (\n    select {} from pg_temp.\"rowback_{number}\" as r join {} as l on {} for update of l\n  )\n  \
         update pg_temp.\"rowback_{number}\" as r set rowback_held = '{STAYS}gone' where rowback_held is null \
         and not exists (select from locked where {});",
        keys.join(", "),
        from.from_sql(),
        same_key(part),
        same.join(" and ")
    )
}

/// A row that stays keeps its group, as long as that makes a difference. `counts` narrows the rows that keep others.
pub(super) fn hold_groups(tables: &[BatchTable<'_>], why: &str, counts: &str) -> Vec<String> {
    let numbers: Vec<usize> = moving(tables).map(|(number, _, _)| number).collect();
    let staying: Vec<String> = numbers
        .iter()
        .map(|number| {
            format!(
                "select {GROUP} from pg_temp.\"rowback_{number}\" where rowback_held is not null and {counts}"
            )
        })
        .collect();
    let staying = staying.join(" union all ");
    numbers
        .iter()
        .map(|number| {
            format!(
                "    update pg_temp.\"rowback_{number}\" as r set rowback_held = {} where rowback_held is null \
                 and {GROUP} in ({staying});\n    get diagnostics moved = row_count;\n    total := total + moved;",
                literal(why)
            )
        })
        .collect()
}

/// Both sides of a part; a row is done when it came in here and went away there.
pub(super) fn write_cte(number: usize, part: &BatchTable<'_>) -> String {
    let Some(from) = part.from else { return String::new() };
    let columns = quoted_list("", &part.columns);
    let keys = returned("l.", &part.key);
    let insert = format!(
        "insert into {} as l ({columns}) overriding system value\n  select {columns} from pg_temp.\"rowback_{number}\" as r \
         where r.rowback_held is null\n  returning {keys}",
        part.table.name.quoted()
    );
    let delete = format!(
        "delete from {} as l using pg_temp.\"rowback_{number}\" as r\n  where r.rowback_held is null and {} and {}\n  returning {keys}",
        from.from_sql(),
        same_key(part),
        as_seen(part)
    );
    both(number, part, &insert, &delete)
}

/// The way back of [`write_cte`].
pub(super) fn undo_cte(number: usize, part: &BatchTable<'_>) -> String {
    let Some(from) = part.from else { return String::new() };
    let keys = returned("l.", &part.key);
    let seen = part.columns.iter().enumerate();
    let seen: Vec<String> = seen.map(|(at, name)| back(part, from, at + 1, name)).collect();
    let delete = format!(
        "delete from {} as l using pg_temp.\"rowback_{number}\" as r\n  where r.rowback_held is null and {} and {}\n  returning {keys}",
        part.table.from_sql(),
        same_key(part),
        as_staged(part)
    );
    let insert = format!(
        "insert into {} as l ({}) overriding system value\n  select {} from pg_temp.\"rowback_{number}\" as r \
         where r.rowback_held is null\n  returning {keys}",
        from.name.quoted(),
        quoted_list("", &part.columns),
        seen.join(", ")
    );
    both(number, part, &delete, &insert)
}

/// A seen value in the type of the table that it goes back to: types of a schema of their own only have the same texts.
fn back(part: &BatchTable<'_>, from: &Table, at: usize, name: &Ident) -> String {
    let (here, there) = (part.table.column(name), from.column(name));
    match (here, there) {
        (Some(here), Some(there)) if here.type_name != there.type_name => {
            format!("r.s{at}::text::{}", there.type_name)
        }
        _ => format!("r.s{at}"),
    }
}

fn both(number: usize, part: &BatchTable<'_>, one: &str, other: &str) -> String {
    let keys: Vec<String> = (1..=part.key.len()).map(|at| format!("k{at}")).collect();
    let keys = keys.join(", ");
    format!(
        "w{number} as ({one}),\nx{number} as ({other}),\nd{number} as (insert into pg_temp.\"rowback_done_{number}\" \
         select {keys} from w{number} join x{number} using ({keys}) returning 1)"
    )
}

fn returned(prefix: &str, key: &[Ident]) -> String {
    let keys = key.iter().enumerate().map(|(at, name)| format!("{prefix}{} as k{}", name.quoted(), at + 1));
    keys.collect::<Vec<_>>().join(", ")
}

/// Behind the statement that writes: nothing may have come without going, or gone without coming.
pub(super) fn check(tables: &[BatchTable<'_>]) -> String {
    let missed: Vec<String> = moving(tables)
        .map(|(number, part, _)| {
            let done: Vec<String> = part
                .key
                .iter()
                .enumerate()
                .map(|(at, name)| format!("d.k{} = r.{}", at + 1, name.quoted()))
                .collect();
            format!(
                "select {} || ' ' || {} as who from pg_temp.\"rowback_{number}\" as r where r.rowback_held is null \
                 and not exists (select from pg_temp.\"rowback_done_{number}\" as d where {})",
                literal(&part.table.name.to_string()),
                key_json(part),
                done.join(" and ")
            )
        })
        .collect();
    if missed.is_empty() {
        return String::new();
    }
    format!(
        "\n{DO}declare\n  missed text;\nbegin\n  select who into missed from (\n{}) as m order by 1 limit 1;\n  \
         if missed is not null then\n    raise exception using errcode = 'integrity_constraint_violation', \
         message = missed || ' would be in one table only: a trigger stands in the way';\n  end if;\nend\n$rowback$;",
        missed.join("\nunion all\n")
    )
}

/// What did not move, and why.
pub(super) fn report(number: usize, part: &BatchTable<'_>, done_key: &str) -> String {
    let Some(from) = part.from else { return String::new() };
    let same = as_staged(part);
    let seen: Vec<String> = part
        .columns
        .iter()
        .enumerate()
        .map(|(at, name)| format!("b.{}::text is not distinct from r.s{}::text", name.quoted(), at + 1))
        .collect();
    let there: Vec<String> = part.key.iter().map(|name| format!("b.{0} = r.{0}", name.quoted())).collect();
    format!(
        "select {} as \"table\", {} as \"key\",\n  case when d.k1 is not null then case when l.tableoid is null then 'swallowed' \
         else 'altered' end\n       when b.tableoid is null and l.tableoid is null then 'missing'\n       \
         when b.tableoid is null and {same} then 'present'\n       \
         when l.tableoid is not null or not ({}) then 'kept'\n       \
         when r.rowback_held like '{STAYS}%' or r.rowback_held like 'still referred%' then 'stays' else 'held_back' end as \"outcome\"\n\
         from pg_temp.\"rowback_{number}\" as r\nleft join {} as l on {}\nleft join {} as b on {}\n\
         left join pg_temp.\"rowback_done_{number}\" as d on {done_key}\n\
         where d.k1 is null or l.tableoid is null or not ({same})",
        literal(&part.table.name.to_string()),
        key_json(part),
        seen.join(" and "),
        part.table.from_sql(),
        same_key(part),
        from.from_sql(),
        there.join(" and ")
    )
}

/// Undo: a row whose place is taken stays where it is.
pub(super) fn hold_taken(number: usize, part: &BatchTable<'_>) -> Option<String> {
    let from = part.from?;
    Some(format!(
        "  update pg_temp.\"rowback_{number}\" as r set rowback_held = {} where rowback_held is null and exists \
         (select from {} as l where {});",
        literal(&format!("{} has a row of its key", from.name)),
        from.from_sql(),
        same_key(part)
    ))
}

/// Undo: what came back is not as it was.
pub(super) fn overruled(part: &BatchTable<'_>) -> String {
    let source = part.from.map(Table::from_sql).unwrap_or_default();
    format!(
        "'{OVERRULED}' where rowback_held is null and not exists (select from {source} as l where {} and {})",
        same_key(part),
        as_seen(part)
    )
}
