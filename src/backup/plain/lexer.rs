//! Cuts SQL as pg_dump writes it into commands, comment lines and lines for psql, byte by byte, so that neither the size
//! of a command nor where a read ends matters. Knows what may hold a semicolon: strings, names, dollar quotes, comments,
//! parentheses and the bodies of SQL-standard functions. Understands nothing else and runs nothing.

/// What ended with the byte just pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Nothing yet.
    None,
    /// A comment line between two commands; its text without `--` is [`Lexer::line`].
    Comment,
    /// A line for psql; its text without the backslash is [`Lexer::line`].
    Meta,
    /// A command; its text without the semicolon is [`Lexer::command`].
    Command,
    /// A backslash inside a command, which is neither SQL nor of pg_dump.
    Stray,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    /// Behind one `-`, or one `/`.
    Dash,
    Slash,
    LineComment,
    BlockComment {
        depth: u32,
        last: u8,
    },
    Quote {
        escapes: bool,
    },
    /// Behind the backslash of an escape.
    Escape,
    /// Behind a quote that ends the string, or is the first of two.
    QuoteEnd {
        escapes: bool,
    },
    Name,
    /// In what may become `$tag$`.
    DollarTag,
    /// In a dollar quote, with so many bytes of its end matched.
    Dollar {
        matched: usize,
    },
    Meta,
}

/// The most that is kept of a line; what is longer is no line that matters.
const LINE_BYTES: usize = 1 << 20;
/// Enough for any word that matters.
const WORD_BYTES: usize = 16;
/// Words that tell whether a command makes a routine: CREATE OR REPLACE FUNCTION.
const FIRST_WORDS: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    command: Vec<u8>,
    /// Bytes of the command, those that were not kept included.
    length: usize,
    keep: usize,
    line: Vec<u8>,
    tag: Vec<u8>,
    word: Vec<u8>,
    first: Vec<Vec<u8>>,
    /// The word before was BEGIN.
    begin: bool,
    /// Open `BEGIN ATOMIC` and the `CASE`s in it.
    blocks: u32,
    parens: u32,
}

impl Lexer {
    /// Keeps at most `keep` bytes of a command.
    pub(super) fn new(keep: usize) -> Self {
        Self {
            state: State::Plain,
            command: Vec::new(),
            length: 0,
            keep,
            line: Vec::new(),
            tag: Vec::new(),
            word: Vec::new(),
            first: Vec::new(),
            begin: false,
            blocks: 0,
            parens: 0,
        }
    }

    /// The line that just ended.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// The command that just ended, or as much of it as is kept.
    pub(super) fn command(&self) -> &[u8] {
        &self.command
    }

    /// How long the command is so far, or was when it has just ended.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Forgets the command that just ended.
    pub(super) fn clear(&mut self) {
        self.command.clear();
        self.first.clear();
        (self.length, self.blocks, self.parens, self.begin) = (0, 0, 0, false);
    }

