//! The end of undo: what triggers did beside the rows that were taken back and that is still there. Rows that they made, as
//! they left them; rows of others in which columns are not as before apply although nobody else has written them; rows that they removed
//! and that could not be put back. Only reads.

use std::collections::{BTreeMap, BTreeSet};

use super::companions;
use super::moved::ROWS_AT_MOST;
use super::row_key::json_array;
use super::runner::Runner;
use super::summary::Remains;
use super::traces::{Elsewhere, Values};
use super::{ApplyError, RowKey};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, column};
use crate::sql::literal::literal;
use crate::sql::registry::{APPLY_LOOKABLE, APPLY_TYPES};

const WHAT: &str = "looking for what triggers left behind";

/// Rows that are asked for in one statement.
const ROWS_AT_ONCE: usize = 10_000;

/// Rows of which the keys are told.
const KEYS: usize = 1000;

impl Runner<'_> {
    /// The time by live's own clock.
    pub(super) async fn clock(&self) -> Result<String, PgError> {
        let rows = self.session.text_rows(WHAT, "select pg_catalog.clock_timestamp()::text").await?;
        let now = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        now.ok_or_else(|| answer("no time"))
    }

    /// Looks at live as undo leaves it: what is still there, and notes about rows of others that only tell when they were
    /// changed last, at or after `started`. Asks nothing where no trigger did anything.
    pub(super) async fn remains(&self, started: &str) -> Result<(Vec<Remains>, Vec<String>), ApplyError> {
        let (mut found, mut notes) = (Vec::new(), Vec::new());
        for (table, rows) in self.made().by_table() {
            let there = companions::still_there(&self.session, &table, &rows).await?;
            let there: BTreeSet<RowKey> = there.into_iter().collect();
            if !there.is_empty() {
                let rows = u64::try_from(there.len()).unwrap_or(u64::MAX);
                let keys = there.into_iter().take(KEYS).collect();
                found.push(Remains {
                    table,
                    rows,
                    columns: Vec::new(),
                    keys,
                    looked: true,
                    fate: None,
                    because: None,
                });
            }
        }
        let traces = self.traces();
        for (table, made) in traces.elsewhere() {
            found.extend(self.made_elsewhere(table, made).await?);
        }
        for (table, rows) in traces.kept() {
            let (stamped, moved) = self.not_as_before(table, &rows, started).await?;
            found.extend(moved);
            notes.extend(stamped.into_iter().map(|Remains { rows, columns, .. }| {
                let columns = columns.join(", ");
                format!("Of {rows} rows of {table} that are not part of the recovery, {columns} tells of the undo: a trigger sets it.")
            }));
        }
        found.extend(self.still_removed().await?);
        Ok((found, notes))
    }

    /// Rows of a table that carry the number of a transaction of ours, but for those that were only updated.
    async fn made_elsewhere(
        &self,
        table: &TableName,
        made: &[Elsewhere],
    ) -> Result<Option<Remains>, PgError> {
        let rows =
            self.session.query(&APPLY_LOOKABLE, &[&table.schema.as_str(), &table.name.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let unseen = Remains {
            table: table.clone(),
            rows: made.iter().map(|one| one.rows).sum(),
            columns: Vec::new(),
            keys: Vec::new(),
            looked: false,
            fate: None,
            because: None,
        };
        if !column::<bool>(row, "readable", WHAT)? || column::<i64>(row, "rows", WHAT)? > ROWS_AT_MOST {
            return Ok(Some(unseen));
        }
        let versions: Vec<String> = made.iter().map(|one| literal(&one.version)).collect();
        let ours = format!("from {} as l where l.xmin::text in ({})", table.quoted(), versions.join(", "));
        let Some(key) = companions::primary_key(&self.session, table).await? else {
            let count = format!("select pg_catalog.count(*) {ours}");
            let rows = super::isolate::single(&self.session.text_rows(WHAT, &count).await?).unwrap_or(0);
            return Ok((rows > 0).then_some(Remains { rows, looked: true, ..unseen }));
        };
        let key = companions::key_json("l", &key);
        let moved = json_array(self.traces().knows_kept(table).into_iter());
        let ours = format!(
            "{ours} and {key} not in (select e.key from pg_catalog.jsonb_array_elements({}::jsonb) as e(key))",
            literal(&moved)
        );
        let sql = format!(
            "select ({key})::text, (select pg_catalog.count(*) {ours})::text {ours} order by l.ctid limit {KEYS}"
        );
        let (mut keys, mut rows) = (Vec::new(), 0);
        for row in self.session.text_rows(WHAT, &sql).await? {
            let [Some(key), Some(count)] = row.as_slice() else { continue };
            rows = count.parse().unwrap_or(u64::MAX);
            keys.push(RowKey::parse(key).map_err(answer)?);
        }
        Ok((rows > 0).then_some(Remains { rows, keys, looked: true, ..unseen }))
    }

    /// Rows of a table that are as a transaction of ours left them, and not as they were before, by the columns: first those
    /// that only tell when they were changed last. A time from before this run is no such thing, whatever it means.
    async fn not_as_before(
        &self,
        table: &TableName,
        rows: &[(&RowKey, &Values)],
        started: &str,
    ) -> Result<(Vec<Remains>, Vec<Remains>), PgError> {
        let mut types: BTreeMap<Ident, String> = BTreeMap::new();
        for row in self.session.query(&APPLY_TYPES, &[&table.schema.as_str(), &table.name.as_str()]).await? {
            types.insert(Ident::new(column::<String>(&row, "name", WHAT)?), column(&row, "type_name", WHAT)?);
        }
        let named: BTreeSet<Ident> =
            rows.iter().flat_map(|(key, before)| key.0.keys().chain(before.keys())).map(Ident::new).collect();
        if !named.iter().all(|name| types.contains_key(name)) {
            // The table or a column has gone.
            return Ok((Vec::new(), Vec::new()));
        }
        let mut found: BTreeMap<(bool, Vec<String>), Vec<RowKey>> = BTreeMap::new();
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let known: BTreeMap<&RowKey, &Values> = rows.iter().copied().collect();
            for row in self.session.text_rows(WHAT, &kept_sql(table, &types, rows, started)).await? {
                let [Some(key), Some(version), Some(before), Some(now), Some(times)] = row.as_slice() else {
                    continue;
                };
                if !self.traces().is_own(version) {
                    continue;
                }
                let key = RowKey::parse(key).map_err(answer)?;
                let before: Values = serde_json::from_str(before).map_err(answer)?;
                let now: Values = serde_json::from_str(now).map_err(answer)?;
                let differs = |name: &&String| before.get(*name) != now.get(*name);
                let columns =
                    known.get(&key).map(|known| known.keys().filter(differs).cloned().collect::<Vec<_>>());
                if let Some(columns) = columns.filter(|columns| !columns.is_empty()) {
                    let times: BTreeSet<String> = serde_json::from_str(times).map_err(answer)?;
                    let stamped = columns.iter().all(|name| times.contains(name));
                    found.entry((stamped, columns)).or_default().push(key);
                }
            }
        }
        let remains = |columns: Vec<String>, mut keys: Vec<RowKey>| {
            let rows = u64::try_from(keys.len()).unwrap_or(u64::MAX);
            keys.truncate(KEYS);
            Remains { table: table.clone(), rows, columns, keys, looked: true, fate: None, because: None }
        };
        let (mut stamped, mut moved) = (Vec::new(), Vec::new());
        for ((is_stamped, columns), keys) in found {
            if is_stamped { &mut stamped } else { &mut moved }.push(remains(columns, keys));
        }
        Ok((stamped, moved))
    }
}

