//! The statement that did the damage, run again in scratch inside a transaction that is rolled back. What it did is found
//! by comparing: rows whose place holds them no longer, joined by key with the rows that it wrote.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) use self::rows::{choose_changed, choose_gone};

use super::aftermath::{told_name, told_table};
use super::bracket::same_key;
use super::chosen::{Chosen, number};
use super::reach::{Reach, Surroundings};
use super::{Entry, ExtractError, ExtractOptions, Selected, resolve};
use crate::catalog::{Catalog, Table, quoted_list};
use crate::ident::TableName;
use crate::pg::{PgError, ScratchSession};
use crate::recipe::{Kind, Recipe, Selection};
use crate::scratch::choice::Choice;
use crate::scratch::{Request, RestoreError, Scratch};
use crate::sql::literal::literal;

/// What each replay did, by the number of the first entry with its statement.
pub(super) type Replays = BTreeMap<u16, Replayed>;

/// What each replay may touch.
pub(super) type Reached = BTreeMap<u16, BTreeSet<TableName>>;

/// What one replay did: rows by table.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    number: i16,
    gone: BTreeMap<TableName, u64>,
    changed: BTreeMap<TableName, u64>,
    /// Rows that were not in the backup: the statement made them.
    made: BTreeMap<TableName, u64>,
}

/// Entries that come first with their statement.
fn statements<'r>(
    recipe: &'r Recipe,
    entries: &'r [Entry<'r>],
) -> impl Iterator<Item = (&'r Entry<'r>, &'r str)> {
    entries.iter().filter_map(|entry| {
        match (&entry.selected, &recipe.recover[usize::from(entry.number)].selection) {
            (Selected::Replay(first), Selection::Replay(text)) if *first == entry.number => {
                Some((entry, text.as_str()))
            }
            _ => None,
        }
    })
}

