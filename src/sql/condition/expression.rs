//! One part of a printed condition, read by `sqlparser`: a column against constants, or nothing that is understood.

use sqlparser::ast::{BinaryOperator, CastKind, Expr, Ident as SqlIdent, UnaryOperator, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::{Clause, ColumnTest, Comparison, Literal, Question};

pub(super) fn parse(text: &str) -> Option<Expr> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).ok()?;
    let expression = parser.parse_expr().ok()?;
    (parser.peek_token().token == Token::EOF).then_some(expression)
}

pub(super) fn clause_of(expression: &Expr, table: &str) -> Option<Clause> {
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

/// A column of the table, perhaps in another type.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) cast: Option<String>,
}

impl Column {
    fn test(self, question: Question) -> Clause {
        Clause::Test(ColumnTest { column: self.name, cast: self.cast, question })
    }
}

pub(super) fn column(expression: &Expr, table: &str) -> Option<Column> {
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
