//! Sorts the commands of a plain dump under the entries that its comments announce, as an archive's table of contents
//! would have them. Nothing is run here; what is no work of pg_dump for one database is refused.

use std::collections::BTreeMap;

use super::heading::{self, Heading, Title};
use super::phrase::{connected_to, is_owner, outside};
use super::refusal::Refusal;
use super::{Scanned, Span};
use crate::backup::contents::{Entry, TableData, is_partitioned, major};
use crate::backup::copy_statement;
use crate::backup::inspection::LargeObjects;
use crate::ident::TableName;

/// All definitions together; the schemas of the largest known databases take a hundredth of it.
const DEFINITIONS_BYTES: usize = 512 << 20;

/// What came so far.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    found: Scanned,
    current: Option<Current>,
    /// Number and dependencies of the entry that comes next.
    number: Option<i32>,
    dependencies: Vec<i32>,
    numbers: BTreeMap<i32, i32>,
    definitions_bytes: usize,
    begun: bool,
    complete: bool,
    /// The key of `\restrict`, while it holds.
    restricted: Option<String>,
}

#[derive(Debug)]
struct Current {
    entry: Entry,
    rows: Option<(copy_statement::CopyStatement, Option<Span>)>,
    /// Has it rows as INSERT commands? Then there must be no others.
    inserts: bool,
}

