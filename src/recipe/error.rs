//! What can be wrong with a recipe before any database is asked.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Explain, Kind};
use crate::sql::predicate::PredicateError;

/// Where in a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, counted from 1.
    Line {
        /// The file as the user named it.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// The flags that stand for a recipe of one table.
    Flags,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(formatter, "{file}:{line}"),
            Self::Flags => formatter.write_str("--table"),
        }
    }
}

/// Why a recipe is refused.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The recipe, or a file it names, cannot be read.
    #[error("cannot read {what} {path}", path = path.display())]
    Unreadable {
        /// What the file is to the recipe.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The text is no TOML.
    #[error("{place}: the recipe is not valid TOML")]
    Syntax {
        /// Where reading stopped.
        place: Place,
        /// What the TOML parser says.
        message: String,
    },
    /// A key that no recipe has.
    #[error("{place}: unknown key {key:?} in {section}")]
    UnknownKey {
        /// Where it stands.
        place: Place,
        /// The section it stands in.
        section: Box<str>,
        /// The key.
        key: Box<str>,
        /// What it probably means.
        nearest: Option<Box<str>>,
        /// All keys of that section.
        known: &'static [&'static str],
    },
    /// A key with a value of the wrong sort.
    #[error("{place}: {key} is {found}, not {expected}")]
    WrongValue {
        /// Where it stands.
        place: Place,
        /// The key.
        key: Box<str>,
        /// What stands there.
        found: Box<str>,
        /// What should stand there.
        expected: Box<str>,
        /// The allowed word that is probably meant.
        nearest: Option<Box<str>>,
    },
    /// A key that is needed is not there.
    #[error("{place}: {what}")]
    MissingKey {
        /// Where it should stand.
        place: Place,
        /// What is missing where.
        what: String,
        /// What to write.
        advice: String,
    },
    /// Keys or entries that do not go together.
    #[error("{place}: {what}")]
    Contradiction {
        /// Where the second of them stands.
        place: Place,
        /// What does not go together.
        what: String,
        /// What to write instead.
        advice: String,
    },
    /// SQL text that is no predicate or query.
    #[error("{place}: {key}: {source}")]
    Predicate {
        /// Where it stands.
        place: Place,
        /// The key that holds it.
        key: &'static str,
        /// What is wrong with it.
        source: PredicateError,
    },
    /// A value has no form in TOML: a bug of ours.
    #[error("the recipe cannot be written as TOML")]
    Unwritable {
        /// What the TOML writer says.
        message: String,
    },
}

impl Explain for RecipeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "recipe-unreadable",
            Self::Syntax { .. } => "recipe-syntax",
            Self::UnknownKey { .. } => "recipe-unknown-key",
            Self::WrongValue { .. } => "recipe-wrong-value",
            Self::MissingKey { .. } => "recipe-missing-key",
            Self::Contradiction { .. } => "recipe-contradiction",
            Self::Predicate { source, .. } => source.code(),
            Self::Unwritable { .. } => "recipe-unwritable",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Unreadable { .. } => Kind::Input,
            Self::Unwritable { .. } => Kind::Bug,
            _ => Kind::Usage,
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Unreadable { source, .. } => vec![source.to_string()],
            Self::Syntax { message, .. } | Self::Unwritable { message } => vec![message.clone()],
            Self::UnknownKey { known, .. } => vec![format!("known keys: {}", known.join(", "))],
            _ => Vec::new(),
        }
    }

    fn hint(&self) -> String {
        let advice = match self {
            Self::Unreadable { .. } => "Check the path and its permissions.".to_owned(),
            Self::Syntax { .. } => {
                "Correct that line; text with backslashes or quotes is easiest in '''three single quotes'''."
                    .to_owned()
            }
            Self::UnknownKey { nearest: Some(nearest), .. }
            | Self::WrongValue { nearest: Some(nearest), .. } => {
                format!("Did you mean {nearest:?}?")
            }
            Self::UnknownKey { .. } => "Remove it, or write one of the known keys.".to_owned(),
            Self::WrongValue { expected, .. } => format!("Write {expected}."),
            Self::MissingKey { advice, .. } | Self::Contradiction { advice, .. } => advice.clone(),
            Self::Predicate { source, .. } => return source.hint(),
            Self::Unwritable { .. } => {
                "This is a bug of rowback; please report it with the recipe.".to_owned()
            }
        };
        format!("{advice} Nothing was touched.")
    }
}
