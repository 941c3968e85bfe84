//! Staging files that somebody edited, or made from another source: taken as they are now, and written anew as rowback
//! writes them. Live, which only reads, says how each value prints, so that nothing is held against live or written to it
//! that its type would refuse, round or cut.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::layout::Layout;
use super::{CaseError, Error};
use crate::extract::{AFTER_COLUMN, Extracted, ORIGIN_COLUMN};
use crate::ident::TableName;
use crate::pg::{PgError, ReadSession};
use crate::recipe::Recipe;
use crate::sql::literal::push_literal;
use crate::staging::{
    CsvOptions, Finished, StagedFile, StagedTable, StagingError, StagingFormat, StagingReader, StagingWriter,
    file_name, sha256_of,
};
use crate::value::copy_text::{NULL, RawKey, fields, is_null, push_field, text};

/// So many rows are asked about at once.
const CHUNK_ROWS: usize = 1_000;

/// What live is asked, for its errors.
const READING: &str = "reading an edited staging file's values";

/// Takes the files of `extracted` as they are now; tells whether any had changed.
pub(super) async fn take(
    layout: &Layout,
    recipe: &Recipe,
    extracted: &mut Extracted,
    session: &ReadSession,
) -> Result<bool, Error> {
    let staging = layout.staging();
    let edited = edited_files(&staging, &extracted.files)?;
    if edited.is_empty() {
        return Ok(false);
    }
    for (number, path, format) in edited {
        let staged = &extracted.files[number];
        let file = Edited::open(&path, format, staged, recipe, session).await?;
        let taken = file.write_anew(&staging, session).await?;
        let name = path.strip_prefix(layout.root()).unwrap_or(&path).display().to_string();
        extracted.notes.push(format!(
            "{name} is taken as it was edited: {} rows, {} were staged",
            taken.rows, staged.rows
        ));
        // Rows may have been taken away on which others hang, or added that hang on nothing here.
        let table = &staged.table.table;
        let touching = extracted.catalog.foreign_keys.iter().filter(|fk| {
            (&fk.parent == table || &fk.child == table)
                && !extracted.dangling.iter().any(|old| old.is_like(fk))
        });
        let touching: Vec<_> = touching.cloned().collect();
        extracted.dangling.extend(touching);
        extracted.files[number] = taken;
    }
    // Not before: what is refused leaves an earlier plan as it was, for whoever puts the file back.
    layout.forget(&layout.results_of_staging())?;
    Ok(true)
}

fn not_taken(path: &Path, problem: String) -> Error {
    CaseError::StagingNotTaken { path: path.to_owned(), problem }.into()
}

/// The staged tables, by number, whose file is another one by now.
fn edited_files(
    staging: &Path,
    staged: &[StagedFile],
) -> Result<Vec<(usize, PathBuf, StagingFormat)>, Error> {
    let unreadable = |source| CaseError::Directory { path: staging.to_owned(), source };
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(staging).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|end| end == "csv" || end == "parquet") {
            there.insert(name);
        }
    }
    let mut found = Vec::new();
    for (number, file) in staged.iter().enumerate() {
        let formats = [StagingFormat::Parquet, StagingFormat::Csv];
        let names = formats.map(|format| (file_name(&file.table.table, format), format));
        let mut present = names.into_iter().filter(|(name, _)| there.remove(name));
        let Some((name, format)) = present.next() else {
            let problem =
                "it is gone; a file with the header alone says that no row is to come back".to_owned();
            return Err(not_taken(&staging.join(&file.file), problem));
        };
        let path = staging.join(&name);
        if let Some((other, _)) = present.next() {
            return Err(not_taken(&path, format!("{other} holds rows of the same table; keep one of them")));
        }
        let (sha256, _) =
            sha256_of(&path).map_err(|source| CaseError::Directory { path: path.clone(), source })?;
        if name != file.file || sha256 != file.sha256 {
            found.push((number, path, format));
        }
    }
    match there.first() {
        Some(name) => {
            let problem =
                "no table of this case has its rows there; an entry of the recipe must be about the table";
            Err(not_taken(&staging.join(name), problem.to_owned()))
        }
        None => Ok(found),
    }
}

