//! A condition as PostgreSQL prints it back (`pg_get_viewdef`), taken apart into clauses over single columns. The server
//! has resolved every name, operator, cast and constant in it, so nothing is guessed here; what is not understood stays
//! a clause that says nothing. Never reads the user's own text.

mod expression;
mod printed;
pub mod subselect;

use self::printed::{Printed, deeper};
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

#[cfg(test)]
mod tests;
