//! The whole content of a database as text: what a test compares when it claims that nothing else changed.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Server;

/// Rows shown per table in a failure.
const SHOWN: usize = 12;

/// Per table (`schema.table(columns)`) its rows as canonical COPY text, sorted bytewise. Sequences are not rows:
/// see `TestDb::sequences`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    tables: BTreeMap<String, Vec<String>>,
}

impl Digest {
    /// Reads every ordinary table, partitions one by one.
    pub fn read(server: &Server, database: &str) -> Self {
        const LIST: &str = r"
            select pg_catalog.format('%I.%I', n.nspname, c.relname) || pg_catalog.chr(1) ||
                   pg_catalog.coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum), '')
            from pg_catalog.pg_class c
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            group by n.nspname, c.relname order by n.nspname, c.relname";
        let list = server.psql(database, &LIST.replace("pg_catalog.coalesce", "coalesce"));
        let headings: Vec<(&str, &str)> = list.lines().filter_map(|line| line.split_once('\u{1}')).collect();
        let mut script =
            String::from("set row_security = off; set search_path = ''; set lc_monetary = 'C';\n");
        for (table, columns) in &headings {
            writeln!(script, "\\echo '\u{1}'\ncopy (select {columns} from only {table}) to stdout;").unwrap();
        }
        let text = server.psql(database, &script);
        let mut tables = BTreeMap::new();
        let blocks = text.split("\u{1}\n").skip(1);
        for ((table, columns), block) in headings.iter().zip(blocks) {
            let mut rows: Vec<String> = block.lines().map(str::to_owned).collect();
            rows.sort();
            tables.insert(format!("{table}({columns})"), rows);
        }
        assert_eq!(tables.len(), headings.len(), "every table was read");
        Self { tables }
    }

    /// How many rows all tables have together.
    pub fn count(&self) -> usize {
        self.tables.values().map(Vec::len).sum()
    }

    /// The digest without the tables whose `schema.table` is named.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.tables.retain(|heading, _| !names.iter().any(|name| heading.starts_with(&format!("{name}("))));
        self
    }

    /// What differs, one block per table, `-` only in `self`, `+` only in `other`; empty when equal.
    pub fn difference(&self, other: &Self) -> String {
        let mut report = String::new();
        let none = Vec::new();
        let headings: std::collections::BTreeSet<&String> =
            self.tables.keys().chain(other.tables.keys()).collect();
        for heading in headings {
            let left = self.tables.get(heading).unwrap_or(&none);
            let right = other.tables.get(heading).unwrap_or(&none);
            let (only_left, only_right) = (surplus(left, right), surplus(right, left));
            if only_left.is_empty() && only_right.is_empty() {
                continue;
            }
            writeln!(
                report,
                "== {heading}: {} only expected, {} only found",
                only_left.len(),
                only_right.len()
            )
            .unwrap();
            for (sign, rows) in [('-', &only_left), ('+', &only_right)] {
                for row in rows.iter().take(SHOWN) {
                    writeln!(report, "{sign} {row}").unwrap();
                }
                if rows.len() > SHOWN {
                    writeln!(report, "{sign} … {} more", rows.len() - SHOWN).unwrap();
                }
            }
        }
        report
    }

    /// Panics with the differing rows unless `found` is equal to `self`, the expected content.
    #[track_caller]
    pub fn assert_same(&self, found: &Self, what: &str) {
        let difference = self.difference(found);
        assert!(difference.is_empty(), "{what}: the databases differ\n{difference}");
    }
}

/// The rows of the sorted list `rows` that the sorted list `others` has not (or has fewer times).
fn surplus<'rows>(rows: &'rows [String], others: &[String]) -> Vec<&'rows str> {
    let mut found = Vec::new();
    let mut others = others.iter().peekable();
    for row in rows {
        while others.next_if(|other| *other < row).is_some() {}
        if others.next_if(|other| *other == row).is_none() {
            found.push(row.as_str());
        }
    }
    found
}