impl Sorter {
    /// Is the text of the current commands needed?
    pub(super) fn keeps(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !holds_data(&current.entry.kind))
    }

    pub(super) fn began(&self) -> bool {
        self.begun
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete && self.restricted.is_none()
    }

    /// What was being read, for messages.
    pub(super) fn whereabouts(&self) -> String {
        match &self.current {
            None => "its beginning".to_owned(),
            Some(Current { rows: Some((copy, None)), .. }) => format!("the rows of {}", copy.target),
            Some(Current { entry, .. }) => {
                let schema = entry.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
                format!("{} {schema}{}, or what follows it", entry.kind, entry.name)
            }
        }
    }

    /// A comment between two commands.
    pub(super) fn comment(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if !self.begun && line.ends_with(b"\r") {
            return Err(Refusal::line_ends());
        }
        let Some(heading) = heading::parse(std::str::from_utf8(line)?) else { return Ok(()) };
        if self.complete {
            return Err(Refusal::several());
        }
        match heading {
            Heading::Cluster => return Err(Refusal::several()),
            Heading::Dump if self.begun => return Err(Refusal::several()),
            Heading::Dump => self.begun = true,
            Heading::Complete => self.complete = true,
            Heading::Server(version) => {
                self.found.contents.server_major = major(&version);
                self.found.contents.server_version = version;
            }
            Heading::PgDump(version) => self.found.contents.dump_version = version,
            Heading::Started(time) => self.found.contents.dumped_at = Some(time),
            Heading::Number(number) => self.number = Some(number),
            Heading::Dependencies(numbers) => self.dependencies = numbers,
            Heading::Entry(title) => self.begin(title)?,
        }
        Ok(())
    }

    /// A line for psql, without its backslash.
    pub(super) fn meta(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if !self.begun {
            return Err(Refusal::no_dump());
        }
        let line = String::from_utf8_lossy(line);
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "restrict" if self.restricted.is_none() && self.begun && !self.complete => {
                self.restricted = Some(rest.to_owned());
            }
            "unrestrict" if self.restricted.as_deref() == Some(rest) => self.restricted = None,
            "encoding" if self.is_creating() => {}
            // Twice where the database has settings of its own, which count from the second time on.
            "connect" if self.is_creating() => {
                let name = connected_to(rest);
                if name.is_none() || name != self.found.contents.dbname {
                    return Err(Refusal::several());
                }
                self.finish_entry()?;
            }
            "connect" => return Err(Refusal::several()),
            other => return Err(Refusal::psql(&format!("\\{other}"))),
        }
        Ok(())
    }

    /// Only the database itself came so far, as with --create.
    fn is_creating(&self) -> bool {
        let of_database = |entry: &Entry| {
            matches!(
                entry.kind.as_str(),
                "DATABASE" | "DATABASE PROPERTIES" | "COMMENT" | "ACL" | "SECURITY LABEL"
            )
        };
        self.begun
            && !self.complete
            && self.found.contents.dbname.is_some()
            && self.found.contents.entries.iter().all(of_database)
            && self.current.as_ref().is_none_or(|current| of_database(&current.entry))
    }

    /// A command; true when rows follow it. `length` is that of all of it.
    pub(super) fn command(&mut self, text: &[u8], length: usize) -> Result<bool, Refusal> {
        if !self.begun {
            return Err(Refusal::no_dump());
        }
        if self.complete {
            return Err(Refusal::edited("commands follow the end of the dump"));
        }
        let data = self.current.as_ref().is_some_and(|current| holds_data(&current.entry.kind));
        if data && !text.starts_with(b"COPY ") {
            return self.data_command(text).map(|()| false);
        }
        let text = std::str::from_utf8(text)?;
        if text.starts_with("SET ") {
            return self.setting(text).map(|()| false);
        }
        let Some(current) = &mut self.current else { return outside(text).map(|()| false) };
        if text.starts_with("COPY ") {
            return current.copy(text);
        }
        if is_owner(text) {
            return Ok(false);
        }
        if ["INSERT ", "UPDATE ", "DELETE ", "TRUNCATE "].iter().any(|start| text.starts_with(start)) {
            return Err(current.unexpected(text));
        }
        self.definitions_bytes += length;
        if self.definitions_bytes > DEFINITIONS_BYTES {
            return Err(Refusal::edited("its definitions take more than 512 MiB"));
        }
        current.entry.definition.push_str(text);
        current.entry.definition.push_str(";\n");
        Ok(false)
    }

    fn setting(&mut self, text: &str) -> Result<(), Refusal> {
        if let Some(value) = text.strip_prefix("SET client_encoding = ") {
            value.trim_matches('\'').clone_into(&mut self.found.contents.encoding);
        }
        if text == "SET standard_conforming_strings = off" {
            return Err(Refusal::new(
                "its strings are written for standard_conforming_strings = off",
                "Dump the database again with `PGOPTIONS='-c standard_conforming_strings=on' pg_dump -Fc`.",
            ));
        }
        Ok(())
    }

    /// A command among data that is no COPY: rows as INSERT commands, a large object, triggers switched off and on.
    fn data_command(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.entry.kind == "BLOBS" {
            self.found.large_objects.add(text);
            return Ok(());
        }
        let starts = |words: &[&[u8]]| words.iter().any(|start| text.starts_with(start));
        let triggers = starts(&[b"ALTER TABLE "])
            && (text.ends_with(b" DISABLE TRIGGER ALL") || text.ends_with(b" ENABLE TRIGGER ALL"));
        if triggers || starts(&[b"SET ", b"BEGIN", b"COMMIT"]) {
            return Ok(());
        }
        if current.rows.is_none() && starts(&[b"INSERT INTO "]) {
            current.inserts = true;
            return Ok(());
        }
        Err(current.unexpected(&String::from_utf8_lossy(&text[..text.len().min(400)])))
    }

    /// The rows of the last COPY command lie there.
    pub(super) fn rows(&mut self, start: u64, end: u64) {
        if let Some(Current { rows: Some((_, span)), .. }) = &mut self.current {
            *span = Some(Span { start, end });
        }
    }

    fn begin(&mut self, title: Title) -> Result<(), Refusal> {
        self.finish_entry()?;
        let id = i32::try_from(self.found.contents.entries.len()).unwrap_or(i32::MAX);
        let id = id.saturating_add(1);
        if let Some(number) = self.number.take() {
            self.numbers.insert(number, id);
        }
        if title.kind == "DATABASE" {
            if self.found.contents.dbname.is_some() {
                return Err(Refusal::several());
            }
            self.found.contents.dbname = Some(title.name.clone());
        }
        let entry = Entry {
            id,
            section: heading::section(&title.kind),
            has_data: holds_data(&title.kind),
            kind: title.kind,
            schema: title.schema,
            name: title.name,
            owner: title.owner,
            definition: String::new(),
            dependencies: std::mem::take(&mut self.dependencies),
        };
        self.current = Some(Current { entry, rows: None, inserts: false });
        Ok(())
    }

    fn finish_entry(&mut self) -> Result<(), Refusal> {
        let Some(Current { mut entry, rows, .. }) = self.current.take() else { return Ok(()) };
        let titled = TableName::new(entry.schema.clone().unwrap_or_default(), entry.name.clone());
        match entry.kind.as_str() {
            "TABLE DATA" => {
                // A comment shows a line end in a name as a blank; the command has the name itself.
                let shown = rows.as_ref().map(|(copy, _)| (as_shown(&copy.target), copy.target.clone()));
                let table = shown.filter(|(shown, _)| *shown == titled).map_or(titled, |(_, target)| target);
                entry.name = table.name.to_string();
                let data = match rows {
                    Some((copy, Some(span))) => {
                        self.found.blocks.insert(entry.id, span);
                        TableData::Rows { entry: entry.id, target: copy.target, columns: copy.columns }
                    }
                    _ => TableData::Inserts { entry: entry.id },
                };
                if self.found.contents.tables.insert(table.clone(), data).is_some() {
                    return Err(Refusal::edited(format!("the rows of {table} are there twice")));
                }
            }
            "TABLE" => {
                let table = copy_statement::created(&entry.definition).unwrap_or(titled);
                entry.name = table.name.to_string();
                if !is_partitioned(&entry.definition) {
                    self.found.created.push(table);
                }
            }
            _ => {}
        }
        self.found.contents.entries.push(entry);
        Ok(())
    }

    /// The contents, once everything was read.
    pub(super) fn finish(&mut self) -> Result<Scanned, Refusal> {
        self.finish_entry()?;
        let mut found = std::mem::take(&mut self.found);
        for table in std::mem::take(&mut found.created) {
            found.contents.tables.entry(table).or_insert(TableData::Missing);
        }
        for entry in &mut found.contents.entries {
            let ids = entry.dependencies.iter().filter_map(|number| self.numbers.get(number));
            entry.dependencies = ids.copied().collect();
        }
        Ok(found)
    }
}

