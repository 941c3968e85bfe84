//! The logic of a printed condition, bracket by bracket: where its parts begin and end.

use super::{Clause, expression};
use crate::sql::lexer::Lexeme;

/// How many brackets are open behind a lexeme.
pub(super) fn deeper(depth: u32, lexeme: Lexeme<'_>) -> u32 {
    match lexeme {
        Lexeme::Symbol('(' | '[') => depth + 1,
        Lexeme::Symbol(')' | ']') => depth.saturating_sub(1),
        _ => depth,
    }
}

/// A stretch of a printed view, and the name by which it knows the table that the condition is about.
pub(super) struct Printed<'a> {
    pub(super) text: &'a str,
    pub(super) table: &'a str,
    pub(super) lexemes: &'a [(usize, Lexeme<'a>)],
}

impl Printed<'_> {
    /// The clause of the lexemes `start..end`. PostgreSQL prints every AND, OR and NOT in brackets of its own, so
    /// bracket by bracket is enough.
    pub(super) fn clause(&self, start: usize, end: usize) -> Clause {
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

    pub(super) fn is_bracketed(&self, start: usize, end: usize) -> bool {
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
    pub(super) fn outer_words(&self, start: usize, end: usize) -> Vec<(usize, &str)> {
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

    pub(super) fn slice(&self, start: usize, end: usize) -> &str {
        let place = |at: usize| self.lexemes.get(at).map_or(self.text.len(), |(offset, _)| *offset);
        self.text[place(start)..place(end)].trim()
    }

    fn leaf(&self, start: usize, end: usize) -> Clause {
        let text = self.slice(start, end);
        let parsed = expression::parse(text).and_then(|parsed| expression::clause_of(&parsed, self.table));
        parsed.unwrap_or_else(|| Clause::Other(text.to_owned()))
    }
}
