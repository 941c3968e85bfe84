//! Rows that triggers moved behind our back: counters, caches, companion rows. What a transaction touched beside its own
//! rows is asked of PostgreSQL; how the rows were before is read by another session, which does not see the open
//! transaction. A row that this recovery had put back gets its values again, and so does a column that it sets right; a counter that only served to give
//! recovered rows new numbers, which they did not keep, goes back; every other row keeps what the trigger made of it,
//! as it would after any insert, and is counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::RowKey;
use super::limits::{ZONE_OF_KEYS, ZONE_OF_TRIGGERS};
use super::ours::Recovered;
use super::row_key::json_array;
use super::traces::{FormerRow, Values};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, ReadSession, WriteSession, column};
use crate::plan::{Action, Part};
use crate::sql::literal::literal;
use crate::sql::own_rows::own_rows;
use crate::sql::registry::{APPLY_CASCADED, APPLY_COLUMNS, APPLY_LOOKABLE, APPLY_NUMBERING};

const WHAT: &str = "looking for rows that triggers moved";

/// Tables with more rows than this are not read for the sake of a few.
pub(super) const ROWS_AT_MOST: i64 = 2_000_000;

/// A recovered row of an earlier batch as a later transaction left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRow {
    /// The batch that put the row back.
    pub batch: u32,
    /// The part of that batch, from 0.
    pub part: usize,
    /// The row.
    pub key: RowKey,
    /// The part's columns as they are stored now, COPY text without newline.
    pub row: String,
}

/// What triggers did beside the batch's own rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// Recovered rows that could not be set back in every column.
    pub(super) rows: Vec<MovedRow>,
    /// Rows that keep what triggers made of them, as they were.
    pub(super) kept: Vec<FormerRow>,
    /// What a person should know, one line a table.
    pub(super) notes: Vec<String>,
}

/// A row's key, its values now and before.
type Moved<'a> = (&'a RowKey, &'a Values, &'a Values);

struct Touched {
    table: TableName,
    key: Vec<Ident>,
    columns: Vec<(Ident, String, bool)>,
}

/// Looks at what the open transaction of `session` touched beside `parts` and sets back what must not have moved.
/// `altered` says that triggers had changed rows of this batch and were overruled, `undo` that the batch was taken back.
pub(super) async fn set_back(
    session: &WriteSession,
    reader: &ReadSession,
    recovered: &Recovered,
    touched: Vec<(TableName, i64)>,
    parts: &[Part],
    (altered, undo): (bool, bool),
) -> Result<Moves, PgError> {
    let mut moves = Moves::default();
    let scene = Scene { session, reader, recovered, parts, altered, undo };
    for (table, rows) in touched {
        let name = [table.schema.as_str(), table.name.as_str()];
        let lookable = session.query(&APPLY_LOOKABLE, &[&name[0], &name[1]]).await?;
        if !lookable.first().map_or(Ok(false), |row| column::<bool>(row, "readable", WHAT))? {
            moves.notes.push(format!(
                "triggers changed rows of {table}, which this role may not read: which ones is not known"
            ));
            continue;
        }
        if rows > ROWS_AT_MOST {
            moves.notes.push(format!("{table} is too large to be searched for rows that triggers moved"));
            continue;
        }
        if let Some(touched) = describe(session, table).await? {
            scene.look_at(&touched, &mut moves).await?;
        }
    }
    Ok(moves)
}

/// What looking at one table needs.
struct Scene<'a> {
    session: &'a WriteSession,
    reader: &'a ReadSession,
    recovered: &'a Recovered,
    parts: &'a [Part],
    altered: bool,
    undo: bool,
}

/// `None` for a table without a primary key: its rows cannot be told apart.
async fn describe(session: &WriteSession, table: TableName) -> Result<Option<Touched>, PgError> {
    let (schema, name) = (table.schema.as_str(), table.name.as_str());
    let (mut key, mut columns) = (Vec::new(), Vec::new());
    for row in session.query(&APPLY_COLUMNS, &[&schema, &name]).await? {
        let ident = Ident::new(column::<String>(&row, "name", WHAT)?);
        if column(&row, "in_key", WHAT)? {
            key.push(ident);
        } else {
            columns.push((ident, column(&row, "type_name", WHAT)?, column(&row, "numeric", WHAT)?));
        }
    }
    Ok((!key.is_empty() && !columns.is_empty()).then_some(Touched { table, key, columns }))
}

