//! A condition as PostgreSQL prints it back (`pg_get_viewdef`), taken apart into clauses over single columns. The server
//! has resolved every name, operator, cast and constant in it, so nothing is guessed here; what is not understood stays
//! a clause that says nothing. Never reads the user's own text.

use sqlparser::ast::{BinaryOperator, CastKind, Expr, Ident as SqlIdent, UnaryOperator, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::lexer::{Lexeme, split};

/// A condition, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// All of these.
    And(Vec<Clause>),
    /// At least one of these.
    Or(Vec<Clause>),
    /// The opposite, NULL staying NULL.
    Not(Box<Clause>),
    /// One column against constants.
    Test(ColumnTest),
    /// Anything else, as it stands.
    Other(String),
}

/// One column against constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnTest {
    /// The column's name.
    pub column: String,
    /// The type that the column is cast to, as PostgreSQL spells it.
    pub cast: Option<String>,
    /// What is asked of it.
    pub question: Question,
}

/// What is asked of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// `IS NULL`.
    IsNull,
    /// The boolean itself.
    IsTrue,
    /// An operator of `pg_catalog`.
    Compare(Comparison, Literal),
    /// `= ANY (ARRAY[…])`.
    Among(Vec<Literal>),
    /// `LIKE`.
    Like(Literal),
}

/// The operators that compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// The operator with its sides changed.
    fn flipped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

/// A constant of a known type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// As the type prints it.
    pub text: String,
    /// The type as PostgreSQL spells it, in lower case unless it is quoted.
    pub type_name: String,
}

/// The condition of `select … from … where …;`, the definition of a view over one table known as `table`. `None` when
/// there is no condition to be found in it.
pub fn of_view(definition: &str, table: &str) -> Option<Clause> {
    let lexemes = split(definition).ok()?;
    let mut depth = 0_u32;
    let at = lexemes.iter().position(|(_, lexeme)| {
        depth = deeper(depth, *lexeme);
        depth == 0 && *lexeme == Lexeme::Word("WHERE")
    })?;
    let end = lexemes.len() - usize::from(matches!(lexemes.last(), Some((_, Lexeme::Symbol(';')))));
    let printed = Printed { text: definition, table, lexemes: &lexemes };
    (at + 1 < end).then(|| printed.clause(at + 1, end))
}

/// Does the user's condition mean the same whenever and over however many rows it is evaluated? Not so with `'now'`,
/// which is a constant of the moment of parsing, nor with places of rows, nor with what may read a table by a name in
/// a string. In doubt it does not.
pub fn is_steady(text: &str) -> bool {
    const MOMENTS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
    const PLACES: [&str; 5] = ["ctid", "xmin", "xmax", "cmin", "cmax"];
    let lower = text.to_lowercase();
    let Ok(lexemes) = split(&lower) else { return false };
    // Strings and names with escapes would have to be read first.
    if lower.contains('\\') || lower.contains("u&") {
        return false;
    }
    let ends = lexemes.iter().skip(1).map(|(offset, _)| *offset).chain([lower.len()]);
    lexemes.iter().zip(ends).all(|((start, lexeme), end)| match lexeme {
        Lexeme::Constant => !MOMENTS.iter().any(|word| lower[*start..end].contains(word)),
        Lexeme::Word(name) | Lexeme::Quoted(name) => {
            let name = name.trim_matches('"');
            let reads_anything = name.starts_with("pg_") || name.starts_with("ts_") || name.contains("xml");
            !reads_anything && !PLACES.contains(&name) && !name.starts_with("dblink")
        }
        _ => true,
    })
}

fn deeper(depth: u32, lexeme: Lexeme<'_>) -> u32 {
    match lexeme {
        Lexeme::Symbol('(' | '[') => depth + 1,
        Lexeme::Symbol(')' | ']') => depth.saturating_sub(1),
        _ => depth,
    }
}

struct Printed<'a> {
    text: &'a str,
    table: &'a str,
    lexemes: &'a [(usize, Lexeme<'a>)],
}

