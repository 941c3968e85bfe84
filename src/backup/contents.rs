//! What a backup says it holds, as plain data: header, entries of the table of contents, tables and how their rows
//! are stored.

use std::collections::BTreeMap;
use std::fmt;

use libpgdump::Timestamp;
use libpgdump::format::ArchiveMetadata;
use serde::{Deserialize, Serialize};

use super::{BackupError, copy_statement, toc};
use crate::ident::{Ident, TableName};

/// What a backup says it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// How the archive is laid out.
    pub format: Format,
    /// Version of the layout, e.g. `1.14`; a plain dump has none.
    pub archive_version: Option<String>,
    /// How rows are compressed.
    pub compression: Compression,
    /// Name of the database that was dumped; a plain dump says it with `--create` only.
    pub dbname: Option<String>,
    /// Version of the server that was dumped, as it calls itself, e.g. `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: String,
    /// The major of `server_version`: 15; 9 for 9.x.
    pub server_major: u32,
    /// Version of the pg_dump that wrote the archive.
    pub dump_version: String,
    /// When the dump began, `YYYY-MM-DDThh:mm:ss` in the local time of the machine it ran on (the archive does not
    /// say which zone); `None` when the header holds no date.
    pub dumped_at: Option<String>,
    /// Encoding of all text, definitions and rows, as PostgreSQL calls it, e.g. `UTF8`.
    pub encoding: String,
    /// The table of contents in its order, in which it is restored.
    pub entries: Vec<Entry>,
    /// Every table that has, or would have, rows of its own. Partitioned roots and views hold none and are left out.
    pub tables: BTreeMap<TableName, TableData>,
}

/// One line of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique in the archive; dependencies and blocks refer to it.
    pub id: i32,
    /// What it is, as in the archive: `TABLE`, `FK CONSTRAINT`, `SEQUENCE SET`, …
    pub kind: String,
    /// When it is restored.
    pub section: Section,
    /// `None` for what lives in no schema.
    pub schema: Option<String>,
    /// The tag, e.g. `orders`, or `orders orders_customer_fkey` for a constraint.
    pub name: String,
    /// The owner's name.
    pub owner: Option<String>,
    /// The commands that make it; empty when there are none.
    pub definition: String,
    /// Ids of the entries that come before it.
    pub dependencies: Vec<i32>,
    /// There is a data block for it in the archive.
    pub has_data: bool,
}

/// How the rows of a table are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableData {
    /// As COPY text: the rows can be read.
    Rows {
        /// Id of the entry with the rows.
        entry: i32,
        /// The table that the COPY command names. Another one than the key for a partition that was dumped with
        /// `--load-via-partition-root`.
        target: TableName,
        /// The columns of each row, in order; generated columns are not there.
        columns: Vec<Ident>,
    },
    /// As INSERT commands: the rows cannot be read.
    Inserts {
        /// Id of the entry with the commands.
        entry: i32,
    },
    /// The rows are not in the backup (`--schema-only`, `--exclude-table-data`). The table was not necessarily empty.
    Missing,
}

/// How an archive is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One file, `pg_dump -Fc`.
    Custom,
    /// A directory, `pg_dump -Fd`.
    Directory,
    /// A tar file, `pg_dump -Ft`.
    Tar,
    /// SQL, `pg_dump -Fp`.
    Plain,
}

/// How rows are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Deflate; the only one that carries checksums.
    Gzip,
    /// LZ4, from pg_dump 16 on.
    Lz4,
    /// Zstandard, from pg_dump 16 on.
    Zstd,
}

/// When an entry is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Belongs to what it depends on: comments, grants.
    None,
    /// Before the rows: schemas, types, tables.
    PreData,
    /// Rows, large objects, positions of sequences.
    Data,
    /// After the rows: indexes, constraints, triggers.
    PostData,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Custom => "custom",
            Self::Directory => "directory",
            Self::Tar => "tar",
            Self::Plain => "plain",
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl Contents {
    /// The schema is not in the backup (`--data-only`, `--statistics-only`, `--section=data`): nothing can be restored from it.
    pub fn missing_schema(&self) -> bool {
        // Rows without a TABLE of their own are those of tables that belong to an extension.
        let makes_tables =
            |entry: &Entry| matches!(entry.kind.as_str(), "TABLE" | "FOREIGN TABLE" | "EXTENSION");
        let of_tables = |entry: &Entry| entry.kind == "STATISTICS DATA";
        let has_any = !self.tables.is_empty() || self.entries.iter().any(of_tables);
        has_any && !self.entries.iter().any(makes_tables)
    }

    /// How many columns the stored rows of a table have.
    pub(super) fn columns_of(&self, table: &TableName) -> Option<usize> {
        match self.tables.get(table) {
            Some(TableData::Rows { columns, .. }) => Some(columns.len()),
            _ => None,
        }
    }

    /// The id of the entry with the table's rows; otherwise why there is none.
    pub(super) fn rows_entry(&self, table: &TableName) -> Result<i32, BackupError> {
        match self.tables.get(table) {
            Some(TableData::Rows { entry, .. }) => Ok(*entry),
            Some(TableData::Inserts { .. }) => Err(BackupError::Inserts { table: table.clone() }),
            Some(TableData::Missing) => Err(BackupError::WithoutRows { table: table.clone() }),
            None => {
                let wanted = table.to_string();
                let distance = |name: &TableName| strsim::damerau_levenshtein(&wanted, &name.to_string());
                let nearest = self.tables.keys().min_by_key(|name| distance(name));
                let nearest = nearest.filter(|name| distance(name) * 2 < wanted.len()).cloned();
                Err(BackupError::UnknownTable { table: table.clone(), nearest })
            }
        }
    }

    /// The backup holds large objects.
    pub fn has_large_objects(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == "BLOBS" && entry.has_data)
    }

    pub(super) fn from_metadata(metadata: ArchiveMetadata, format: Format) -> Result<Self, String> {
        let version = metadata.header.version;
        Ok(Self {
            format,
            archive_version: Some(format!("{}.{}", version.major, version.minor)),
            compression: toc::compression(&metadata),
            server_major: major(&metadata.server_version),
            dumped_at: local_time(&metadata.timestamp),
            encoding: encoding(&metadata),
            tables: tables(&metadata)?,
            dbname: Some(metadata.dbname),
            server_version: metadata.server_version,
            dump_version: metadata.dump_version,
            entries: metadata.entries.into_iter().map(entry).collect(),
        })
    }
}

