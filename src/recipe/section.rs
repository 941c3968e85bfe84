//! Reads typed values out of a parsed TOML table and says line, key and nearest name when one is wrong.
//! Knows nothing of what a recipe means.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, RecipeError};
use super::nearest::nearest;

/// Words of a recipe that stand for one of several choices.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Each word and what it stands for.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this choice.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, choice)| *choice == self).map_or("", |(word, _)| word)
    }
}

/// The text that spans point into.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        Place::Line { file: self.file.to_owned(), line: before.matches('\n').count() + 1 }
    }
}

/// One table of the recipe.
#[derive(Clone)]
pub(super) struct Section<'a> {
    source: Source<'a>,
    title: String,
    offset: usize,
    table: &'a DeTable<'a>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Section<'a> {
    pub(super) fn root(source: Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self { source, title: "the recipe".to_owned(), offset: 0, table }
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.offset)
    }

    /// Where this key stands, or the section when it is not there.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let offset = self.table.get_key_value(key).map_or(self.offset, |(key, _)| key.span().start);
        self.source.place(offset)
    }

    /// Refuses keys that are not among `known`.
    pub(super) fn allow(&self, known: &'static [&'static str]) -> Result<(), RecipeError> {
        let mut unknown: Vec<_> =
            self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        let Some(key) = unknown.first() else { return Ok(()) };
        Err(RecipeError::UnknownKey {
            place: self.source.place(key.span().start),
            section: self.title.as_str().into(),
            key: key.get_ref().as_ref().into(),
            nearest: nearest(key.get_ref(), known.iter().copied()).map(Into::into),
            known,
        })
    }

    /// Is the key there?
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// All keys with their values, in alphabetical order of the keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.keys().map(|key| key.get_ref().as_ref())
    }

    fn wrong<T>(&self, value: Value<'_>, key: &str, expected: &str) -> Result<T, RecipeError> {
        Err(RecipeError::WrongValue {
            place: self.source.place(value.span().start),
            key: key.into(),
            found: sort_of(value.get_ref()).into(),
            expected: expected.into(),
            nearest: None,
        })
    }

    /// A wrong value where the sort was right: `found` in words.
    pub(super) fn wrong_text(&self, key: &str, found: &str, expected: &str) -> RecipeError {
        RecipeError::WrongValue {
            place: self.place_of(key),
            key: key.into(),
            found: format!("{found:?}").into(),
            expected: expected.into(),
            nearest: None,
        }
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, RecipeError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(text.to_string())),
            _ => self.wrong(value, key, "a string"),
        }
    }

    /// A string, read by `parse`.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, RecipeError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| self.wrong_text(key, &text, expected))
    }

    /// A list of strings, each read by `parse`; `expected` describes the whole list.
    pub(super) fn list<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, RecipeError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let DeValue::Array(items) = value.get_ref() else { return self.wrong(value, key, expected) };
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            let DeValue::String(text) = item.get_ref() else { return self.wrong(item, key, expected) };
            found.push(parse(text).ok_or_else(|| self.wrong_text(key, text, expected))?);
        }
        Ok(Some(found))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, RecipeError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(*flag)),
            _ => self.wrong(value, key, "true or false"),
        }
    }

    /// A whole number from 1 on.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, RecipeError> {
        const EXPECTED: &str = "a whole number from 1 on";
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let DeValue::Integer(number) = value.get_ref() else { return self.wrong(value, key, EXPECTED) };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(count @ 1..) => Ok(Some(count)),
            Ok(_) | Err(_) => Err(RecipeError::WrongValue {
                place: self.source.place(value.span().start),
                key: key.into(),
                found: number.to_string().into(),
                expected: EXPECTED.into(),
                nearest: None,
            }),
        }
    }

    /// One of the words of `T`.
    pub(super) fn choice<T: Choice>(&self, key: &str) -> Result<Option<T>, RecipeError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, choice)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*choice));
        }
        let words = || T::WORDS.iter().map(|(word, _)| *word);
        Err(RecipeError::WrongValue {
            place: self.place_of(key),
            key: key.into(),
            found: format!("{text:?}").into(),
            expected: words().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ").into(),
            nearest: nearest(&text, words()).map(Into::into),
        })
    }

    /// A table: `[key]` or `key = { … }`.
    pub(super) fn section(&self, key: &str, title: &str) -> Result<Option<Section<'a>>, RecipeError> {
        let Some((name, value)) = self.table.get_key_value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(self.inner(title, name.span().start, table))),
            DeValue::Array(_) => {
                self.wrong(value, key, &format!("one section, with single brackets: [{key}]"))
            }
            _ => self.wrong(value, key, &format!("a section [{key}]")),
        }
    }

    /// A list of tables: `[[key]]`, none when the key is not there.
    pub(super) fn sections(&self, key: &str) -> Result<Vec<Section<'a>>, RecipeError> {
        let Some((name, value)) = self.table.get_key_value(key) else { return Ok(Vec::new()) };
        let title = format!("[[{key}]]");
        let expected = format!("a list of sections, with double brackets: {title}");
        let items = match value.get_ref() {
            DeValue::Array(items) => items,
            DeValue::Table(_) => {
                return Err(RecipeError::WrongValue {
                    place: self.source.place(name.span().start),
                    key: key.into(),
                    found: "one section".into(),
                    expected: expected.into(),
                    nearest: None,
                });
            }
            _ => return self.wrong(value, key, &expected),
        };
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            let DeValue::Table(table) = item.get_ref() else { return self.wrong(item, key, &expected) };
            found.push(self.inner(&title, item.span().start, table));
        }
        Ok(found)
    }

    fn inner(&self, title: &str, offset: usize, table: &'a DeTable<'a>) -> Section<'a> {
        Section { source: self.source, title: title.to_owned(), offset, table }
    }
}

fn sort_of(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}