impl Current {
    fn copy(&mut self, text: &str) -> Result<bool, Refusal> {
        let schema = self.entry.schema.clone().unwrap_or_default();
        let parsed = copy_statement::parse(&format!("{text};"), &schema);
        match (self.entry.kind.as_str(), parsed) {
            ("TABLE DATA", Some(copy)) if self.rows.is_none() && !self.inserts => {
                self.rows = Some((copy, None));
                Ok(true)
            }
            _ => Err(self.unexpected(text)),
        }
    }

    /// A command that pg_dump does not write under this entry. Values stay out of the message.
    fn unexpected(&self, text: &str) -> Refusal {
        let start = text.split(['(', '\'']).next().unwrap_or_default();
        let start: String = start.chars().take(80).collect();
        let (kind, name) = (&self.entry.kind, &self.entry.name);
        Refusal::edited(format!("a command that pg_dump does not write under {kind} {name}: {start:?}"))
    }
}

/// The name as a comment shows it.
fn as_shown(name: &TableName) -> TableName {
    let shown = |name: &str| name.replace(['\n', '\r'], " ");
    TableName::new(shown(name.schema.as_str()), shown(name.name.as_str()))
}

fn holds_data(kind: &str) -> bool {
    matches!(kind, "TABLE DATA" | "BLOBS")
}

impl LargeObjects {
    /// Counts what a command of the large objects' data does.
    fn add(&mut self, command: &[u8]) {
        if command.starts_with(b"SELECT pg_catalog.lo_open(") {
            self.objects += 1;
        } else if command.starts_with(b"SELECT pg_catalog.lowrite(") {
            let digits = command.iter().skip_while(|byte| **byte != b'\\').skip_while(|byte| **byte != b'x');
            let digits = digits.skip(1).take_while(|byte| byte.is_ascii_hexdigit()).count();
            self.bytes += u64::try_from(digits / 2).unwrap_or(0);
        }
    }
}
