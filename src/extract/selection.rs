//! Evaluates what the recipe selects: a predicate or query of the user, run by PostgreSQL in a read-only transaction
//! with a time limit, as a role without superuser, on scratch.

use std::collections::BTreeSet;
use std::time::Duration;

use super::chosen::{Chosen, PlacesError, Reason};
use super::{Entry, ExtractError, Selected};
use crate::catalog::{Catalog, Table, quoted_list};
use crate::ident::{Ident, TableName};
use crate::pg::{PgError, Row, ScratchSession, column};
use crate::scratch::Scratch;
use crate::sql::condition::{self, Clause, is_steady};
use crate::sql::registry;

/// What a condition reads beside the row that it is about.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Tables, partitions named by their root.
    pub tables: BTreeSet<TableName>,
    /// Functions that may read anything.
    pub functions: Vec<String>,
    /// Views are read, through which a table may be read a second time.
    pub through_views: bool,
    /// The condition as PostgreSQL understood it; `None` where it may need other rows of its own table.
    pub clause: Option<Clause>,
    /// The same as PostgreSQL prints it, as a view.
    pub definition: String,
}

/// Lets PostgreSQL parse the condition, as a view that is thrown away, and tells what it reads. This is where a
/// syntax error or an unknown column of a predicate shows.
pub(super) async fn analyze(
    session: &ScratchSession,
    catalog: &Catalog,
    table: &Table,
    selected: &Selected,
) -> Result<Reads, ExtractError> {
    let (before, text, after) = match selected {
        Selected::Everything | Selected::Replay(_) => return Ok(Reads::default()),
        Selected::Where(text) => {
            (format!("select 1 as hit from {} where (\n", table.from_sql()), text, "\n)")
        }
        Selected::Query(text) => (String::new(), text, ""),
    };
    let before = format!("create view rowback_scratch.predicate as {before}");
    let begin = format!("begin; set local search_path = {}, public", table.name.schema.quoted());
    session.execute("reading a predicate", &begin).await?;
    let result = inside(session, catalog, &format!("{before}{text}{after}")).await;
    session.execute("reading a predicate", "rollback").await?;
    let refused = |source: PgError| {
        let near = source.db().and_then(|db| place_in(text, before.chars().count(), db.position?));
        ExtractError::predicate(&table.name, source, near)
    };
    let reads = result.map_err(refused)?;
    match selected {
        Selected::Where(text) if is_steady(text) => {
            session.execute("reading a predicate", &begin).await?;
            let alone = about_one_row(session, catalog, table, text).await;
            session.execute("reading a predicate", "rollback").await?;
            Ok(alone?.unwrap_or(reads))
        }
        _ => Ok(reads),
    }
}

/// The same over an empty table of the same columns and name: then what it reads is what it reads beside its row. `None`
/// where it cannot be said so (it names its table with the schema), or it reads its own table as well.
async fn about_one_row(
    session: &ScratchSession,
    catalog: &Catalog,
    table: &Table,
    text: &str,
) -> Result<Option<Reads>, PgError> {
    let name = table.name.name.quoted();
    let create = format!(
        "create table rowback_scratch.subject (like {}); create view rowback_scratch.predicate as select 1 as hit \
         from rowback_scratch.subject as {name} where (\n{text}\n)",
        table.name.quoted()
    );
    let subject = TableName::new("rowback_scratch", "subject");
    let mut reads = match inside(session, catalog, &create).await {
        Ok(reads) => reads,
        Err(error) if error.sqlstate().is_some() => return Ok(None),
        Err(lost) => return Err(lost),
    };
    reads.tables.remove(&subject);
    if reads.tables.contains(&table.name) || !reads.functions.is_empty() {
        return Ok(None);
    }
    session.execute("reading a predicate", "set local search_path = ''").await?;
    let rows = session.query(&registry::EXTRACT_CONDITION, &[&"rowback_scratch.predicate"]).await?;
    if let Some(row) = rows.first() {
        let definition: String = column(row, "definition", "reading a predicate")?;
        reads.clause = condition::of_view(&definition, table.name.name.as_str());
        reads.definition = definition;
    }
    Ok(Some(reads))
}

/// Where in the user's text the server stopped, in words; `position` counts the characters of the whole statement from
/// 1, of which the first `before` are ours.
fn place_in(text: &str, before: usize, position: u32) -> Option<String> {
    let at = usize::try_from(position).ok()?.checked_sub(before + 1)?;
    let rest: String = text.chars().skip(at).collect();
    let line = rest.lines().next().unwrap_or_default();
    if rest.trim().is_empty() {
        return Some("at the end of the text".to_owned());
    }
    let shown: String = line.chars().take(40).collect();
    Some(format!("from here: {shown}"))
}

/// What a view reads, which `create` makes.
async fn inside(session: &ScratchSession, catalog: &Catalog, create: &str) -> Result<Reads, PgError> {
    session.execute("reading a predicate", create).await?;
    let rows = session.query(&registry::EXTRACT_RELATIONS, &[&"rowback_scratch.predicate"]).await?;
    let value = |row: &Row, name: &str| column::<String>(row, name, "reading a predicate");
    let mut reads = Reads::default();
    for row in &rows {
        let (schema, name) = (value(row, "schema")?, value(row, "name")?);
        match value(row, "kind")?.as_str() {
            "f" => reads.functions.push(format!("{schema}.{name}")),
            "v" | "m" => reads.through_views = true,
            _ => {
                let found = TableName::new(schema, name);
                reads.tables.insert(catalog.root_of(&found).clone());
            }
        }
    }
    Ok(reads)
}