impl Printed<'_> {
    /// The clause of the lexemes `start..end`. PostgreSQL prints every AND, OR and NOT in brackets of its own, so
    /// bracket by bracket is enough.
    fn clause(&self, start: usize, end: usize) -> Clause {
        if self.is_bracketed(start, end) {
            return self.clause(start + 1, end - 1);
        }
        let words = self.outer_words(start, end);
        let only_logic = words.iter().all(|(_, word)| matches!(*word, "AND" | "OR" | "NOT"));
        let parts = |wanted: &str| -> Vec<Clause> {
            let mut from = start;
            let stops = words.iter().filter(|(_, word)| *word == wanted).map(|(at, _)| *at).chain([end]);
            stops
                .map(|at| {
                    let part = self.clause(from, at);
                    from = at + 1;
                    part
                })
                .collect()
        };
        let joins = |wanted: &str| words.iter().any(|(_, word)| *word == wanted);
        // `CASE WHEN (a AND b) …`, `x IS NOT TRUE`, `SELECT …`: words that make it something else than pure logic.
        let foreign =
            words.iter().any(|(_, word)| matches!(*word, "CASE" | "SELECT" | "BETWEEN" | "WITH" | "VALUES"));
        if foreign || start >= end {
            return self.leaf(start, end);
        }
        match (joins("AND"), joins("OR")) {
            (true, false) => Clause::And(parts("AND")),
            (false, true) => Clause::Or(parts("OR")),
            (true, true) => Clause::Other(self.slice(start, end).to_owned()),
            (false, false) if only_logic && self.lexemes[start].1 == Lexeme::Word("NOT") => {
                Clause::Not(Box::new(self.clause(start + 1, end)))
            }
            (false, false) => self.leaf(start, end),
        }
    }

    fn is_bracketed(&self, start: usize, end: usize) -> bool {
        if end < start + 2 || self.lexemes[start].1 != Lexeme::Symbol('(') {
            return false;
        }
        let mut depth = 0;
        let closes = (start..end).find(|&at| {
            depth = deeper(depth, self.lexemes[at].1);
            depth == 0
        });
        closes == Some(end - 1)
    }

    /// Words in capitals outside of all brackets; PostgreSQL prints its keywords so, and quotes such names.
    fn outer_words(&self, start: usize, end: usize) -> Vec<(usize, &str)> {
        let mut depth = 0;
        let mut found = Vec::new();
        for at in start..end {
            depth = deeper(depth, self.lexemes[at].1);
            if let (0, Lexeme::Word(word)) = (depth, self.lexemes[at].1)
                && word.bytes().all(|byte| byte.is_ascii_uppercase())
            {
                found.push((at, word));
            }
        }
        found
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        let place = |at: usize| self.lexemes.get(at).map_or(self.text.len(), |(offset, _)| *offset);
        self.text[place(start)..place(end)].trim()
    }

    fn leaf(&self, start: usize, end: usize) -> Clause {
        let text = self.slice(start, end);
        let parsed = parse(text).and_then(|expression| clause_of(&expression, self.table));
        parsed.unwrap_or_else(|| Clause::Other(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Expr> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).ok()?;
    let expression = parser.parse_expr().ok()?;
    (parser.peek_token().token == Token::EOF).then_some(expression)
}

fn clause_of(expression: &Expr, table: &str) -> Option<Clause> {
    let test = |inner: &Expr, question: Question| column(inner, table).map(|column| column.test(question));
    let not = |clause: Clause| Clause::Not(Box::new(clause));
    Some(match expression {
        Expr::Nested(inner) => clause_of(inner, table)?,
        Expr::IsNull(inner) => test(inner, Question::IsNull)?,
        Expr::IsNotNull(inner) => not(test(inner, Question::IsNull)?),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => not(clause_of(expr, table)?),
        Expr::BinaryOp { left, op, right } => binary(left, op, right, table)?,
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            test(left, Question::Among(literals(right)?))?
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
            not(test(left, Question::Among(literals(right)?))?)
        }
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => test(expression, Question::IsTrue)?,
        _ => return None,
    })
}

fn binary(left: &Expr, op: &BinaryOperator, right: &Expr, table: &str) -> Option<Clause> {
    let comparison = match op {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        BinaryOperator::PGLikeMatch => {
            return Some(column(left, table)?.test(Question::Like(literal(right)?)));
        }
        BinaryOperator::PGNotLikeMatch => {
            let like = column(left, table)?.test(Question::Like(literal(right)?));
            return Some(Clause::Not(Box::new(like)));
        }
        _ => return None,
    };
    if let Some(column) = column(left, table) {
        return Some(column.test(Question::Compare(comparison, literal(right)?)));
    }
    Some(column(right, table)?.test(Question::Compare(comparison.flipped(), literal(left)?)))
}

