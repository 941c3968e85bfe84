//! The statements that look at a batch's own rows and set their columns back.

use super::{Differing, Watched};
use crate::apply::RowKey;
use crate::apply::place::Task;
use crate::ident::Ident;
use crate::plan::recall::as_seen_sql;
use crate::plan::{Action, OVERRULED, row_key_json};
use crate::sql::literal::literal;
use crate::sql::own_rows::own_rows;

/// Written by the open transaction or one of its savepoints.
const YOUNG: &str = "pg_catalog.age(l.xmin) <= 0";

impl Watched<'_> {
    pub(super) fn type_of(&self, name: &Ident) -> &str {
        self.types.get(name).map_or("text", String::as_str)
    }

    pub(super) fn write_sql(&self, columns: &[&String], rows: &[(&RowKey, &Differing)]) -> String {
        let (mut sets, mut seen) = (Vec::new(), Vec::new());
        for (at, name) in columns.iter().enumerate() {
            let name = Ident::new(name.as_str());
            sets.push(format!("{} = (e.one -> 1 ->> {at})::{}", name.quoted(), self.type_of(&name)));
            seen.push(format!("l.{}::text is not distinct from (e.one -> 2 ->> {at})", name.quoted()));
        }
        let keys = self.part.key.iter().map(|name| {
            format!(
                "l.{} = (e.one -> 0 ->> {})::{}",
                name.quoted(),
                literal(name.as_str()),
                self.type_of(name)
            )
        });
        let rows = rows.iter().map(|(key, row)| {
            let now: Vec<&Option<String>> = row.values().map(|(now, _)| now).collect();
            let before: Vec<&Option<String>> = row.values().map(|(_, before)| before).collect();
            serde_json::json!([key, before, now])
        });
        let rows = rows.collect::<serde_json::Value>().to_string();
        format!(
            "with w as (update {} as l set {} from pg_catalog.jsonb_array_elements({}::jsonb) as e(one) where {} and {YOUNG} \
             and {} returning 1) select pg_catalog.count(*) from w",
            self.table.quoted(),
            sets.join(", "),
            literal(&rows),
            keys.chain([own_rows("l", &self.table)]).collect::<Vec<_>>().join(" and "),
            seen.join(" and ")
        )
    }

    /// The rows that will be updated, as they are now.
    pub(super) fn capture_sql(&self) -> String {
        let keys = (1..).zip(&self.part.key).map(|(at, _)| format!("r.k{at} as rowback_k{at}"));
        let columns = self.columns.iter().filter(|name| !self.part.columns.contains(name));
        let columns = columns.map(|name| format!("l.{}", name.quoted()));
        let as_it_is = match self.watcher.task {
            Task::Undo => self.written("n"),
            Task::Apply | Task::DryRun => as_seen_sql(self.part, "l"),
        };
        format!(
            "create temporary table \"rowback_before_{}\" on commit drop as select {}, l.xmin::text as rowback_version \
             from pg_temp.\"rowback_{}\" as r join {} as l on {} where r.rowback_held is null and {as_it_is}",
            self.number,
            keys.chain(columns).collect::<Vec<_>>().join(", "),
            self.number,
            self.table.quoted(),
            self.same_key()
        )
    }

    fn written(&self, prefix: &str) -> String {
        let pairs = (1..)
            .zip(&self.part.columns)
            .map(|(at, name)| format!("l.{}::text is not distinct from r.{prefix}{at}::text", name.quoted()));
        pairs.collect::<Vec<_>>().join(" and ")
    }

    fn same_key(&self) -> String {
        let pairs = (1..).zip(&self.part.key).map(|(at, name)| match self.part.action {
            Action::Update => format!("l.{} = r.k{at}", name.quoted()),
            Action::Insert | Action::Move => format!("l.{0} = r.{0}", name.quoted()),
        });
        pairs.chain([own_rows("l", &self.table)]).collect::<Vec<_>>().join(" and ")
    }

    /// How a column was before the batch was run.
    pub(super) fn before(&self, name: &Ident) -> String {
        match self.part.columns.iter().position(|column| column == name) {
            Some(at) => format!("r.s{}", at + 1),
            None => format!("b.{}", name.quoted()),
        }
    }

    /// The rows that this transaction has written, beside how they were.
    pub(super) fn joined(&self, more: &str) -> String {
        let same: Vec<String> =
            (1..=self.part.key.len()).map(|at| format!("b.rowback_k{at} = r.k{at}")).collect();
        let before = match self.part.action {
            Action::Update => {
                format!("join pg_temp.\"rowback_before_{}\" as b on {}", self.number, same.join(" and "))
            }
            Action::Insert | Action::Move => {
                "cross join (select null::text as rowback_version) as b".to_owned()
            }
        };
        let overruled = literal(OVERRULED);
        format!(
            "from pg_temp.\"rowback_{}\" as r {before} join {} as l on {} and {YOUNG}{more} \
             where coalesce(r.rowback_held, {overruled}) = {overruled}",
            self.number,
            self.table.quoted(),
            self.same_key()
        )
    }

    /// Key, version, version before, values right before, values that are known from longer ago (`former`, printed as this
    /// session prints them), values now.
    pub(super) fn rows_sql(&self, columns: &[Ident], former: &str) -> String {
        let names: Vec<String> = columns.iter().map(|name| literal(name.as_str())).collect();
        let names = names.join(", ");
        let object = |value: &dyn Fn(&Ident) -> String| {
            let values: Vec<String> = columns.iter().map(value).collect();
            format!(
                "pg_catalog.jsonb_object(array[{names}]::text[], array[{}]::text[])::text",
                values.join(", ")
            )
        };
        let key = row_key_json(&self.part.key, self.part.action);
        format!(
            "with f as materialized (select e.one -> 'key' as key, e.one -> 'before' as before from \
             pg_catalog.jsonb_array_elements({}::jsonb) as e(one))\n\
             select {key}::text, l.xmin::text, b.rowback_version, {}, case when f.key is not null then {} end, {} {}",
            literal(former),
            object(&|name| format!("{}::text", self.before(name))),
            object(&|name| {
                format!("(f.before ->> {})::{}::text", literal(name.as_str()), self.type_of(name))
            }),
            object(&|name| format!("l.{}::text", name.quoted())),
            self.joined(&format!(" left join f on f.key = {key}"))
        )
    }
}
