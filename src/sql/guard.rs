//! What the user's SQL may not contain, decided on lexemes alone, so that it holds for text that no parser but
//! PostgreSQL's own understands. Refuses second statements, unbalanced brackets, writes, locks and variables.

use super::lexer::{Lexeme, split};
use super::predicate::PredicateError;

/// Functions that reach beyond the read-only transaction they run in.
const ACTING_FUNCTIONS: &[&str] = &[
    "dblink",
    "dblink_connect",
    "dblink_connect_u",
    "dblink_exec",
    "dblink_send_query",
    "lo_export",
    "lo_import",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_cancel_backend",
    "pg_logical_emit_message",
    "pg_notify",
    "pg_promote",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_terminate_backend",
    "set_config",
];

/// First words of statements that could also be names of columns; then an operator follows.
const STATEMENT_WORDS: &[&str] = &[
    "alter",
    "analyze",
    "begin",
    "call",
    "close",
    "cluster",
    "comment",
    "commit",
    "copy",
    "declare",
    "delete",
    "discard",
    "do",
    "drop",
    "end",
    "execute",
    "explain",
    "fetch",
    "import",
    "insert",
    "listen",
    "load",
    "lock",
    "merge",
    "move",
    "notify",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "set",
    "show",
    "start",
    "truncate",
    "unlisten",
    "update",
    "vacuum",
];

/// First words of statements that are reserved, so that no column is called so without quotes.
const RESERVED_STATEMENT_WORDS: &[&str] = &["create", "grant", "select", "table", "with"];

/// Words that may follow a column in an expression.
const OPERATOR_WORDS: &[&str] = &[
    "and", "at", "between", "collate", "ilike", "in", "is", "isnull", "like", "not", "notnull", "operator",
    "or", "overlaps", "similar",
];

type Lexemes<'a> = Vec<(usize, Lexeme<'a>)>;

/// One expression that writes nothing, as far as lexemes tell.
pub(super) fn expression(text: &str) -> Result<(), PredicateError> {
    let lexemes = checked(text)?;
    let first = word_at(&lexemes, 0);
    if first == "where" {
        return Err(PredicateError::Where);
    }
    if RESERVED_STATEMENT_WORDS.contains(&first.as_str())
        || (STATEMENT_WORDS.contains(&first.as_str()) && names_something(&lexemes, 1))
    {
        return Err(PredicateError::Statement(beginning(text, &lexemes)));
    }
    let mut depth = 0_u32;
    for (_, lexeme) in &lexemes {
        match lexeme {
            Lexeme::Symbol('(' | '[') => depth += 1,
            Lexeme::Symbol(')' | ']') => depth = depth.saturating_sub(1),
            Lexeme::Symbol(',') if depth == 0 => return Err(PredicateError::List),
            _ => {}
        }
    }
    Ok(())
}

/// One SELECT that writes and locks nothing, as far as lexemes tell.
pub(super) fn query(text: &str) -> Result<(), PredicateError> {
    let lexemes = checked(text)?;
    let first = (0..lexemes.len()).find(|&at| !matches!(lexemes[at].1, Lexeme::Symbol('('))).unwrap_or(0);
    match word_at(&lexemes, first).as_str() {
        "select" | "with" | "values" | "table" => Ok(()),
        _ => Err(PredicateError::NoSelect(beginning(text, &lexemes[first..]))),
    }
}

fn checked(text: &str) -> Result<Lexemes<'_>, PredicateError> {
    let lexemes = split(text).map_err(|unfinished| PredicateError::Unfinished(unfinished.words()))?;
    if lexemes.is_empty() {
        return Err(PredicateError::Empty);
    }
    if lexemes.iter().any(|(_, lexeme)| *lexeme == Lexeme::Parameter) {
        return Err(PredicateError::Parameter);
    }
    check_brackets(text, &lexemes)?;
    check_writes(text, &lexemes)?;
    Ok(lexemes)
}

