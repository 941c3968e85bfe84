//! Why a text is refused that is SQL and yet no plain dump of one database, and what to do about each.

/// Why a text is not taken for a dump of one database.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Names or definitions are not in UTF-8.
    Encoding,
    /// It is not what pg_dump writes for one database.
    Foreign {
        /// What it holds instead.
        fact: String,
        /// What to do about it.
        advice: &'static str,
    },
}

impl Refusal {
    pub(super) fn new(fact: impl Into<String>, advice: &'static str) -> Self {
        Self::Foreign { fact: fact.into(), advice }
    }

    pub(super) fn no_dump() -> Self {
        Self::new(
            "the comment \"PostgreSQL database dump\" with which pg_dump begins is not there",
            "Name a dump as pg_dump wrote it, comments included.",
        )
    }

    pub(super) fn line_ends() -> Self {
        Self::new(
            "something else than a line end follows a COPY command",
            "If lines end with CR LF, the file was changed on its way: copy it again as it is (binary), or restore it with \
             psql into a database of its own and dump that with `pg_dump -Fc`.",
        )
    }

    pub(super) fn psql(line: &str) -> Self {
        let command: String = line.chars().take_while(|letter| !letter.is_whitespace()).take(40).collect();
        Self::new(
            format!("it holds the psql command {command:?}, which pg_dump does not write there"),
            "rowback runs no psql commands. Name a dump as pg_dump wrote it, or, if you trust this one, restore it with \
             psql into a database of its own and dump that with `pg_dump -Fc`.",
        )
    }

    pub(super) fn several() -> Self {
        Self::new(
            "it holds the dumps of several databases, as pg_dumpall writes them",
            "Dump the one database with `pg_dump -Fc`, or cut its part out of the file: from its line \
             `-- PostgreSQL database dump` to `-- PostgreSQL database dump complete` and the \\unrestrict after it.",
        )
    }

    pub(super) fn edited(fact: impl Into<String>) -> Self {
        Self::new(
            fact,
            "Name a dump as pg_dump wrote it, or restore this one with psql into a database of its own and dump that with \
             `pg_dump -Fc`.",
        )
    }
}

impl From<std::str::Utf8Error> for Refusal {
    fn from(_: std::str::Utf8Error) -> Self {
        Self::Encoding
    }
}
