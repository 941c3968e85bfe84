//! The text of a batch or undo file: steps in a fixed order, each behind a comment line that names it, so that `psql -f`
//! runs the file as it stands and `apply` can run the very same text step by step. Pure: text in, text out.
//!
//! ```text
//! -- rowback batch 0001, format 1
//! -- step: begin
//! begin;
//! -- step: stage 1
//! create temporary table …;
//! copy pg_temp."rowback_1" (…) from stdin;
//! …rows of COPY text…
//! \.
//! -- step: write
//! …
//! ```

/// What a step is for. `apply` treats them differently; psql just runs them one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// `begin`: apply opens its own transaction instead.
    Begin,
    /// Session settings that hold for this transaction only.
    Settings,
    /// A temporary table and the rows that go into it.
    Stage,
    /// Marks rows of the temporary tables that must stay as they are (undo only).
    Hold,
    /// The one statement that changes live.
    Write,
    /// Sets inserted rows that a trigger altered to their staged values; returns how many.
    Settle,
    /// Returns one row for each staged row that did not end as staged: table, key (JSON text), outcome.
    Report,
    /// `commit`: apply commits itself, after the journal is on disk.
    Commit,
}

impl StepKind {
    fn word(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Settings => "settings",
            Self::Stage => "stage",
            Self::Hold => "hold",
            Self::Write => "write",
            Self::Settle => "settle",
            Self::Report => "report",
            Self::Commit => "commit",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [
            Self::Begin,
            Self::Settings,
            Self::Stage,
            Self::Hold,
            Self::Write,
            Self::Settle,
            Self::Report,
            Self::Commit,
        ]
        .into_iter()
        .find(|kind| kind.word() == word)
    }
}

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is for.
    pub kind: StepKind,
    /// Its SQL, one or more statements.
    pub sql: String,
    /// For a stage: the COPY statement and its rows, each with its newline.
    pub copy: Option<CopyBlock>,
}

/// Rows that go into a temporary table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyBlock {
    /// `copy … from stdin`, without the semicolon.
    pub sql: String,
    /// COPY text, each row with its newline, without the end marker.
    pub rows: Vec<u8>,
}

impl Step {
    /// A step that is SQL only.
    pub fn sql(kind: StepKind, sql: impl Into<String>) -> Self {
        Self { kind, sql: sql.into(), copy: None }
    }
}

const MARK: &str = "-- step: ";

/// Writes a script: the title lines as comments, then the steps.
pub fn render(title: &[String], steps: &[Step]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in title {
        text.extend_from_slice(format!("-- {line}\n").as_bytes());
    }
    for step in steps {
        text.extend_from_slice(format!("{MARK}{}\n{}\n", step.kind.word(), step.sql).as_bytes());
        if let Some(copy) = &step.copy {
            text.extend_from_slice(format!("{};\n", copy.sql).as_bytes());
            text.extend_from_slice(&copy.rows);
            text.extend_from_slice(END_OF_ROWS);
        }
    }
    text
}

/// Why a file is no script of rowback's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The text is no UTF-8 or has lines before the first step that are no comments.
    #[error("line {line} is no part of a rowback script")]
    Unexpected {
        /// Line number, from 1.
        line: usize,
    },
    /// A COPY block has no end.
    #[error("the rows that begin at line {line} have no end")]
    Unended {
        /// Line number of the COPY statement, from 1.
        line: usize,
    },
}

/// Reads a script back into its steps; the exact reverse of `render`.
pub fn parse(text: &[u8]) -> Result<Vec<Step>, ScriptError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length + 1);
        let unexpected = || ScriptError::Unexpected { line: line_number(text, at) };
        let line = std::str::from_utf8(&text[at..end]).map_err(|_source| unexpected())?;
        let line = line.trim_end_matches('\n');
        if let Some(word) = line.strip_prefix(MARK) {
            let kind = StepKind::parse(word).ok_or_else(unexpected)?;
            steps.push(Step::sql(kind, ""));
        } else if let Some(step) = steps.last_mut() {
            if step.kind == StepKind::Stage && line.starts_with("copy ") && line.ends_with(" from stdin;") {
                let unended = || ScriptError::Unended { line: line_number(text, at) };
                let rows = copy_rows(&text[end..]).ok_or_else(unended)?;
                step.copy =
                    Some(CopyBlock { sql: line.trim_end_matches(';').to_owned(), rows: rows.to_vec() });
                at = end + rows.len() + END_OF_ROWS.len();
                continue;
            }
            if !step.sql.is_empty() {
                step.sql.push('\n');
            }
            step.sql.push_str(line);
        } else if !line.starts_with("--") {
            return Err(unexpected());
        }
        at = end;
    }
    Ok(steps)
}

const END_OF_ROWS: &[u8] = b"\\.\n";

/// The rows before the end marker, which is a line of its own; `None` when there is none.
fn copy_rows(text: &[u8]) -> Option<&[u8]> {
    let mut ends = memchr::memmem::find_iter(text, END_OF_ROWS);
    let end = ends.find(|&at| at == 0 || text[at - 1] == b'\n')?;
    Some(&text[..end])
}

/// Number of the line, from 1, that begins at an offset.
fn line_number(text: &[u8], at: usize) -> usize {
    memchr::memchr_iter(b'\n', &text[..at]).count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_back_as_it_was_written() {
        let steps = vec![
            Step::sql(StepKind::Begin, "begin;"),
            Step {
                kind: StepKind::Stage,
                sql: "create temporary table \"rowback_1\" on commit drop as\nselect 1 as a;".into(),
                copy: Some(CopyBlock {
                    sql: "copy pg_temp.\"rowback_1\" (\"a\") from stdin".into(),
                    rows: b"-- step: write\n\\\\.\n\n\xc3\xa9\n".to_vec(),
                }),
            },
            Step::sql(StepKind::Write, "insert into x\n\nselect 1;"),
        ];
        let text = render(&["rowback batch 0001, format 1".into()], &steps);
        assert_eq!(parse(&text), Ok(steps));
        assert_eq!(parse(b"drop table x;\n"), Err(ScriptError::Unexpected { line: 1 }));
        let cut = &text[..text.len() - 60];
        assert!(matches!(parse(cut), Err(ScriptError::Unended { .. })), "{}", String::from_utf8_lossy(cut));
    }
}
