//! Chosen rows out of scratch and into a staging file, ordered by key, so that the file's bytes depend on nothing but
//! the rows.

use std::collections::BTreeSet;
use std::path::Path;

use super::chosen::{Chosen, number, side_name};
use super::{ExtractError, KeyColumns, ORIGIN_COLUMN};
use crate::catalog::{Table, quoted_list};
use crate::ident::Ident;
use crate::progress::{SharedProgress, Step};
use crate::staging::{Finished, StagedColumn, StagedFile, StagedTable, StagingFormat, StagingWriter};
use crate::value::BaseType;

/// Progress is told once for this many rows.
const ROWS_PER_NEWS: u64 = 4096;

/// Number of rows of the table that are chosen for whatever reason.
pub(super) async fn rows_chosen(chosen: &Chosen<'_>, table: &Table) -> Result<u64, ExtractError> {
    let sql = format!("select count(distinct (tab, place)) from {}", side_name(table));
    Ok(number(&chosen.session.text_rows("counting chosen rows", &sql).await?))
}

/// Writes the staging file of one table. A column whose text its native type would not give back stays text, which shows
/// only on the way: the table is then read once more.
pub(super) async fn stage_table(
    chosen: &Chosen<'_>,
    table: &Table,
    key: &KeyColumns,
    staging: &Path,
    format: StagingFormat,
    progress: &SharedProgress,
) -> Result<StagedFile, ExtractError> {
    let staged = staged_table(table, key);
    let sql = format!(
        "copy (select {}, g.origin from {} as t join (select tab, place, min(origin) as origin from {} group by tab, place) as h \
         on h.tab = t.tableoid and h.place = t.ctid join rowback.origins as g on g.id = h.origin order by {}) to stdout",
        quoted_list("t.", table.column_names()),
        table.from_sql(),
        side_name(table),
        ordered_by(table, key),
    );
    let mut text_columns = BTreeSet::new();
    loop {
        let mut writer = StagingWriter::create(staging, format, &staged, &text_columns)?;
        let mut rows = chosen.session.copy_out("reading chosen rows", &sql).await?;
        let mut told = 0;
        while let Some(row) = rows.next_row().await? {
            writer.write_row(&row)?;
            told += 1;
            if told == ROWS_PER_NEWS {
                progress.advance(Step::Extract, told);
                told = 0;
            }
        }
        progress.advance(Step::Extract, told);
        match writer.finish()? {
            Finished::Written(file) => return Ok(file),
            Finished::Demote(columns) => text_columns.extend(columns),
        }
    }
}

/// By key; texts by their bytes, so that the order is the same on every machine.
fn ordered_by(table: &Table, key: &KeyColumns) -> String {
    let by = key.iter().map(|name| {
        let is_text = table.column(name).is_some_and(|column| {
            matches!(column.base_type, BaseType::Text | BaseType::Varchar | BaseType::Bpchar)
                && !column.is_enum
        });
        let collate = if is_text { " collate \"C\"" } else { "" };
        format!("t.{}{collate}", name.quoted())
    });
    by.collect::<Vec<_>>().join(", ")
}

fn staged_table(table: &Table, key: &KeyColumns) -> StagedTable {
    let mut columns: Vec<StagedColumn> = table
        .columns
        .iter()
        .map(|column| StagedColumn {
            name: column.name.clone(),
            pg_type: column.type_name.clone(),
            base_type: column.base_type,
        })
        .collect();
    columns.push(StagedColumn {
        name: Ident::from(ORIGIN_COLUMN),
        pg_type: "text".into(),
        base_type: BaseType::Text,
    });
    let key = key.iter().filter_map(|name| table.position(name)).collect();
    StagedTable { table: table.name.clone(), columns, key }
}
