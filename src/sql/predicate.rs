//! The user's SQL: a condition (`where`, `damaged`, `when`, `owner_from`) or a `query`. Guards that it is one
//! expression or one `SELECT` and writes nothing. The text is never rewritten; PostgreSQL is the final judge, in a
//! read-only transaction.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident as SqlIdent, Query as SqlQuery, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::guard;
use crate::error::{Explain, Kind};

/// A column as an expression names it, outside of its sub-selects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnRef {
    /// Table or alias before the dot, folded as PostgreSQL does.
    pub qualifier: Option<String>,
    /// The column, folded as PostgreSQL does.
    pub name: String,
}

/// One SQL expression that writes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    text: String,
    columns: Option<BTreeSet<ColumnRef>>,
}

impl Predicate {
    /// Checks `text`; valid PostgreSQL that `sqlparser` does not know passes, since the server decides.
    pub fn parse(text: &str) -> Result<Self, PredicateError> {
        guard::expression(text)?;
        Ok(Self { text: text.to_owned(), columns: expression_columns(text) })
    }

    /// The text as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text in brackets on lines of their own, so that a trailing `--` comment cannot eat the bracket.
    pub fn wrapped(&self) -> String {
        format!("(\n{}\n)", self.text)
    }

    /// Columns named outside of sub-selects; `None` when only PostgreSQL can read the expression. Good for hints,
    /// not for decisions: a name may be a variable-like function or a whole-row reference.
    pub fn columns(&self) -> Option<&BTreeSet<ColumnRef>> {
        self.columns.as_ref()
    }
}

/// One `SELECT` (also `WITH … SELECT`, `VALUES`, `TABLE`) that writes and locks nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: String,
}

impl Query {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, PredicateError> {
        guard::query(text)?;
        Ok(Self { text: text.to_owned() })
    }

    /// The text as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text in brackets on lines of their own.
    pub fn wrapped(&self) -> String {
        format!("(\n{}\n)", self.text)
    }
}

/// Why text is no predicate or query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredicateError {
    /// Nothing but white space and comments.
    #[error("the SQL text is empty")]
    Empty,
    /// A string, name or comment without end, or a NUL.
    #[error("the SQL text is unfinished: {0}")]
    Unfinished(&'static str),
    /// Brackets do not match.
    #[error("a bracket {0:?} has no partner")]
    Bracket(char),
    /// A semicolon outside of strings and comments.
    #[error("the SQL text contains a semicolon")]
    Semicolon,
    /// Begins like a statement.
    #[error("an expression was expected, this begins like a statement: {0}")]
    Statement(String),
    /// More than one expression.
    #[error("one expression was expected, this is a list")]
    List,
    /// Begins with WHERE.
    #[error("the condition begins with the word WHERE")]
    Where,
    /// Does not begin like a SELECT.
    #[error("a SELECT was expected, this begins with {0:?}")]
    NoSelect(String),
    /// Contains INSERT, UPDATE, DELETE, MERGE, INTO or a row lock.
    #[error("the SQL text writes or locks: {0}")]
    Writes(String),
    /// A psql variable.
    #[error("the SQL text contains a psql variable: {0}")]
    PsqlVariable(String),
    /// `$1`.
    #[error("the SQL text contains a parameter ($1, $2, …)")]
    Parameter,
    /// A function that acts outside of the transaction or changes the session.
    #[error("the SQL text calls {0}(), which acts on more than its own transaction")]
    Function(String),
}

impl Explain for PredicateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "predicate-empty",
            Self::Unfinished(_) => "predicate-unfinished",
            Self::Bracket(_) => "predicate-bracket",
            Self::Semicolon => "predicate-semicolon",
            Self::Statement(_) => "predicate-statement",
            Self::List => "predicate-list",
            Self::Where => "predicate-begins-with-where",
            Self::NoSelect(_) => "query-no-select",
            Self::Writes(_) => "predicate-writes",
            Self::PsqlVariable(_) => "predicate-psql-variable",
            Self::Parameter => "predicate-parameter",
            Self::Function(_) => "predicate-function",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn causes(&self) -> Vec<String> {
        Vec::new()
    }

    fn hint(&self) -> String {
        let advice = match self {
            Self::Empty => "Write a condition; \"true\" means every row.",
            Self::Unfinished(_) => "Close it; a quote inside a string is written twice.",
            Self::Bracket(_) => "Every bracket that is opened must be closed, in order.",
            Self::Semicolon => "Leave the semicolon out; only one expression or SELECT is evaluated.",
            Self::Statement(_) => {
                "Write only the condition, as it would stand after WHERE. A SELECT goes into `query`, the statement \
                 that did the damage into `replay`."
            }
            Self::List => "Join conditions with AND or OR instead of a comma.",
            Self::Where => "Leave the word WHERE out.",
            Self::NoSelect(_) => "Write one SELECT that returns the key columns.",
            Self::Writes(_) => {
                "Predicates and queries only read. The statement that did the damage goes into `replay`."
            }
            Self::PsqlVariable(_) => "Write the value itself; variables of psql are not replaced here.",
            Self::Parameter => "Write the value itself; no parameters are passed.",
            Self::Function(_) => "Write the condition without that function.",
        };
        format!("{advice} Nothing was touched.")
    }
}

