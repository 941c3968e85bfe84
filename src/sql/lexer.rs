//! Splits SQL text into lexemes by PostgreSQL's own rules (standard_conforming_strings on), enough to know where
//! strings, comments and brackets end. Decides nothing about meaning and never rewrites text.

use std::iter::Peekable;
use std::str::CharIndices;

/// What a lexeme is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lexeme<'a> {
    /// A keyword or an unquoted name.
    Word(&'a str),
    /// A name in double quotes, with the quotes.
    Quoted(&'a str),
    /// A string in quotes or dollar quotes, or a number.
    Constant,
    /// `$1`.
    Parameter,
    /// Any other single character that is no white space.
    Symbol(char),
}

/// Why text cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// `'…`, `E'…` without its end.
    Text,
    /// `"…` without its end.
    Name,
    /// `$tag$…` without its end.
    DollarText,
    /// `/* …` without its end.
    Comment,
    /// A NUL character, which no PostgreSQL text can hold.
    Nul,
}

impl Unfinished {
    /// In words, for a message.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Text => "a string is not closed with '",
            Self::Name => "a name is not closed with \"",
            Self::DollarText => "a dollar-quoted string is not closed",
            Self::Comment => "a comment is not closed with */",
            Self::Nul => "it contains a NUL character",
        }
    }
}

/// All lexemes of `text` with their byte offsets; comments and white space are left out.
pub(crate) fn split(text: &str) -> Result<Vec<(usize, Lexeme<'_>)>, Unfinished> {
    let mut lexer = Lexer { text, letters: text.char_indices().peekable() };
    let mut found = Vec::new();
    while let Some((at, letter)) = lexer.letters.next() {
        if let Some(lexeme) = lexer.lexeme(at, letter)? {
            found.push((at, lexeme));
        }
    }
    Ok(found)
}

struct Lexer<'a> {
    text: &'a str,
    letters: Peekable<CharIndices<'a>>,
}

fn starts_word(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii()
}

fn continues_word(letter: char) -> bool {
    starts_word(letter) || letter.is_ascii_digit() || letter == '$'
}

impl<'a> Lexer<'a> {
    fn lexeme(&mut self, at: usize, letter: char) -> Result<Option<Lexeme<'a>>, Unfinished> {
        match letter {
            '\0' => Err(Unfinished::Nul),
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => Ok(None),
            '-' if self.next_is('-') => {
                while self.letters.next_if(|(_, letter)| !matches!(letter, '\n' | '\r')).is_some() {}
                Ok(None)
            }
            '/' if self.next_is('*') => self.comment().map(|()| None),
            '\'' => self.standard_text().map(|()| Some(Lexeme::Constant)),
            '"' => self.quoted(at).map(Some),
            '$' => self.dollar(at).map(Some),
            digit if digit.is_ascii_digit() => {
                while self
                    .letters
                    .next_if(|(_, l)| l.is_ascii_alphanumeric() || matches!(l, '.' | '_'))
                    .is_some()
                {}
                Ok(Some(Lexeme::Constant))
            }
            first if starts_word(first) => self.word(at).map(Some),
            other => Ok(Some(Lexeme::Symbol(other))),
        }
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.letters.peek().is_some_and(|(_, letter)| *letter == wanted)
    }

    fn offset(&mut self) -> usize {
        self.letters.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn jump(&mut self, offset: usize) {
        while self.letters.next_if(|(at, _)| *at < offset).is_some() {}
    }

    /// Comments nest in PostgreSQL, unlike in the standard's C.
    fn comment(&mut self) -> Result<(), Unfinished> {
        self.letters.next();
        let mut depth = 1_u32;
        while let Some((_, letter)) = self.letters.next() {
            match letter {
                '*' if self.next_is('/') => depth -= 1,
                '/' if self.next_is('*') => depth += 1,
                _ => continue,
            }
            self.letters.next();
            if depth == 0 {
                return Ok(());
            }
        }
        Err(Unfinished::Comment)
    }

    fn standard_text(&mut self) -> Result<(), Unfinished> {
        while let Some((_, letter)) = self.letters.next() {
            if letter == '\'' && self.letters.next_if(|(_, next)| *next == '\'').is_none() {
                return Ok(());
            }
        }
        Err(Unfinished::Text)
    }

    /// `E'…'`: backslash escapes, and `E'a'` newline `'b'` goes on with them in the next piece.
    fn escaped_text(&mut self) -> Result<(), Unfinished> {
        self.letters.next();
        loop {
            match self.letters.next().ok_or(Unfinished::Text)?.1 {
                '\\' => {
                    self.letters.next();
                }
                '\'' if self.letters.next_if(|(_, next)| *next == '\'').is_none() => {
                    let end = self.offset();
                    let Some(next_piece) = continuation(&self.text[end..]) else { return Ok(()) };
                    self.jump(end + next_piece);
                }
                _ => {}
            }
        }
    }

    fn quoted(&mut self, at: usize) -> Result<Lexeme<'a>, Unfinished> {
        while let Some((_, letter)) = self.letters.next() {
            if letter == '"' && self.letters.next_if(|(_, next)| *next == '"').is_none() {
                let end = self.offset();
                return Ok(Lexeme::Quoted(&self.text[at..end]));
            }
        }
        Err(Unfinished::Name)
    }

    fn dollar(&mut self, at: usize) -> Result<Lexeme<'a>, Unfinished> {
        if self.letters.peek().is_some_and(|(_, letter)| letter.is_ascii_digit()) {
            while self.letters.next_if(|(_, letter)| letter.is_ascii_digit()).is_some() {}
            return Ok(Lexeme::Parameter);
        }
        let rest = &self.text[at + 1..];
        let Some(length) = rest.find('$') else { return Ok(Lexeme::Symbol('$')) };
        let tag = &rest[..length];
        let mut letters = tag.chars();
        if !(letters.next().is_none_or(starts_word) && letters.all(continues_word)) {
            return Ok(Lexeme::Symbol('$'));
        }
        let delimiter = &self.text[at..at + length + 2];
        let body = at + delimiter.len();
        let end = self.text[body..].find(delimiter).ok_or(Unfinished::DollarText)?;
        self.jump(body + end + delimiter.len());
        Ok(Lexeme::Constant)
    }

    fn word(&mut self, at: usize) -> Result<Lexeme<'a>, Unfinished> {
        while self.letters.next_if(|(_, letter)| continues_word(*letter)).is_some() {}
        let end = self.offset();
        let word = &self.text[at..end];
        if word.eq_ignore_ascii_case("e") && self.next_is('\'') {
            self.escaped_text()?;
            return Ok(Lexeme::Constant);
        }
        Ok(Lexeme::Word(word))
    }
}

