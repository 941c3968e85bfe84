//! The SQL of undo files: takes back what a batch wrote and leaves alone what changed since. Rows are locked before anybody
//! asks about them, so that what others commit while undo waits is seen; what did not come off is named. Pure.

use super::declared::OWN_TRANSACTIONS;
use super::script::{Step, StepKind, render};
use super::sql::{DO, as_seen, as_staged, describe, key_json, label, opening, same_key};
use super::stages::{Purpose, stage};
use super::{Action, BatchTable, Firing, declared, hanging, moves};
use crate::catalog::ForeignKey;
use crate::ident::{Ident, TableName};
use crate::sql::literal::literal;
use crate::sql::own_rows::own_rows;

/// The row holds what apply inserted, and somebody else wrote it since.
pub const REWRITTEN: &str = "written again since";

/// The statement of the undo did not touch the row.
pub const NOT_TAKEN: &str = "a trigger stands in the way";

/// The row was deleted and is there again.
pub const PUT_BACK: &str = "removed, then put back by a trigger";

/// The former values were written, and are not what is stored.
pub const OVERRULED: &str = "set back, but a trigger changed the values";

/// The setting in which `rowback undo` names apply's newest transaction: a row that carries a higher number is not the one that
/// apply inserted, whatever it holds. Run by hand, an undo file does not know.
pub const NEWEST_TRANSACTION: &str = "rowback.undo_newest";

