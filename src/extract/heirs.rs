//! Tables that inherit from a table of the recipe. Their rows are rows of their own tables: neither the recovery of the table
//! they inherit from nor its foreign keys reach them, although a statement on it does. They are counted and told.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::chosen::number;
use super::{Entry, ExtractError, ExtractOptions, Selected};
use crate::catalog::{Catalog, Table, quoted_list};
use crate::ident::{Ident, TableName};
use crate::pg::PgError;
use crate::recipe::Recipe;
use crate::scratch::Scratch;
use crate::scratch::choice::Choice;

/// Rows that the recipe's words seem to mean and that are not part of the recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The table that holds them.
    pub table: TableName,
    /// The table of the recipe from which it inherits.
    pub inherits: TableName,
    /// Number of rows in the backup that the entry's condition holds for.
    pub rows: u64,
}

impl LeftOut {
    /// One line for the plan.
    pub fn note(&self) -> String {
        let Self { table, inherits, rows } = self;
        format!(
            "{rows} rows of {table}, which inherits from {inherits}, meet the recipe's condition in the backup and are not \
             part of this recovery; a [[recover]] entry with table = \"{table}\" looks after them"
        )
    }
}

/// Counts what the entries would select in tables that inherit, unless the recipe has an entry for such a table itself.
pub(super) async fn count(
    scratch: &Scratch,
    catalog: &Catalog,
    recipe: &Recipe,
    entries: &[Entry<'_>],
    options: &ExtractOptions,
) -> Result<Vec<LeftOut>, ExtractError> {
    let named: BTreeSet<&TableName> = recipe.recover.iter().map(|entry| &entry.table).collect();
    let mut found: Vec<LeftOut> = Vec::new();
    // A replay knows by itself what it did to tables that inherit.
    let by_condition =
        |entry: &&Entry<'_>| entry.reads_backup() && !matches!(entry.selected, Selected::Replay(_));
    for entry in entries.iter().filter(by_condition) {
        for heir in catalog.heirs_of(&entry.table.name).into_iter().filter(|heir| !named.contains(heir)) {
            let Some(table) = catalog.tables.get(&heir) else { continue };
            let why = format!("it inherits from {}", entry.table.name);
            scratch.load(&heir, Choice::All, why).await?;
            let key = super::resolve::key_of(recipe, entry.table)?;
            let rows = rows_meant(scratch, entry, table, &key, options).await?;
            let inherits = entry.table.name.clone();
            match found.iter_mut().find(|known| known.table == heir) {
                Some(known) => known.rows = known.rows.max(rows),
                None if rows > 0 => found.push(LeftOut { table: heir, inherits, rows }),
                None => {}
            }
        }
    }
    Ok(found)
}

/// Asked of the table without ONLY, which reads its heirs as well, so that the condition may name it as it likes.
async fn rows_meant(
    scratch: &Scratch,
    entry: &Entry<'_>,
    heir: &Table,
    key: &[Ident],
    options: &ExtractOptions,
) -> Result<u64, ExtractError> {
    let table = &entry.table.name;
    let condition = match &entry.selected {
        Selected::Everything | Selected::Replay(_) => String::new(),
        Selected::Where(text) => format!(" and (\n{text}\n)"),
        Selected::Query(text) => {
            let columns = quoted_list("", key);
            let found = quoted_list("rowback_query.", key);
            format!(" and ({columns}) in (select {found} from (\n{text}\n) as rowback_query)")
        }
    };
    let sql = format!(
        "copy (select count(*) from {} where tableoid = {}{condition}) to stdout",
        table.quoted(),
        heir.oid
    );
    let reader = scratch.connect().await?;
    let begin = format!(
        "begin transaction read only; set local statement_timeout = {}; set local search_path = {}, public",
        options.time_limit.as_millis(),
        table.schema.quoted()
    );
    let refused = |source: PgError| ExtractError::predicate(&heir.name, source, None);
    reader.execute("evaluating a predicate", &begin).await?;
    let mut rows = reader.copy_out("evaluating a predicate", &sql).await.map_err(refused)?;
    let mut counted = 0;
    while let Some(row) = rows.next_row().await.map_err(refused)? {
        counted = number(&[vec![Some(String::from_utf8_lossy(&row).into_owned())]]);
    }
    Ok(counted)
}
