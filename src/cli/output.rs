//! The only writer to stdout and stderr: results on stdout, everything else on stderr.

use std::io::{self, BufRead, BufWriter, IsTerminal, StdoutLock, Write};

use rowback::env::Env;
use serde::Serialize;
use serde_json::Value;

use super::args::{ColorWhen, GlobalArgs};
use super::failure::Failure;

/// Number of the shape of all JSON objects; grows when a field changes its meaning or goes away.
pub const JSON_SCHEMA: u32 = 1;

/// Text or one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where and how to print.
#[derive(Debug, Clone)]
pub struct Output {
    format: Format,
    chatter: Chatter,
    show_values: bool,
    color_out: bool,
    color_err: bool,
}

/// How progress and notes are shown on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chatter {
    /// Not at all.
    Silent,
    /// Line by line.
    Lines,
    /// With bars.
    Bars,
}

/// Colours of the terminal's own palette.
#[derive(Debug, Clone, Copy)]
pub enum Paint {
    Bold,
    Red,
    Green,
    Yellow,
}

impl Output {
    /// Decides on colour and progress from the flags, `NO_COLOR`, `TERM` and the terminal.
    pub fn new(global: &GlobalArgs, env: &Env) -> Self {
        let plain =
            env.var("NO_COLOR").is_some_and(|value| !value.is_empty()) || env.var("TERM") == Some("dumb");
        let color = |terminal: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && !plain,
        };
        let err_terminal = io::stderr().is_terminal();
        let chatter = match (global.quiet, err_terminal && env.var("TERM") != Some("dumb")) {
            (true, _) => Chatter::Silent,
            (false, true) => Chatter::Bars,
            (false, false) => Chatter::Lines,
        };
        Self {
            format: if global.json { Format::Json } else { Format::Text },
            chatter,
            show_values: global.show_values,
            color_out: color(io::stdout().is_terminal()),
            color_err: color(err_terminal),
        }
    }

    /// Text or JSON?
    pub fn format(&self) -> Format {
        self.format
    }

    /// How progress is shown.
    pub fn chatter(&self) -> Chatter {
        self.chatter
    }

    /// May values of rows be shown?
    pub fn shows_values(&self) -> bool {
        self.show_values
    }

    /// Is the result printed as JSON?
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Colours text for stdout, where it is coloured.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if self.color_out { painted(paint, text) } else { text.to_owned() }
    }

    /// Prints the result: the object with `schema` and `command` in front, or the text, whichever was asked for.
    pub fn result<T: Serialize>(
        &self,
        command: &str,
        result: &T,
        text: impl FnOnce(&Self) -> String,
    ) -> Result<(), Failure> {
        let written = match self.format {
            Format::Text => write_stdout(text(self).as_bytes()),
            Format::Json => write_stdout(format!("{}\n", envelope(command, result)?).as_bytes()),
        };
        match written {
            // Whoever reads no further has heard enough; the exit code still tells what is left.
            Err(failure) if failure.is_broken_pipe() => Ok(()),
            other => other.map_err(|failure| failure.after(command)),
        }
    }

    /// A line on stderr that is no error, in its own line.
    pub fn note(&self, line: &str) {
        if self.chatter != Chatter::Silent {
            write_stderr(&format!("{line}\n"));
        }
    }

    /// The failure on stderr, and as JSON on stdout where JSON was asked for.
    pub fn failure(&self, failure: &Failure) {
        let paint = |word: &str| match word {
            "error" if self.color_err => painted(Paint::Red, word),
            _ if self.color_err => painted(Paint::Bold, word),
            _ => word.to_owned(),
        };
        write_stderr(&failure.text(paint));
        if self.format == Format::Json {
            // The exit code still tells when nobody reads stdout any more.
            drop(write_stdout(format!("{}\n", failure.json()).as_bytes()));
        }
    }
}

/// Stdout for results that are too many to be kept, written as they come.
pub struct Results {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Results {
    /// Nobody else writes to stdout as long as it lives.
    pub fn open() -> Self {
        Self { stdout: BufWriter::new(io::stdout().lock()) }
    }

    /// Adds text.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes()).map_err(|error| unwritable(&error))
    }

    /// Writes what is still held back.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| unwritable(&error))
    }
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::input("output-unwritable", "the result cannot be written to stdout", error)
}

/// A value as JSON on one line.
pub fn json_text<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| {
        Failure::input("output-unwritable", "the result cannot be written as JSON", &io::Error::other(error))
    })
}

/// Columns of the terminal; behind a pipe those of the terminal where a pager will show it, else `COLUMNS` or 100.
pub fn width(env: &Env) -> u16 {
    let size = |found: rustix::io::Result<rustix::termios::Winsize>| found.ok().map(|size| size.ws_col);
    let terminal = size(rustix::termios::tcgetwinsize(io::stdout()))
        .or_else(|| size(rustix::termios::tcgetwinsize(io::stderr())));
    let wished = || env.var("COLUMNS").and_then(|columns| columns.parse().ok());
    terminal.filter(|columns| *columns > 0).or_else(wished).unwrap_or(100)
}

/// `{"schema": 1, "command": …, …}`; a result that is no object goes below `result`.
fn envelope<T: Serialize>(command: &str, result: &T) -> Result<Value, Failure> {
    let body = serde_json::to_value(result).map_err(|error| {
        Failure::input("output-unwritable", "the result cannot be written as JSON", &io::Error::other(error))
    })?;
    let mut object = serde_json::Map::new();
    object.insert("schema".to_owned(), JSON_SCHEMA.into());
    object.insert("command".to_owned(), command.into());
    match body {
        Value::Object(fields) => object.extend(fields.into_iter().filter(|(name, _)| name != "schema")),
        other => {
            object.insert("result".to_owned(), other);
        }
    }
    Ok(Value::Object(object))
}

fn painted(paint: Paint, text: &str) -> String {
    let code = match paint {
        Paint::Bold => "1",
        Paint::Red => "1;31",
        Paint::Green => "32",
        Paint::Yellow => "33",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Asks a question where a person sits at the terminal; `None` where nobody does.
pub fn ask(question: &str) -> Option<String> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    write_stderr(question);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

/// Prints a result as it stands.
pub fn write_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| unwritable(&error))
}

/// Writes to stderr; when that fails there is nobody left to tell.
pub fn write_stderr(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_names_schema_and_command_first() {
        #[derive(Serialize)]
        struct Body {
            rows: u64,
        }
        let object = envelope("diff", &Body { rows: 3 }).unwrap();
        assert_eq!(object.to_string(), r#"{"schema":1,"command":"diff","rows":3}"#);
        assert_eq!(envelope("x", &[1]).unwrap().to_string(), r#"{"schema":1,"command":"x","result":[1]}"#);
    }

    #[test]
    fn colour_follows_flag_and_environment() {
        let global = |color| GlobalArgs { json: false, show_values: false, quiet: false, color };
        let always = Output::new(&global(ColorWhen::Always), &Env::from_pairs([("NO_COLOR", "1")]));
        assert_eq!(always.paint(Paint::Green, "x"), "\x1b[32mx\x1b[0m");
        let never = Output::new(&global(ColorWhen::Never), &Env::default());
        assert_eq!(never.paint(Paint::Green, "x"), "x");
        let auto = Output::new(&global(ColorWhen::Auto), &Env::from_pairs([("NO_COLOR", "1")]));
        assert_eq!(auto.paint(Paint::Green, "x"), "x");
    }
}
