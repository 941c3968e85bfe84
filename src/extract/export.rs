//! Chosen rows out of scratch and into a staging file, ordered by key, so that the file's bytes depend on nothing but
//! the rows.

use std::collections::BTreeSet;
use std::path::Path;

use super::aftermath::{Joiner, told_name};
use super::chosen::{Chosen, FIRST_FOLLOWED, number, side_name};
use super::{AFTER_COLUMN, ExtractError, KeyColumns, ORIGIN_COLUMN};
use crate::catalog::{Table, quoted_list};
use crate::ident::Ident;
use crate::pg::{PgError, ScratchSession};
use crate::progress::{SharedProgress, Step};
use crate::staging::{Finished, StagedColumn, StagedFile, StagedTable, StagingFormat, StagingWriter};
use crate::value::BaseType;
use crate::value::copy_text::fields;

/// Progress is told once for this many rows.
const ROWS_PER_NEWS: u64 = 4096;

/// Number of rows of the table that are chosen for whatever reason.
pub(super) async fn rows_chosen(chosen: &Chosen<'_>, table: &Table) -> Result<u64, ExtractError> {
    let rows = if chosen.has_each_once(&table.name) { "*" } else { "distinct (tab, place)" };
    let sql = format!("select count({rows}) from {}", side_name(table));
    Ok(number(&chosen.session.text_rows("counting chosen rows", &sql).await?))
}

/// How many entries of the recipe select rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selecting {
    /// One at most: the reason for which a row was chosen names it.
    One,
    /// Several: they were written down apart.
    Several,
}

impl Selecting {
    /// By their number.
    pub fn by(entries: usize) -> Self {
        if entries > 1 { Self::Several } else { Self::One }
    }

    /// The chosen rows, each once: place, the entries that select it, and the strongest reference that leads to it.
    fn rows_sql(self, side: &str, each_once: bool) -> String {
        let one = if each_once {
            format!(
                "select tab, place, case when origin < {FIRST_FOLLOWED} then origin::text end as entries, \
                 case when origin >= {FIRST_FOLLOWED} then origin end as followed from {side}"
            )
        } else {
            format!(
                "select tab, place, (min(origin) filter (where origin < {FIRST_FOLLOWED}))::text as entries, \
                 min(origin) filter (where origin >= {FIRST_FOLLOWED}) as followed from {side} group by tab, place"
            )
        };
        match self {
            Self::One => one,
            Self::Several => format!(
                "select c.tab, c.place, s.entries, c.followed from ({one}) as c left join \
                 (select tab, place, string_agg(entry::text, ',' order by entry) as entries from rowback_scratch.selected \
                 group by tab, place) as s on s.tab = c.tab and s.place = c.place"
            ),
        }
    }
}

/// Where the rows of one table go.
pub(super) struct StagingFile<'a> {
    table: &'a Table,
    staged: StagedTable,
    staging: &'a Path,
    format: StagingFormat,
    is_told: bool,
    even_empty: bool,
}

impl<'a> StagingFile<'a> {
    /// Of a table, in the folder `staging`, unless there are no rows.
    pub fn new(table: &'a Table, key: &KeyColumns, (staging, format): (&'a Path, StagingFormat)) -> Self {
        let staged = staged_table(table, key, false);
        Self { table, staged, staging, format, is_told: false, even_empty: false }
    }

    /// Writes the rows that a COPY sends; errors of the COPY itself become what `refused` says. A column whose text its
    /// native type would not give back stays text, which shows only on the way: the rows are then read once more. `None`,
    /// and no file, when there are no rows.
    pub async fn write(
        &self,
        copy: (&ScratchSession, &str),
        progress: &SharedProgress,
        refused: impl Fn(PgError) -> ExtractError,
    ) -> Result<Option<StagedFile>, ExtractError> {
        match self.read(copy, None, progress, refused).await? {
            Read::InOrder(file) => Ok(file.map(|file| *file)),
            Read::OutOfOrder => Ok(None),
        }
    }

    /// As [`StagingFile::write`], of rows that come as they are stored: mostly by key, because they were made so. Sorting
    /// them would take as long as reading them.
    pub async fn write_rising(
        &self,
        copy: (&ScratchSession, &str),
        rising: Rising,
        progress: &SharedProgress,
        refused: impl Fn(PgError) -> ExtractError,
    ) -> Result<Read, ExtractError> {
        self.read(copy, Some(rising), progress, refused).await
    }

    async fn read(
        &self,
        (session, copy): (&ScratchSession, &str),
        rising: Option<Rising>,
        progress: &SharedProgress,
        refused: impl Fn(PgError) -> ExtractError,
    ) -> Result<Read, ExtractError> {
        let mut text_columns = BTreeSet::new();
        loop {
            let mut writer = StagingWriter::create(self.staging, self.format, &self.staged, &text_columns)?;
            let mut rows = session.copy_out("reading chosen rows", copy).await.map_err(&refused)?;
            let mut told = 0;
            let mut joiner = Joiner::new(self.table);
            let mut rising = rising;
            while let Some(row) = rows.next_row().await.map_err(&refused)? {
                if rising.as_mut().is_some_and(|rising| !rising.takes(&row)) {
                    return Ok(Read::OutOfOrder);
                }
                if self.is_told {
                    joiner.push(&row).map_or(Ok(()), |row| writer.write_row(&row))?;
                } else {
                    writer.write_row(&row)?;
                }
                told += 1;
                if told == ROWS_PER_NEWS {
                    progress.advance(Step::Extract, told);
                    told = 0;
                }
            }
            joiner.take().map_or(Ok(()), |row| writer.write_row(&row))?;
            progress.advance(Step::Extract, told);
            if writer.rows() == 0 && !self.even_empty {
                return Ok(Read::InOrder(None));
            }
            match writer.finish()? {
                Finished::Written(file) => return Ok(Read::InOrder(Some(Box::new(file)))),
                Finished::Demote(columns) => text_columns.extend(columns),
            }
        }
    }
}