/// An undo file: takes back what the batch wrote, but leaves rows alone that changed since or that others refer to.
/// `foreign_keys` are those of live.
pub fn undo_script(number: u32, tables: &[BatchTable<'_>], foreign_keys: &[ForeignKey]) -> Vec<u8> {
    undo_script_with(number, tables, Firing { foreign_keys, ..Firing::AS_EVER })
}

/// An undo file that treats triggers as the recipe says.
pub fn undo_script_with(number: u32, tables: &[BatchTable<'_>], firing: Firing<'_>) -> Vec<u8> {
    let mut title = vec![format!("rowback undo {number:04}, format {}", super::FORMAT)];
    title.extend(tables.iter().map(|part| describe(part, "take back")));
    title.push(
        "Rows that changed since, or that others refer to, stay and are listed by the last result.".into(),
    );
    title.push("`rowback undo` also knows which rows apply really wrote; run by hand, this takes back every equal row.".into());
    let mut steps = opening(&firing.before(tables));
    for (at, part) in tables.iter().enumerate() {
        steps.push(stage(at + 1, part, Purpose::Undo));
    }
    steps.push(Step::sql(StepKind::Hold, hold(tables, firing.foreign_keys)));
    let referred = |fk: &ForeignKey| format!("still referred to by {}", fk.child);
    steps.extend(hanging::hold(tables, firing.foreign_keys, referred));
    let writes: Vec<String> = tables.iter().enumerate().map(|(at, part)| undo_cte(at + 1, part)).collect();
    let counts = tables
        .iter()
        .enumerate()
        .map(|(at, part)| format!("(select pg_catalog.count(*) from d{}) as {}", at + 1, label(part)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let check = moves::check(tables);
    steps.push(Step::sql(StepKind::Write, format!("with {}\nselect {counts};{check}", writes.join(",\n"))));
    if let Some(awake) = firing.after(tables, true) {
        steps.push(Step::sql(StepKind::Hold, awake));
    }
    let looks: Vec<String> = tables.iter().enumerate().map(|(at, part)| look_after(at + 1, part)).collect();
    steps.push(Step::sql(StepKind::Hold, looks.join("\n")));
    let reports: Vec<String> =
        tables.iter().enumerate().map(|(at, part)| undo_report(at + 1, part)).collect();
    steps.push(Step::sql(StepKind::Report, format!("{}\norder by 1, 2;", reports.join("\nunion all\n"))));
    steps.push(Step::sql(StepKind::Commit, "commit;"));
    render(&title, &steps)
}

/// Marks what must stay: rows that are gone, changed since, or referred to by rows that stay. Every row is locked first, so
/// that nobody can change it or come to refer to it any more; a statement inside `do` sees what was committed before it
/// began, and so what others did while the locks were waited for.
fn hold(tables: &[BatchTable<'_>], foreign_keys: &[ForeignKey]) -> String {
    let mut first: Vec<String> = tables.iter().enumerate().map(|(at, part)| lock(at + 1, part)).collect();
    let mut looped = Vec::new();
    for (at, part) in tables.iter().enumerate() {
        let temporary = format!("pg_temp.\"rowback_{}\"", at + 1);
        first.push(format!(
            "  update {temporary} as r set rowback_held = 'changed since' where rowback_held is null and exists \
             (select from {} as l where {} and not ({}));",
            part.table.from_sql(),
            same_key(part),
            as_staged(part)
        ));
        if part.action == Action::Insert {
            first.push(hold_rewritten(&temporary, part));
        }
        first.extend(moves::hold_taken(at + 1, part));
        if part.action.writes_whole_rows() {
            let referring: Vec<&ForeignKey> =
                foreign_keys.iter().filter(|fk| fk.is_enforced() && fk.parent == part.table.name).collect();
            for fk in &referring {
                let leaving = leaving(tables, fk);
                looped.extend(
                    fk.carriers.iter().map(|carrier| hold_referred(&temporary, fk, carrier, &leaving)),
                );
            }
            let declared: Vec<&ForeignKey> =
                foreign_keys.iter().filter(|fk| !fk.is_enforced() && fk.parent == part.table.name).collect();
            first.push(hold_referred_by_new(&temporary, &part.table.name, &referring, &declared));
            looped.extend(
                declared.into_iter().map(|fk| declared::hold(at + 1, part, fk, &leaving(tables, fk))),
            );
        }
    }
    looped.extend(moves::hold_groups(tables, "goes with a row that stays", "rowback_held <> 'gone'"));
    let body = if looped.is_empty() {
        String::new()
    } else {
        format!("  loop\n    total := 0;\n{}\n    exit when total = 0;\n  end loop;\n", looped.join("\n"))
    };
    format!(
        "{DO}declare\n  moved bigint;\n  total bigint;\n  fk record;\nbegin\n{}\n{body}end\n$rowback$;",
        first.join("\n")
    )
}

/// Rows that somebody deleted and inserted again, or wrote anew: theirs, whatever they hold.
fn hold_rewritten(temporary: &str, part: &BatchTable<'_>) -> String {
    format!(
        "  update {temporary} as r set rowback_held = '{REWRITTEN}' where rowback_held is null and exists \
         (select from {} as l where {}\n    and pg_catalog.age(l.xmin) < \
         pg_catalog.age(nullif(pg_catalog.current_setting('{NEWEST_TRANSACTION}', true), '')::pg_catalog.xid)\n    \
         and l.xmin::text <> (pg_catalog.txid_current() & 4294967295)::text\n    \
         and l.xmin::text <> all (pg_catalog.string_to_array(\
         coalesce(pg_catalog.current_setting('{OWN_TRANSACTIONS}', true), ''), ',')));",
        part.table.from_sql(),
        same_key(part)
    )
}

/// The temporary tables of children that leave with the same undo, each with its key.
fn leaving<'t>(tables: &'t [BatchTable<'_>], fk: &ForeignKey) -> Vec<(usize, &'t [Ident])> {
    let leaving = tables
        .iter()
        .enumerate()
        .filter(|(_, part)| part.table.name == fk.child && part.action.writes_whole_rows());
    leaving.map(|(at, part)| (at + 1, part.key.as_slice())).collect()
}

/// `carrier` is the child, or the partition of it on which the server enforces the key: rows elsewhere do not refer. Rows
/// of `leaving` leave as well.
pub(super) fn hold_referred(
    temporary: &str,
    fk: &ForeignKey,
    carrier: &TableName,
    leaving: &[(usize, &[Ident])],
) -> String {
    // By what the server compares: of periods it asks that they overlap.
    let pairs = fk.columns.iter().enumerate();
    let refers: Vec<String> = pairs
        .map(|(at, (child, parent))| {
            format!("r.{} {} c.{}", parent.quoted(), fk.operator(at), child.quoted())
        })
        .collect();
    // Looked at only when it is reached: what is gone or has another name by now is found among the foreign keys of live.
    format!(
        "    if {} then\n    update {temporary} as r set rowback_held = {} where rowback_held is null and exists (select from {} as c where {} and {}{});\n    \
         get diagnostics moved = row_count;\n    total := total + moved;\n    end if;",
        is_as_known(fk, carrier),
        literal(&format!("still referred to by {}", fk.child)),
        carrier.quoted(),
        refers.join(" and "),
        own_rows("c", carrier),
        unless_leaving(leaving)
    )
}

/// Does live have the table with the columns that refer?
fn is_as_known(fk: &ForeignKey, carrier: &TableName) -> String {
    let names: Vec<String> = fk.columns.iter().map(|(child, _)| literal(child.as_str())).collect();
    format!(
        "(select pg_catalog.count(*) from pg_catalog.pg_attribute as a where a.attrelid = pg_catalog.to_regclass({}) \
         and a.attname in ({}) and not a.attisdropped) = {}",
        literal(&carrier.quoted()),
        names.join(", "),
        names.len()
    )
}

/// Conditions that the child `c` does not leave as well.
pub(super) fn unless_leaving(leaving: &[(usize, &[Ident])]) -> String {
    let conditions = leaving.iter().map(|(number, key)| {
        let same: Vec<String> = key.iter().map(|key| format!("k.{0} = c.{0}", key.quoted())).collect();
        format!(
            " and not exists (select from pg_temp.\"rowback_{number}\" as k where k.rowback_held is null and {})",
            same.join(" and ")
        )
    });
    conditions.collect()
}

/// A row that cannot be locked is not there.
fn lock(number: usize, part: &BatchTable<'_>) -> String {
    let staged = |at: usize, name: &Ident| match part.action {
        Action::Insert | Action::Move => format!("r.{}", name.quoted()),
        Action::Update => format!("r.k{}", at + 1),
    };
    let keys = part.key.iter().enumerate();
    let keys: Vec<String> = keys.map(|(at, name)| format!("{} as k{}", staged(at, name), at + 1)).collect();
    let same = part.key.iter().enumerate();
    let same: Vec<String> =
        same.map(|(at, name)| format!("locked.k{} = {}", at + 1, staged(at, name))).collect();
    format!(
        "  with locked as materialized (\n    select {} from pg_temp.\"rowback_{number}\" as r join {} as l on {} for update of l\n  )\n  \
         update pg_temp.\"rowback_{number}\" as r set rowback_held = 'gone' where not exists (select from locked where {});",
        keys.join(", "),
        part.table.from_sql(),
        same_key(part),
        same.join(" and ")
    )
}

/// Foreign keys that live has got since the plan was made: whoever refers by one of them keeps the row in its place. Those
/// of `declared` may be in live as well, `NOT ENFORCED`.
pub(super) fn hold_referred_by_new(
    temporary: &str,
    parent: &TableName,
    known: &[&ForeignKey],
    declared: &[&ForeignKey],
) -> String {
    let is_it = |fk: &ForeignKey, carrier: &TableName, and: &str| {
        format!(
            "\n      and not (k.conname = {} and k.conrelid = coalesce(pg_catalog.to_regclass({}), 0::oid) and {}{and})",
            literal(&fk.name),
            literal(&carrier.quoted()),
            is_as_known(fk, carrier)
        )
    };
    let carriers = known.iter().flat_map(|fk| fk.carriers.iter().map(move |carrier| is_it(fk, carrier, "")));
    let unenforced = " and pg_catalog.to_jsonb(k) ->> 'conenforced' = 'false'";
    let known: Vec<String> =
        carriers.chain(declared.iter().map(|fk| is_it(fk, &fk.child, unenforced))).collect();
    format!(
        "  for fk in select case t.relkind when 'p' then '' else 'only ' end as own, k.conrelid::pg_catalog.regclass as child, pg_catalog.string_agg(pg_catalog.format('r.%I operator(%I.%s) c.%I', \
         p.attname, s.nspname, o.oprname, a.attname), ' and ') as refers\n      from pg_catalog.pg_constraint as k\n      join pg_catalog.pg_class as t on t.oid = k.conrelid\n      \
         cross join rows from (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop)) as u(child, parent, equals)\n      \
         join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = u.child\n      \
         join pg_catalog.pg_attribute as p on p.attrelid = k.confrelid and p.attnum = u.parent\n      \
         join pg_catalog.pg_operator as o on o.oid = u.equals\n      join pg_catalog.pg_namespace as s on s.oid = o.oprnamespace\n      \
         where k.contype = 'f' and k.conparentid = 0 and k.confrelid = {}::pg_catalog.regclass{}\n      group by k.oid, k.conrelid, t.relkind\n  loop\n    \
         execute pg_catalog.format('update {temporary} as r set rowback_held = %L where rowback_held is null and exists \
         (select from %s%s as c where %s)', 'still referred to by ' || fk.child, fk.own, fk.child, fk.refers);\n  end loop;",
        literal(&parent.quoted()),
        known.concat()
    )
}

fn undo_cte(number: usize, part: &BatchTable<'_>) -> String {
    let (from, key, same) = (part.table.from_sql(), same_key(part), as_staged(part));
    let keys = part.key.iter().enumerate();
    let keys: Vec<String> = keys.map(|(at, name)| format!("l.{} as k{}", name.quoted(), at + 1)).collect();
    let keys = keys.join(", ");
    let temporary = format!("pg_temp.\"rowback_{number}\" as r");
    let write = match part.action {
        Action::Move => return moves::undo_cte(number, part),
        Action::Insert => format!(
            "delete from {from} as l using {temporary}\n  where r.rowback_held is null and {key} and {same}\n  returning {keys}"
        ),
        Action::Update => {
            let sets = part.columns.iter().enumerate();
            let sets = sets.map(|(at, name)| format!("{} = r.s{}", name.quoted(), at + 1));
            format!(
                "update {from} as l set {}\n  from {temporary}\n  where r.rowback_held is null and {key} and {same}\n  returning {keys}",
                sets.collect::<Vec<_>>().join(", ")
            )
        }
    };
    let names: Vec<String> = (1..=part.key.len()).map(|at| format!("k{at}")).collect();
    format!(
        "w{number} as ({write}),\nd{number} as (insert into pg_temp.\"rowback_done_{number}\" select {} from w{number} returning 1)",
        names.join(", ")
    )
}

/// What came back is held against what was to be taken back: a trigger may have said no, or have its own way.
fn look_after(number: usize, part: &BatchTable<'_>) -> String {
    let staged = |at: usize, name: &Ident| match part.action {
        Action::Insert | Action::Move => format!("r.{}", name.quoted()),
        Action::Update => format!("r.k{}", at + 1),
    };
    let done = part.key.iter().enumerate();
    let done: Vec<String> = done.map(|(at, name)| format!("d.k{} = {}", at + 1, staged(at, name))).collect();
    let done =
        format!("exists (select from pg_temp.\"rowback_done_{number}\" as d where {})", done.join(" and "));
    let (from, key) = (part.table.from_sql(), same_key(part));
    let (stays, overruled) = match part.action {
        Action::Insert => {
            let there = format!("exists (select from {from} as l where {key})");
            (
                format!("not {done} and {there}"),
                format!("'{PUT_BACK}' where rowback_held is null and {there}"),
            )
        }
        Action::Move => {
            let there = format!("exists (select from {from} as l where {key})");
            (format!("not {done} and {there}"), moves::overruled(part))
        }
        Action::Update => {
            let as_before = format!("exists (select from {from} as l where {key} and {})", as_seen(part));
            (format!("not {done}"), format!("'{OVERRULED}' where rowback_held is null and not {as_before}"))
        }
    };
    format!(
        "update pg_temp.\"rowback_{number}\" as r set rowback_held = '{NOT_TAKEN}' where rowback_held is null and {stays};\n\
         update pg_temp.\"rowback_{number}\" as r set rowback_held = {overruled};"
    )
}

fn undo_report(number: usize, part: &BatchTable<'_>) -> String {
    format!(
        "select {} as \"table\", {} as \"key\", r.rowback_held as \"outcome\" from pg_temp.\"rowback_{number}\" as r \
         where r.rowback_held is not null",
        literal(&part.table.name.to_string()),
        key_json(part)
    )
}