    /// Is nothing begun that the end of the file would cut?
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Plain && self.length == 0
    }

    /// Takes the next byte.
    pub(super) fn push(&mut self, byte: u8) -> Piece {
        match self.state {
            State::Plain => return self.plain(byte),
            State::Dash if byte == b'-' => {
                if self.length > 0 {
                    self.store(b"--");
                }
                self.line.clear();
                self.state = State::LineComment;
            }
            State::Slash if byte == b'*' => {
                self.store(b"/*");
                self.state = State::BlockComment { depth: 1, last: 0 };
            }
            State::Dash | State::Slash => {
                self.store(if self.state == State::Dash { b"-" } else { b"/" });
                self.state = State::Plain;
                return self.plain(byte);
            }
            State::LineComment => return self.line_comment(byte),
            State::BlockComment { depth, last } => self.block_comment(byte, depth, last),
            State::Quote { escapes } => {
                self.store(&[byte]);
                match byte {
                    b'\'' => self.state = State::QuoteEnd { escapes },
                    b'\\' if escapes => self.state = State::Escape,
                    _ => {}
                }
            }
            State::Escape => {
                self.store(&[byte]);
                self.state = State::Quote { escapes: true };
            }
            State::QuoteEnd { escapes } if byte == b'\'' => {
                self.store(&[byte]);
                self.state = State::Quote { escapes };
            }
            State::QuoteEnd { .. } => {
                self.state = State::Plain;
                return self.plain(byte);
            }
            State::Name => {
                self.store(&[byte]);
                if byte == b'"' {
                    self.state = State::Plain;
                }
            }
            State::DollarTag => return self.dollar_tag(byte),
            State::Dollar { matched } => self.dollar(byte, matched),
            State::Meta => return self.meta(byte),
        }
        Piece::None
    }

    fn plain(&mut self, byte: u8) -> Piece {
        if is_word(byte) || byte == b'$' && !self.word.is_empty() {
            self.store(&[byte]);
            if self.word.len() < WORD_BYTES {
                self.word.push(byte.to_ascii_lowercase());
            }
            return Piece::None;
        }
        let escapes = byte == b'\'' && self.word == b"e";
        self.end_word();
        match byte {
            b'-' => self.state = State::Dash,
            b'/' => self.state = State::Slash,
            b'\\' if self.length > 0 => return Piece::Stray,
            b'\\' => {
                self.line.clear();
                self.state = State::Meta;
            }
            b';' if self.parens == 0 && self.blocks == 0 => {
                return if self.length > 0 { Piece::Command } else { Piece::None };
            }
            _ if byte.is_ascii_whitespace() && self.length == 0 => {}
            _ => {
                self.store(&[byte]);
                match byte {
                    b'\'' => self.state = State::Quote { escapes },
                    b'"' => self.state = State::Name,
                    b'$' => {
                        self.tag.clear();
                        self.tag.push(b'$');
                        self.state = State::DollarTag;
                    }
                    b'(' => self.parens = self.parens.saturating_add(1),
                    b')' => self.parens = self.parens.saturating_sub(1),
                    _ => {}
                }
            }
        }
        Piece::None
    }

    /// `BEGIN ATOMIC … END`, as psql finds it; only the two words together begin a body, since `begin` alone may be a name.
    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        if self.parens == 0 && self.makes_routine() {
            match word.as_slice() {
                b"atomic" if self.begin && self.blocks == 0 => self.blocks = 1,
                b"case" if self.blocks > 0 => self.blocks = self.blocks.saturating_add(1),
                b"end" if self.blocks > 0 => self.blocks -= 1,
                _ => {}
            }
        }
        self.begin = word == b"begin";
        if self.first.len() < FIRST_WORDS {
            self.first.push(word);
        }
    }

    fn makes_routine(&self) -> bool {
        let word = |at: usize| self.first.get(at).map_or(&b""[..], Vec::as_slice);
        let kind = if word(1) == b"or" && word(2) == b"replace" { word(3) } else { word(1) };
        word(0) == b"create" && (kind == b"function" || kind == b"procedure")
    }

    fn line_comment(&mut self, byte: u8) -> Piece {
        if self.length > 0 {
            self.store(&[byte]);
        } else if byte != b'\n' && self.line.len() < LINE_BYTES {
            self.line.push(byte);
        }
        if byte != b'\n' {
            return Piece::None;
        }
        self.state = State::Plain;
        if self.length > 0 { Piece::None } else { Piece::Comment }
    }

    fn block_comment(&mut self, byte: u8, depth: u32, last: u8) {
        self.store(&[byte]);
        let (depth, last) = match (last, byte) {
            (b'*', b'/') => (depth.saturating_sub(1), 0),
            (b'/', b'*') => (depth.saturating_add(1), 0),
            _ => (depth, byte),
        };
        self.state = if depth == 0 { State::Plain } else { State::BlockComment { depth, last } };
    }

    fn dollar_tag(&mut self, byte: u8) -> Piece {
        let goes_on = is_word(byte) && !(self.tag.len() == 1 && byte.is_ascii_digit());
        if byte != b'$' && !goes_on || self.tag.len() > LINE_BYTES {
            self.state = State::Plain;
            return self.plain(byte);
        }
        self.store(&[byte]);
        self.tag.push(byte);
        if byte == b'$' {
            self.state = State::Dollar { matched: 0 };
        }
        Piece::None
    }

    fn dollar(&mut self, byte: u8, matched: usize) {
        self.store(&[byte]);
        // A tag has its two `$` at its ends only, so a match that fails can begin again with this byte and no earlier.
        let matched =
            if self.tag.get(matched) == Some(&byte) { matched + 1 } else { usize::from(byte == b'$') };
        let ended = matched == self.tag.len();
        self.state = if ended { State::Plain } else { State::Dollar { matched } };
    }

    fn meta(&mut self, byte: u8) -> Piece {
        if byte == b'\n' {
            self.state = State::Plain;
            return Piece::Meta;
        }
        if self.line.len() < LINE_BYTES {
            self.line.push(byte);
        }
        Piece::None
    }

    fn store(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        if self.command.len() < self.keep {
            self.command.extend_from_slice(bytes);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(Piece, String)> {
        let mut lexer = Lexer::new(usize::MAX);
        let mut found = Vec::new();
        for byte in text.bytes() {
            let piece = lexer.push(byte);
            let shown = match piece {
                Piece::None => continue,
                Piece::Command => lexer.command(),
                Piece::Comment | Piece::Meta => lexer.line(),
                Piece::Stray => b"",
            };
            found.push((piece, String::from_utf8(shown.to_vec()).unwrap()));
            if piece == Piece::Command {
                lexer.clear();
            }
        }
        assert!(lexer.is_between() || found.iter().any(|(piece, _)| *piece == Piece::Stray), "{text}");
        found
    }

    fn commands(text: &str) -> Vec<String> {
        pieces(text).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_semicolon_inside_anything_ends_no_command() {
        let whole = [
            "SELECT 'a;''b;'",
            r"SELECT E'a\';b', e'\\'",
            r"SELECT 'a\'",
            r"SELECT name'a\'",
            "SELECT \"a;\"\"b;\"",
            "SELECT $$a;'b\"$$, $_$;$$;$_$, $a1$;$a$;$a1$",
            "SELECT $$a$b$$",
            "SELECT a$1$b, $1, 1",
            "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
            "SELECT /* a; /* b; */ c; */ 1",
            "SELECT 1 -- a;\n + 2",
            "SELECT 4-2/2*1",
            "SELECT E'\\''';'",
        ];
        for command in whole {
            assert_eq!(commands(&format!("{command};\n")), [command], "{command}");
            assert_eq!(commands(&format!("{command};{command};")), [command, command], "{command}");
        }
    }

    #[test]
    fn bodies_of_sql_functions_are_one_command() {
        let bodies = [
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql\n BEGIN ATOMIC\n SELECT CASE WHEN a THEN 1 ELSE 2 END AS \"case\";\n SELECT 2;\nEND",
            "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO a VALUES (CASE WHEN true THEN 1 END); END",
            "CREATE FUNCTION public.begin(\"end\" int) RETURNS int LANGUAGE sql AS $$ select 1; $$",
            "CREATE VIEW v AS SELECT begin FROM atomic",
        ];
        for command in bodies {
            assert_eq!(commands(&format!("{command};\nSELECT 1;\n")), [command, "SELECT 1"], "{command}");
        }
    }

    #[test]
    fn comments_and_lines_for_psql_are_told_apart_from_commands() {
        let text = "--\n-- Name: x;'\n--\n\n\\restrict a'b;\nSET a = 1;;\n  -- indented\n";
        let expected = [
            (Piece::Comment, ""),
            (Piece::Comment, " Name: x;'"),
            (Piece::Comment, ""),
            (Piece::Meta, "restrict a'b;"),
            (Piece::Command, "SET a = 1"),
            (Piece::Comment, " indented"),
        ];
        assert_eq!(pieces(text), expected.map(|(piece, text)| (piece, text.to_owned())));
        assert_eq!(pieces("SELECT 1 \\! rm\n")[0].0, Piece::Stray);
    }

    #[test]
    fn long_commands_are_counted_and_not_kept() {
        let mut lexer = Lexer::new(8);
        let ended = "INSERT INTO a VALUES ('x')".bytes().map(|byte| lexer.push(byte)).last();
        assert_eq!((ended, lexer.length(), lexer.command()), (Some(Piece::None), 26, &b"INSERT I"[..]));
        assert!(!lexer.is_between());
        assert_eq!(lexer.push(b';'), Piece::Command);
    }
}