/// A file as its maker left it.
struct Edited<'a> {
    path: &'a Path,
    format: StagingFormat,
    /// The table, with rowback's own columns.
    table: &'a StagedTable,
    /// The columns that the file has: rowback's own may be missing.
    given: StagedTable,
    null_marker: &'a str,
    /// Why its rows are there, where the file does not say.
    origin: String,
    /// Of each column of `table`, what live reads it as.
    types: Vec<Option<ReadAs>>,
}

/// A type that live reads values as.
struct ReadAs {
    name: String,
    /// The same without a length or precision, where it has one that would cut or round.
    loose: Option<String>,
}

impl<'a> Edited<'a> {
    async fn open(
        path: &'a Path,
        format: StagingFormat,
        staged: &'a StagedFile,
        recipe: &Recipe,
        session: &ReadSession,
    ) -> Result<Self, Error> {
        let table = &staged.table;
        let null_marker = if format == StagingFormat::Csv { staged.null_marker.as_str() } else { "" };
        let given = columns_given(path, table, &CsvOptions { null_marker: null_marker.to_owned() })?;
        let mut types = Vec::new();
        for column in &table.columns {
            let is_own = [ORIGIN_COLUMN, AFTER_COLUMN].contains(&column.name.as_str());
            types.push(if is_own { None } else { ReadAs::of(session, &column.pg_type).await? });
        }
        let origin = origin_of(recipe, &table.table);
        Ok(Self { path, format, table, given, null_marker, origin, types })
    }

    /// Reads the file whole and puts what it holds in its place.
    async fn write_anew(&self, staging: &Path, session: &ReadSession) -> Result<StagedFile, Error> {
        let options = CsvOptions { null_marker: self.null_marker.to_owned() };
        let mut text_columns = BTreeSet::new();
        loop {
            let mut reader = StagingReader::open_file_with(self.path, &self.given, &options)?;
            let mut writer =
                StagingWriter::create_with(staging, self.format, self.table, &text_columns, &options)?;
            let mut keys: HashMap<Vec<RawKey>, u64> = HashMap::new();
            let (mut chunk, mut row, mut done) = (Vec::new(), Vec::new(), 0);
            loop {
                let more = reader.next_row(&mut row)?;
                if more {
                    chunk.push(self.whole(&row));
                }
                if chunk.len() == CHUNK_ROWS || (!more && !chunk.is_empty()) {
                    for printed in self.printed(session, &chunk, done).await? {
                        done += 1;
                        self.check_key(&printed, done, &mut keys)?;
                        writer.write_row(&printed)?;
                    }
                    chunk.clear();
                }
                if !more {
                    break;
                }
            }
            match writer.finish()? {
                Finished::Written(file) => return Ok(file),
                Finished::Demote(columns) => text_columns.extend(columns),
            }
        }
    }

    /// A row of the file with all columns of the table.
    fn whole(&self, row: &[u8]) -> Vec<u8> {
        let given: Vec<&[u8]> = fields(row).collect();
        let mut whole = Vec::with_capacity(row.len() + self.origin.len());
        for (at, column) in self.table.columns.iter().enumerate() {
            let place = self.given.columns.iter().position(|known| known.name == column.name);
            if at > 0 {
                whole.push(b'\t');
            }
            match place {
                Some(place) => whole.extend_from_slice(given[place]),
                None if column.name.as_str() == ORIGIN_COLUMN => {
                    push_field(&mut whole, true, Some(self.origin.as_bytes()));
                }
                None => whole.extend_from_slice(NULL),
            }
        }
        whole
    }