/// Length up to and with the quote that continues a string after white space that contains a newline.
fn continuation(rest: &str) -> Option<usize> {
    let mut newline = false;
    let mut letters = rest.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' if newline => return Some(at + 1),
            '\n' | '\r' => newline = true,
            ' ' | '\t' | '\x0b' | '\x0c' => {}
            '-' if newline && letters.next_if(|(_, next)| *next == '-').is_some() => {
                while letters.next_if(|(_, next)| !matches!(next, '\n' | '\r')).is_some() {}
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> String {
        split(text)
            .unwrap()
            .into_iter()
            .map(|(_, lexeme)| match lexeme {
                Lexeme::Word(word) => word.to_owned(),
                Lexeme::Quoted(name) => name.to_owned(),
                Lexeme::Constant => "#".to_owned(),
                Lexeme::Parameter => "$n".to_owned(),
                Lexeme::Symbol(symbol) => symbol.to_string(),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn splits_as_postgresql_does() {
        assert_eq!(shape("a = 'it''s; (' -- ;\n AND b"), "a = # AND b");
        assert_eq!(shape(r"a = E'\'; DROP' OR b"), "a = # OR b");
        assert_eq!(shape("a = E'x'\n  'y\\' ; z' OR b"), "a = # OR b");
        assert_eq!(shape("a = 'x\\' ; b"), "a = # ; b");
        assert_eq!(shape("/* a /* ; */ ; */ a"), "a");
        assert_eq!(shape("a = $tag$ ; $$ ' $tag$ + $1 + b$c"), "a = # + $n + b$c");
        assert_eq!(shape("\"odd \"\" ;\" > 1.5e3"), "\"odd \"\" ;\" > #");
        assert_eq!(shape("größe::int[1:2]"), "größe : : int [ # : # ]");
    }

    #[test]
    fn says_what_is_unfinished() {
        let cases = [
            ("a = 'x", Unfinished::Text),
            (r"a = E'x\'", Unfinished::Text),
            ("\"a", Unfinished::Name),
            ("$a$ x $b$", Unfinished::DollarText),
            ("a /* /* */", Unfinished::Comment),
            ("a\0", Unfinished::Nul),
        ];
        for (text, wanted) in cases {
            assert_eq!(split(text), Err(wanted), "{text}");
        }
    }
}
