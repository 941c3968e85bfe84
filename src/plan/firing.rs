//! What is done about user triggers while a batch runs: they fire, are disabled one by one, or sleep with the role
//! `replica`. Pure: text only.

use std::collections::BTreeSet;

use super::{Action, BatchTable};
use crate::catalog::ForeignKey;
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
    pub(super) fn before(&self, tables: &[BatchTable<'_>]) -> String {
        match self.triggers {
            Triggers::Fire => String::new(),
            Triggers::Replica => "\nset local session_replication_role = replica;".to_owned(),
            Triggers::Disable => put_to_sleep(tables),
        }
    }

    /// Behind the statement that writes: triggers as they were, and the check that PostgreSQL did not make.
    pub(super) fn after(&self, tables: &[BatchTable<'_>], undo: bool) -> Option<String> {
        match self.triggers {
            Triggers::Fire => None,
            // A table with checks still waiting cannot be altered.
            Triggers::Disable => Some(format!("set constraints all immediate;\n{WAKE}")),
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

/// Notes the state of each user trigger of the written tables and their partitions, and disables those that are awake. Asked of
/// live itself, under the lock: since the plan somebody may have made triggers, or disabled some.
fn put_to_sleep(tables: &[BatchTable<'_>]) -> String {
    let names = tables.iter().flat_map(|part| std::iter::once(part.table).chain(part.from));
    let names: BTreeSet<String> = names.map(|table| literal(&table.name.quoted())).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    format!(
        "\ncreate temporary table rowback_triggers (relation pg_catalog.regclass, level int4, name name, state \"char\") on commit drop;\n\
do $rowback$
declare
  t record;
begin
  for t in select distinct r.level, r.relation from (
      select 0 as level, o as relation from pg_catalog.unnest(array[{names}]::pg_catalog.regclass[]) as o
      union select p.level, p.relid from pg_catalog.unnest(array[{names}]::pg_catalog.regclass[]) as o
      cross join lateral pg_catalog.pg_partition_tree(o) as p
    ) as r join pg_catalog.pg_trigger as g on g.tgrelid = r.relation and not g.tgisinternal order by r.level, r.relation
  loop
    execute pg_catalog.format('lock table only %s in share row exclusive mode', t.relation);
    insert into pg_temp.rowback_triggers select t.relation, t.level, g.tgname, g.tgenabled
    from pg_catalog.pg_trigger as g where g.tgrelid = t.relation and not g.tgisinternal;
  end loop;
  for t in select * from pg_temp.rowback_triggers where state in ('O', 'A') order by level, relation, name loop
    execute pg_catalog.format('alter table %s disable trigger %I', t.relation, t.name);
  end loop;
end
$rowback$;"
    )
}

/// Gives each trigger its state again: those of a partitioned table first, since what is done to them is done to its partitions.
const WAKE: &str = "\
do $rowback$
declare
  t record;
begin
  for t in select * from pg_temp.rowback_triggers order by level, relation, name loop
    if exists (select from pg_catalog.pg_trigger as g where g.tgrelid = t.relation and g.tgname = t.name and g.tgenabled <> t.state) then
      execute pg_catalog.format('alter table %s %s trigger %I', t.relation,
        case t.state when 'O' then 'enable' when 'A' then 'enable always' when 'R' then 'enable replica' else 'disable' end, t.name);
    end if;
  end loop;
end
$rowback$;";

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
