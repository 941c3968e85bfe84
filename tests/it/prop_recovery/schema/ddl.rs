//! The schema as SQL.

use std::fmt::Write;

use super::{Column, Partitions, Schema, Table, literal, quoted};

impl Schema {
    /// Everything, from nothing.
    pub fn sql(&self) -> String {
        let mut sql = String::from("create type mood as enum ('good', 'bad', 'so, so');\n");
        for table in &self.tables {
            let mut parts: Vec<String> = table.columns.iter().map(Column::sql).collect();
            parts.push(format!("primary key ({})", table.names(&table.key)));
            let (name, parts) = (quoted(&table.name), parts.join(",\n  "));
            writeln!(sql, "create table {name} (\n  {parts}){};", table.partitioning()).unwrap();
        }
        for table in &self.tables {
            table.rows.iter().for_each(|row| sql.push_str(&table.insert(row)));
        }
        for table in &self.tables {
            for unique in &table.uniques {
                writeln!(sql, "{};", unique.sql).unwrap();
            }
        }
        for table in &self.tables {
            for link in table.links.iter().filter(|link| !link.declared) {
                let full = if link.full { " match full" } else { "" };
                let parent = &self.tables[link.parent];
                writeln!(
                    sql,
                    "alter table {} add foreign key ({}) references {} ({}){full} on delete {} on update {} {};",
                    quoted(&table.name),
                    table.names(&link.columns),
                    quoted(&parent.name),
                    parent.names(&link.parent_columns),
                    link.delete,
                    link.update,
                    link.deferrable
                )
                .unwrap();
            }
        }
        for (number, table) in self.tables.iter().enumerate() {
            for (at, link) in table.links.iter().enumerate() {
                sql.extend(link.counter.map(|counter| self.counting(number, at, counter)));
            }
            sql.push_str(&table.stamping(number));
        }
        sql
    }

    /// The triggers that keep count of a link, and the counts to begin with.
    fn counting(&self, number: usize, at: usize, counter: usize) -> String {
        let table = &self.tables[number];
        let link = &table.links[at];
        let parent = &self.tables[link.parent];
        let (child_name, parent_name) = (quoted(&table.name), quoted(&parent.name));
        let n = parent.names(&[counter]);
        let of = |whose: &str| {
            let pairs =
                link.columns.iter().zip(&link.parent_columns).map(|(&from, &to)| {
                    format!("p.{} = {whose}.{}", parent.names(&[to]), table.names(&[from]))
                });
            pairs.collect::<Vec<_>>().join(" and ")
        };
        let (old, new, child) = (of("old"), of("new"), of("c"));
        let list = table.names(&link.columns);
        format!(
            "update {parent_name} as p set {n} = (select count(*) from {child_name} as c where {child});
create function count_{number}_{at}() returns trigger language plpgsql as $f$
begin
  if tg_op <> 'INSERT' then update public.{parent_name} as p set {n} = p.{n} - 1 where {old}; end if;
  if tg_op <> 'DELETE' then update public.{parent_name} as p set {n} = p.{n} + 1 where {new}; end if;
  return null;
end $f$;
create trigger count_{number}_{at} after insert or delete or update of {list} on {child_name}
  for each row execute function count_{number}_{at}();
"
        )
    }
}

impl Table {
    /// What stands behind its columns, and its partitions.
    fn partitioning(&self) -> String {
        let by = self.names(&self.key[..1]);
        let part = |at: usize, of: &str| {
            let name = quoted(&format!("{} part {at}", self.name));
            format!(";\ncreate table {name} partition of {} {of}", quoted(&self.name))
        };
        match self.partitions {
            None => String::new(),
            Some(Partitions::Hash) => {
                let parts =
                    (0..3).map(|at| part(at, &format!("for values with (modulus 3, remainder {at})")));
                format!(" partition by hash ({by}){}", parts.collect::<String>())
            }
            Some(Partitions::Range) => format!(
                " partition by range ({by}){}{}{}",
                part(0, "for values from (minvalue) to (4)"),
                part(1, "for values from (4) to (9)"),
                part(2, "default")
            ),
        }
    }

    /// The trigger that sets a column of every new row; the rows so far are older than it.
    fn stamping(&self, number: usize) -> String {
        let Some((at, value)) = &self.stamped else { return String::new() };
        format!(
            "create function stamp_{number}() returns trigger language plpgsql as $f$
begin
  new.{} := {};
  return new;
end $f$;
create trigger stamp_{number} before insert on {} for each row execute function stamp_{number}();
",
            self.names(&[*at]),
            literal(&Some(value.clone())),
            quoted(&self.name)
        )
    }
}

impl Column {
    fn sql(&self) -> String {
        let mut sql = format!("{} {}", quoted(&self.name), self.kind.sql());
        if let Some(how) = self.identity {
            write!(sql, " generated {how} as identity").unwrap();
        }
        if self.default.is_some() {
            write!(sql, " default {}", literal(&self.default)).unwrap();
        }
        if self.not_null {
            sql.push_str(" not null");
        }
        sql
    }
}