/// Loads every table, whole, that a replay can touch.
pub(super) async fn load(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    entries: &[Entry<'_>],
    notes: &mut Vec<String>,
) -> Result<Reached, ExtractError> {
    let mut found = Reached::new();
    if statements(recipe, entries).next().is_none() {
        return Ok(found);
    }
    let around = Surroundings::read(scratch).await?;
    for (entry, text) in statements(recipe, entries) {
        let Reach { mut tables, anything } = around.reach(catalog, &entry.table.name, text);
        let own = &entry.table.name;
        let why = format!("the replay for {own} may touch it");
        scratch
            .load_all(tables.iter().map(|table| Request::new(table, Choice::All, why.as_str())).collect())
            .await?;
        if let Some(reason) = anything {
            notes.push(format!("the replay for {own}: {reason}, so the whole backup was loaded"));
            for table in catalog.tables.keys() {
                match scratch.load(table, Choice::All, why.as_str()).await {
                    Ok(()) => drop(tables.insert(table.clone())),
                    Err(RestoreError::RowsMissing { .. } | RestoreError::RowsAsInserts { .. }) => notes.push(format!(
                        "the backup does not contain the rows of {table}: what the replay for {} does to them is not known",
                        entry.table.name
                    )),
                    Err(other) => return Err(other.into()),
                }
            }
        }
        found.insert(entry.number, tables);
    }
    Ok(found)
}

/// Runs every statement, each on the backup as it is.
pub(super) async fn run_all(
    chosen: &mut Chosen<'_>,
    scratch: &Scratch,
    recipe: &Recipe,
    (entries, reached): (&[Entry<'_>], &Reached),
    options: &ExtractOptions,
    notes: &mut Vec<String>,
) -> Result<Replays, ExtractError> {
    let mut found = Replays::new();
    for (entry, text) in statements(recipe, entries) {
        let tables: Vec<&Table> =
            reached[&entry.number].iter().map(|name| chosen.table(name)).collect::<Result<_, _>>()?;
        prepare(chosen, &tables).await?;
        let rehearsal = scratch.rehearse(&reached[&entry.number]).await?;
        notes.extend(
            rehearsal
                .absent
                .iter()
                .map(|absent| format!("the replay for {} ran without {absent}", entry.table.name)),
        );
        play(&rehearsal.session, entry.table, &tables, text, options.time_limit).await?;
        let fetched = fetch(chosen, &rehearsal.session, &tables).await;
        fetched.map_err(|error| match error {
            // It changed a table's structure, for one.
            ExtractError::Pg(source) => failed(entry.table, source),
            other => other,
        })?;
        rehearsal.session.rollback().await?;
        let mut replayed =
            Replayed { number: i16::try_from(entry.number).unwrap_or(i16::MAX), ..Default::default() };
        for table in tables {
            compare(chosen, recipe, table, &mut replayed).await?;
        }
        notes.extend(note_rest(chosen, recipe, entry, &replayed).await?);
        found.insert(entry.number, replayed);
    }
    Ok(found)
}

fn before_name(table: &Table) -> String {
    format!("rowback_before_{}", table.oid)
}

/// Writes down where all rows are, and runs the statement. It runs as the text of an EXECUTE, in which PostgreSQL takes any
/// number of statements and refuses every one that would end the transaction.
async fn play(
    session: &ScratchSession,
    table: &Table,
    tables: &[&Table],
    text: &str,
    time_limit: Duration,
) -> Result<(), ExtractError> {
    let what = "running the replay";
    for one in tables {
        let sql = format!(
            "create temporary table {} as select tableoid as tab, ctid as place from {}",
            before_name(one),
            one.from_sql()
        );
        session.execute(what, &sql).await?;
    }
    let limit = time_limit.as_millis();
    let begin = format!(
        "set local statement_timeout = {limit}; set local search_path = {}, public; set local check_function_bodies = on",
        table.name.schema.quoted()
    );
    session.execute(what, &begin).await?;
    let block = format!("do {}", literal(&format!("begin execute {}; end", literal(text))));
    for statement in [block.as_str(), "set constraints all immediate"] {
        session.execute(what, statement).await.map_err(|source| failed(table, source))?;
    }
    // Whatever it set is of its own session only; values must be printed as everywhere else.
    Ok(session.pin_again().await?)
}

fn failed(table: &Table, source: PgError) -> ExtractError {
    match source {
        lost @ (PgError::Lost { .. } | PgError::Cancelled { .. } | PgError::Connect { .. }) => {
            ExtractError::Pg(lost)
        }
        source => ExtractError::Replay { table: table.name.clone(), source: Box::new(source) },
    }
}

/// Makes room for what the statement will leave: before the rehearsal, which locks every table that it builds upon.
async fn prepare(chosen: &Chosen<'_>, tables: &[&Table]) -> Result<(), ExtractError> {
    for table in tables {
        let (moved, written) = (moved_name(table), written_name(table));
        let create = format!(
            "create unlogged table {moved} (tab oid, place tid); \
             create unlogged table {written} as select * from {} with no data",
            table.from_sql()
        );
        chosen.session.execute("comparing rows with the replay", &create).await?;
    }
    Ok(())
}

/// Takes what the statement left out of its transaction: the places that no longer hold what they held, and the rows that
/// it wrote. Every row that its transaction wrote has an age of 0 or, by a subtransaction, less.
async fn fetch(chosen: &Chosen<'_>, session: &ScratchSession, tables: &[&Table]) -> Result<(), ExtractError> {
    for table in tables {
        let (moved, written) = (moved_name(table), written_name(table));
        let from = table.from_sql();
        let columns = quoted_list("", table.column_names());
        let places = format!(
            "select b.tab, b.place from pg_temp.{} as b where not exists (select from {from} as t \
             where t.tableoid = b.tab and t.ctid = b.place and pg_catalog.age(t.xmin) > 0)",
            before_name(table)
        );
        let rows = format!("select {columns} from {from} as t where pg_catalog.age(t.xmin) <= 0");
        pass_on(chosen, session, &places, &format!("{moved} (tab, place)")).await?;
        pass_on(chosen, session, &rows, &format!("{written} ({columns})")).await?;
        let analyze = format!("analyze {moved}; analyze {written}");
        chosen.session.execute("comparing rows with the replay", &analyze).await?;
    }
    Ok(())
}

fn moved_name(table: &Table) -> String {
    format!("rowback_scratch.moved_{}", table.oid)
}

fn written_name(table: &Table) -> String {
    format!("rowback_scratch.written_{}", table.oid)
}

/// From one session to the other: only what the transaction itself sees is of interest, and it is rolled back.
async fn pass_on(
    chosen: &Chosen<'_>,
    session: &ScratchSession,
    select: &str,
    target: &str,
) -> Result<(), ExtractError> {
    let what = "comparing rows with the replay";
    let mut rows = session.copy_out(what, &format!("copy ({select}) to stdout")).await?;
    let mut into = chosen.session.copy_in(what, &format!("copy {target} from stdin")).await?;
    while let Some(row) = rows.next_row().await? {
        let mut line = row.to_vec();
        line.push(b'\n');
        into.send(line.into()).await?;
    }
    into.finish().await?;
    Ok(())
}

/// Joins by key what was moved with what was written.
async fn compare(
    chosen: &mut Chosen<'_>,
    recipe: &Recipe,
    table: &Table,
    replayed: &mut Replayed,
) -> Result<(), ExtractError> {
    let what = "comparing rows with the replay";
    let (moved, written) = (moved_name(table), written_name(table));
    let touched = number(&chosen.session.text_rows(what, &format!("select count(*) from {moved}")).await?);
    if touched == 0 {
        // Rows that were only made, as in a log, are of the replay alone: nothing has to name them.
        let made = number(&chosen.session.text_rows(what, &format!("select count(*) from {written}")).await?);
        replayed.made.extend((made > 0).then(|| (table.name.clone(), made)));
    } else {
        let key = resolve::key_of(recipe, table)?;
        super::selection::prove_key(chosen.session, table, &key).await?;
        let told = told_table(chosen, table).await?;
        let first = key.first().map(crate::ident::Ident::quoted).unwrap_or_default();
        let same = same_key(table, &key, "w");
        let stored = || table.columns.iter().filter(|column| !column.generated).map(|column| &column.name);
        let from = table.from_sql();
        // A row that was only written again, with the same values, was not touched.
        let insert = format!(
            "insert into {told} (rowback_teller, rowback_tab, rowback_place, rowback_gone, {}) \
             select {}, m.tab, m.place, w.{first} is null, {} from {moved} as m join {from} as t on t.tableoid = m.tab and t.ctid = m.place \
             left join {written} as w on {same} where w.{first} is null or row({})::text is distinct from row({})::text; analyze {told}",
            quoted_list("", table.column_names()),
            replayed.number,
            quoted_list("w.", table.column_names()),
            quoted_list("w.", stored()),
            quoted_list("t.", stored()),
        );
        chosen.session.execute(what, &insert).await?;
        let sql = format!(
            "select count(*) filter (where rowback_gone), count(*) filter (where not rowback_gone), \
             (select count(*) from {written} as w where not exists (select from {from} as t where {same})) \
             from {told} where rowback_teller = {}",
            replayed.number
        );
        let counts = chosen.session.text_rows(what, &sql).await?;
        let count = |at: usize| {
            let value = counts.first().and_then(|row| row.get(at)).and_then(Option::as_deref);
            value.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        for (counted, into) in [
            (count(0), &mut replayed.gone),
            (count(1), &mut replayed.changed),
            (count(2), &mut replayed.made),
        ] {
            if counted > 0 {
                into.insert(table.name.clone(), counted);
            }
        }
    }
    Ok(chosen.session.execute(what, &format!("drop table {moved}, {written}")).await?)
}

/// What the replay did that no entry undoes, and what it cannot know.
async fn note_rest(
    chosen: &Chosen<'_>,
    recipe: &Recipe,
    entry: &Entry<'_>,
    replayed: &Replayed,
) -> Result<Vec<String>, ExtractError> {
    let of = &entry.table.name;
    let same: Vec<_> =
        recipe.recover.iter().filter(|other| recipe.replay_of(other) == Some(entry.number)).collect();
    let mut notes = vec![format!(
        "the replay for {of} ran over the backup: it cannot know what the statement did to rows born after the backup"
    )];
    if !same.iter().any(|other| other.kind == Kind::Deleted) {
        notes.extend(replayed.gone.iter().map(|(table, rows)| {
            format!("the replay for {of} also deletes {rows} rows of {table}: an entry of kind \"deleted\" with the same replay brings them back")
        }));
    }
    for (table, rows) in &replayed.changed {
        let is_covered = same.iter().any(|other| other.kind != Kind::Deleted && other.table == *table);
        let columns = changed_columns(chosen, table, replayed.number).await?;
        if !is_covered && !columns.is_empty() {
            notes.push(format!(
                "the replay for {of} also changes {} of {rows} rows of {table}: only an entry of kind \"corrupted\" for {table} with the same replay sets them right",
                columns.join(", ")
            ));
        }
    }
    notes.extend(replayed.made.iter().map(|(table, rows)| {
        format!("the replay for {of} makes {rows} new rows of {table}: nothing is deleted from live, look for them there")
    }));
    Ok(notes)
}

/// Rows of tables that no replay of a family could touch: only a reference of the recipe, or one of the catalog below such
/// a one, leads to them.
pub(super) async fn note_unseen(chosen: &mut Chosen<'_>, family: i16) -> Result<Vec<String>, ExtractError> {
    let seen = chosen.rehearsed.get(&family).map(|(_, tables)| tables.clone()).unwrap_or_default();
    let unseen: Vec<TableName> = chosen.tables().difference(&seen).cloned().collect();
    let mut notes = Vec::new();
    for table in unseen {
        let rows = chosen.count(&table, family).await?;
        if rows > 0 {
            notes.push(format!(
                "{rows} rows of {table} hang on rows that a replay deletes by a reference that the backup does not enforce, which the \
                 replay does not follow: those that live lacks count as lost, whoever deleted them"
            ));
        }
    }
    Ok(notes)
}

/// The columns that the replay changed, links to parents aside: those are set again with the parents.
async fn changed_columns(
    chosen: &Chosen<'_>,
    name: &TableName,
    teller: i16,
) -> Result<Vec<String>, ExtractError> {
    let table = chosen.table(name)?;
    let is_link = |column: &&crate::catalog::Column| {
        chosen
            .catalog
            .parents_of(name)
            .any(|fk| !fk.has_paths() && fk.child_columns().any(|child| *child == column.name))
    };
    let columns: Vec<_> =
        table.columns.iter().filter(|column| !column.generated && !is_link(column)).collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let differ: Vec<String> = columns
        .iter()
        .map(|column| {
            format!("bool_or(row(t.{0})::text is distinct from row(a.{0})::text)", column.name.quoted())
        })
        .collect();
    let sql = format!(
        "select {} from {} as a join {} as t on t.tableoid = a.rowback_tab and t.ctid = a.rowback_place \
         where a.rowback_teller = {teller} and not a.rowback_gone",
        differ.join(", "),
        told_name(table),
        table.from_sql()
    );
    let rows = chosen.session.text_rows("comparing rows with the replay", &sql).await?;
    let flags = rows.into_iter().next().unwrap_or_default();
    let changed = columns.iter().zip(flags).filter(|(_, flag)| flag.as_deref() == Some("t"));
    Ok(changed.map(|(column, _)| column.name.to_string()).collect())
}