struct Column {
    name: String,
    cast: Option<String>,
}

impl Column {
    fn test(self, question: Question) -> Clause {
        Clause::Test(ColumnTest { column: self.name, cast: self.cast, question })
    }
}

fn column(expression: &Expr, table: &str) -> Option<Column> {
    match expression {
        Expr::Nested(inner) => column(inner, table),
        Expr::Identifier(ident) => Some(Column { name: name(ident)?, cast: None }),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [qualifier, ident] if name(qualifier).as_deref() == Some(table) => {
                Some(Column { name: name(ident)?, cast: None })
            }
            _ => None,
        },
        Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, format: None, .. } => {
            let inner = column(expr, table)?;
            inner.cast.is_none().then(|| Column { name: inner.name, cast: Some(type_name(data_type)) })
        }
        _ => None,
    }
}

/// PostgreSQL quotes whatever it would fold; a word in capitals is one of its own (`CURRENT_DATE`).
fn name(ident: &SqlIdent) -> Option<String> {
    let is_name = ident.quote_style.is_some() || !ident.value.chars().any(char::is_uppercase);
    is_name.then(|| ident.value.clone())
}

fn type_name(data_type: &sqlparser::ast::DataType) -> String {
    let text = data_type.to_string();
    if text.contains('"') { text } else { text.to_lowercase() }
}

fn literals(expression: &Expr) -> Option<Vec<Literal>> {
    match expression {
        Expr::Nested(inner) => literals(inner),
        Expr::Array(array) => array.elem.iter().map(literal).collect(),
        // `varchar IN (…)` is compared as text.
        Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, format: None, .. }
            if type_name(data_type) == "text[]" =>
        {
            let inner = literals(expr)?;
            inner.into_iter().map(|element| recast(element, "text".to_owned())).collect()
        }
        _ => None,
    }
}

fn literal(expression: &Expr) -> Option<Literal> {
    match expression {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => {
                let type_name = if text.contains('.') { "numeric" } else { "integer" };
                Some(Literal { text: text.clone(), type_name: type_name.to_owned() })
            }
            Value::Boolean(truth) => {
                Some(Literal { text: truth.to_string(), type_name: "boolean".to_owned() })
            }
            _ => None,
        },
        Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, format: None, .. } => {
            let target = type_name(data_type);
            match expr.as_ref() {
                Expr::Value(value) => match &value.value {
                    // A backslash would need the session's string rules to be read.
                    Value::SingleQuotedString(text) if !text.contains('\\') => {
                        Some(Literal { text: text.clone(), type_name: target })
                    }
                    _ => None,
                },
                inner => recast(literal(inner)?, target),
            }
        }
        _ => None,
    }
}

