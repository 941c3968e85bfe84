//! What live's structure has to say about writing to a table before any row is looked at: which partitions there are, and
//! rules that would lead a write elsewhere. Only reads.

use std::collections::BTreeMap;

use super::convoy_files::ConvoyFiles;
use super::drift::Fits;
use super::verdict::RowAction;
use super::{DiffError, Diffed};
use crate::catalog::Catalog;
use crate::ident::TableName;
use crate::pg::{ReadSession, column};
use crate::sql::registry::{DIFF_PARTITIONS, DIFF_RULES};

/// Tells of partitions of live that the backup does not know: what was lost from them cannot come out of it.
pub(super) fn notes_on_partitions(backup: &Catalog, live: &Catalog) -> Vec<String> {
    let both = live.tables.values().filter(|table| {
        let known = backup.tables.get(&table.name);
        table.partitioned && known.is_some_and(|known| known.partitioned)
    });
    let told = both.filter_map(|table| {
        live.note_on_new_partitions(&table.name, |name| backup.partitions.contains_key(name))
    });
    told.collect()
}

/// Gives each partitioned table the constraints of its partitions.
pub(super) async fn load_bounds(session: &ReadSession, fits: &mut Fits<'_>) -> Result<(), DiffError> {
    for (name, fit) in fits.iter_mut().filter(|(_, fit)| fit.live.partitioned) {
        fit.bounds = Some(bounds_of(session, name).await?);
    }
    Ok(())
}

/// The constraints of a partitioned table's partitions.
pub(super) async fn bounds_of(session: &ReadSession, name: &TableName) -> Result<Vec<String>, DiffError> {
    let (schema, table) = (name.schema.as_str(), name.name.as_str());
    let mut bounds = Vec::new();
    for row in session.query(&DIFF_PARTITIONS, &[&schema, &table]).await? {
        bounds.push(column(&row, "bound", "reading the partitions")?);
    }
    Ok(bounds)
}

/// Refuses tables that would be written to and have a rule on INSERT or UPDATE: PostgreSQL takes no guarded insert where
/// there is one of either sort. A rule on DELETE stands in the way where rows move off, and of undo where rows are inserted.
pub(super) async fn refuse_rules(session: &ReadSession, diffed: &Diffed) -> Result<(), DiffError> {
    const WHAT: &str = "looking for rules";
    let mut written: BTreeMap<&TableName, bool> = BTreeMap::new();
    for table in &diffed.tables {
        let mut all = table.actions.iter().filter(|(action, rows)| action.writes() && **rows > 0).peekable();
        if all.peek().is_some() {
            let adds = |action: &RowAction| matches!(action, RowAction::Insert | RowAction::Move);
            written.insert(&table.table, all.any(|(action, _)| adds(action)));
        }
    }
    let moved = diffed.convoys.iter().flat_map(ConvoyFiles::tables).map(|(_, table)| table);
    let moved = moved.filter(|table| table.moved > 0);
    for table in moved {
        written.entry(&table.table).or_default();
    }
    let transfers = diffed.transfers.iter().flat_map(|transfers| &transfers.tables);
    written.extend(transfers.flat_map(|table| [(&table.to, true), (&table.from, true)]));
    let schemas: Vec<&str> = written.keys().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = written.keys().map(|table| table.name.as_str()).collect();
    let emptied: Vec<bool> = written.values().copied().collect();
    if let Some(row) = session.query(&DIFF_RULES, &[&schemas, &names, &emptied]).await?.first() {
        let text = |name: &str| column::<String>(row, name, WHAT);
        let table = TableName::new(text("schema")?, text("name")?);
        return Err(DiffError::Rule { table, rule: text("rule")? });
    }
    Ok(())
}
