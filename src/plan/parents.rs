//! Guards on parents: a row is only hung on the parent that the plan saw. A batch carries, for each parent that its rows
//! need, the values that tell which entity it is; a row whose parent is another one by now, or is not there, is held
//! back together with what hangs on it in the same batch. Pure.

use std::borrow::Cow;

use super::script::{CopyBlock, Step, StepKind};
use super::sql::{DO, as_seen, same_key};
use super::{Action, BatchTable};
use crate::catalog::{Column, ForeignKey, Table, quoted_list};
use crate::ident::Ident;
use crate::sql::literal::literal;

/// The parents of a batch's rows by one reference.
#[derive(Debug, Clone)]
pub struct ParentGuard<'a> {
    /// The reference; one that nobody declared where the parent's own key is that of its parent, who is asked for as well.
    pub fk: Cow<'a, ForeignKey>,
    /// The parent's table in live.
    pub parent: &'a Table,
    /// What tells one entity from another.
    pub tells: Tells,
    /// COPY text, each row with its newline: the columns referred to, then those of `tells`.
    pub rows: Vec<u8>,
    /// Are these no parents, but the very rows that the part updates? The reference leads from the key to the key. Rows that
    /// are gone are not held.
    pub itself: bool,
}

/// Why an update stays away from a row that somebody made since under the key.
pub(super) const ANOTHER: &str = "another row";

/// What tells one entity from another under the same key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tells {
    /// The columns that speak.
    pub columns: Vec<Ident>,
    /// Positions in `columns` that say when a row was made: where both rows have it, nothing else counts.
    pub created: Vec<usize>,
    /// Positions in `columns`: any of these groups that has its values says by itself that it is the same entity.
    pub any_of: Vec<Vec<usize>>,
    /// Positions in `columns` that must all agree where no group has its values.
    pub otherwise: Vec<usize>,
    /// Positions in `columns` of the value with which a parent goes home in the same statement, and of the one that it has then;
    /// where they are given, nothing else counts.
    pub home: Option<(usize, usize)>,
}

impl Tells {
    /// What speaks for itself: positions in `columns`, each group where it has its values.
    pub fn speaking(&self) -> impl Iterator<Item = &[usize]> {
        self.any_of.iter().map(Vec::as_slice).chain(self.created.chunks(1))
    }

    /// Is the live row `p` the entity of the guard's row `g`? Values of unique keys are equal by the operator that `equality`
    /// gives for a column; `=` is that of no key.
    fn same_sql<'o>(&self, equality: impl Fn(&Ident) -> &'o str) -> String {
        let pair = |at: &usize, operator: &str| {
            let name = self.columns.get(*at).map(Ident::quoted).unwrap_or_default();
            format!("p.{name}::text {operator} g.e{}::text", at + 1)
        };
        let is_equal = |at: &usize| {
            let operator = |name: &Ident| Some(equality(name)).filter(|operator| *operator != "=");
            match self.columns.get(*at).and_then(|name| Some((name.quoted(), operator(name)?))) {
                Some((name, operator)) => format!("p.{name} {operator} g.e{}", at + 1),
                None => pair(at, "="),
            }
        };
        if let Some((_, home)) = &self.home {
            return pair(home, "is not distinct from");
        }
        let by_values = self.by_values_sql(pair, is_equal);
        if self.created.is_empty() {
            return by_values;
        }
        let name = |at: &usize| self.columns.get(*at).map(Ident::quoted).unwrap_or_default();
        let known = |at: &usize| format!("(g.e{} is not null and p.{} is not null)", at + 1, name(at));
        let dated: Vec<String> = self.created.iter().map(known).collect();
        // Programs that write a whole row back cut fractions of a second off.
        let second = |at: &usize| {
            let (name, number) = (name(at), at + 1);
            format!(
                "coalesce(p.{name} OPERATOR(pg_catalog.=) g.e{number} or \
                 pg_catalog.left(p.{name}::text, 19) = pg_catalog.left(g.e{number}::text, 19), true)"
            )
        };
        let agree: Vec<String> = self.created.iter().map(second).collect();
        format!("case when {} then {} else {by_values} end", dated.join(" or "), agree.join(" and "))
    }

    /// Without the time of creation.
    fn by_values_sql(
        &self,
        pair: impl Fn(&usize, &str) -> String,
        is_equal: impl Fn(&usize) -> String,
    ) -> String {
        let agree: Vec<String> = self.otherwise.iter().map(|at| pair(at, "is not distinct from")).collect();
        let otherwise = if agree.is_empty() { "true".to_owned() } else { agree.join(" and ") };
        if self.any_of.is_empty() {
            return otherwise;
        }
        let known = self.any_of.iter().map(|group| {
            let set: Vec<String> = group.iter().map(|at| format!("g.e{} is not null", at + 1)).collect();
            format!("({})", set.join(" and "))
        });
        let equal = self.any_of.iter().map(|group| {
            let pairs: Vec<String> = group.iter().map(&is_equal).collect();
            format!("coalesce({}, false)", pairs.join(" and "))
        });
        format!(
            "case when {} then {} else {otherwise} end",
            known.collect::<Vec<_>>().join(" or "),
            equal.collect::<Vec<_>>().join(" or ")
        )
    }
}