/// A constant in another type, where that does not change how it is written.
fn recast(literal: Literal, target: String) -> Option<Literal> {
    const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];
    const TEXTS: [&str; 2] = ["text", "character varying"];
    let from = literal.type_name.as_str();
    let same = |types: &[&str]| types.contains(&from) && types.contains(&target.as_str());
    let widens = INTEGERS.contains(&from) && target == "numeric";
    (same(&INTEGERS) || same(&TEXTS) || widens).then_some(Literal { text: literal.text, type_name: target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clause(condition: &str) -> String {
        let view = format!(" SELECT 1 AS hit\n   FROM rowback.subject \"my orders\"\n  WHERE {condition};");
        show(&of_view(&view, "my orders").unwrap())
    }

    fn show(clause: &Clause) -> String {
        let list = |parts: &[Clause]| parts.iter().map(show).collect::<Vec<_>>().join(", ");
        match clause {
            Clause::And(parts) => format!("and({})", list(parts)),
            Clause::Or(parts) => format!("or({})", list(parts)),
            Clause::Not(part) => format!("not({})", show(part)),
            Clause::Other(text) => format!("?{text}?"),
            Clause::Test(test) => {
                let cast = test.cast.as_ref().map(|cast| format!("::{cast}")).unwrap_or_default();
                let value = |literal: &Literal| format!("{}:{}", literal.text, literal.type_name);
                let question = match &test.question {
                    Question::IsNull => "null".to_owned(),
                    Question::IsTrue => "true".to_owned(),
                    Question::Compare(comparison, literal) => format!("{comparison:?} {}", value(literal)),
                    Question::Among(literals) => {
                        format!("among {}", literals.iter().map(value).collect::<Vec<_>>().join(" "))
                    }
                    Question::Like(literal) => format!("like {}", value(literal)),
                };
                format!("{}{cast} {question}", test.column)
            }
        }
    }

    #[test]
    fn what_postgresql_prints_is_taken_apart() {
        let printed = [
            "(tenant_id = 7)",
            "((\"my orders\".tenant_id = 7) AND (\"my orders\".\"at\" >= '2026-01-01 00:00:00+00'::timestamp with time zone))",
            "((a = '-5'::integer) OR (NOT (flag)) OR (NOT flag) OR (7 > big))",
            "(id = ANY (ARRAY[(1)::bigint, (2)::bigint]))",
            "((name)::text = ANY ((ARRAY['a'::character varying, 'b,)'::character varying])::text[]))",
            "(id <> ALL (ARRAY[1, 2]))",
            "((a IS NULL) AND (b IS NOT NULL) AND ((name)::text ~~ 'x%'::text) AND (name !~~ 'y_'::text))",
            "(amount < (7)::numeric)",
            "(mood = 'it''s'::public.\"Mood\")",
            "((md5(email) ~~ '0%'::text) AND (id = 3))",
            "(id IN ( SELECT o.id\n   FROM public.other o\n  WHERE ((o.a = 1) AND (o.b = 2))))",
        ];
        let shown: Vec<String> = printed.iter().map(|text| clause(text)).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        tenant_id Equal 7:integer
        and(tenant_id Equal 7:integer, at GreaterOrEqual 2026-01-01 00:00:00+00:timestamp with time zone)
        or(a Equal -5:integer, not(flag true), not(flag true), big Less 7:integer)
        id among 1:bigint 2:bigint
        name::text among a:text b,):text
        not(id among 1:integer 2:integer)
        and(a null, not(b null), name::text like x%:text, not(name like y_:text))
        amount Less 7:numeric
        mood Equal it's:public."Mood"
        and(?md5(email) ~~ '0%'::text?, id Equal 3:integer)
        ?id IN ( SELECT o.id
           FROM public.other o
          WHERE ((o.a = 1) AND (o.b = 2)))?
        "#);
    }

    #[test]
    fn conditions_that_depend_on_the_moment_or_the_place_are_known() {
        for steady in ["id = 7 and at > now() - interval '1 day'", "note like 'no%'", "\"Name\" = $$x$$"] {
            assert!(is_steady(steady), "{steady}");
        }
        for unsteady in [
            "at < 'now'",
            "at < 'Today'::timestamptz",
            "ctid < '(1,1)'",
            "\"xmin\" is null",
            "a = e'n\\x6fw'",
            "a = u&'now'",
            "query_to_xml('select 1 from t', true, true, '') is null",
            "pg_relation_size('t') > 3",
        ] {
            assert!(!is_steady(unsteady), "{unsteady}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_read() {
        for text in [
            "(a OPERATOR(public.=) 7)",
            "((a)::numeric = 7.5 OR b)",
            "(a = CURRENT_DATE)",
            "(a = b)",
            "((a + 1) = 7)",
            "CASE WHEN ((a = 1) AND (b = 2)) THEN true ELSE false END",
            "(a = 'x\\y'::text)",
            "((name COLLATE \"C\") < 'x'::text)",
            "(a = NULL::integer)",
            "(other.a = 7)",
            "((a = 1) IS NOT TRUE)",
            "(a ~~* 'x%'::text)",
            "(a = ('xyz'::character varying(2))::text)",
            "(a = '1'::text AND b = 2 OR c = 3)",
        ] {
            let shown = clause(text);
            assert!(
                shown.starts_with('?') || shown.contains("numeric Equal 7.5") || text.contains("varying(2)"),
                "{text}: {shown}"
            );
        }
        assert_eq!(of_view(" SELECT 1 AS hit\n   FROM rowback.subject t;", "t"), None);
    }
}