impl Scene<'_> {
    async fn look_at(&self, touched: &Touched, moves: &mut Moves) -> Result<(), PgError> {
        let now = rows_of(&self.session.text_rows(WHAT, &touched.now_sql(self.parts)).await?);
        if now.is_empty() {
            return Ok(());
        }
        let keys = json_array(now.keys());
        let rows = self.reader.text_rows(WHAT, &touched.by_key_sql(&keys)).await?;
        let (before, versions) = (rows_of(&rows), versions_of(&rows));
        let mut back: BTreeMap<Vec<&str>, Vec<Moved<'_>>> = BTreeMap::new();
        let mut kept: BTreeMap<&str, u64> = BTreeMap::new();
        let served = self.served(touched).await?;
        let cascaded = self.cascaded(touched).await?;
        for (key, values) in &now {
            // A row that was not there before is one that a trigger made.
            let Some(old) = before.get(key) else { continue };
            let (wanted, stays) = self.decide(touched, key, (values, old), (served, &cascaded));
            if !stays.is_empty() {
                let version = versions.get(key).cloned().unwrap_or_default();
                let was = |name: &&str| ((*name).to_owned(), old.get(*name).cloned().flatten());
                let (table, before) = (touched.table.clone(), stays.iter().map(was).collect());
                moves.kept.push(FormerRow { table, key: key.clone(), version, before });
            }
            stays.into_iter().for_each(|name| *kept.entry(name).or_default() += 1);
            if !wanted.is_empty() {
                back.entry(wanted).or_default().push((key, values, old));
            }
        }
        if !back.is_empty() {
            self.session.execute(WHAT, ZONE_OF_TRIGGERS).await?;
            for (columns, rows) in &back {
                self.session.execute(WHAT, &touched.back_sql(columns, rows)).await?;
            }
            self.session.execute(WHAT, ZONE_OF_KEYS).await?;
        }
        if !kept.is_empty() {
            let kept: Vec<String> =
                kept.iter().map(|(name, rows)| format!("{name} of {rows} rows")).collect();
            moves.notes.push(format!("triggers moved {} in {}", kept.join(", "), touched.table));
        }
        let ours: Vec<&RowKey> =
            now.keys().filter(|key| self.recovered.find(&touched.table, key).is_some()).collect();
        self.remember(touched, &ours, &before, moves).await
    }

    /// Did the table only serve to give recovered rows new numbers, which they did not keep?
    async fn served(&self, touched: &Touched) -> Result<bool, PgError> {
        if !self.altered || self.recovered.is_planned(&touched.table) {
            return Ok(false);
        }
        let inserts = self.parts.iter().filter(|part| part.action.writes_whole_rows());
        let tables: Vec<String> = inserts.map(|part| part.table.quoted()).collect();
        let rows = self.session.query(&APPLY_NUMBERING, &[&tables, &touched.table.name.as_str()]).await?;
        rows.first().map_or(Ok(false), |row| column(row, "numbering", WHAT))
    }

    /// The columns that ON UPDATE CASCADE moves with what the batch sets.
    async fn cascaded(&self, touched: &Touched) -> Result<BTreeSet<String>, PgError> {
        let updates = self.parts.iter().filter(|part| part.action == Action::Update);
        let tables: Vec<String> = updates.map(|part| part.table.quoted()).collect();
        let rows = self.session.query(&APPLY_CASCADED, &[&touched.table.quoted(), &tables]).await?;
        rows.iter().map(|row| column(row, "name", WHAT)).collect()
    }

    /// Which of the moved columns go back, and which stay as the triggers left them.
    fn decide<'t>(
        &self,
        touched: &'t Touched,
        key: &RowKey,
        (now, old): (&Values, &Values),
        (served, cascaded): (bool, &BTreeSet<String>),
    ) -> (Vec<&'t str>, Vec<&'t str>) {
        let is_ours = self.recovered.find(&touched.table, key).is_some();
        let moved =
            touched.columns.iter().filter(|(name, _, _)| now.get(name.as_str()) != old.get(name.as_str()));
        let (mut back, mut stays) = (Vec::new(), Vec::new());
        for (name, _, numeric) in moved {
            let repaired = self.recovered.repaired((&touched.table, key, name), self.undo);
            // ON UPDATE CASCADE brought what another batch sets.
            let is_there = || repaired.is_some_and(|wanted| now.get(name.as_str()) == Some(wanted));
            if cascaded.contains(name.as_str()) && is_there() {
                continue;
            }
            let goes_back = is_ours || (served && *numeric) || repaired.is_some();
            let list = if goes_back { &mut back } else { &mut stays };
            list.push(name.as_str());
        }
        (back, stays)
    }

    /// Recovered rows that differ from before even now (a trigger insists): undo must know how they are.
    async fn remember(
        &self,
        touched: &Touched,
        ours: &[&RowKey],
        before: &BTreeMap<RowKey, Values>,
        moves: &mut Moves,
    ) -> Result<(), PgError> {
        if ours.is_empty() {
            return Ok(());
        }
        let keys = json_array(ours.iter().copied());
        let left = rows_of(&self.session.text_rows(WHAT, &touched.by_key_sql(&keys)).await?);
        let mut differing = 0u64;
        for (key, _) in left.iter().filter(|(key, values)| before.get(key) != Some(values)) {
            let Some((batch, part, columns)) = self.recovered.find(&touched.table, key) else { continue };
            let sql = touched.row_sql(columns, &json_array([key].into_iter()));
            let mut rows = self.session.copy_out(WHAT, &sql).await?;
            while let Some(row) = rows.next_row().await? {
                let row = String::from_utf8_lossy(&row).into_owned();
                moves.rows.push(MovedRow { batch, part, key: key.clone(), row });
            }
            differing += 1;
        }
        if differing > 0 {
            let table = &touched.table;
            moves.notes.push(format!(
                "triggers insist on values of their own in {differing} recovered rows of {table}; verify names them"
            ));
        }
        Ok(())
    }
}