    /// The rows as PostgreSQL prints them; `before` is the number of rows above them in the file.
    async fn printed(
        &self,
        session: &ReadSession,
        rows: &[Vec<u8>],
        before: u64,
    ) -> Result<Vec<Bytes>, Error> {
        let mut printed = Vec::new();
        let mut open = vec![(rows, before)];
        while let Some((part, before)) = open.pop() {
            let all: Vec<usize> = (0..self.types.len()).collect();
            match session.attempt_copy(READING, &self.read_sql(part, &all)).await? {
                Ok(lines) => {
                    for (line, number) in lines.iter().zip(before + 1..) {
                        let (row, altered) = self.split(line);
                        if let Some(column) = altered {
                            return Err(self.would_be_altered(column, number));
                        }
                        printed.push(row);
                    }
                }
                Err(refused) if part.len() == 1 => {
                    return Err(self.refused(session, part, before + 1, refused).await?);
                }
                Err(_refused) => {
                    let (left, right) = part.split_at(part.len() / 2);
                    open.extend([(right, before + left.len() as u64), (left, before)]);
                }
            }
        }
        Ok(printed)
    }

    /// Prints the columns of the rows at these positions, then whether each that has a length or precision is kept by it.
    fn read_sql(&self, rows: &[Vec<u8>], columns: &[usize]) -> String {
        let read = columns.iter().map(|at| match &self.types[*at] {
            Some(ReadAs { name, .. }) => format!("v.c{at}::{name}"),
            None => format!("v.c{at}"),
        });
        let kept = columns.iter().filter_map(|at| {
            let ReadAs { name, loose } = self.types[*at].as_ref()?;
            let loose = loose.as_ref()?;
            Some(format!("v.c{at}::{loose} is not distinct from v.c{at}::{name}::{loose}"))
        });
        let asked: Vec<String> = read.chain(kept).collect();
        let names: Vec<String> = columns.iter().map(|at| format!("c{at}")).collect();
        let mut sql = format!("copy (select {} from (values ", asked.join(", "));
        for (number, row) in rows.iter().enumerate() {
            sql.push_str(if number == 0 { "(" } else { "), (" });
            sql.push_str(&number.to_string());
            let row: Vec<&[u8]> = fields(row).collect();
            for at in columns {
                sql.push_str(", ");
                match text(row[*at]) {
                    Some(value) => push_literal(&mut sql, &value),
                    None => sql.push_str("null"),
                }
                sql.push_str("::text");
            }
        }
        sql.push_str(&format!(")) as v(n, {}) order by v.n) to stdout", names.join(", ")));
        sql
    }

    /// A line of the answer: the row, and the first column that its type would cut or round.
    fn split(&self, line: &Bytes) -> (Bytes, Option<usize>) {
        let mut ends = memchr::memchr_iter(b'\t', line);
        let end = ends.nth(self.table.columns.len() - 1).unwrap_or(line.len());
        let bound = self.types.iter().enumerate();
        let bound = bound.filter(|(_, of)| of.as_ref().is_some_and(|of| of.loose.is_some()));
        let kept = fields(line).skip(self.table.columns.len());
        let altered = bound.zip(kept).find(|(_, kept)| *kept != b"t").map(|((at, _), _)| at);
        (line.slice(..end), altered)
    }

    fn would_be_altered(&self, column: usize, number: u64) -> Error {
        let column = &self.table.columns[column];
        let problem = format!(
            "row {number}: {} is {}, which would cut or round the value",
            column.name, column.pg_type
        );
        not_taken(self.path, problem)
    }

    /// Which column of the one row it is.
    async fn refused(
        &self,
        session: &ReadSession,
        row: &[Vec<u8>],
        number: u64,
        refused: PgError,
    ) -> Result<Error, Error> {
        let why = |error: &PgError| error.db().map_or_else(|| error.to_string(), |db| db.message.clone());
        for (at, column) in self.table.columns.iter().enumerate() {
            if let Err(error) = session.attempt_copy(READING, &self.read_sql(row, &[at])).await? {
                return Ok(not_taken(self.path, format!("row {number}: {}: {}", column.name, why(&error))));
            }
        }
        Ok(not_taken(self.path, format!("row {number}: {}", why(&refused))))
    }