/// Chooses the rows that an entry selects; returns how many.
pub(super) async fn choose(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    entry: &Entry<'_>,
    key: &[Ident],
    family: i16,
    time_limit: Duration,
) -> Result<u64, ExtractError> {
    let (table, number) = (entry.table, Reason::Selected(entry.number).number());
    let places = select("tableoid, ctid", table, key, &entry.selected);
    let reader = reader(scratch, table, time_limit).await?;
    let reading = format!("copy ({places}) to stdout");
    let refused = |source| ExtractError::predicate(&table.name, source, None);
    let mut places = reader.copy_out("evaluating a predicate", &reading).await.map_err(refused)?;
    if !entry.shares_table {
        return chosen.add_first(&table.name, (family, number), &mut places).await.map_err(
            |error| match error {
                PlacesError::Evaluating(source) => refused(source),
                PlacesError::Own(error) => error,
            },
        );
    }
    let hits = format!("rowback_scratch.hits_{number}");
    let create = format!("create unlogged table {hits} (tab oid, place tid)");
    chosen.session.execute("evaluating a predicate", &create).await?;
    let mut into =
        chosen.session.copy_in("evaluating a predicate", &format!("copy {hits} from stdin")).await?;
    while let Some(row) = places.next_row().await.map_err(refused)? {
        let mut line = row.to_vec();
        line.push(b'\n');
        into.send(line.into()).await?;
    }
    let count = into.finish().await?;
    chosen.add(&table.name, (family, number), &format!("select tab, place from {hits}")).await?;
    let record = format!(
        "insert into rowback_scratch.selected select tab, place, {number} from {hits} on conflict do nothing; drop table {hits}"
    );
    chosen.session.execute("evaluating a predicate", &record).await?;
    Ok(count)
}

/// A session that may only read, and not for longer than `time_limit` a statement; unqualified names are the table's
/// neighbours.
pub(super) async fn reader(
    scratch: &Scratch,
    table: &Table,
    time_limit: Duration,
) -> Result<ScratchSession, ExtractError> {
    let reader = scratch.connect().await?;
    let limit = time_limit.as_millis();
    let begin = format!(
        "begin transaction read only; set local statement_timeout = {limit}; set local search_path = {}, public",
        table.name.schema.quoted()
    );
    reader.execute("evaluating a predicate", &begin).await?;
    Ok(reader)
}

/// `values` of the rows that are selected.
pub(super) fn select(values: &str, table: &Table, key: &[Ident], selected: &Selected) -> String {
    let source = table.from_sql();
    match selected {
        Selected::Everything | Selected::Replay(_) => format!("select {values} from {source}"),
        Selected::Where(text) => format!("select {values} from {source} where (\n{text}\n)"),
        Selected::Query(text) => {
            let columns = quoted_list("", key);
            format!(
                "select {values} from {source} where ({columns}) in \
                 (select {} from (\n{text}\n) as rowback_query)",
                // Without a name before it, a column that the query lacks would be the table's own.
                quoted_list("rowback_query.", key)
            )
        }
    }
}

/// What to say when nothing matches: how many rows there are and how new they are. Is it the wrong backup?
pub(super) async fn why_nothing(
    session: &ScratchSession,
    table: &Table,
) -> Result<ExtractError, ExtractError> {
    use crate::value::BaseType;
    let timed: Vec<&Ident> = table
        .columns
        .iter()
        .filter(|column| {
            matches!(column.base_type, BaseType::Date | BaseType::Timestamp | BaseType::TimestampTz)
        })
        .map(|column| &column.name)
        .collect();
    let newest: Vec<String> = timed
        .iter()
        .map(|name| {
            let finite = format!("{0} <> 'infinity' and {0} <> '-infinity'", name.quoted());
            format!(", max({}) filter (where {finite})", name.quoted())
        })
        .collect();
    let sql = format!("select count(*){} from {}", newest.concat(), table.from_sql());
    let rows = session.text_rows("counting the table's rows", &sql).await?;
    let row = rows.into_iter().next().unwrap_or_default();
    let mut values = row.into_iter();
    let count = values.next().flatten().and_then(|text| text.parse().ok()).unwrap_or(0);
    let newest = timed.into_iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?)));
    Ok(ExtractError::NothingMatches { table: table.name.clone(), rows: count, newest: newest.collect() })
}

/// Is a key that no constraint vouches for really one: no two rows alike, no null? Proven on the loaded rows.
pub(super) async fn prove_key(
    session: &ScratchSession,
    table: &Table,
    key: &[Ident],
) -> Result<(), ExtractError> {
    if !super::resolve::needs_proof(table, key) {
        return Ok(());
    }
    let columns = quoted_list("", key);
    let nulls: Vec<String> = key.iter().map(|name| format!("{} is null", name.quoted())).collect();
    let sql = format!(
        "select count(*) from (select from {0} where {1} union all select from (select from {0} group by {columns} having count(*) > 1) as twice) as bad",
        table.from_sql(),
        nulls.join(" or ")
    );
    let rows = session.text_rows("proving a key", &sql).await?;
    match super::chosen::number(&rows) {
        0 => Ok(()),
        bad => Err(ExtractError::KeyNotUnique { table: table.name.clone(), key: key.to_vec(), bad }),
    }
}

#[cfg(test)]
mod tests {
    use super::place_in;

    #[test]
    fn places_are_told_in_the_users_own_text() {
        let place = |position| place_in("größe = = 1\nand", 10, position);
        assert_eq!(place(19).as_deref(), Some("from here: = 1"));
        assert_eq!(place(11).as_deref(), Some("from here: größe = = 1"));
        assert_eq!(place(27).as_deref(), Some("at the end of the text"));
        assert_eq!(place(10), None);
    }
}