impl Touched {
    fn key_json(&self) -> String {
        let pairs: Vec<String> = self
            .key
            .iter()
            .map(|name| format!("{}, l.{}::text", literal(name.as_str()), name.quoted()))
            .collect();
        format!("pg_catalog.jsonb_build_object({})", pairs.join(", "))
    }

    fn values_json(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _, _)| literal(name.as_str())).collect();
        let values: Vec<String> =
            self.columns.iter().map(|(name, _, _)| format!("l.{}::text", name.quoted())).collect();
        format!(
            "pg_catalog.jsonb_object(array[{}]::text[], array[{}]::text[])",
            names.join(", "),
            values.join(", ")
        )
    }

    fn is_one_of(&self, keys: &str) -> String {
        format!(
            "{} in (select e.key from pg_catalog.jsonb_array_elements({}::jsonb) as e(key)) and {}",
            self.key_json(),
            literal(keys),
            own_rows("l", &self.table)
        )
    }

    /// Rows of this transaction that are not among those of the batch.
    fn now_sql(&self, parts: &[Part]) -> String {
        let mut own = String::new();
        for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.table == self.table) {
            let key = crate::plan::row_key_json(&part.key, part.action);
            own.push_str(&format!(
                " and {} not in (select {key} from pg_temp.\"rowback_{}\" as r)",
                self.key_json(),
                at + 1
            ));
        }
        format!(
            "select {}::text, {}::text from {} as l where l.xmin::text = (pg_catalog.txid_current() % 4294967296)::text{own}",
            self.key_json(),
            self.values_json(),
            self.table.quoted()
        )
    }

    fn by_key_sql(&self, keys: &str) -> String {
        format!(
            "select {}::text, {}::text, l.xmin::text from {} as l where {}",
            self.key_json(),
            self.values_json(),
            self.table.quoted(),
            self.is_one_of(keys)
        )
    }

    fn row_sql(&self, columns: &[Ident], keys: &str) -> String {
        let list: Vec<String> = columns.iter().map(|name| format!("l.{}", name.quoted())).collect();
        format!(
            "copy (select {} from {} as l where {}) to stdout",
            list.join(", "),
            self.table.quoted(),
            self.is_one_of(keys)
        )
    }

    /// Guarded by what was seen in this very transaction.
    fn back_sql(&self, columns: &[&str], rows: &[Moved<'_>]) -> String {
        let of_type = |name: &str| {
            self.columns
                .iter()
                .find(|(column, _, _)| column.as_str() == name)
                .map_or("text", |(_, of, _)| of.as_str())
        };
        let sets: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, name)| format!("{} = (v.old ->> {at})::{}", Ident::new(*name).quoted(), of_type(name)))
            .collect();
        let seen: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, name)| {
                format!("l.{}::text is not distinct from (v.seen ->> {at})", Ident::new(*name).quoted())
            })
            .collect();
        let list = |values: &Values| {
            let picked: Vec<Option<&String>> =
                columns.iter().map(|name| values.get(*name).and_then(Option::as_ref)).collect();
            serde_json::to_string(&picked).unwrap_or_default()
        };
        let values: Vec<String> = rows
            .iter()
            .map(|(key, now, old)| {
                let key = serde_json::to_string(key).unwrap_or_default();
                format!(
                    "({}::jsonb, {}::jsonb, {}::jsonb)",
                    literal(&key),
                    literal(&list(now)),
                    literal(&list(old))
                )
            })
            .collect();
        format!(
            "update {} as l set {} from (values {}) as v(key, seen, old) where {} = v.key and {} and {}",
            self.table.quoted(),
            sets.join(", "),
            values.join(",\n"),
            self.key_json(),
            seen.join(" and "),
            own_rows("l", &self.table)
        )
    }
}

fn rows_of(rows: &[Vec<Option<String>>]) -> BTreeMap<RowKey, Values> {
    rows.iter()
        .filter_map(|row| {
            let [Some(key), Some(values), ..] = row.as_slice() else { return None };
            Some((RowKey::parse(key).ok()?, serde_json::from_str(values).ok()?))
        })
        .collect()
}

fn versions_of(rows: &[Vec<Option<String>>]) -> BTreeMap<RowKey, String> {
    rows.iter()
        .filter_map(|row| {
            let [Some(key), _, Some(version)] = row.as_slice() else { return None };
            Some((RowKey::parse(key).ok()?, version.clone()))
        })
        .collect()
}