impl ParentGuard<'_> {
    /// The child's columns as the batch's temporary table `r` has them; `None` when it has not all of them.
    pub fn references(part: &BatchTable<'_>, fk: &ForeignKey) -> Option<Vec<usize>> {
        let keys = if part.action.writes_whole_rows() { 0 } else { part.key.len() };
        fk.child_columns()
            .map(|name| {
                let written = part.columns.iter().position(|column| column == name).map(|at| at + keys);
                let in_key = || part.key.iter().position(|column| column == name).filter(|_| keys > 0);
                written.or_else(in_key)
            })
            .collect()
    }

    /// `child.column = g.f1 and …`; a declared reference may join different types, and one over time leads to all whose
    /// period overlaps.
    fn pairs(&self, left: &[String]) -> String {
        let cast = if self.fk.is_enforced() { "" } else { "::text" };
        let last = left.len().saturating_sub(1);
        let pairs = left.iter().enumerate().map(|(at, left)| {
            if self.fk.is_over_time() && at == last {
                format!("g.f{} {} {left}", at + 1, self.fk.operator(at))
            } else {
                format!("{left}{cast} = g.f{}{cast}", at + 1)
            }
        });
        pairs.collect::<Vec<_>>().join(" and ")
    }

    /// The same for the parent's columns, of which those of `g` have the types: no cast where the type's own equality says
    /// the same, so that an index serves.
    fn parent_pairs(&self, alias: &str) -> String {
        let pairs = self.fk.parent_columns().enumerate().map(|(at, name)| {
            let by_value =
                self.fk.is_enforced() || self.parent.column(name).is_some_and(Column::is_told_by_text);
            let cast = if by_value { "" } else { "::text" };
            format!("{alias}.{}{cast} = g.f{}{cast}", name.quoted(), at + 1)
        });
        pairs.collect::<Vec<_>>().join(" and ")
    }
}

/// The temporary tables of the guards of part `number`, with their rows.
pub(super) fn stages(number: usize, part: &BatchTable<'_>) -> Vec<Step> {
    part.guards.iter().enumerate().map(|(at, guard)| stage(&name(number, at), guard)).collect()
}

fn name(number: usize, at: usize) -> String {
    format!("\"rowback_parent_{number}_{}\"", at + 1)
}

fn stage(name: &str, guard: &ParentGuard<'_>) -> Step {
    let referred = guard.fk.parent_columns().enumerate();
    let mut columns: Vec<(String, String)> =
        referred.map(|(at, column)| (column.quoted(), format!("f{}", at + 1))).collect();
    let telling = guard.tells.columns.iter().enumerate();
    columns.extend(telling.map(|(at, column)| (column.quoted(), format!("e{}", at + 1))));
    let selected: Vec<String> = columns.iter().map(|(from, name)| format!("{from} as {name}")).collect();
    let names: Vec<String> = columns.into_iter().map(|(_, name)| name).collect();
    let sql = format!(
        "create temporary table {name} on commit drop as select {} from {} where false;",
        selected.join(", "),
        guard.parent.from_sql()
    );
    let copy = CopyBlock {
        sql: format!("copy pg_temp.{name} ({}) from stdin", names.join(", ")),
        rows: guard.rows.clone(),
    };
    Step { kind: StepKind::Stage, sql, copy: Some(copy) }
}