/// What became of rows that were read as they are stored.
pub(super) enum Read {
    /// They came by key, and are in their file if there were any.
    InOrder(Option<Box<StagedFile>>),
    /// They did not; there is no file.
    OutOfOrder,
}

/// Does each row have a higher key than the one before? For keys that are one whole number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rising {
    position: usize,
    last: Option<i64>,
}

impl Rising {
    /// Of rows of a table.
    pub fn of(table: &Table, key: &[Ident]) -> Option<Self> {
        let [name] = key else { return None };
        let is_whole = |base| matches!(base, BaseType::Int2 | BaseType::Int4 | BaseType::Int8);
        table.column(name).filter(|column| is_whole(column.base_type))?;
        Some(Self { position: table.position(name)?, last: None })
    }

    fn takes(&mut self, row: &[u8]) -> bool {
        let key =
            fields(row).nth(self.position).and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        let rises = key.is_some() && key > self.last;
        self.last = key;
        rises
    }
}

/// Writes the staging file of a table's chosen rows, which `session` reads.
pub(super) async fn stage_table(
    (chosen, session): (&Chosen<'_>, &ScratchSession),
    table: &Table,
    key: &KeyColumns,
    staging: &Path,
    (selecting, twin, format): (Selecting, Option<&str>, StagingFormat),
    progress: &SharedProgress,
) -> Result<Option<StagedFile>, ExtractError> {
    let is_told = chosen.told.contains(&table.name);
    let (told, join, then_by) = if is_told { told_sql(table) } else { Default::default() };
    let sql = format!(
        "copy (select {}, concat_ws(' ', {}, 'predicate ' || h.entries, g.origin){told} from {} as t join ({}) as h \
         on h.tab = t.tableoid and h.place = t.ctid left join rowback_scratch.origins as g on g.id = h.followed{join} order by {}{then_by}) to stdout",
        quoted_list("t.", table.column_names()),
        twin.unwrap_or("null"),
        table.from_sql(),
        selecting.rows_sql(&side_name(table), chosen.has_each_once(&table.name)),
        ordered_by(table, key, "t."),
    );
    let staged = staged_table(table, key, is_told);
    let file = StagingFile { table, staged, staging, format, is_told, even_empty: true };
    file.write((session, &sql), progress, |source| ExtractError::reading(&table.name, source)).await
}

/// What is told about each row: more to select, where from, and the order in which one row's lines come.
fn told_sql(table: &Table) -> (String, String, &'static str) {
    (
        format!(", a.rowback_teller, a.rowback_gone, {}", quoted_list("a.", table.column_names())),
        format!(
            " left join {} as a on a.rowback_tab = t.tableoid and a.rowback_place = t.ctid",
            told_name(table)
        ),
        ", a.rowback_teller",
    )
}

/// By key; texts by their bytes, so that the order is the same on every machine.
pub(super) fn ordered_by(table: &Table, key: &[Ident], of_table: &str) -> String {
    let by = key.iter().map(|name| {
        let is_text = table.column(name).is_some_and(|column| {
            matches!(column.base_type, BaseType::Text | BaseType::Varchar | BaseType::Bpchar)
                && !column.is_enum
        });
        let collate = if is_text { " collate \"C\"" } else { "" };
        format!("{of_table}{}{collate}", name.quoted())
    });
    by.collect::<Vec<_>>().join(", ")
}

fn staged_table(table: &Table, key: &KeyColumns, is_told: bool) -> StagedTable {
    let mut columns: Vec<StagedColumn> = table
        .columns
        .iter()
        .map(|column| StagedColumn {
            name: column.name.clone(),
            pg_type: column.type_name.clone(),
            base_type: column.base_type,
        })
        .collect();
    let own = [Some(ORIGIN_COLUMN), is_told.then_some(AFTER_COLUMN)];
    columns.extend(own.into_iter().flatten().map(|name| StagedColumn {
        name: Ident::from(name),
        pg_type: "text".into(),
        base_type: BaseType::Text,
    }));
    let key = key.iter().filter_map(|name| table.position(name)).collect();
    StagedTable { table: table.name.clone(), columns, key }
}
