//! What extraction loads before it evaluates anything: the tables that predicates are about, with only the rows whose text
//! does not rule them out, and of what a predicate reads beside its own row the rows that its sub-selects look at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::members::{self, Member};
use super::selection::Reads;
use super::{Entry, ExtractError, Selected, ahead, resolve, selection};
use crate::catalog::{Catalog, Table};
use crate::ident::{Ident, TableName};
use crate::pg::column;
use crate::recipe::Recipe;
use crate::scratch::choice::{Choice, Wish};
use crate::scratch::filter::{Condition, Orders};
use crate::scratch::{Pushdown, Request, Scratch};
use crate::sql::condition::{Clause, subselect};
use crate::sql::registry;

/// Why a table is loaded and what lets its rows through.
struct Wanted {
    why: Vec<String>,
    /// `None`: every row.
    tests: Option<Vec<Test>>,
}

/// What a row must pass; at least one of the two is there.
struct Test {
    condition: Option<Condition>,
    /// A column that must be among what a sub-select returns, which can be asked once its tables are loaded.
    member: Option<Member>,
}

impl Wanted {
    fn whole(&mut self, why: String) {
        self.tests = None;
        if !self.why.contains(&why) {
            self.why.push(why);
        }
    }

    fn waits(&self) -> bool {
        self.tests.as_ref().is_some_and(|tests| tests.iter().any(|test| test.member.is_some()))
    }
}

const UNDECIDED: &str = "nothing in the predicate can be decided on the dump's text";