fn expression_columns(text: &str) -> Option<BTreeSet<ColumnRef>> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).ok()?;
    let expression = parser.parse_expr().ok()?;
    if parser.peek_token().token != Token::EOF {
        return None;
    }
    let mut collector = Collector::default();
    match expression.visit(&mut collector) {
        ControlFlow::Continue(()) => Some(collector.columns),
        ControlFlow::Break(never) => match never {},
    }
}

/// Words that `sqlparser` takes for columns and PostgreSQL for functions.
const VALUE_WORDS: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

#[derive(Default)]
struct Collector {
    depth: u32,
    columns: BTreeSet<ColumnRef>,
}

fn folded(ident: &SqlIdent) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

impl Visitor for Collector {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _: &SqlQuery) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &SqlQuery) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        let column = match expression {
            Expr::Identifier(ident) if !VALUE_WORDS.contains(&folded(ident).as_str()) => {
                Some(ColumnRef { qualifier: None, name: folded(ident) })
            }
            Expr::CompoundIdentifier(parts) => parts.split_last().map(|(name, qualifier)| ColumnRef {
                qualifier: Some(qualifier.iter().map(folded).collect::<Vec<_>>().join(".")),
                name: folded(name),
            }),
            _ => None,
        };
        if let (0, Some(column)) = (self.depth, column) {
            self.columns.insert(column);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> Option<Vec<String>> {
        let predicate = Predicate::parse(text).unwrap();
        let show = |column: &ColumnRef| match &column.qualifier {
            Some(qualifier) => format!("{qualifier}.{}", column.name),
            None => column.name.clone(),
        };
        predicate.columns().map(|columns| columns.iter().map(show).collect())
    }

    #[test]
    fn columns_outside_of_sub_selects_are_found() {
        let cases: [(&str, Option<&[&str]>); 6] = [
            ("customer_id = 42 AND placed_at >= '2026-01-01'", Some(&["customer_id", "placed_at"])),
            ("live.Email LIKE '%@x' AND backup.\"Email\" <> ''", Some(&["backup.Email", "live.email"])),
            ("id IN (SELECT order_id FROM items WHERE kind = 3)", Some(&["id"])),
            ("created_at < current_date - interval '1 day'", Some(&["created_at"])),
            ("a BETWEEN SYMMETRIC 3 AND 1", None),
            ("true", Some(&[])),
        ];
        for (text, wanted) in cases {
            let wanted = wanted.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(columns(text), wanted, "{text}");
        }
    }

    #[test]
    fn text_is_wrapped_unchanged() {
        let predicate = Predicate::parse("a = 1 -- why").unwrap();
        assert_eq!((predicate.text(), predicate.wrapped().as_str()), ("a = 1 -- why", "(\na = 1 -- why\n)"));
    }

    #[test]
    fn every_error_has_its_words() {
        use PredicateError as E;
        let all = [
            E::Empty,
            E::Unfinished("a string is not closed with '"),
            E::Bracket(')'),
            E::Semicolon,
            E::Statement("DROP TABLE".into()),
            E::List,
            E::Where,
            E::NoSelect("id".into()),
            E::Writes("DELETE FROM".into()),
            E::PsqlVariable(":'v'".into()),
            E::Parameter,
            E::Function("dblink".into()),
        ];
        let lines: Vec<_> = all.iter().map(|e| format!("[{}] {e} | {}", e.code(), e.hint())).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        [predicate-empty] the SQL text is empty | Write a condition; "true" means every row. Nothing was touched.
        [predicate-unfinished] the SQL text is unfinished: a string is not closed with ' | Close it; a quote inside a string is written twice. Nothing was touched.
        [predicate-bracket] a bracket ')' has no partner | Every bracket that is opened must be closed, in order. Nothing was touched.
        [predicate-semicolon] the SQL text contains a semicolon | Leave the semicolon out; only one expression or SELECT is evaluated. Nothing was touched.
        [predicate-statement] an expression was expected, this begins like a statement: DROP TABLE | Write only the condition, as it would stand after WHERE. A SELECT goes into `query`, the statement that did the damage into `replay`. Nothing was touched.
        [predicate-list] one expression was expected, this is a list | Join conditions with AND or OR instead of a comma. Nothing was touched.
        [predicate-begins-with-where] the condition begins with the word WHERE | Leave the word WHERE out. Nothing was touched.
        [query-no-select] a SELECT was expected, this begins with "id" | Write one SELECT that returns the key columns. Nothing was touched.
        [predicate-writes] the SQL text writes or locks: DELETE FROM | Predicates and queries only read. The statement that did the damage goes into `replay`. Nothing was touched.
        [predicate-psql-variable] the SQL text contains a psql variable: :'v' | Write the value itself; variables of psql are not replaced here. Nothing was touched.
        [predicate-parameter] the SQL text contains a parameter ($1, $2, …) | Write the value itself; no parameters are passed. Nothing was touched.
        [predicate-function] the SQL text calls dblink(), which acts on more than its own transaction | Write the condition without that function. Nothing was touched.
        "#);
    }
}