/// Marks the rows that must not be written. The parents are locked against going first, as far as the role may: without
/// the right to update them the foreign key's own check still sees to it that some parent is there.
pub(super) fn hold(tables: &[BatchTable<'_>]) -> Option<Step> {
    let (mut locks, mut marks, mut followed) = (Vec::new(), Vec::new(), Vec::new());
    for (number, part) in tables.iter().enumerate() {
        for (at, guard) in part.guards.iter().enumerate() {
            let guards = format!("pg_temp.{}", name(number + 1, at));
            locks.push(lock(&guards, guard));
            if guard.tells.home.is_some() {
                let stays = stays_with(tables, (number + 1, part), &guards, guard)?;
                marks.push(stays.clone());
                followed.push(stays);
                continue;
            }
            let comes = beside(tables, guard, "q.rowback_held is null");
            marks.push(mark(number + 1, part, &guards, guard, &comes, "")?);
            if !comes.is_empty() {
                let gone = beside(tables, guard, "q.rowback_turn = rowback_turn_now - 1");
                let only = format!("\n      and ({})", gone.join(" or "));
                followed.push(mark(number + 1, part, &guards, guard, &comes, &only)?);
            }
        }
    }
    if marks.is_empty() {
        return None;
    }
    let mut marks = marks.join("\n");
    if !followed.is_empty() {
        // Nobody has counted the rows of temporary tables: that hardly any is marked decides how they are joined.
        let counted = (1..=tables.len())
            .map(|number| format!("  analyze pg_temp.\"rowback_{number}\" (rowback_held, rowback_turn);"));
        locks.push(counted.collect::<Vec<_>>().join("\n"));
        // What hangs on rows that the turn before has marked: a chain takes many turns, none of which looks at all rows.
        marks.push_str(&format!(
            "\n  while total > 0 loop\n    total := 0;\n    rowback_turn_now := rowback_turn_now + 1;\n{}\n  end loop;",
            followed.join("\n")
        ));
    }
    let sql = format!(
        "{DO}declare\n  moved bigint;\n  total bigint := 0;\n  rowback_turn_now int := 0;\nbegin\n{}\n{marks}\nend\n$rowback$;",
        locks.join("\n")
    );
    Some(Step::sql(StepKind::Hold, sql))
}

/// Parent by parent, through the index that an enforced reference has: a join would read the whole table for every batch.
fn lock(guards: &str, guard: &ParentGuard<'_>) -> String {
    let (from, pairs) = (guard.parent.from_sql(), guard.parent_pairs("p"));
    let strength = if guard.tells.home.is_some() { "no key update" } else { "key share" };
    let locked = if guard.fk.is_enforced() {
        format!(
            "{guards} as g cross join lateral (select from {from} as p where {pairs} offset 0 for {strength}) as p"
        )
    } else {
        format!("{guards} as g join {from} as p on {pairs} for {strength} of p")
    };
    format!(
        "  if pg_catalog.has_any_column_privilege({}, 'UPDATE') then\n    perform 1 from {locked};\n  end if;",
        literal(&guard.parent.name.quoted()),
    )
}

/// For each table `q` of the same statement that may hold the parent, that it does and that `condition` is true of it.
fn beside(tables: &[BatchTable<'_>], guard: &ParentGuard<'_>, condition: &str) -> Vec<String> {
    let parents = tables.iter().enumerate().filter(|(_, part)| {
        part.action.writes_whole_rows()
            && part.table.name == guard.parent.name
            && guard.fk.parent_columns().all(|name| part.columns.contains(name))
    });
    let pairs = guard.parent_pairs("q");
    parents
        .map(|(at, _)| {
            format!("exists (select from pg_temp.\"rowback_{}\" as q where {condition} and {pairs})", at + 1)
        })
        .collect()
}

/// Marks rows that go home only with the one on which they hang: that is home already, or goes there by the same statement.
fn stays_with(
    tables: &[BatchTable<'_>],
    (number, part): (usize, &BatchTable<'_>),
    guards: &str,
    guard: &ParentGuard<'_>,
) -> Option<String> {
    let (seen, home) = guard.tells.home?;
    let owner = guard.tells.columns.get(home)?.quoted();
    let had = |at: usize| format!("l.{owner}::text is not distinct from g.e{}::text", at + 1);
    let (from, pairs) = (guard.parent.from_sql(), guard.parent_pairs("l"));
    let above = tables.iter().enumerate();
    let above = above
        .filter(|(_, above)| above.action == Action::Update && above.table.name == guard.parent.name)
        .map(|(at, above)| {
            format!(
                "exists (select from pg_temp.\"rowback_{}\" as r where r.rowback_held is null and {} and {})",
                at + 1,
                same_key(above),
                as_seen(above)
            )
        });
    let goes: Vec<String> = above.collect();
    let goes = if goes.is_empty() {
        String::new()
    } else {
        format!(" or ({} and ({}))", had(seen), goes.join(" or "))
    };
    let (own, holds) = own_references(part, guard)?;
    Some(format!(
        "    update pg_temp.\"rowback_{number}\" as r set rowback_held = {}, rowback_turn = rowback_turn_now from {guards} as g\n      \
         where r.rowback_held is null and {own}{holds}\n      and not exists (select from {from} as l where {pairs} and ({}{goes}));\n    \
         get diagnostics moved = row_count;\n    total := total + moved;",
        literal(&guard.fk.name),
        had(home)
    ))
}

/// That a row of the part refers to the guard's row `g`, and that the condition of the reference holds for it.
fn own_references(part: &BatchTable<'_>, guard: &ParentGuard<'_>) -> Option<(String, String)> {
    let own: Vec<String> = ParentGuard::references(part, &guard.fk)?
        .into_iter()
        .map(|at| match part.action {
            Action::Insert | Action::Move => part.columns.get(at).map(|name| format!("r.{}", name.quoted())),
            Action::Update if at < part.key.len() => Some(format!("r.k{}", at + 1)),
            Action::Update => Some(format!("r.n{}", at + 1 - part.key.len())),
        })
        .collect::<Option<_>>()?;
    let own: Vec<String> =
        own.iter().enumerate().map(|(at, column)| guard.fk.referring_sql(at, column)).collect();
    let holds = guard.fk.when().map_or(String::new(), |when| holds(part, when));
    Some((guard.pairs(&own), holds))
}

/// Marks rows without their parent; `beside` are the conditions that it comes with the same statement, `only` says of which
/// rows that is asked.
fn mark(
    number: usize,
    part: &BatchTable<'_>,
    guards: &str,
    guard: &ParentGuard<'_>,
    beside: &[String],
    only: &str,
) -> Option<String> {
    let (own, holds) = own_references(part, guard)?;
    let (from, pairs) = (guard.parent.from_sql(), guard.parent_pairs("p"));
    let found = |condition: &str| format!("exists (select from {from} as p where {pairs} and {condition})");
    let same = guard.tells.same_sql(|name| guard.parent.equality(name));
    if guard.itself {
        return Some(format!(
            "    update pg_temp.\"rowback_{number}\" as r set rowback_held = '{ANOTHER}', rowback_turn = rowback_turn_now from {guards} as g\n      \
             where r.rowback_held is null and {own}\n      and {};\n    \
             get diagnostics moved = row_count;\n    total := total + moved;",
            found(&format!("not ({same})"))
        ));
    }
    let comes = if beside.is_empty() {
        String::new()
    } else {
        format!(
            "\n      and not (({}) and not exists (select from {from} as p where {pairs}))",
            beside.join(" or ")
        )
    };
    Some(format!(
        "    update pg_temp.\"rowback_{number}\" as r set rowback_held = {}, rowback_turn = rowback_turn_now from {guards} as g\n      \
         where r.rowback_held is null and {}{holds}{only}\n      \
         and not {}{comes};\n    \
         get diagnostics moved = row_count;\n    total := total + moved;",
        literal(&guard.fk.name),
        own,
        found(&format!("({same})"))
    ))
}

/// That the condition of a reference holds for the row as it will be: an inserted one is all in the temporary table, of an
/// updated one live has the rest.
fn holds(part: &BatchTable<'_>, when: &str) -> String {
    let row = match part.action {
        Action::Insert | Action::Move => format!("select {}", quoted_list("r.", &part.columns)),
        Action::Update => {
            let value = |name: &Ident| match part.columns.iter().position(|column| column == name) {
                Some(at) => format!("r.n{} as {}", at + 1, name.quoted()),
                None => format!("l.{}", name.quoted()),
            };
            let columns: Vec<String> = part.table.column_names().map(value).collect();
            let (from, key) = (part.table.from_sql(), same_key(part));
            format!("select {} from {from} as l where {key}", columns.join(", "))
        }
    };
    format!("\n      and exists (select from ({row}) as c where (\n{when}\n))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_group_that_has_its_values_decides_and_else_all_the_rest_must_agree() {
        let columns = ["email", "created_at", "name"].map(Ident::new).to_vec();
        let tells = Tells {
            columns: columns.clone(),
            any_of: vec![vec![0], vec![1]],
            otherwise: vec![2],
            ..Tells::default()
        };
        let of_key = |name: &Ident| if name.as_str() == "email" { "OPERATOR(public.=)" } else { "=" };
        assert_eq!(
            tells.same_sql(of_key),
            "case when (g.e1 is not null) or (g.e2 is not null) then coalesce(p.\"email\" OPERATOR(public.=) g.e1, false) or \
             coalesce(p.\"created_at\"::text = g.e2::text, false) else p.\"name\"::text is not distinct from g.e3::text end"
        );
        assert_eq!(Tells::default().same_sql(of_key), "true");
        let dated = Tells { columns, created: vec![1], otherwise: vec![2], ..Tells::default() };
        assert_eq!(
            dated.same_sql(of_key),
            "case when (g.e2 is not null and p.\"created_at\" is not null) then \
             coalesce(p.\"created_at\" OPERATOR(pg_catalog.=) g.e2 or \
             pg_catalog.left(p.\"created_at\"::text, 19) = pg_catalog.left(g.e2::text, 19), true) else p.\"name\"::text is not distinct from g.e3::text end"
        );
        let columns = vec![Ident::new("tenant_id"); 2];
        let owners = Tells { columns, home: Some((0, 1)), ..Tells::default() };
        assert_eq!(owners.same_sql(of_key), "p.\"tenant_id\"::text is not distinct from g.e2::text");
    }
}
