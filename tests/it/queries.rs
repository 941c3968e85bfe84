//! Every file in `queries/` keeps its header: access, parameters, result columns and a reason. The server is asked,
//! not the eye: each statement is prepared, and what the server says is compared with what the header says.

use std::collections::BTreeMap;

use tokio_postgres::{Client, NoTls};

use super::support::{TestDb, repository};

/// What the header of a query promises.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    access: String,
    params: Vec<String>,
    returns: Vec<(String, String)>,
}

/// Reads `-- word: text` lines; a line without a word goes on with the one before.
fn header(text: &str) -> Result<Header, String> {
    let mut fields: BTreeMap<&str, String> = BTreeMap::new();
    let mut word = "";
    for line in text.lines().take_while(|line| line.starts_with("--")) {
        let line = line.trim_start_matches('-');
        let known = ["access", "params", "returns", "why"];
        let start = known
            .into_iter()
            .find_map(|name| Some((name, line.trim().strip_prefix(name)?.strip_prefix(':')?)));
        let (name, rest) = start.unwrap_or((word, line));
        word = name;
        // Each line of `params` is one parameter.
        let field = fields.entry(word).or_default();
        field.push_str(if word == "params" && !field.is_empty() { "\n" } else { " " });
        field.push_str(rest.trim());
    }
    let field =
        |name: &str| fields.get(name).map(|it| it.trim().to_owned()).ok_or(format!("no `{name}` line"));
    field("why")
        .and_then(|why| if why.len() > 10 { Ok(()) } else { Err("`why` gives no reason".to_owned()) })?;
    let access = field("access")?.split_whitespace().next().unwrap_or("").to_owned();
    if !["read", "scratch", "write"].contains(&access.as_str()) {
        return Err(format!("access {access:?} is none of read, scratch, write"));
    }
    Ok(Header { access, params: parameters(&field("params")?), returns: columns(&field("returns")?)? })
}

/// The types of `$1 oid[]  what it is`, in order; `none` when there are none.
fn parameters(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix('$'));
    lines
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(|name| name.trim_end_matches(',').to_owned())
        .collect()
}

/// `name text, keys int2[]` as pairs; `none` or `nothing` when the statement returns no rows.
fn columns(text: &str) -> Result<Vec<(String, String)>, String> {
    if ["none", "nothing", "-"].contains(&text) {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|column| {
            let mut parts = column.split_whitespace();
            match (parts.next(), parts.next()) {
                (Some(name), Some(kind)) => Ok((name.to_owned(), kind.to_owned())),
                _ => Err(format!("`returns` has {column:?}, not `name type`")),
            }
        })
        .collect()
}

/// PostgreSQL's name of a type as headers write it: `_int2` is `int2[]`.
fn type_name(kind: &tokio_postgres::types::Type) -> String {
    kind.name().strip_prefix('_').map_or_else(|| kind.name().to_owned(), |element| format!("{element}[]"))
}

/// What is wrong with a query, `None` when its header is true.
async fn complaint(client: &Client, text: &str) -> Option<String> {
    let header = match header(text) {
        Ok(header) => header,
        Err(complaint) => return Some(complaint),
    };
    let statement = match client.prepare(text).await {
        Ok(statement) => statement,
        Err(error) => {
            let message = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
            return Some(format!("the server refuses it: {message}"));
        }
    };
    let found = Header {
        access: header.access.clone(),
        params: statement.params().iter().map(type_name).collect(),
        returns: statement.columns().iter().map(|it| (it.name().to_owned(), type_name(it.type_()))).collect(),
    };
    (found != header).then(|| format!("the header says {header:?}\n    the server says {found:?}"))
}

/// Connects as the library does, with nothing but `pg_catalog` in the search path.
async fn connect(database: &TestDb<'_>) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("set search_path = ''").await.unwrap();
    // What queries refer to that rowback makes itself.
    for name in ["apply_journal_schema", "apply_journal_table"] {
        let text = std::fs::read_to_string(repository().join(format!("queries/{name}.sql"))).unwrap();
        client.batch_execute(&text).await.unwrap();
    }
    client
}

#[tokio::test]
async fn every_query_keeps_its_header() {
    let database = TestDb::new("queries");
    let client = connect(&database).await;
    let mut wrong = Vec::new();
    let mut files: Vec<_> = match std::fs::read_dir(repository().join("queries")) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        if path.extension().is_none_or(|it| it != "sql") {
            wrong.push(format!("{name}: not an .sql file"));
        }
        if let Some(complaint) = complaint(&client, &text).await {
            wrong.push(format!("{name}: {complaint}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} queries:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_wrong_header_is_noticed() {
    let database = TestDb::new("queries");
    let client = connect(&database).await;
    let good = "-- access:  read\n-- params:  $1 oid[]  tables to look at\n-- returns: name text,\n--          keys int2[]\n\
                -- why:     a reason that is long enough\n\
                select c.relname::text as name, null::int2[] as keys from pg_catalog.pg_class as c where c.oid = any($1::oid[])";
    assert_eq!(complaint(&client, good).await, None);
    for (from, to, expected) in [
        ("name text", "name name", "the header says"),
        ("keys int2[]", "keyz int2[]", "the header says"),
        ("$1 oid[] ", "$1 oid ", "the header says"),
        ("access:  read", "access:  anything", "is none of read, scratch, write"),
        ("-- why:     a reason that is long enough\n", "", "no `why` line"),
        ("pg_class", "pg_clazz", "does not exist"),
    ] {
        let planted = good.replace(from, to);
        assert_ne!(planted, good);
        let found = complaint(&client, &planted).await.expect(to);
        assert!(found.contains(expected), "{to}: {found}");
    }
}