/// Balanced brackets and no semicolon: then nothing can escape from the brackets that we put around the text.
fn check_brackets(text: &str, lexemes: &[(usize, Lexeme<'_>)]) -> Result<(), PredicateError> {
    let mut open = Vec::new();
    for (position, (offset, lexeme)) in lexemes.iter().enumerate() {
        let Lexeme::Symbol(symbol) = lexeme else { continue };
        match symbol {
            '(' | '[' => open.push(*symbol),
            ')' | ']' => {
                let partner = if *symbol == ')' { '(' } else { '[' };
                if open.pop() != Some(partner) {
                    return Err(PredicateError::Bracket(*symbol));
                }
            }
            ';' => return Err(PredicateError::Semicolon),
            ':' if is_psql_variable(text, lexemes, position, open.last() == Some(&'[')) => {
                let end = lexemes.get(position + 2).map_or(text.len(), |(end, _)| *end);
                return Err(PredicateError::PsqlVariable(text[*offset..end].trim().to_owned()));
            }
            _ => {}
        }
    }
    open.pop().map_or(Ok(()), |symbol| Err(PredicateError::Bracket(symbol)))
}

/// `:'v'`, `:"v"`, `:v`, but neither `a::int`, `f(a := 1)` nor the slice `a[1:n]`.
fn is_psql_variable(text: &str, lexemes: &[(usize, Lexeme<'_>)], position: usize, in_slice: bool) -> bool {
    let offset = lexemes[position].0;
    let before = text[..offset].chars().next_back();
    let after = text[offset + 1..].chars().next();
    if before == Some(':') {
        return false;
    }
    match after {
        Some('\'') => true,
        Some(letter) => !in_slice && (letter == '"' || letter == '_' || letter.is_alphabetic()),
        None => false,
    }
}

fn check_writes(text: &str, lexemes: &[(usize, Lexeme<'_>)]) -> Result<(), PredicateError> {
    let writes = |at: usize| Err(PredicateError::Writes(beginning(text, &lexemes[at..])));
    for at in 0..lexemes.len() {
        let word = word_at(lexemes, at);
        let next = word_at(lexemes, at + 1);
        let after_bracket = at == 0 || matches!(lexemes[at - 1].1, Lexeme::Symbol('('));
        match (word.as_str(), next.as_str()) {
            ("insert" | "merge", "into") | ("delete", "from") | ("into", _) | ("for", "update" | "share") => {
                return writes(at);
            }
            ("update", _) if after_bracket && at > 0 && names_something(lexemes, at + 1) => {
                return writes(at);
            }
            ("for", "no" | "key") if matches!(word_at(lexemes, at + 2).as_str(), "key" | "share") => {
                return writes(at);
            }
            (name, _) if is_call(lexemes, at) && ACTING_FUNCTIONS.contains(&name) => {
                return Err(PredicateError::Function(name.to_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_call(lexemes: &[(usize, Lexeme<'_>)], at: usize) -> bool {
    matches!(lexemes.get(at + 1), Some((_, Lexeme::Symbol('('))))
}

/// Is this lexeme a name, as behind the verb of a statement?
fn names_something(lexemes: &[(usize, Lexeme<'_>)], at: usize) -> bool {
    match lexemes.get(at) {
        Some((_, Lexeme::Word(word))) => !OPERATOR_WORDS.contains(&word.to_lowercase().as_str()),
        Some((_, Lexeme::Quoted(_) | Lexeme::Constant)) => true,
        _ => false,
    }
}

/// The word or quoted name at this position as PostgreSQL folds it, empty for anything else. A quoted name that is
/// a keyword is no keyword, so it keeps its quotes unless it can be the name of a function.
fn word_at(lexemes: &[(usize, Lexeme<'_>)], at: usize) -> String {
    match lexemes.get(at) {
        Some((_, Lexeme::Word(word))) => word.to_lowercase(),
        Some((_, Lexeme::Quoted(name))) if is_call(lexemes, at) => name.trim_matches('"').to_owned(),
        _ => String::new(),
    }
}

/// The first words, for a message.
fn beginning(text: &str, lexemes: &[(usize, Lexeme<'_>)]) -> String {
    let start = lexemes.first().map_or(0, |(at, _)| *at);
    let end = lexemes.get(3).map_or(text.len(), |(at, _)| *at);
    text[start..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::predicate::{Predicate, PredicateError as E, Query};

    #[test]
    fn good_predicates_pass() {
        let good = [
            "customer_id = 42 AND placed_at >= '2026-01-01'",
            "true",
            "a = 1 -- trailing",
            "/* why */ a IN (1, 2, 3)",
            "note LIKE '%; DROP TABLE x; --%'",
            "a BETWEEN SYMMETRIC 3 AND 1",
            "a ISNULL OR b NOTNULL",
            "addr <<= inet '10/8'",
            "payload @> '{\"a\": 1}' AND payload ->> 'k' = 'v'",
            "tags[1:2] = ARRAY['a', 'b'] AND tags[1:n] IS NULL",
            "id::text ~ '^4' AND make_interval(days := 3) > age",
            "EXISTS (SELECT 1 FROM items i WHERE i.order_id = orders.id)",
            "(a, b) IN (SELECT x, y FROM t)",
            "extract(epoch FROM created_at) > 10",
            "substring(name FROM 1 FOR 3) = 'abc'",
            "update IS NOT NULL AND \"delete\" = 3",
            "a = U&'\\0061'",
            "body = $$ it's; fine $$",
            "\"Größe\" > 3 AND naïve",
            "a = 'x\\'",
            "ts AT TIME ZONE 'UTC' > now() - interval '1 day'",
            "position('(' in note) > 0",
            "case when a then b else c end",
        ];
        for text in good {
            assert_eq!(Predicate::parse(text).map(|p| p.text().to_owned()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn bad_predicates_are_refused() {
        let bad = [
            ("", E::Empty),
            ("  -- nothing\n /* at all */", E::Empty),
            ("a = 'x", E::Unfinished("a string is not closed with '")),
            ("a = 1 /* open", E::Unfinished("a comment is not closed with */")),
            ("a = 1) OR (b = 2", E::Bracket(')')),
            ("(a = 1", E::Bracket('(')),
            ("a[1) = (2]", E::Bracket(')')),
            ("a = 1;", E::Semicolon),
            ("a = 1; DROP TABLE x", E::Semicolon),
            ("a = 'x'\n; SELECT 1", E::Semicolon),
            ("WHERE a = 1", E::Where),
            ("DROP TABLE x", E::Statement("DROP TABLE x".into())),
            ("SELECT id FROM t", E::Statement("SELECT id FROM".into())),
            ("with x as (select 1) select 2", E::Statement("with x as".into())),
            ("update orders set a = 1", E::Statement("update orders set".into())),
            ("a = 1, b = 2", E::List),
            ("EXISTS (WITH d AS (DELETE FROM x RETURNING 1) SELECT 1)", E::Writes("DELETE FROM x".into())),
            ("EXISTS (WITH d AS (UPDATE x SET a = 1) SELECT 1)", E::Writes("UPDATE x SET".into())),
            ("EXISTS (SELECT 1 FROM t FOR UPDATE)", E::Writes("FOR UPDATE)".into())),
            ("EXISTS (SELECT 1 INTO x FROM t)", E::Writes("INTO x FROM".into())),
            ("a = :'v'", E::PsqlVariable(":'v'".into())),
            ("a = :\"v\" AND b", E::PsqlVariable(":\"v\"".into())),
            ("a = :v", E::PsqlVariable(":v".into())),
            ("a = $1", E::Parameter),
            ("public.dblink_exec('x', 'y') IS NULL", E::Function("dblink_exec".into())),
            ("pg_catalog.\"set_config\"('a', 'b', false) = 'b'", E::Function("set_config".into())),
        ];
        for (text, wanted) in bad {
            assert_eq!(Predicate::parse(text), Err(wanted), "{text}");
        }
    }

    #[test]
    fn queries_are_one_select() {
        for good in [
            "SELECT id FROM orders WHERE a = 1, b",
            "(SELECT 1) UNION SELECT 2",
            "WITH x AS (SELECT 1 AS id) SELECT id FROM x",
            "VALUES (1), (2)",
            "TABLE lost",
        ] {
            assert_eq!(Query::parse(good).map(|q| q.wrapped()), Ok(format!("(\n{good}\n)")));
        }
        let bad = [
            ("id = 3", E::NoSelect("id = 3".into())),
            ("DELETE FROM x", E::Writes("DELETE FROM x".into())),
            ("SELECT 1; SELECT 2", E::Semicolon),
            ("SELECT * INTO t FROM x", E::Writes("INTO t FROM".into())),
            ("SELECT id FROM x FOR NO KEY UPDATE", E::Writes("FOR NO KEY".into())),
            (
                "WITH d AS (INSERT INTO x VALUES (1) RETURNING id) SELECT id FROM d",
                E::Writes("INSERT INTO x".into()),
            ),
        ];
        for (text, wanted) in bad {
            assert_eq!(Query::parse(text), Err(wanted), "{text}");
        }
    }
}
