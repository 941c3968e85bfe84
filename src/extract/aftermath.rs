//! What the accident made of chosen rows, kept in scratch beside them until they are staged: for each row of the backup
//! that a teller knows about, whether it is gone, or the row as it was left.

use serde_json::{Map, Value};

use super::ExtractError;
use super::chosen::Chosen;
use crate::catalog::Table;
use crate::value::copy_text::{fields, is_null, push_field, unescape};

/// The number of the teller that is a backup taken after the accident; replays count from 0.
pub(super) const BRACKET: i16 = -1;

/// The table of what is told about the rows of `table`.
pub(super) fn told_name(table: &Table) -> String {
    format!("rowback_scratch.told_{}", table.oid)
}

/// Makes that table, at the first call.
pub(super) async fn told_table(chosen: &mut Chosen<'_>, table: &Table) -> Result<String, ExtractError> {
    let name = told_name(table);
    if chosen.told.insert(table.name.clone()) {
        // No constraint, no default, no generated column: a place for values.
        let create = format!(
            "create unlogged table {name} as select 0::int2 as rowback_teller, tableoid as rowback_tab, ctid as rowback_place, \
             false as rowback_gone, t.* from {} as t with no data; \
             create index on {name} (rowback_tab, rowback_place, rowback_teller)",
            table.from_sql()
        );
        chosen.session.execute("preparing extraction", &create).await?;
    }
    Ok(name)
}

/// Puts together what the tellers say about one row: lines of the row's own fields and its origin, then the teller, whether
/// the row is gone, and the row as it was left.
pub(super) struct Joiner<'a> {
    table: &'a Table,
    row: Vec<u8>,
    told: Map<String, Value>,
}

impl<'a> Joiner<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self { table, row: Vec::new(), told: Map::new() }
    }

    /// Takes one line; gives the row before it when that is complete.
    pub(super) fn push(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let width = self.table.columns.len();
        let all: Vec<&[u8]> = fields(line).collect();
        let own = all[..=width.min(all.len() - 1)].join(&b'\t');
        let done = if own == self.row { None } else { self.take() };
        self.row = own;
        if let Some((word, fate)) = self.read(&all) {
            self.told.insert(word, fate);
        }
        done
    }

    /// The row that was being put together.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.row.is_empty() {
            return None;
        }
        let mut row = std::mem::take(&mut self.row);
        let told = std::mem::take(&mut self.told);
        let text = (!told.is_empty()).then(|| Value::Object(told).to_string());
        push_field(&mut row, false, text.as_deref().map(str::as_bytes));
        Some(row)
    }

    fn read(&self, all: &[&[u8]]) -> Option<(String, Value)> {
        let width = self.table.columns.len();
        let (before, told) = all.split_at_checked(width + 1)?;
        let ([teller, gone], after) = told.split_first_chunk::<2>()?;
        let word = match std::str::from_utf8(teller).ok()?.parse::<i16>().ok()? {
            BRACKET => "bracket".to_owned(),
            replay => format!("replay {replay}"),
        };
        if *gone == b"t" {
            return Some((word, Value::Null));
        }
        let mut changed = Map::new();
        for (at, column) in self.table.columns.iter().enumerate() {
            let (before, after) = (before.get(at)?, after.get(at)?);
            if before != after && !column.generated {
                let text = || Value::String(String::from_utf8_lossy(&unescape(after)).into_owned());
                changed.insert(at.to_string(), if is_null(after) { Value::Null } else { text() });
            }
        }
        Some((word, Value::Object(changed)))
    }
}
