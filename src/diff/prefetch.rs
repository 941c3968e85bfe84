//! Pages of live that must come from its disk: asked for many at once before their rows are looked up one by one, where the
//! server would wait for each in turn. Changes nothing but what the server has in memory.

use std::collections::BTreeSet;

use super::drift::Fit;
use super::lookup::{StagedRow, is_indexed, key_names};
use crate::catalog::{fits_an_array, push_array};
use crate::pg::{PgError, ReadSession};
use crate::value::copy_text::NULL;

/// Fewer rows are looked up as they are.
const WORTH_IT: usize = 100;

/// How the pages of a table's rows are asked for.
pub struct Prefetch {
    /// Up to the first condition.
    before: String,
    /// The columns of the key: in `Fit::columns`, with the operator, and the type.
    key: Vec<(usize, String, String)>,
}

impl Prefetch {
    /// Where an index has the key and its values can stand in arrays.
    pub fn of(fit: &Fit<'_>) -> Option<Self> {
        let columns = || fit.key.iter().map(|&at| (at, fit.columns[at].live));
        if fit.key.is_empty() || !is_indexed(fit) || !columns().all(|(_, column)| fits_an_array(column)) {
            return None;
        }
        let key = columns().map(|(at, column)| {
            let compared = format!("l.{} {} any (", column.name.quoted(), fit.live.equality(&column.name));
            (at, compared, column.type_name.clone())
        });
        let read: Vec<String> =
            key_names(fit).map(|name| format!("pg_catalog.count(l.{})", name.quoted())).collect();
        // A count of no column may do without the rows.
        let before = format!("select {} from {} as l where ", read.join(" + "), fit.live.from_sql());
        Some(Self { before, key: key.collect() })
    }

    /// Asks, where the session has found that it must wait.
    pub async fn run<'r>(
        &self,
        session: &ReadSession,
        what: &str,
        rows: impl ExactSizeIterator<Item = &'r StagedRow> + Clone,
    ) -> Result<(), PgError> {
        if rows.len() < WORTH_IT || !session.is_slow() {
            return Ok(());
        }
        match self.sql(&rows) {
            Some(sql) => session.read_ahead(what, &sql).await,
            None => Ok(()),
        }
    }

    /// Each column of the key among its values; `None` where these conditions together name more than twice as many keys as
    /// there are rows.
    fn sql<'r>(&self, rows: &(impl ExactSizeIterator<Item = &'r StagedRow> + Clone)) -> Option<String> {
        let (mut sql, mut named) = (self.before.clone(), 1_usize);
        for (number, (at, compared, type_name)) in self.key.iter().enumerate() {
            let values: BTreeSet<&[u8]> =
                rows.clone().map(|row| row.fields.get(*at).map_or(NULL, |field| &**field)).collect();
            named = named.saturating_mul(values.len());
            sql.push_str(if number == 0 { "" } else { " and " });
            sql.push_str(compared);
            push_array(&mut sql, type_name, values.into_iter());
            sql.push(')');
        }
        (named <= rows.len() * 2).then_some(sql)
    }
}