/// Key, version, values before (printed as this session prints them), values now, and the columns that hold a time since
/// `started`.
fn kept_sql(
    table: &TableName,
    types: &BTreeMap<Ident, String>,
    rows: &[(&RowKey, &Values)],
    started: &str,
) -> String {
    let type_of = |name: &Ident| types.get(name).map_or("text", String::as_str);
    let columns: BTreeSet<Ident> =
        rows.iter().flat_map(|(_, before)| before.keys()).map(Ident::new).collect();
    let names: Vec<String> = columns.iter().map(|name| literal(name.as_str())).collect();
    let object = |values: Vec<String>| {
        format!(
            "pg_catalog.jsonb_object(array[{}]::text[], array[{}]::text[])::text",
            names.join(", "),
            values.join(", ")
        )
    };
    let times = columns.iter().filter(|name| type_of(name) == "timestamp with time zone").map(|name| {
        let since = literal(started);
        format!("case when l.{} >= {since}::timestamptz then {} end", name.quoted(), literal(name.as_str()))
    });
    let times = format!(
        "pg_catalog.to_jsonb(pg_catalog.array_remove(array[{}]::text[], null))::text",
        times.collect::<Vec<_>>().join(", ")
    );
    let now = object(columns.iter().map(|name| format!("l.{}::text", name.quoted())).collect());
    let before = columns
        .iter()
        .map(|name| format!("(e.one -> 'before' ->> {})::{}::text", literal(name.as_str()), type_of(name)));
    let before = object(before.collect());
    let key: BTreeSet<Ident> = rows.iter().flat_map(|(key, _)| key.0.keys()).map(Ident::new).collect();
    let same = key.iter().map(|name| {
        format!("l.{} = (e.one -> 'key' ->> {})::{}", name.quoted(), literal(name.as_str()), type_of(name))
    });
    let same = same.collect::<Vec<_>>().join(" and ");
    let rows = rows.iter().map(|(key, before)| serde_json::json!({ "key": key, "before": before }));
    format!(
        "select (e.one -> 'key')::text, l.version, {before}, l.now, l.times from pg_catalog.jsonb_array_elements({}::jsonb) as e(one) \
         cross join lateral (select l.xmin::text as version, {now} as now, {times} as times from {} as l where {same} offset 0) as l",
        literal(&rows.collect::<serde_json::Value>().to_string()),
        table.quoted()
    )
}

fn answer(error: impl std::fmt::Display) -> PgError {
    PgError::Answer { what: WHAT.to_owned(), cause: error.to_string() }
}
