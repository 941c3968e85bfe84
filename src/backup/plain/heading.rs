//! The comment lines by which pg_dump says in a plain dump what follows: its versions, and each entry of what would be an
//! archive's table of contents. Names in them are made harmless (line ends become blanks), so that they can only be shown.

use crate::backup::contents::Section;

/// What a comment line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heading {
    /// A dump begins.
    Dump,
    /// The dump is complete.
    Complete,
    /// A dump of several databases by pg_dumpall.
    Cluster,
    /// Version of the server.
    Server(String),
    /// Version of pg_dump.
    PgDump(String),
    /// `YYYY-MM-DDThh:mm:ss`, with --verbose only.
    Started(String),
    /// The number of the entry that follows, with --verbose only.
    Number(i32),
    /// Numbers of what the entry that follows depends on, with --verbose only.
    Dependencies(Vec<i32>),
    /// An entry begins.
    Entry(Title),
}

/// The line with an entry's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Title {
    pub(super) kind: String,
    pub(super) schema: Option<String>,
    pub(super) name: String,
    pub(super) owner: Option<String>,
}

/// Reads a line, without its `--`; `None` when it says nothing that matters.
pub(super) fn parse(line: &str) -> Option<Heading> {
    let text = line.strip_prefix(' ')?.trim_end_matches('\r');
    match text {
        "PostgreSQL database dump" => return Some(Heading::Dump),
        "PostgreSQL database dump complete" => return Some(Heading::Complete),
        "PostgreSQL database cluster dump" => return Some(Heading::Cluster),
        _ => {}
    }
    if let Some(version) = text.strip_prefix("Dumped from database version ") {
        return Some(Heading::Server(version.to_owned()));
    }
    if let Some(version) = text.strip_prefix("Dumped by pg_dump version ") {
        return Some(Heading::PgDump(version.to_owned()));
    }
    if let Some(time) = text.strip_prefix("Started on ") {
        return started(time).map(Heading::Started);
    }
    if let Some(rest) = text.strip_prefix("TOC entry ") {
        return rest.split(' ').next()?.parse().ok().map(Heading::Number);
    }
    if let Some(rest) = text.strip_prefix("Dependencies: ") {
        let numbers = rest.split(' ').map(str::parse).collect::<Result<Vec<i32>, _>>();
        return numbers.ok().map(Heading::Dependencies);
    }
    let entry = ["Name: ", "Data for Name: ", "Statistics for Name: "];
    entry.iter().find_map(|start| text.strip_prefix(start)).and_then(title).map(Heading::Entry)
}

/// `2026-11-19 14:03:00 UTC`, by the clock of the dumping machine.
fn started(time: &str) -> Option<String> {
    let mut parts = time.split(' ');
    let both = format!("{}T{}", parts.next()?, parts.next()?);
    both.parse::<jiff::civil::DateTime>().ok().map(|civil| civil.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// `orders; Type: TABLE; Schema: public; Owner: shop`. Read from its end, since a name may hold anything.
fn title(text: &str) -> Option<Title> {
    let (text, owner) = text.rsplit_once("; Owner: ")?;
    let (text, schema) = text.rsplit_once("; Schema: ")?;
    let (name, kind) = text.rsplit_once("; Type: ")?;
    let owner = owner.split_once("; Tablespace: ").map_or(owner, |(owner, _)| owner);
    let there = |text: &str| (text != "-" && !text.is_empty()).then(|| text.to_owned());
    Some(Title { kind: kind.to_owned(), schema: there(schema), name: name.to_owned(), owner: there(owner) })
}

/// When pg_dump would restore an entry of this kind.
pub(super) fn section(kind: &str) -> Section {
    match kind {
        "COMMENT" | "ACL" | "SECURITY LABEL" | "STATISTICS DATA" => Section::None,
        "TABLE DATA" | "BLOBS" | "SEQUENCE SET" => Section::Data,
        "INDEX"
        | "INDEX ATTACH"
        | "CONSTRAINT"
        | "FK CONSTRAINT"
        | "CHECK CONSTRAINT"
        | "TRIGGER"
        | "RULE"
        | "POLICY"
        | "ROW SECURITY"
        | "EVENT TRIGGER"
        | "STATISTICS"
        | "PUBLICATION"
        | "PUBLICATION TABLE"
        | "PUBLICATION TABLES IN SCHEMA"
        | "SUBSCRIPTION"
        | "SUBSCRIPTION TABLE"
        | "MATERIALIZED VIEW DATA"
        | "DEFAULT ACL" => Section::PostData,
        _ => Section::PreData,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, schema: Option<&str>, name: &str, owner: Option<&str>) -> Heading {
        let own = str::to_owned;
        let title =
            Title { kind: own(kind), schema: schema.map(own), name: own(name), owner: owner.map(own) };
        Heading::Entry(title)
    }

    #[test]
    fn reads_what_pg_dump_writes() {
        assert_eq!(parse(" PostgreSQL database dump"), Some(Heading::Dump));
        assert_eq!(parse(" PostgreSQL database dump complete"), Some(Heading::Complete));
        assert_eq!(parse(" PostgreSQL database cluster dump"), Some(Heading::Cluster));
        assert_eq!(
            parse(" Dumped from database version 15.18 (Debian 15.18-0+deb12u1)"),
            Some(Heading::Server("15.18 (Debian 15.18-0+deb12u1)".into()))
        );
        assert_eq!(
            parse(" Started on 2026-11-21 14:02:03 UTC"),
            Some(Heading::Started("2026-11-21T14:02:03".into()))
        );
        assert_eq!(parse(" TOC entry 3386 (class 0 OID 16419)"), Some(Heading::Number(3386)));
        assert_eq!(parse(" Dependencies: 222 3390"), Some(Heading::Dependencies(vec![222, 3390])));
        assert_eq!(
            parse(" Name: orders; Type: TABLE; Schema: public; Owner: shop; Tablespace: fast"),
            Some(entry("TABLE", Some("public"), "orders", Some("shop")))
        );
        assert_eq!(
            parse(" Data for Name: a; Type: X; Type: TABLE DATA; Schema: public; Owner: -"),
            Some(entry("TABLE DATA", Some("public"), "a; Type: X", None))
        );
        assert_eq!(
            parse(" Name: plpgsql; Type: EXTENSION; Schema: -; Owner: "),
            Some(entry("EXTENSION", None, "plpgsql", None))
        );
        for line in ["", "x", " Name: x", " Started on yesterday", "Name: a; Type: B; Schema: c; Owner: d"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
