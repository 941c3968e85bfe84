//! An error as the user sees it: `error[code]`, causes, hint, exit code, in text and JSON.

use std::io;

use rowback::error::{Explain, Kind};
use serde_json::{Value, json};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hint: String,
    broken_pipe: bool,
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: error.code(),
            kind: error.kind(),
            message: error.to_string(),
            causes: error.causes(),
            hint: error.hint(),
            broken_pipe: false,
        }
    }
}

impl Failure {
    /// The command line does not say enough.
    pub fn usage(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            kind: Kind::Usage,
            message: message.into(),
            causes: Vec::new(),
            hint: hint.into(),
            broken_pipe: false,
        }
    }

    /// Something of the operating system cannot be had.
    pub fn input(code: &'static str, message: impl Into<String>, source: &io::Error) -> Self {
        Self {
            code,
            kind: Kind::Input,
            message: message.into(),
            causes: vec![source.to_string()],
            hint: "Nothing was changed.".to_owned(),
            broken_pipe: source.kind() == io::ErrorKind::BrokenPipe,
        }
    }

    /// Something that cannot happen did.
    pub fn bug(message: impl Into<String>, source: &dyn std::error::Error) -> Self {
        Self {
            code: "bug",
            kind: Kind::Bug,
            message: message.into(),
            causes: vec![source.to_string()],
            hint: "This is a bug of rowback; please report it with the lines above.".to_owned(),
            broken_pipe: false,
        }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// The result of a command that has done its work cannot be told.
    #[must_use]
    pub fn after(mut self, command: &str) -> Self {
        let hint = match command {
            "apply" | "undo" => {
                // Not an input that cannot be read: the work is done.
                self.kind = Kind::Stopped;
                "The command itself came to its end, and what it did stands: journal.jsonl in the case directory has it. \
                 The same command tells it once more and repeats nothing."
            }
            "recover" | "extract" | "diff" | "plan" => {
                "The case directory is complete; `rowback report` shows what is in it. Live was not changed."
            }
            "verify" => "certificate.json is written and has the result. Live was not changed.",
            "compare" => "Live was not changed.",
            _ => "Nothing was changed.",
        };
        hint.clone_into(&mut self.hint);
        self
    }

    /// Did the reader of stdout go away?
    pub fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }

    /// The exit code of the design.
    pub fn exit(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Input => 3,
            Kind::Refused => 4,
            Kind::Stopped => 5,
            Kind::Bug => 70,
        }
    }

    /// The lines for stderr; `paint` colours a word.
    pub fn text(&self, paint: impl Fn(&str) -> String) -> String {
        let mut text = format!("{}[{}]: {}\n", paint("error"), self.code, self.message);
        for cause in &self.causes {
            text.push_str(&format!("  {}: {}\n", paint("cause"), indented(cause)));
        }
        if !self.hint.is_empty() {
            text.push_str(&format!("  {}: {}\n", paint("hint"), indented(&self.hint)));
        }
        text
    }

    /// The object for stdout.
    pub fn json(&self) -> Value {
        json!({
            "schema": super::output::JSON_SCHEMA,
            "error": {
                "code": self.code,
                "message": self.message,
                "causes": self.causes,
                "hint": self.hint,
                "exit": self.exit(),
            },
        })
    }
}

/// Arguments that clap refuses: its first line is what happened, the rest of that paragraph and its tips are facts.
pub fn of_arguments(error: &clap::Error) -> Failure {
    let hint = "`rowback --help` lists the commands, `rowback COMMAND --help` the options of one. Nothing was touched.";
    let text = error.to_string();
    let told = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut told = told.map(str::trim).filter(|line| !line.is_empty());
    let message =
        told.next().unwrap_or_default().trim_start_matches("error: ").trim_end_matches(':').to_owned();
    told.fold(Failure::usage("wrong-usage", message, hint), Failure::with_cause)
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n         ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Failure {
        Failure::usage("no-backup", "no backup was named", "Add --backup FILE. Nothing was changed.")
            .with_cause("the recipe has no [backup] path\nand no url")
    }

    #[test]
    fn text_and_json_say_the_same() {
        insta::assert_snapshot!(sample().text(str::to_owned), @r#"
        error[no-backup]: no backup was named
          cause: the recipe has no [backup] path
                 and no url
          hint: Add --backup FILE. Nothing was changed.
        "#);
        insta::assert_snapshot!(sample().json().to_string(), @r#"{"schema":1,"error":{"code":"no-backup","message":"no backup was named","causes":["the recipe has no [backup] path\nand no url"],"hint":"Add --backup FILE. Nothing was changed.","exit":2}}"#);
    }

    #[test]
    fn each_kind_has_its_exit_code() {
        let exit = |kind| Failure { kind, ..sample() }.exit();
        let kinds = [Kind::Usage, Kind::Input, Kind::Refused, Kind::Stopped, Kind::Bug];
        assert_eq!(kinds.map(exit), [2, 3, 4, 5, 70]);
    }

    #[test]
    fn only_a_closed_pipe_is_no_failure() {
        let closed = Failure::input("output-unwritable", "x", &io::Error::from(io::ErrorKind::BrokenPipe));
        let full = Failure::input("output-unwritable", "x", &io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!((closed.is_broken_pipe(), full.is_broken_pipe()), (true, false));
    }
}