/// Loads the tables that predicates are about, and all that they read beside.
pub(super) async fn load_selected(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    entries: &[Entry<'_>],
    time_limit: Duration,
    notes: &mut Vec<String>,
) -> Result<(), ExtractError> {
    let mut wanted: BTreeMap<TableName, Wanted> = BTreeMap::new();
    let mut read_beside = BTreeSet::new();
    let mut children = Vec::new();
    let with_predicate =
        |entry: &&Entry<'_>| entry.reads_backup() && !matches!(entry.selected, Selected::Replay(_));
    for entry in entries.iter().filter(with_predicate) {
        let mut reads = selection::analyze(scratch.session(), catalog, entry.table, &entry.selected).await?;
        let mut beside = std::mem::take(&mut reads.tables);
        let own = &entry.table.name;
        if !reads.functions.is_empty() {
            notes.push(format!(
                "the predicate of {own} calls {}, which may read any table: the whole backup was loaded",
                reads.functions.join(", ")
            ));
            let with_rows = |table: &&TableName| scratch.backup().contents().tables.contains_key(*table);
            beside.extend(catalog.tables.keys().filter(with_rows).cloned());
        }
        // A key that no constraint vouches for is proven on all rows.
        let needs_proof = resolve::needs_proof(entry.table, &resolve::key_of(recipe, entry.table)?);
        let found = if needs_proof {
            Err("its key is proven on all of its rows".to_owned())
        } else {
            own_rows(scratch, entry, &reads).await?
        };
        let condition = found.as_ref().ok().and_then(|test: &Test| test.condition.as_ref());
        children.extend(
            condition.into_iter().flat_map(|known| ahead::children(scratch, catalog, recipe, entry, known)),
        );
        want(&mut wanted, own, "predicate", found);
        for table in beside {
            if table == *own && reads.clause.is_none() {
                want(&mut wanted, &table, "", Err(why_not_alone(entry).to_owned()));
            } else if table != *own {
                let why = format!("read by the selection of {own}");
                let found = rows_beside(scratch, catalog, &reads, &table).await?.ok_or_else(|| why.clone());
                want(&mut wanted, &table, &why, found);
                read_beside.insert(table);
            }
        }
    }
    children.retain(|request: &Request| !wanted.contains_key(&request.table));
    // What a sub-select reads comes first; then it can be asked which rows of its own table matter.
    let (later, first): (BTreeMap<_, _>, BTreeMap<_, _>) =
        wanted.into_iter().partition(|(table, wanted)| wanted.waits() && !read_beside.contains(table));
    let requests = first.into_iter().map(|(table, wanted)| request(&table, wanted, Vec::new())).collect();
    Box::pin(ahead::load(scratch, catalog, recipe, requests, children)).await?;
    let mut memory = 0;
    let mut requests = Vec::new();
    for (table, wanted) in later {
        let mut keys = Vec::new();
        for test in wanted.tests.iter().flatten() {
            keys.push(match &test.member {
                Some(member) => members::keys(scratch, member, time_limit, &mut memory).await?,
                None => None,
            });
        }
        requests.push(request(&table, wanted, keys));
    }
    Ok(scratch.load_all(requests).await?)
}

/// What of the entry's own condition lets a row of its table through; why every row is needed, otherwise.
async fn own_rows(
    scratch: &Scratch,
    entry: &Entry<'_>,
    reads: &Reads,
) -> Result<Result<Test, String>, ExtractError> {
    let Some(clause) = &reads.clause else { return Ok(Err(why_not_alone(entry).to_owned())) };
    let condition = condition_on(scratch, entry.table, clause).await?;
    let member = match scratch.loading().pushdown {
        // A view may hide what makes it give something else the next time.
        Pushdown::On if !reads.through_views => members::find(scratch, entry.table, clause).await?,
        Pushdown::On | Pushdown::Off => None,
    };
    let decided = condition.is_some() || member.is_some();
    Ok(if decided { Ok(Test { condition, member }) } else { Err(UNDECIDED.to_owned()) })
}

/// What lets a row of another table through that the condition reads; `None` where every row is needed.
async fn rows_beside(
    scratch: &Scratch,
    catalog: &Catalog,
    reads: &Reads,
    table: &TableName,
) -> Result<Option<Test>, ExtractError> {
    if reads.clause.is_none() || reads.through_views || !catalog.heirs_of(table).is_empty() {
        return Ok(None);
    }
    let clause = subselect::on_table(&reads.definition, table);
    let Some((clause, table)) = clause.zip(catalog.tables.get(table)) else { return Ok(None) };
    let condition = condition_on(scratch, table, &clause).await?;
    Ok(condition.map(|condition| Test { condition: Some(condition), member: None }))
}

/// What of a condition can be decided on the text of the table's rows; `None` when that drops no row.
async fn condition_on(
    scratch: &Scratch,
    table: &Table,
    clause: &Clause,
) -> Result<Option<Condition>, ExtractError> {
    const WHAT: &str = "reading how columns are ordered";
    let mut orders = Orders::default();
    for row in &scratch.session().query(&registry::EXTRACT_ORDERS, &[&table.oid]).await? {
        let name = Ident::new(column::<String>(row, "name", WHAT)?);
        let labels: Vec<String> = column(row, "labels", WHAT)?;
        if column(row, "bytewise", WHAT)? {
            orders.by_bytes(name);
        } else if !labels.is_empty() {
            orders.by_labels(name, labels.iter().map(String::as_str));
        }
    }
    Ok(Condition::new(clause, table, scratch.encoding(), &orders))
}

/// `keys` are those of the tests, where they were asked for.
fn request(table: &TableName, wanted: Wanted, keys: Vec<Option<members::Keys>>) -> Request {
    let Wanted { mut why, tests } = wanted;
    let mut wishes = Some(Vec::new());
    let mut keys = keys.into_iter().chain(std::iter::repeat_with(|| None));
    for (test, keys) in tests.into_iter().flatten().zip(&mut keys) {
        let found = match keys {
            Some(members::Keys::TooMany) => {
                why.push("the keys of its sub-select take more memory than --memory leaves them".to_owned());
                None
            }
            Some(members::Keys::Found(keys)) => Some(keys),
            None => None,
        };
        let wish = match (test.condition, found) {
            (Some(condition), Some(keys)) => Some(Wish::Both(condition, keys)),
            (Some(condition), None) => Some(Wish::Condition(condition)),
            (None, Some(keys)) => Some(Wish::Keys(keys)),
            (None, None) => None,
        };
        wishes = wishes.zip(wish).map(|(mut wishes, wish)| {
            wishes.push(wish);
            wishes
        });
    }
    if wishes.is_none() {
        why.push(UNDECIDED.to_owned());
    }
    // No test at all is that every row is wanted.
    let choice = wishes.filter(|wishes| !wishes.is_empty()).map_or(Choice::All, Choice::AnyOf);
    Request::new(table, choice, why.join("; "))
}

fn want(wanted: &mut BTreeMap<TableName, Wanted>, table: &TableName, why: &str, found: Result<Test, String>) {
    let entry =
        wanted.entry(table.clone()).or_insert_with(|| Wanted { why: Vec::new(), tests: Some(Vec::new()) });
    match found {
        Err(why) => entry.whole(why),
        Ok(test) => {
            let undecided = test.condition.as_ref().map(Condition::undecided).unwrap_or_default();
            entry.why.push(match undecided {
                [] => why.to_owned(),
                undecided => format!("{why}; left to PostgreSQL: {}", undecided.join("; ")),
            });
            if let Some(tests) = &mut entry.tests {
                tests.push(test);
            }
        }
    }
}

fn why_not_alone(entry: &Entry<'_>) -> &'static str {
    match entry.selected {
        Selected::Everything | Selected::Replay(_) => "every row is asked for",
        Selected::Query(_) => "a query may read the whole table",
        Selected::Where(_) => "the predicate may need other rows of its table",
    }
}
