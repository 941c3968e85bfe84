//! Reads the COPY command that pg_dump stores with a table's rows: which table and which columns, in which order.

use crate::ident::{Ident, TableName};

/// Table and columns of `COPY schema.table (a, "B") FROM stdin;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyStatement {
    /// The table, in `schema` when the command names none (pg_dump before 10).
    pub(super) target: TableName,
    /// In the order of the fields; empty for a table without columns.
    pub(super) columns: Vec<Ident>,
}

/// `None` when it is not such a command.
pub(super) fn parse(statement: &str, schema: &str) -> Option<CopyStatement> {
    let mut scan = Scan { rest: statement.trim_start().strip_prefix("COPY ")? };
    let first = scan.ident()?;
    let target =
        if scan.symbol('.') { TableName::new(first, scan.ident()?) } else { TableName::new(schema, first) };
    let mut columns = Vec::new();
    if scan.symbol('(') {
        loop {
            columns.push(Ident::new(scan.ident()?));
            if scan.symbol(')') {
                break;
            }
            scan.symbol(',').then_some(())?;
        }
    }
    // Tables WITH OIDS (before PostgreSQL 12): each row begins with its OID.
    if scan.word("WITH") {
        scan.word("OIDS").then_some(())?;
        columns.insert(0, Ident::new("oid"));
    }
    (scan.word("FROM") && scan.word("stdin") && scan.symbol(';') && scan.rest.trim().is_empty())
        .then_some(CopyStatement { target, columns })
}

/// The table that `CREATE TABLE schema.table (` makes; `None` when it is no such command.
pub(super) fn created(definition: &str) -> Option<TableName> {
    let rest = definition.strip_prefix("CREATE ")?;
    let rest = rest.strip_prefix("UNLOGGED ").unwrap_or(rest);
    let mut scan = Scan { rest: rest.strip_prefix("TABLE ")? };
    let schema = scan.ident()?;
    scan.symbol('.').then_some(())?;
    Some(TableName::new(schema, scan.ident()?))
}

struct Scan<'a> {
    rest: &'a str,
}

impl Scan<'_> {
    fn symbol(&mut self, symbol: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(symbol);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn word(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(word) else { return false };
        let ends = !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        if ends {
            self.rest = rest;
        }
        ends
    }

    fn ident(&mut self) -> Option<String> {
        let text = self.rest.trim_start();
        if let Some(quoted) = text.strip_prefix('"') {
            return self.quoted(quoted);
        }
        let end = text
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$'))
            .unwrap_or(text.len());
        self.rest = text.get(end..)?;
        (end > 0).then(|| text[..end].to_owned())
    }

    fn quoted(&mut self, text: &str) -> Option<String> {
        let mut name = String::new();
        let mut letters = text.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' if letters.peek().is_some_and(|&(_, next)| next == '"') => {
                    letters.next();
                    name.push('"');
                }
                '"' => {
                    // Borrowed from `self.rest`, so cut it by length.
                    let behind = text.len() - at - 1;
                    self.rest = self.rest.get(self.rest.len() - behind..)?;
                    return Some(name);
                }
                other => name.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(schema: &str, table: &str, columns: &[&str]) -> CopyStatement {
        let columns = columns.iter().map(|&name| Ident::new(name)).collect();
        CopyStatement { target: TableName::new(schema, table), columns }
    }

    #[test]
    fn reads_what_pg_dump_writes() {
        let cases = [
            ("COPY public.orders (id, total) FROM stdin;\n", expected("public", "orders", &["id", "total"])),
            ("COPY orders (id) FROM stdin;\n", expected("app", "orders", &["id"])),
            ("COPY public.nothing  FROM stdin;\n", expected("public", "nothing", &[])),
            ("COPY old (id) WITH OIDS FROM stdin;\n", expected("app", "old", &["oid", "id"])),
            (
                "COPY \"Shop.x\".\"a \"\"b\"\" (c)\" (\"from\", \"Prénom, nom\", größe, a$1) FROM stdin;\n",
                expected("Shop.x", "a \"b\" (c)", &["from", "Prénom, nom", "größe", "a$1"]),
            ),
        ];
        for (statement, expected) in cases {
            assert_eq!(parse(statement, "app"), Some(expected), "{statement}");
        }
    }

    #[test]
    fn the_table_that_a_definition_makes() {
        let found = created("CREATE UNLOGGED TABLE \"a b\".\"c\nd\" (\n    id integer\n);");
        assert_eq!(found, Some(TableName::new("a b", "c\nd")));
        assert_eq!(created("CREATE TABLE a.b PARTITION OF c"), Some(TableName::new("a", "b")));
        assert_eq!(created("CREATE VIEW a.b AS"), None);
        assert_eq!(created("CREATE TABLE b (id int)"), None);
    }

    #[test]
    fn refuses_anything_else() {
        let cases = [
            "",
            "INSERT INTO a VALUES (1)",
            "COPY a.b.c (d) FROM stdin;",
            "COPY a (b FROM stdin;",
            "COPY a (b) TO stdout;",
            "COPY \"a (b) FROM stdin;",
            "COPY a (b) FROM stdin; DROP TABLE a;",
            "COPY a () FROM stdin;",
        ];
        for statement in cases {
            assert_eq!(parse(statement, "app"), None, "{statement}");
        }
    }
}