fn entry(entry: libpgdump::Entry) -> Entry {
    Entry {
        id: entry.dump_id,
        kind: entry.desc.as_str().to_owned(),
        section: match entry.section {
            libpgdump::Section::None => Section::None,
            libpgdump::Section::PreData => Section::PreData,
            libpgdump::Section::Data => Section::Data,
            libpgdump::Section::PostData => Section::PostData,
        },
        schema: entry.namespace.filter(|name| !name.is_empty()),
        name: entry.tag.unwrap_or_default(),
        owner: entry.owner.filter(|name| !name.is_empty()),
        definition: entry.defn.unwrap_or_default(),
        dependencies: entry.dependencies,
        has_data: entry.had_dumper,
    }
}

pub(super) fn major(server_version: &str) -> u32 {
    let digits = server_version.trim_start().split(|letter: char| !letter.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn local_time(time: &Timestamp) -> Option<String> {
    // The fields are those of C's struct tm: years from 1900, months from 0.
    let part = |value: i32| i8::try_from(value).ok();
    let year = i16::try_from(time.year.checked_add(1900)?).ok()?;
    let month = part(time.month.checked_add(1)?)?;
    // A leap second has no place in civil time.
    let second = part(time.second.min(59))?;
    let civil = jiff::civil::DateTime::new(
        year,
        month,
        part(time.day)?,
        part(time.hour)?,
        part(time.minute)?,
        second,
        0,
    );
    civil.ok().map(|civil| civil.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

fn encoding(metadata: &ArchiveMetadata) -> String {
    let setting = metadata.entries.iter().find(|entry| entry.desc.as_str() == "ENCODING");
    let quoted = setting.and_then(|entry| entry.defn.as_deref()).and_then(|text| text.split('\'').nth(1));
    quoted.unwrap_or("UTF8").to_owned()
}

fn tables(metadata: &ArchiveMetadata) -> Result<BTreeMap<TableName, TableData>, String> {
    let mut tables = BTreeMap::new();
    let of_kind = |kind: &'static str| {
        metadata.entries.iter().filter(move |entry| entry.desc.as_str() == kind).map(|entry| {
            let schema = entry.namespace.as_deref().unwrap_or_default();
            (TableName::new(schema, entry.tag.as_deref().unwrap_or_default()), entry)
        })
    };
    for (table, entry) in of_kind("TABLE DATA") {
        let data = match entry.copy_stmt.as_deref().filter(|statement| !statement.is_empty()) {
            _ if !entry.had_dumper => TableData::Missing,
            None => TableData::Inserts { entry: entry.dump_id },
            Some(statement) => {
                let copy = copy_statement::parse(statement, table.schema.as_str())
                    .ok_or_else(|| format!("the rows of {table} have no COPY command but {statement:?}"))?;
                TableData::Rows { entry: entry.dump_id, target: copy.target, columns: copy.columns }
            }
        };
        if tables.insert(table.clone(), data).is_some() {
            return Err(format!("the rows of {table} are there twice"));
        }
    }
    for (table, entry) in of_kind("TABLE") {
        if !entry.relkind.map_or_else(|| is_partitioned(definition_of(entry)), |relkind| relkind == 'p') {
            tables.entry(table).or_insert(TableData::Missing);
        }
    }
    Ok(tables)
}

fn definition_of(entry: &libpgdump::Entry) -> &str {
    entry.defn.as_deref().unwrap_or_default()
}

/// Only archives from 1.16 on say it; otherwise the definition has to.
pub(super) fn is_partitioned(definition: &str) -> bool {
    ["RANGE", "LIST", "HASH"].iter().any(|by| definition.contains(&format!("\nPARTITION BY {by} (")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_majors_and_times() {
        let versions = ["15.18 (Debian 15.18-0+deb12u1)", "9.6.24", "18beta1", "", "x"];
        assert_eq!(versions.map(major), [15, 9, 18, 0, 0]);
        let mut time = Timestamp { second: 60, minute: 4, hour: 3, day: 29, month: 1, year: 124, is_dst: 0 };
        assert_eq!(local_time(&time).as_deref(), Some("2024-02-29T03:04:59"));
        time.year = 125;
        assert_eq!(local_time(&time), None);
        time.year = i32::MAX;
        assert_eq!(local_time(&time), None);
    }
}