    fn check_key(&self, row: &[u8], number: u64, keys: &mut HashMap<Vec<RawKey>, u64>) -> Result<(), Error> {
        let all: Vec<&[u8]> = fields(row).collect();
        let key: Vec<RawKey> = self.table.key.iter().map(|at| all[*at].into()).collect();
        let names: Vec<&str> =
            self.table.key.iter().map(|at| self.table.columns[*at].name.as_str()).collect();
        if let Some(at) = key.iter().position(|value| is_null(value)) {
            return Err(not_taken(
                self.path,
                format!("row {number} has no {}, which is of the key", names[at]),
            ));
        }
        match keys.insert(key, number) {
            None => Ok(()),
            Some(first) => {
                let problem = format!("rows {first} and {number} have the same key ({})", names.join(", "));
                Err(not_taken(self.path, problem))
            }
        }
    }
}

/// The table with those columns that the file has. A program that knows nothing of rowback leaves rowback's own away; of what
/// is wrong beside that, the shorter list is told.
fn columns_given(
    path: &Path,
    table: &StagedTable,
    options: &CsvOptions,
) -> Result<StagedTable, StagingError> {
    let mut shortest = None;
    for left_out in [&[][..], &[AFTER_COLUMN], &[ORIGIN_COLUMN], &[ORIGIN_COLUMN, AFTER_COLUMN]] {
        let mut given = table.clone();
        given.columns.retain(|column| !left_out.contains(&column.name.as_str()));
        match StagingReader::open_file_with(path, &given, options) {
            Ok(_reader) => return Ok(given),
            Err(StagingError::Columns { problems, .. })
                if shortest.as_ref().is_some_and(|(least, _)| *least <= problems.len()) => {}
            Err(error) => {
                let problems = match &error {
                    StagingError::Columns { problems, .. } => problems.len(),
                    _ => return Err(error),
                };
                shortest = Some((problems, error));
            }
        }
    }
    shortest.map_or_else(|| Ok(table.clone()), |(_, error)| Err(error))
}

/// As extraction would say it: the entries that are about the table select the row; else the operator put it there.
fn origin_of(recipe: &Recipe, table: &TableName) -> String {
    let entries = recipe.recover.iter().enumerate().filter(|(_, entry)| &entry.table == table);
    let numbers: Vec<String> = entries.map(|(number, _)| number.to_string()).collect();
    if numbers.is_empty() { String::new() } else { format!("predicate {}", numbers.join(",")) }
}

impl ReadAs {
    /// `None` for a type that live does not have: the diff says what that means.
    async fn of(session: &ReadSession, name: &str) -> Result<Option<Self>, PgError> {
        let answer = session.attempt(READING, &format!("select null::{name} is null")).await?;
        Ok(answer.is_ok().then(|| Self { name: name.to_owned(), loose: loose(name) }))
    }
}

/// The type without its length or precision.
fn loose(name: &str) -> Option<String> {
    let (start, rest) = name.split_once('(').filter(|_| !name.contains('"'))?;
    let (_, end) = rest.split_once(')')?;
    let start = match start {
        "character" => "bpchar",
        "bit" => "varbit",
        other => other,
    };
    Some(format!("{start}{end}"))
}

#[cfg(test)]
mod tests {
    use super::loose;

    #[test]
    fn lengths_and_precisions_are_left_out() {
        for (name, without) in [
            ("numeric(12,2)", Some("numeric")),
            ("numeric(12,2)[]", Some("numeric[]")),
            ("character(3)", Some("bpchar")),
            ("bit(3)[]", Some("varbit[]")),
            ("character varying(20)", Some("character varying")),
            ("timestamp(3) with time zone", Some("timestamp with time zone")),
            ("integer", None),
            ("app.\"odd(type)\"", None),
        ] {
            assert_eq!(loose(name).as_deref(), without, "{name}");
        }
    }
}
